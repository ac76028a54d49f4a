"""Files that could be read wrongly without a word: they are read as they were meant, or refused, or it is said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import LENGTHS, facts, folder, hdf5, walks, ways_to_say, without

from owma._internal.errors import DatasetError
from owma.data import open_folder, read_whole, summarise_dataset

pytestmark = pytest.mark.cases


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("terminals", lambda flags: np.where(flags, 1, -1), "`terminals` is -1 in row 0; flags of ends are 0 or 1"),
        ("timeouts", lambda flags: np.where(flags, 0.9, 0.0), "`timeouts` is 0.9 in row 9"),
        ("terminals", lambda flags: np.where(np.arange(42) == 3, np.nan, flags), "`terminals` is nan in row 3"),
    ],
)
def test_flags_are_0_or_1(name: str, change: Any, sentence: str, tmp_path: Path) -> None:
    arrays = walks()
    arrays[name] = change(arrays[name])
    for rows in (arrays, without(arrays, "next_observations")):
        with pytest.raises(DatasetError, match=sentence):
            facts(hdf5(tmp_path / f"{len(rows)}.hdf5", **rows))


def test_a_count_that_begins_anew_is_a_border_beside_any_other_array(tmp_path: Path) -> None:
    """Episodes joined of two recorders, and `done` of those only that terminated."""
    arrays = without(walks(), "next_observations", "timeouts")
    count, rows = ways_to_say(LENGTHS)["frame_index"], without(arrays, "terminals")
    beside = {
        "ids": ({"episode_index": np.repeat([0, 1, 2, 2, 3], LENGTHS)}, 0, "no array that one terminated"),
        "done": ({"done": arrays["terminals"]}, 1, "`done` marks some of the ends only: those are taken to have"),
        "terminated": ({"terminated": arrays["terminals"]}, 1, ""),
        "all done": ({"done": ways_to_say(LENGTHS)["done"]}, 5, "all are taken to have terminated"),
    }
    for name, (others, terminated, sentence) in beside.items():
        _, summary, warnings = facts(folder(tmp_path / name, **rows, **others, frame_index=count))
        assert summary == terminated and sentence in warnings
    # What counts no steps is no count: the length of a time step.
    others = {"done": ways_to_say(LENGTHS)["done"], "time_step": np.full(42, 0.02)}
    assert "`time_step` is not read" in facts(folder(tmp_path / "constant", **rows, **others))[2]


@pytest.mark.parametrize("name", ["episode_id", "timestep"])
def test_episodes_whose_rows_take_turns_are_refused(name: str, tmp_path: Path) -> None:
    """As recorders of several environments write them."""
    arrays = without(walks(), "next_observations", "terminals", "timeouts")
    count = ways_to_say(LENGTHS)["timestep"]
    arrays[name] = ways_to_say(LENGTHS)[name]
    turns = np.argsort(count, kind="stable")
    path = folder(tmp_path / "mine", **{name: values[turns] for name, values in arrays.items()})
    with pytest.raises(DatasetError, match=f"`{name}` shows.*episodes are interleaved; sort the rows by episode"):
        facts(path)


def test_next_obs_that_hold_resets_are_looked_at(tmp_path: Path) -> None:
    arrays = walks()
    stops = np.cumsum(LENGTHS)[:-1]
    never = arrays | {"timeouts": np.zeros(42, bool)}
    for arrays_of_it in (never, without(never, "timeouts")):
        following = arrays_of_it["next_observations"].copy()
        following[stops - 1] = arrays["observations"][stops]
        mine = arrays_of_it | {"next_observations": following}
        path = hdf5(tmp_path / f"{len(mine)}.hdf5", **mine)
        with pytest.raises(
            DatasetError, match="after 3 steps, the first of row 9, the next observation is as far away"
        ):
            facts(path)
        assert facts(path, episode_steps=10)[1] == 1
        summary = summarise_dataset(open_folder(folder(tmp_path / f"folder {len(mine)}", **mine)))
        assert "3 steps, the first in row 9 of a.npz, are, by `next_observations`, more than 10" in str(summary)
    # At ends that flags tell, too: nothing was written there.
    nothing = np.where((arrays["terminals"] | arrays["timeouts"])[:, None], 0, arrays["next_observations"])
    _, terminated, warnings = facts(hdf5(tmp_path / "a.hdf5", **arrays | {"next_observations": nothing}))
    assert terminated == 1 and "`next_observations` of 4 last steps of episodes, the first in row 19" in warnings


@pytest.mark.parametrize("kind", ["shuffled", "on another scale"])
def test_rows_that_do_not_follow_each_other_are_refused(kind: str, tmp_path: Path) -> None:
    arrays = walks()
    if kind == "shuffled":
        order = np.random.default_rng(0).permutation(42)
        arrays = {name: values[order] for name, values in arrays.items()}
    else:
        arrays["next_observations"] = arrays["next_observations"] / 100
    with pytest.raises(DatasetError, match="steps, the first of row.*the rows are shuffled, or `next_observations`"):
        facts(hdf5(tmp_path / "a.hdf5", **arrays))


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_next_obs_that_are_not_finite_are_no_jumps(value: float, tmp_path: Path) -> None:
    arrays = walks()
    arrays["next_observations"][[5, 9]] = value
    _, _, warnings = facts(hdf5(tmp_path / "a.hdf5", **arrays))
    assert "`next_observations` are not finite in 2 rows, the first in row 5 of a.hdf5" in warnings
    assert "elsewhere" not in warnings and "the next row begins where" not in warnings


def test_a_file_of_one_row_is_not_lost_without_a_word(tmp_path: Path) -> None:
    arrays = without(walks(), "next_observations", "terminals", "timeouts")
    path = folder(tmp_path / "mine", **arrays)
    np.savez(path / "b.npz", **{name: values[:1] for name, values in arrays.items()})  # pyright: ignore[reportArgumentType]
    summary = summarise_dataset(open_folder(path))
    assert "1 episodes, the first in b.npz, hold a single step that was cut" in " ".join(summary["warnings"])


@pytest.mark.parametrize(
    ("name", "of", "scale"),
    [("t", "timestep", 1), ("step", "timestep", 1), ("time", "timestep", 0.1), ("timestamp", "timestep", 0.1)]
    + [
        ("frameIndex", "frame_index", 1),
        ("isDone", "done", 1),
        ("episodeId", "episode_id", 1),
        ("finished", "done", 1),
    ],
)
def test_names_in_other_spellings(name: str, of: str, scale: float, tmp_path: Path) -> None:
    arrays = without(walks(), "next_observations", "terminals", "timeouts")
    _, _, warnings = facts(folder(tmp_path / "mine", **arrays, **{name: scale * ways_to_say(LENGTHS)[of]}))
    begins_anew = f"`{name}` begins anew at 0, and is read as counting the steps of each episode"
    assert (begins_anew in warnings) == (name in ("t", "step", "time", "timestamp"))


@pytest.mark.parametrize("values", [np.arange(42), np.arange(42) % 2 - 1, 0.3 * (np.arange(42) % 4)])
def test_what_is_called_t_and_counts_nothing_is_left(values: Any, tmp_path: Path) -> None:
    """A count of all rows, and the phase of a gait."""
    arrays = without(walks(), "next_observations", "terminals", "timeouts") | {"done": ways_to_say(LENGTHS)["done"]}
    assert "Arrays that are not read: `t`." in facts(folder(tmp_path / "mine", **arrays, t=values))[2]


def test_numbers_of_rows_that_may_be_of_last_or_of_first_ones(tmp_path: Path) -> None:
    """[9, 19, 26, 36] of 38 rows end episodes, or follow their ends and lack the last: the observations tell."""
    arrays = {name: values[:38] for name, values in without(walks(), "terminals", "timeouts").items()}
    rows = without(arrays, "next_observations")
    for name, stops in (("follow", [10, 20, 27, 37]), ("last", [9, 19, 26, 36, 37])):
        data = read_whole(open_folder(folder(tmp_path / name, **rows, episode_ends=np.array(stops)))).transitions
        assert np.array_equal(data.next_obs, data.obs + 1)
        assert np.flatnonzero(data.ends).tolist() == [8, 17, 23, 32]


def test_numbers_that_float32_does_not_hold(tmp_path: Path) -> None:
    arrays = walks() | {"rewards": walks()["rewards"] * 1e300}
    warnings = " ".join(summarise_dataset(open_folder(folder(tmp_path / "large", **arrays)))["warnings"])
    assert "42 rows of rewards are too large for float32" in warnings and "not finite" not in warnings
    arrays["rewards"] = walks()["rewards"].astype(np.uint64) + np.uint64(2**63)
    warnings = " ".join(summarise_dataset(open_folder(folder(tmp_path / "integers", **arrays)))["warnings"])
    assert "Reward coordinates whose steps are rounded away" in warnings


def test_what_is_said_of_one_file_and_of_rlds(tmp_path: Path) -> None:
    rows = without(walks(), "next_observations", "rewards")
    said = read_whole(open_folder(folder(tmp_path / "one", **rows))).notes
    assert said[0] == "`reward` is not there, and taken to be 0." and "every file" not in " ".join(said)
    stops = np.cumsum(LENGTHS)
    index = np.concatenate([[*range(b - n, b), b - 1] for n, b in zip(LENGTHS, stops)])
    final = np.append(False, index[1:] == index[:-1])
    obs = walks()["observations"][index] + final[:, None]
    zero = {"action": np.where(final, 0, 0.1 * np.arange(47))[:, None], "reward": np.where(final, 0, 1.0)}
    flags = {"is_first": np.append(True, final[:-1]), "is_last": final, "is_terminal": final & (obs[:, 0] == 207)}
    said = read_whole(open_folder(folder(tmp_path / "rlds", observation=obs, **zero, **flags))).notes
    assert len(said) == 1 and "hold last observations, as RLDS has them" in said[0]
