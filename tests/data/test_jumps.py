"""Steps that are as large as a reset: held against where a file says that episodes end, and reported."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import facts, folder, hdf5, walks, without
from hypothesis import given, settings, strategies as st

from owma._internal.errors import DatasetError
from owma.data import open_d4rl, open_folder, read_whole, summarise_dataset

pytestmark = pytest.mark.cases


def test_timeouts_that_are_never_set(tmp_path: Path) -> None:
    arrays = walks()
    never = arrays | {"timeouts": np.zeros(42, bool)}
    path = hdf5(tmp_path / "a.hdf5", **never)
    _, terminated, warnings = facts(path)
    assert terminated == 1 and "`timeouts` is never set, but `next_observations` show 3 steps within" in warnings
    assert "the first in row 9 of a.hdf5" in warnings
    _, _, warnings = facts(path, episode_steps=10)
    assert "3 episodes are cut after 10 steps, as --data.episode-steps says" in warnings
    # Without `next_observations` the remedy is the number of steps.
    path = hdf5(tmp_path / "b.hdf5", **without(never, "next_observations"))
    with pytest.raises(DatasetError, match="`timeouts` is never set, and after 3 steps, the first of row 9.*-steps N"):
        facts(path)
    assert facts(path, episode_steps=10)[1] == 1
    assert summarise_dataset(open_d4rl(path, episode_steps=0))["episodes"] == 2
    # Where the file says it, the flag has nothing to say.
    path = hdf5(tmp_path / "c.hdf5", **arrays)
    with pytest.raises(DatasetError, match="says by `timeouts` where episodes were cut.*leave it out"):
        facts(path, episode_steps=10)


def test_jumps_within_episodes_of_any_form(tmp_path: Path) -> None:
    arrays = without(walks(), "timeouts")
    _, terminated, warnings = facts(folder(tmp_path / "mine", **arrays))
    assert terminated == 1 and "`next_observations` show 3 steps within episodes, the first in row 9" in warnings
    partly = np.zeros(42, bool)
    partly[[9, 41]] = True
    _, _, warnings = facts(folder(tmp_path / "mine", **arrays, timeouts=partly))
    assert "show 2 steps within episodes, the first in row 19" in warnings and "never set" not in warnings
    # A compact folder that says nothing, and shows it by its steps.
    bare = without(arrays, "next_observations", "terminals")
    summary = summarise_dataset(open_folder(folder(tmp_path / "bare", **bare)))
    assert summary["episodes"] == 1 and "4 steps, the first in row 9 of a.npz, are more than 10" in " ".join(
        summary["warnings"]
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), offset=st.sampled_from([0.0, 30.0, -1000.0]), noise=st.sampled_from([0, 1e-4, 1e-2]))
def test_rounding_and_noise_are_no_jumps(
    seed: int, offset: float, noise: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`next_obs` in float32 beside `obs` in float64, or a little apart, of a random walk that is reset twice."""
    rng = np.random.default_rng(seed)
    step = rng.normal(size=(60, 2))
    obs = np.concatenate([start + np.cumsum(step[k : k + 20], axis=0) for k, start in ((0, 0), (20, 40), (40, -40))])
    following = np.concatenate([obs[1:], obs[-1:]])
    following[[19, 39]] = obs[[19, 39]] + 1
    following = following + noise * rng.choice([-1, 1], following.shape)
    path = folder(
        tmp_path_factory.mktemp("noise") / "mine",
        obs=obs + offset,
        next_obs=(following + offset).astype(np.float32),
        action=np.zeros((60, 1)),
    )
    ends = read_whole(open_folder(path)).transitions.ends
    assert np.flatnonzero(ends).tolist() == [19, 39, 59]


def test_ends_that_the_next_rows_do_not_show(tmp_path: Path) -> None:
    """`next_obs` made of the rows that follow: at an end it is where the next episode begins."""
    arrays = walks()
    arrays["next_observations"] = np.roll(arrays["observations"], -1, axis=0)
    assert (
        "At 4 ends of episodes the next row begins where `next_observations` end"
        in facts(hdf5(tmp_path / "a.hdf5", **arrays))[2]
    )


