"""Datasets in files: which rows are transitions, where episodes end, and what a refusal says."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from owma._internal.errors import DatasetError
from owma.data import DatasetSource, Origin, open_by_name, open_d4rl, open_folder, open_ogbench, read_whole
from owma.outcomes.transitions import Transitions


def write_hdf5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def write_npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def counted(rows: int) -> dict[str, np.ndarray]:
    """Row i observes (i, -i), acts i/10 and is rewarded i."""
    i = np.arange(rows)
    return {
        "observations": np.stack([i, -i], axis=1).astype(np.float64),
        "actions": (i[:, None] / 10).astype(np.float32),
        "rewards": i.astype(np.float64),
    }


def flags(rows: int, *at: int) -> np.ndarray:
    return np.isin(np.arange(rows), at)


def read(source: DatasetSource) -> Transitions:
    return read_whole(source).transitions


def shown(data: Transitions) -> list[tuple[int, int, str]]:
    """(row, row that follows, how the episode ends there) of each transition."""
    ends = np.where(data.terminated, "T", np.where(data.truncated, "t", ""))
    return [(int(s), int(n), str(e)) for s, n, e in zip(data.obs[:, 0], data.next_obs[:, 0], ends)]


@pytest.fixture(params=[1, 2, 3, 1000])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Rows that readers take at a time: what they find must not depend on it."""
    monkeypatch.setattr("owma.data.arrays.rows_in_piece", lambda *_: request.param)
    return request.param


def test_a_file_is_known_by_its_name(tmp_path: Path) -> None:
    file = write_hdf5(tmp_path / "hopper_medium-v2.hdf5", **counted(9), terminals=flags(9, 2), timeouts=flags(9, 5))
    assert read_whole(open_d4rl(file)).origin == Origin("hopper_medium-v2", None, None, None)


def test_d4rl_without_next_observations(tmp_path: Path, piece: int) -> None:
    # Rows 0-2 terminate, 3-5 are cut, 6-8 are cut by the end of the file, and what they led to was not recorded.
    file = write_hdf5(tmp_path / "a.hdf5", **counted(9), terminals=flags(9, 2), timeouts=flags(9, 5))
    data = read(open_d4rl(file))
    assert shown(data) == [(0, 1, ""), (1, 2, ""), (2, 2, "T"), (3, 4, ""), (4, 5, "t"), (6, 7, ""), (7, 8, "t")]
    assert data.reward.tolist() == [0, 1, 2, 3, 4, 6, 7]
    np.testing.assert_allclose(data.action[:, 0], np.array([0, 1, 2, 3, 4, 6, 7]) / 10, rtol=1e-6)
    assert all(field.dtype == np.float32 for field in (data.obs, data.action, data.reward, data.next_obs))


def test_d4rl_with_next_observations_keeps_every_row(tmp_path: Path, piece: int) -> None:
    rows = counted(6)
    following = rows["observations"] + np.array([1, -1])
    file = write_hdf5(
        tmp_path / "a.h5",
        **rows,
        next_observations=following,
        terminals=flags(6, 1).astype(np.uint8)[:, None],
        timeouts=flags(6, 3),
        **{"infos/qpos": np.zeros((6, 2)), "metadata/name": "of no interest"},
    )
    data = read(open_d4rl(file))
    assert shown(data) == [(0, 1, ""), (1, 2, "T"), (2, 3, ""), (3, 4, "t"), (4, 5, ""), (5, 6, "t")]


def test_d4rl_finds_cuts_where_the_next_row_begins_elsewhere(tmp_path: Path, piece: int) -> None:
    rows = counted(6)
    following = rows["observations"] + np.array([1, -1])
    following[2] = 77
    file = write_hdf5(tmp_path / "a.h5", **rows, next_observations=following, terminals=flags(6, 4))
    data = read(open_d4rl(file))
    assert shown(data) == [(0, 1, ""), (1, 2, ""), (2, 77, "t"), (3, 4, ""), (4, 5, "T"), (5, 6, "t")]


def test_d4rl_cut_by_a_number_of_steps(tmp_path: Path, piece: int) -> None:
    file = write_hdf5(tmp_path / "a.h5", **counted(10), terminals=flags(10, 4))
    with pytest.raises(DatasetError, match="no `timeouts`.*--data.episode-steps N"):
        open_d4rl(file)
    # Cut after three steps, terminated after two, cut after three, and two by the end.
    data = read(open_d4rl(file, episode_steps=3))
    assert shown(data) == [(0, 1, ""), (1, 2, "t"), (3, 4, ""), (4, 4, "T"), (5, 6, ""), (6, 7, "t"), (8, 9, "t")]
    assert shown(read(open_d4rl(file, episode_steps=0)))[3:6] == [(3, 4, ""), (4, 4, "T"), (5, 6, "")]


def test_d4rl_next_observations_that_repeat_are_not_used(tmp_path: Path) -> None:
    rows, ends = counted(4), {"terminals": flags(4, 3), "timeouts": flags(4)}
    file = write_hdf5(tmp_path / "kitchen.hdf5", **rows, next_observations=rows["observations"], **ends)
    source = open_d4rl(file)
    assert "`next_observations` repeat `observations`" in source.notes[0]
    assert shown(read(source)) == [(0, 1, ""), (1, 2, ""), (2, 3, ""), (3, 3, "T")]


