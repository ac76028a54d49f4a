"""Where episodes end, by whatever name a file says it: the same episodes, or a refusal that names the array."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import LENGTHS, facts, folder, hdf5, walks, ways_to_say, without
from hypothesis import given, settings, strategies as st

from owma._internal.errors import DatasetError
from owma.data import open_by_name, open_d4rl, open_folder, open_ogbench, read_whole, summarise_dataset
from owma.data.ends import read_ends
from owma.data.names import NAMES

pytestmark = pytest.mark.cases


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6).map(tuple), data=st.data())
def test_any_way_to_say_it_gives_the_same_episodes(
    lengths: tuple[int, ...], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ways = ways_to_say(lengths)
    way = data.draw(st.sampled_from(sorted(ways)))
    part = next(part for part, names in NAMES.items() if way.strip() in names)
    rows = sum(lengths)
    if way in ("episode_starts ", "episode_ends  ", "is_last ") and rows == len(lengths) < 3:
        return  # [0, 1] are flags as well as numbers of rows
    if way == "episode_id " and np.median(lengths) == 1:
        return  # 0, 1, 0, 1, 0 are rows of two episodes as well
    path = tmp_path_factory.mktemp("ends") / "a.npz"
    arrays: dict[str, Any] = {way.strip(): ways[way], "action": np.ones((rows, 1))}
    np.savez(path, **arrays)
    ends = read_ends(path, {"action": "action", part: way.strip()}, rows)
    expected = np.zeros(rows, bool)
    expected[np.cumsum(lengths) - 1] = True
    expected[-1] = False  # the file's end, which is one in any case
    assert np.array_equal(ends.any[:-1], expected[:-1])


@pytest.mark.parametrize(
    ("name", "terminated", "sentence"),
    [
        ("dones", 5, "`dones` alone says how episodes end: all are taken to have terminated"),
        ("done", 5, "`done` alone says how episodes end"),
        ("episode_starts", 0, "`episode_starts` says where episodes end, and no array that one terminated"),
        ("episode_ends", 0, "`episode_ends` says where episodes end"),
        ("episode_index", 0, "`episode_index` says where episodes end"),
        ("is_last", 0, "`is_last` says where episodes end"),
    ],
)
def test_what_is_assumed_is_said(name: str, terminated: int, sentence: str, tmp_path: Path) -> None:
    arrays = without(walks(), "terminals", "timeouts", "next_observations")
    _, summary, warnings = facts(folder(tmp_path / "mine", **arrays, **{name: ways_to_say(LENGTHS)[name]}))
    assert summary == terminated and sentence in warnings


def test_arrays_that_complete_each_other(tmp_path: Path) -> None:
    arrays = without(walks(), "next_observations")
    rows, ends = without(arrays, "terminals", "timeouts"), arrays["terminals"] | arrays["timeouts"]
    together = [
        {"terminals": arrays["terminals"], "episode_terminals": ends},  # d3rlpy 1
        {"dones": ends, "timeouts": arrays["timeouts"]},  # stable-baselines3's replay buffer
        {"terminated": arrays["terminals"], "truncated": arrays["timeouts"], "done": ends},  # Tianshou
        {"is_terminal": arrays["terminals"], "is_first": np.append(True, ends[:-1])},
    ]
    for number, flags in enumerate(together):
        _, terminated, warnings = facts(folder(tmp_path / str(number), **rows, **flags))
        assert terminated == 1 and "taken to" not in warnings.replace("is taken to end where it began", "")
    # Tianshou's other names, in HDF5.
    renamed = {"obs": rows["observations"], "act": rows["actions"], "rew": rows["rewards"]}
    renamed["obs_next"] = walks()["next_observations"]
    assert facts(hdf5(tmp_path / "buffer.hdf5", **renamed, done=ends, truncated=arrays["timeouts"]))[1] == 1


def test_flags_that_disagree_are_named(tmp_path: Path) -> None:
    arrays = without(walks(), "next_observations", "timeouts", "terminals")
    terminated = np.isin(np.arange(42), [4, 26])
    path = folder(tmp_path / "mine", **arrays, terminated=terminated, episode_ends=np.cumsum(LENGTHS))
    summary = summarise_dataset(open_folder(path))
    assert summary["episodes"] == 6 and "1 steps, the first of row 4, are ends by their flags and not by" in " ".join(
        summary["warnings"]
    )


def test_rlds_rows_that_hold_no_step(tmp_path: Path) -> None:
    """One row more an episode, of its last observation, with an action and a reward of zeros."""
    stops = np.cumsum(LENGTHS)
    arrays, rows = walks(), np.concatenate([[*range(b - n, b), b - 1] for n, b in zip(LENGTHS, stops)])
    final = np.append(False, rows[1:] == rows[:-1])
    obs = arrays["observations"][rows] + final[:, None]
    action, reward = (np.where(final, 0, arrays[name][rows].ravel()) for name in ("actions", "rewards"))
    path = folder(
        tmp_path / "rlds",
        observation=obs,
        action=action[:, None],
        reward=reward,
        is_first=np.append(True, final[:-1]),
        is_last=final,
        is_terminal=final & (obs[:, 0] == 207),
    )
    _, terminated, warnings = facts(path)
    data = read_whole(open_folder(path)).transitions
    assert terminated == 1 and "hold last observations, as RLDS has them" in warnings
    np.testing.assert_array_equal(data.next_obs[:, 0], walks()["next_observations"][:, 0])
    assert np.flatnonzero(data.terminated).tolist() == [26]


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("not_done", np.ones(42), "`not_done` seems to say where episodes end, and owma does not know how"),
        ("masks", np.ones(42), "`masks` seems to say"),
        ("rollout_boundaries", np.arange(3), "`rollout_boundaries` seems to say"),
        ("episode_lengths", np.array([10, 10]), "`episode_lengths` does not say where the episodes of 42 rows end"),
        ("episode_ends", np.array([20, 10, 42]), "`episode_ends` does not say"),
        ("done", np.zeros(41, bool), "`done` has 41 rows"),
        ("dones", np.zeros((42, 2)), "`dones` are float64 of shape"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(name: str, values: Any, sentence: str, tmp_path: Path) -> None:
    arrays = without(walks(), "terminals", "timeouts", "next_observations")
    with pytest.raises(DatasetError, match=sentence):
        facts(folder(tmp_path / "mine", **arrays, **{name: values}))


def test_d4rl_dictionaries_in_npz_are_known_by_their_names(tmp_path: Path) -> None:
    arrays: dict[str, Any] = walks()
    np.savez(tmp_path / "a.npz", **arrays)
    assert open_by_name(str(tmp_path / "a.npz")).form == "D4RL file" and facts(tmp_path / "a.npz")[1] == 1
    np.savez(tmp_path / "a.npz", **without(arrays, "next_observations"))  # pyright: ignore[reportArgumentType]
    assert facts(tmp_path / "a.npz")[1] == 1
    with pytest.raises(DatasetError, match="has `timeouts`, which is not OGBench's; read it as D4RL's: data:d4rl-file"):
        open_ogbench(tmp_path / "a.npz")
    # As d4rl.qlearning_dataset has it, where jumps alone tell the cuts.
    np.savez(tmp_path / "a.npz", **without(arrays, "timeouts"))  # pyright: ignore[reportArgumentType]
    assert facts(tmp_path / "a.npz")[1] == 1
    # Where D4RL and OGBench have the same names, the last row tells them apart: OGBench marks it.
    both = without(arrays, "timeouts", "rewards")
    np.savez(tmp_path / "a.npz", **both)  # pyright: ignore[reportArgumentType]
    assert read_whole(open_by_name(str(tmp_path / "a.npz"))).transitions.terminated.sum() == 1
    np.savez(tmp_path / "a.npz", **without(both, "next_observations"))  # pyright: ignore[reportArgumentType]
    with pytest.raises(DatasetError, match="has no `timeouts`.*-steps N"):
        open_by_name(str(tmp_path / "a.npz"))
    with pytest.raises(DatasetError, match="`terminals` do not mark the last row, as OGBench's do"):
        read_whole(open_ogbench(tmp_path / "a.npz"))


def test_arrays_that_are_not_read_are_named(tmp_path: Path) -> None:
    arrays = walks() | {"infos/qpos": np.zeros((42, 2)), "metadata/algorithm": np.array(3), "goals": np.zeros((42, 2))}
    path = hdf5(tmp_path / "a.hdf5", **arrays)
    for recording in (open_d4rl(path), open_folder(tmp_path)):
        sentence = "Arrays that are not read: `goals`, `infos/qpos`, `metadata/algorithm`."
        assert sentence in recording.notes and sentence in read_whole(recording).notes
    np.savez(tmp_path / "b.npz", **arrays)  # pyright: ignore[reportArgumentType]
    assert "Arrays that are not read: `infos/qpos`, `metadata/algorithm`, `goals`." in facts(tmp_path / "b.npz")[2]


def test_groups_are_said_to_be_groups(tmp_path: Path) -> None:
    """As robomimic has them."""
    names = ("obs/eef", "actions", "rewards", "dones")
    path = hdf5(tmp_path / "a.hdf5", **{f"data/demo_{k}/{name}": np.zeros((5, 2)) for k in range(2) for name in names})
    for read in (open_d4rl, lambda path: open_folder(path.parent)):
        with pytest.raises(
            DatasetError, match="holds the group `data`, in which owma does not read: .*top of the file.$"
        ):
            read(path)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("episode", np.array(7), "has a single entry, which says nothing of steps"),
        ("episode", np.array([7]), "has a single entry"),
        ("episode", np.array(b"night"), "has a single entry"),
        ("done", np.array(True), "has a single entry"),
        ("episode_id", np.arange(5), "has 5 rows, and `observations` has 42"),
        ("timestep", np.zeros((42, 2)), r"is float64 of shape (42, 2), and not one number a step"),
        ("episode_lengths", np.full(42, 9), "does not say where the episodes of 42 rows end"),
        ("episode_ends", np.array([3, 2]), "does not say where"),
        ("is_first", np.arange(42) + 0.5, "does not say where"),
    ],
)
def test_what_does_not_fit_is_left_unread_where_ends_are_known(
    name: str, values: np.ndarray, why: str, tmp_path: Path
) -> None:
    arrays = without(walks(), "next_observations") | {name: values}
    for path in (folder(tmp_path / "mine", **arrays), hdf5(tmp_path / "a.hdf5", **arrays)):
        _, terminated, warnings = facts(path)
        assert terminated == 1 and f"`{name}` is not read: it {why}" in warnings
    # Of one episode there is nothing to say; of several it is all there is.
    bare = folder(tmp_path / "bare", **without(arrays, "terminals", "timeouts"))
    if values.size == 1:
        assert summarise_dataset(open_folder(bare))["episodes"] == 1
    else:
        with pytest.raises(DatasetError, match=f"`{name}` .*no other array marks an end"):
            read_whole(open_folder(bare))


def test_lengths_may_be_there_at_every_step(tmp_path: Path) -> None:
    arrays = without(walks(), "terminals", "timeouts", "next_observations")
    facts(folder(tmp_path / "mine", **arrays, episode_lengths=np.repeat(LENGTHS, LENGTHS)))


def test_several_names_that_say_the_same(tmp_path: Path) -> None:
    arrays = without(walks(), "terminals", "timeouts", "next_observations")
    numbers = np.repeat(np.arange(5), LENGTHS)
    counts = np.concatenate([np.arange(steps) for steps in LENGTHS])
    same = [
        {"episode": numbers, "episode_id": numbers},
        {"episode": np.array(7), "episode_id": numbers + 3},
        {"episode": numbers, "episode_id": np.arange(5)},
        {"episode": numbers, "episode_id": 10 * numbers + 1},  # other numbers for the same episodes
        {"timestep": counts + 1, "frame_index": counts},
    ]
    for number, names in enumerate(same):
        facts(folder(tmp_path / str(number), **arrays, **names))
    with pytest.raises(DatasetError, match="has both `episode_id` and `episode`; keep one of them"):
        facts(folder(tmp_path / "other", **arrays, episode=numbers, episode_id=numbers // 2))


def test_flags_of_every_observation(tmp_path: Path) -> None:
    """As dm_env has them, where there is one observation more than actions."""
    rows = walks((6,))
    arrays = {"obs": rows["observations"], "action": np.zeros((5, 1)), "reward": np.zeros(5)}
    row = np.arange(6)
    flags = {"is_first": row == 0, "is_last": row == 5, "timestep": row, "episode_index": row * 0}
    data = read_whole(open_folder(folder(tmp_path / "a", **arrays, **flags))).transitions
    assert len(data) == 5 and np.flatnonzero(data.truncated).tolist() == [4] and not data.terminated.any()
    data = read_whole(open_folder(folder(tmp_path / "b", **arrays, **flags, is_terminal=row == 5))).transitions
    assert len(data) == 5 and np.flatnonzero(data.terminated).tolist() == [4]
    # Of a file of one episode nothing else has to say that it is one.
    data = read_whole(open_folder(folder(tmp_path / "e", **arrays, episode_lengths=[6], episode_id=[1, 2]))).transitions
    assert len(data) == 5
    with pytest.raises(DatasetError, match="ends at step 1"):
        read_whole(open_folder(folder(tmp_path / "c", **arrays, is_last=row == 2)))
    with pytest.raises(DatasetError, match="`is_first` says that the last observation is of another episode"):
        read_whole(open_folder(folder(tmp_path / "d", **arrays, is_first=row % 5 == 0)))