def unmarked(**others: Any) -> dict[str, np.ndarray]:
    """Five episodes of 100 steps of 0.01 that begin 10 apart, and what says of no step that it was the last."""
    start = np.repeat(10.0 * np.arange(5), 100)
    obs = (start + 0.01 * np.tile(np.arange(100), 5))[:, None] + np.zeros(2)
    return {"observations": obs, "actions": np.zeros((500, 1)), "rewards": np.zeros(500), **others}


NOTHING, EVERY_STEP = np.zeros(500, bool), np.arange(500)


@pytest.mark.parametrize(
    ("parts", "by"),
    [
        ({"terminated": NOTHING, "truncated": NOTHING}, "not marked by `truncated`"),
        ({"done": NOTHING}, "not marked by `done`"),
        ({"timesteps": EVERY_STEP}, "not marked by `timesteps`"),
        ({"terminals": NOTHING}, "no array says where episodes were cut"),
        ({"episode_index": NOTHING, "episode": np.array(7)}, "not marked by `episode_index`"),
    ],
)
def test_parts_that_mark_nothing_are_no_word_on_ends(parts: dict[str, Any], by: str, tmp_path: Path) -> None:
    summary = summarise_dataset(open_folder(folder(tmp_path / "mine", **unmarked(**parts))))
    said = " ".join(summary["warnings"])
    assert summary["episodes"] == 1 and "4 steps, the first in row 99 of a.npz, are more than 10 times" in said
    assert f"{by}: if an environment was reset there" in said and "taken to" not in said.replace("taken to end", "")


@pytest.mark.parametrize(
    "parts",
    [
        {"terminals": NOTHING, "timeouts": NOTHING},
        {"terminals": NOTHING, "timeouts": NOTHING, "dones": NOTHING},
        {"timeouts": NOTHING, "dones": NOTHING},
        {"terminals": NOTHING, "timesteps": EVERY_STEP},
        {"terminals": NOTHING, "timeouts": EVERY_STEP == 499},  # the file's end only
        {"terminals": EVERY_STEP == 99, "dones": EVERY_STEP == 99, "timeouts": NOTHING},
    ],
)
def test_parts_that_mark_nothing_leave_the_steps_to_be_said(parts: dict[str, Any], tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.hdf5", **unmarked(**parts))
    with pytest.raises(DatasetError, match="the next observation is as far away as a reset; say after how.*-steps N"):
        read_whole(open_d4rl(path))
    assert summarise_dataset(open_d4rl(path, episode_steps=100))["episodes"] == 5


def test_resets_beside_marked_ones_are_said(tmp_path: Path) -> None:
    parts: dict[str, Any] = {"terminals": NOTHING, "timeouts": EVERY_STEP == 99}
    summary = summarise_dataset(open_d4rl(hdf5(tmp_path / "a.hdf5", **unmarked(**parts))))
    said = " ".join(summary["warnings"])
    assert summary["episodes"] == 2 and "3 steps, the first in row 199" in said and "not marked by `timeouts`" in said


def test_wide_rows_are_looked_at_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample of the rows by their bytes, whatever their number: what it finds is the same."""
    from owma.data import precision, survey
    from owma.data.ends import Ends

    obs = 1e8 + np.cumsum(np.ones((300, 50)), axis=0)
    kept = precision.Precision("Observation")
    monkeypatch.setattr(precision, "_DISTINCT_BYTES", 100 * 50 * 8)
    monkeypatch.setattr(survey, "_SAMPLE_BYTES", 100 * 50 * 8)
    asked = []

    def arrays():
        for start in range(0, 300, 60):
            asked.append(start)
            yield {"obs": obs[start : start + 60]}

    nothing = np.zeros(300, bool)
    survey.survey(arrays, Ends(nothing, nothing, nothing), {"obs": kept})
    assert asked == [0, 60, 0, 60, 120, 180, 240]
    assert "of 100 values left" in " ".join(kept.notes())