def test_ogbench_rows_that_end_episodes_are_no_steps(tmp_path: Path, piece: int) -> None:
    rows = counted(8)
    del rows["rewards"]
    rows["actions"][3] = np.nan  # of the last observation: nothing was done there
    file = write_npz(tmp_path / "a.npz", **rows, terminals=flags(8, 3, 7).astype(np.float32), qpos=np.zeros((8, 3)))
    data = read(open_ogbench(file))
    expected = [(0, 1, ""), (1, 2, ""), (2, 3, "t"), (4, 5, ""), (5, 6, ""), (6, 7, "t")]
    assert shown(data) == expected and not data.reward.any()
    # The compact form flags the last step too; `valids` say which rows are steps.
    valids = ~flags(8, 3, 7)
    file = write_npz(tmp_path / "b.npz", **rows, terminals=flags(8, 2, 3, 6, 7), valids=valids.astype(np.float32))
    assert shown(read(open_ogbench(file))) == expected


def test_ogbench_regular_form_and_compression(tmp_path: Path, piece: int) -> None:
    rows = counted(4)
    following = rows["observations"] + np.array([1, -1])
    arrays: dict[str, Any] = {**rows, "next_observations": np.asfortranarray(following), "terminals": flags(4, 1, 3)}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    assert shown(read(open_ogbench(tmp_path / "a.npz"))) == [(0, 1, ""), (1, 2, "t"), (2, 3, ""), (3, 4, "t")]


def test_a_folder_of_ones_own(tmp_path: Path, piece: int) -> None:
    rows = counted(5)
    obs, action, reward = rows["observations"], rows["actions"], rows["rewards"]
    # One observation more than actions, and the last step terminates: where it led to is known.
    write_npz(tmp_path / "1.npz", obs=obs, action=action[:4], reward=reward[:4], terminated=flags(4, 3))
    # Two episodes, the first terminates; names of other collections.
    write_hdf5(tmp_path / "2.h5", observations=obs + 10, actions=action, rewards=reward, terminations=flags(5, 1))
    # All is said, and nothing is rewarded.
    write_npz(tmp_path / "3.npz", obs=obs[:2], action=action[:2], next_obs=obs[:2] + 1, truncated=flags(2, 0))
    (tmp_path / "README").write_text("not read")
    source = open_folder(tmp_path)
    data = read(source)
    assert shown(data) == [
        *[(0, 1, ""), (1, 2, ""), (2, 3, ""), (3, 4, "T")],
        *[(10, 11, ""), (11, 11, "T"), (12, 13, ""), (13, 14, "t")],
        *[(0, 1, "t"), (1, 2, "t")],
    ]
    assert data.reward.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 0]
    assert source.rows >= len(data) and "`reward` is not in every file" in source.notes[0]
    dataset = read_whole(source)
    assert dataset.env_spec is None and dataset.action_low.tolist() == [0]
    np.testing.assert_allclose(dataset.action_high, 0.3, rtol=1e-6)


def test_a_file_of_one_episode_cannot_end_before(tmp_path: Path) -> None:
    rows = counted(5)
    write_npz(tmp_path / "1.npz", obs=rows["observations"], action=rows["actions"][:4], truncated=flags(4, 1))
    with pytest.raises(DatasetError, match="ends at step 1.*give `next_obs`"):
        read(open_folder(tmp_path))


GOOD = counted(4) | {"terminals": flags(4, 3), "timeouts": flags(4)}
BAD_D4RL = {
    "missing": ({"actions": None}, "has no `actions`; it holds `observations`, .*rename"),
    "lengths": ({"rewards": np.zeros(3)}, "`rewards` has 3 rows, `observations` has 4"),
    "images": ({"observations": np.zeros((4, 8, 8, 3), np.uint8)}, "`observations` are uint8 of shape .*not images"),
    "symbols": ({"actions": np.zeros((4, 1), np.int64)}, "`actions` are int64; owma needs continuous actions"),
    "flags": ({"terminals": np.zeros((4, 2))}, r"`terminals` are float64 of shape \(4, 2\); give one number a step"),
    "next": ({"next_observations": np.zeros((4, 3))}, "`next_observations` has the shape .* must agree"),
    "objects": ({"terminals": np.array(["a"] * 4, dtype=h5py.string_dtype())}, "`terminals` holds Python objects"),
    "link": (
        {"extra": h5py.ExternalLink("other.h5", "/x")},
        "a link at 'extra', so reading it would open another file",
    ),
    "nan": ({"rewards": np.array([0, np.nan, 0, 0])}, "rewards that are not finite, the first in transition 1; drop"),
    "too large": ({"observations": np.full((4, 2), 1e39)}, "observations that are not finite.*transition 0"),
}


@pytest.mark.parametrize("name", BAD_D4RL)
def test_what_is_wrong_with_a_d4rl_file(name: str, tmp_path: Path) -> None:
    changed, sentence = BAD_D4RL[name]
    arrays = {key: values for key, values in (GOOD | changed).items() if values is not None}
    file = write_hdf5(tmp_path / "a.hdf5", **arrays)
    with pytest.raises(DatasetError, match=sentence):
        read(open_d4rl(file))


@pytest.mark.cases
def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("code in a dataset was run",))

    arrays = {**counted(4), "terminals": flags(4, 3)}
    write_npz(tmp_path / "a.npz", **arrays, extra=np.array([Trap()], dtype=object))
    for source in (open_ogbench(tmp_path / "a.npz"), open_folder(tmp_path)):
        assert len(read(source)) and "Arrays that are not read: `extra`." in source.notes
    write_npz(tmp_path / "a.npz", **arrays | {"rewards": np.array([Trap()] * 4, dtype=object)})
    for read_it in (lambda: open_ogbench(tmp_path / "a.npz"), lambda: open_folder(tmp_path)):
        with pytest.raises(DatasetError, match="`rewards` holds Python objects, which owma never loads"):
            read_it()


def test_damaged_npz_files(tmp_path: Path) -> None:
    import zipfile

    file = write_npz(tmp_path / "a.npz", **counted(1000), terminals=flags(1000, 999))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="cannot be read.*BadZipFile.*fetch or write it again"):
        open_ogbench(file)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(DatasetError, match="cannot be read.*CRC"):
        read(open_ogbench(file))
    # A header that claims more than there is, as a bomb would.
    with zipfile.ZipFile(file, "w") as archive, archive.open("observations.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 8)})
    with pytest.raises(DatasetError, match="`observations` claims 64000000000000 bytes .* but has 0"):
        open_ogbench(file)
    for name in ("../a.npy", "notes.txt"):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, "x")
        with pytest.raises(DatasetError, match="is no array of numpy.savez"):
            open_ogbench(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("observations.npy", "x" * 100)
    with pytest.raises(DatasetError, match="`observations` is no NumPy array"):
        open_ogbench(file)


def test_damaged_hdf5_files(tmp_path: Path) -> None:
    file = write_hdf5(tmp_path / "a.hdf5", **GOOD)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(DatasetError, match="a.hdf5 cannot be read"):
        open_d4rl(file)
    with h5py.File(file, "w") as outer:
        outer.create_dataset("observations", (4, 2), "f4", external=[("elsewhere.bin", 0, h5py.h5f.UNLIMITED)])
    with pytest.raises(DatasetError, match="an array at 'observations' that is stored elsewhere"):
        open_d4rl(file)


def test_folders_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="There is no folder"):
        open_folder(tmp_path / "none")
    with pytest.raises(DatasetError, match="holds no file of arrays .*write at least `obs` and `action`"):
        open_folder(tmp_path)
    write_npz(tmp_path / "1.npz", states=np.zeros((3, 2)), action=np.zeros((3, 1)))
    with pytest.raises(DatasetError, match="1.npz has no `obs`; it holds `states`, `action`: rename"):
        open_folder(tmp_path)
    write_npz(tmp_path / "1.npz", obs=np.zeros((3, 2)), observations=np.zeros((3, 2)), action=np.zeros((3, 1)))
    with pytest.raises(DatasetError, match="both `obs` and `observations`"):
        open_folder(tmp_path)
    write_npz(tmp_path / "1.npz", obs=np.zeros((3, 2)), action=np.zeros((3, 1)))
    write_npz(tmp_path / "2.npz", obs=np.zeros((3, 4)), action=np.zeros((3, 1)))
    with pytest.raises(DatasetError, match="2.npz has observations and actions of 4 and 1 .* 1.npz of 2 and 1"):
        open_folder(tmp_path)


def test_a_dataset_without_a_transition(tmp_path: Path) -> None:
    arrays = {"observations": np.zeros((2, 2)), "actions": np.zeros((2, 1)), "terminals": flags(2, 0, 1)}
    with pytest.raises(DatasetError, match="Dataset a is empty"):
        read(open_ogbench(write_npz(tmp_path / "a.npz", **arrays)))


def test_a_name_says_which_form_it_is(tmp_path: Path) -> None:
    hdf5 = write_hdf5(tmp_path / "a.hdf5", **GOOD)
    npz = write_npz(tmp_path / "b.npz", **counted(4), terminals=flags(4, 3))
    assert open_by_name(str(hdf5)).form == "D4RL file" and open_by_name(str(npz)).form == "OGBench file"
    hdf5.unlink()
    assert open_by_name(str(tmp_path)).form == "folder of arrays"
    with pytest.raises(DatasetError, match="There is no file .*a.hdf5"):
        open_by_name(str(hdf5))
    with pytest.raises(DatasetError, match="is no D4RL file.*leave it out"):
        open_by_name(str(npz.parent), episode_steps=3)
    for hub in ("D4RL/antmaze/medium-diverse-v1", "D4RL/kitchen/partial-v2", "mujoco/hopper/medium-v0"):
        with pytest.raises(DatasetError, match=f"no dataset '{hub}'.*--download.*put its folder at .*{hub}"):
            open_by_name(hub)
