"""Files that are torn, flipped or made to do harm: a sentence, nothing executed, nothing outside opened."""

import ast
import errno
import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import owma
from owma._internal.errors import CheckpointError, ConfigError, DatasetError, OwmaError
from owma._internal.json import canonical
from owma._internal.npz import read_npz
from owma.config.experiment import ExperimentConfig
from owma.config.json import from_json
from owma.config.task import LabelledTaskConfig
from owma.data import load_minari
from owma.envs import read_env
from owma.outcomes.tasks import build_task
from owma.runs import checkpoint
from owma.runs.folder import RunFolder
from owma.runs.parts import read_shapes

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")

TREE = {"w": jnp.arange(64.0), "n": jnp.asarray(3)}


class _Bomb:
    """Whoever unpickles it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A folder that is there as soon as anything has been executed."""
    return tmp_path / "executed"


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `data` folder of a small dataset, `test/mine-v0`, to be spoilt."""
    import minari
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    rng = np.random.default_rng(0)
    buffers = [
        EpisodeBuffer(
            id=number,
            observations=list(rng.normal(size=(6, 2))),
            actions=list(rng.uniform(-1, 1, (5, 2)).astype(np.float32)),
            rewards=list(rng.normal(size=5)),
            terminations=[False] * 5,
            truncations=[False] * 4 + [True],
        )
        for number in range(3)
    ]
    minari.create_dataset_from_buffers(
        "test/mine-v0",
        buffers,
        observation_space=gym.spaces.Box(-np.inf, np.inf, (2,), np.float64),
        action_space=gym.spaces.Box(-1, 1, (2,), np.float32),
    )
    return tmp_path / "datasets" / "test" / "mine-v0" / "data"


def _edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# What is torn or flipped.


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_of_a_checkpoint(share: float, tmp_path: Path, outcome) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, step, TREE, config_fingerprint="a")
    files = sorted(path for path in (tmp_path / "2").rglob("*") if path.is_file() and path.stat().st_size)
    said = ""
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[: min(int(share * len(whole)), len(whole) - 1)])
        with pytest.raises(CheckpointError, match="is damaged") as error:
            checkpoint.restore(tmp_path, TREE)
        said = str(error.value)
        assert checkpoint.newest_intact(tmp_path)[0] == 1
        path.write_bytes(whole)
    assert checkpoint.newest_intact(tmp_path) == (2, ())
    outcome(f"checkpoint: each of {len(files)} files cut to {share:.1%}", said)


def test_any_flipped_bit_of_a_checkpoint(tmp_path: Path, outcome) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, step, TREE, config_fingerprint="a")
    files = sorted(path for path in (tmp_path / "2").rglob("*") if path.is_file() and path.stat().st_size)
    rng = np.random.default_rng(7)
    for path in files:
        whole = path.read_bytes()
        for _ in range(8):
            flipped = bytearray(whole)
            flipped[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(flipped))
            assert checkpoint.newest_intact(tmp_path)[0] == 1, path
        path.write_bytes(whole)
    outcome(f"checkpoint: 8 flipped bits in each of {len(files)} files", "damaged: the step before is used, and said")


def test_a_file_too_much_in_a_checkpoint(tmp_path: Path, outcome) -> None:
    checkpoint.save(tmp_path, 1, TREE, config_fingerprint="a")
    (tmp_path / "1" / "arrays" / "more").write_text("x")
    with pytest.raises(CheckpointError, match="`arrays/more` is not in its manifest") as error:
        checkpoint.restore(tmp_path, TREE)
    outcome("checkpoint: a file that its manifest does not list", error.value)


@pytest.mark.parametrize("where", ["mkdir", "_write_arrays", "replace_text", "rename"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_disk_that_refuses_a_checkpoint(
    code: int, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome
) -> None:
    """Whichever file or folder it is that cannot be written."""
    checkpoint.save(tmp_path, 1, TREE, config_fingerprint="a", keep=1)

    def refused(*args: Any, **kwargs: Any) -> None:
        raise OSError(code, os.strerror(code), "x")

    with monkeypatch.context() as patch:
        patch.setattr(Path if where in ("mkdir", "rename") else checkpoint, where, refused)
        with pytest.raises(CheckpointError, match=f"step 2 could not be written .*: {os.strerror(code)}. ") as error:
            checkpoint.save(tmp_path, 2, TREE, config_fingerprint="a", keep=1)
    assert os.listdir(tmp_path) == ["1"] and checkpoint.newest_intact(tmp_path) == (1, ())
    checkpoint.save(tmp_path, 2, TREE, config_fingerprint="a", keep=1)  # as soon as it can be written again
    assert os.listdir(tmp_path) == ["2"]
    outcome(f"disk: {os.strerror(code)} at {where.strip('_')} of a save", error.value)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_dataset(share: float, dataset: Path, outcome) -> None:
    path = dataset / "main_data.hdf5"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DatasetError) as error:
        load_minari("test/mine-v0")
    outcome(f"dataset: HDF5 file cut to {share:.0%}", error.value)


def test_a_dataset_with_a_byte_that_is_another(dataset: Path, outcome) -> None:
    """Numbers have no digest in Minari's files: another number may be read, but never one that is not finite."""
    path = dataset / "main_data.hdf5"
    whole = path.read_bytes()
    with h5py.File(path) as file:
        start = file["episode_1/observations"].id.get_chunk_info(0).byte_offset
    # Most of the file is padding, so: anything else, the first byte of an object's header or name, and the byte that
    # holds the exponent of a number.
    structure = [place for place, byte in enumerate(whole) if byte]
    starts = [place for place in structure if whole[place - 1] == 0]
    exponents = list(range(start + 7, start + 6 * 2 * 8, 8))
    places = st.sampled_from(structure) | st.sampled_from(starts) | st.sampled_from(exponents)
    ended = {"refused": 0, "not finite": 0, "read": 0}

    @settings(max_examples=90, deadline=None, derandomize=True)
    @given(places, st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    def holds(place: int, value: int) -> None:
        spoilt = bytearray(whole)
        spoilt[place] = value
        path.write_bytes(bytes(spoilt))
        try:
            data = load_minari("test/mine-v0").transitions
        except DatasetError as error:
            ended["not finite" if "not finite" in str(error) else "refused"] += 1
            return
        ended["read"] += 1
        assert len(data) == 15 and data.num_episodes == 3
        assert all(np.isfinite(getattr(data, name)).all() for name in ("obs", "action", "reward", "next_obs"))

    holds()
    assert min(ended.values()) > 2, ended  # each of them was tried
    outcome(
        "dataset: any byte of the HDF5 file another", "DatasetError, or finite numbers in whole episodes (hypothesis)"
    )


def _labels(path: Path) -> bytes:
    np.savez_compressed(path, obs=np.random.default_rng(0).normal(size=(50, 2)), reward=np.arange(50.0))
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_npz(share: float, tmp_path: Path, outcome) -> None:
    path = tmp_path / "labels.npz"
    whole = _labels(path)
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ConfigError, match="must be an .npz file with `obs`") as error:
        build_task(LabelledTaskConfig(path))
    outcome(f"npz: cut to {share:.1%}", error.value)


def test_an_npz_with_a_flipped_bit(tmp_path: Path, outcome) -> None:
    path = tmp_path / "labels.npz"
    whole, kept = _labels(path), read_npz(path)

    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(st.integers(0, 10**6), st.integers(0, 7))
    def holds(where: int, bit: int) -> None:
        flipped = bytearray(whole)
        flipped[where % len(flipped)] ^= 1 << bit
        path.write_bytes(bytes(flipped))
        try:
            arrays = read_npz(path)
        except (ValueError, OSError):
            return
        # Bits of a zip file that mean nothing: dates, say.
        assert arrays.keys() == kept.keys() and all(np.array_equal(arrays[name], kept[name]) for name in kept)

    holds()
    outcome("npz: any flipped bit", "refused, or all numbers as they were (hypothesis)")


@pytest.mark.parametrize(
    ("fault", "arrays"),
    [
        ("no `reward`", {"obs": np.zeros((3, 2))}),
        ("lengths differ", {"obs": np.zeros((3, 2)), "reward": np.zeros(2)}),
        ("no samples", {"obs": np.zeros((0, 2)), "reward": np.zeros(0)}),
        ("`obs` of one axis", {"obs": np.zeros(3), "reward": np.zeros(3)}),
        ("NaN", {"obs": np.full((3, 2), np.nan), "reward": np.zeros(3)}),
        ("text", {"obs": np.array([["a"]]), "reward": np.zeros(1)}),
    ],
)
def test_labels_that_are_none(fault: str, arrays: dict[str, np.ndarray], tmp_path: Path, outcome) -> None:
    np.savez(tmp_path / "labels.npz", **arrays)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="Labelled samples cannot be read") as error:
        build_task(LabelledTaskConfig(tmp_path / "labels.npz"))
    outcome(f"labelled samples: {fault}", error.value)


# What is made to do harm.


def test_no_module_reads_pickles_or_evaluates() -> None:
    """The names by which a file could come to be executed are in no module."""
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    wrong = []
    for path in sorted(Path(owma.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrongly_called = isinstance(node, ast.Call) and _is_careless(node)
            if {name.split(".")[0] for name in names} & modules or wrongly_called:
                wrong.append(f"{path.name}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)[:60]}")
    assert not wrong, "\n".join(wrong)


def _is_careless(call: ast.Call) -> bool:
    """Whether it evaluates, or reads arrays without a refusal of pickles."""
    called = ast.unparse(call.func)
    allowing = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "allow_pickle"]
    refuses = allowing == ["False"]
    return (
        called in ("eval", "exec", "compile", "__import__")
        or (called in ("np.load", "numpy.load") and not refuses)
        or (bool(allowing) and not refuses)
    )


def test_an_npz_of_pickled_objects(tmp_path: Path, mark: Path, outcome) -> None:
    path = tmp_path / "labels.npz"
    np.savez(path, obs=np.array([_Bomb(mark)], object), reward=np.zeros(1))
    with pytest.raises(ConfigError, match="allow_pickle=False") as error:
        build_task(LabelledTaskConfig(path))
    path.write_bytes(pickle.dumps(_Bomb(mark)))  # np.load would take a bare pickle as well
    with pytest.raises(ConfigError):
        build_task(LabelledTaskConfig(path))
    assert not mark.exists()
    outcome("npz: an array of pickled objects", error.value)


@pytest.mark.parametrize("name", ["../outside.npy", "/tmp/outside.npy", "a/b.npy", "note.txt"])
def test_an_npz_with_members_of_other_places(name: str, tmp_path: Path, outcome) -> None:
    path = tmp_path / "labels.npz"
    _labels(path)
    array = io.BytesIO()
    np.save(array, np.zeros(1))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, array.getvalue())
    with pytest.raises(ConfigError, match="something else than arrays") as error:
        build_task(LabelledTaskConfig(path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.npz"]
    outcome(f"npz: a member called {name}", error.value)


def test_an_npz_that_would_fill_the_memory(tmp_path: Path, outcome) -> None:
    path = tmp_path / "labels.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("obs.npy", header.getvalue())
    with pytest.raises(ConfigError) as error:
        build_task(LabelledTaskConfig(path))
    outcome("npz: an array said to be of 8 TiB", error.value)


_SECRET = "x,y\n1.0,2.0\n" * 40


def _in_place_of(file: h5py.File, name: str) -> Any:
    group, _, last = name.rpartition("/")
    parent = file[group]
    assert isinstance(parent, h5py.Group)
    del parent[last]
    return parent, last


@pytest.mark.parametrize("fault", ["external link", "soft link", "external storage", "virtual array"])
def test_a_dataset_that_reaches_out_of_its_file(fault: str, dataset: Path, tmp_path: Path, outcome) -> None:
    secret = tmp_path / "secret"
    secret.write_text(_SECRET)
    other = tmp_path / "other.hdf5"
    with h5py.File(other, "w") as file:
        file["obs"] = np.zeros((6, 2))
    with h5py.File(dataset / "main_data.hdf5", "a") as file:
        parent, last = _in_place_of(file, "episode_1/observations")
        if fault == "external link":
            parent[last] = h5py.ExternalLink(str(other), "obs")
        elif fault == "soft link":
            parent[last] = h5py.SoftLink("/episode_0/observations")
        elif fault == "external storage":
            parent.create_dataset(last, (6, 2), "f8", external=[(str(secret), 0, 96)])
        else:
            layout = h5py.VirtualLayout((6, 2), "f8")
            layout[:] = h5py.VirtualSource(str(other), "obs", (6, 2))
            parent.create_virtual_dataset(last, layout)
    with pytest.raises(DatasetError, match="'episode_1/observations'.*would open another file") as error:
        load_minari("test/mine-v0")
    outcome(f"dataset: {fault} in place of observations", error.value)


def test_a_dataset_whose_groups_hold_themselves(dataset: Path, outcome) -> None:
    with h5py.File(dataset / "main_data.hdf5", "a") as file:
        file["episode_1"]["again"] = file["episode_1"]  # pyright: ignore[reportIndexIssue]
    with pytest.raises(DatasetError, match="groups deep") as error:
        load_minari("test/mine-v0")
    outcome("dataset: a group that holds itself", error.value)


@pytest.mark.parametrize("fault", ["strings", "variable length", "references", "opaque", "a group"])
def test_a_dataset_of_other_things_than_numbers(fault: str, dataset: Path, mark: Path, outcome) -> None:
    with h5py.File(dataset / "main_data.hdf5", "a") as file:
        reference = file["episode_0"].ref
        parent, last = _in_place_of(file, "episode_1/observations")
        if fault == "strings":
            parent.create_dataset(last, data=[["a", "b"]] * 6, dtype=h5py.string_dtype())
        elif fault == "variable length":
            array: Any = parent.create_dataset(last, (6,), h5py.vlen_dtype(np.float64))
            array[:] = [np.arange(i, dtype=np.float64) for i in range(6)]
        elif fault == "references":
            parent.create_dataset(last, data=[[reference] * 2] * 6, dtype=h5py.ref_dtype)
        elif fault == "opaque":
            data = np.frombuffer(pickle.dumps(_Bomb(mark)).ljust(192, b"."), "V16")[:12].reshape(6, 2)
            parent.create_dataset(last, data=data)
        else:
            parent.create_group(last)
    with pytest.raises(DatasetError) as error:
        load_minari("test/mine-v0")
    assert not mark.exists()
    outcome(f"dataset: {fault} in place of observations", error.value)


def _spec(**changes: Any) -> str:
    return json.dumps(json.loads(gym.spec("owma/TwoRoutes-v0").to_json()) | changes)


def _wrapper(entry_point: str, **kwargs: Path) -> dict[str, Any]:
    return {"name": "x", "entry_point": entry_point, "kwargs": {key: str(path) for key, path in kwargs.items()}}


@pytest.mark.parametrize(
    ("fault", "make"),
    [
        ("os:mkdir as its entry point", lambda mark: {"entry_point": "os:mkdir", "kwargs": {"path": str(mark)}}),
        ("another id", lambda mark: {"id": "New-v0", "entry_point": "os:mkdir", "kwargs": {"path": str(mark)}}),
        ("an id that names a module", lambda mark: {"id": "antigravity:New-v0", "entry_point": None}),
        (
            "a wrapper of another module",
            lambda mark: {
                "additional_wrappers": [{"name": "x", "entry_point": "os:mkdir", "kwargs": {"path": str(mark)}}]
            },
        ),
        (
            "a wrapper that writes files",
            lambda mark: {
                "additional_wrappers": [
                    {
                        "name": "x",
                        "entry_point": "gymnasium.wrappers:RecordVideo",
                        "kwargs": {"video_folder": str(mark)},
                    }
                ]
            },
        ),
        ("a vector entry point", lambda mark: {"vector_entry_point": "os:mkdir"}),
        (
            "a model in another file",
            lambda mark: json.loads(gym.spec("Hopper-v5").to_json()) | {"kwargs": {"xml_file": str(mark)}},
        ),
        (
            "a file deep in its arguments",
            lambda mark: {"kwargs": {"preferred": json.loads("[" * 400 + json.dumps(str(mark)) + "]" * 400)}},
        ),
    ],
)
@pytest.mark.parametrize("spaces", ["with its spaces", "without its spaces"])
def test_an_environment_that_would_run_something_else(
    fault: str, make: Callable[[Path], dict[str, Any]], spaces: str, dataset: Path, mark: Path, outcome
) -> None:
    """Gymnasium imports and calls what a description names: `os:mkdir` as well as an environment."""
    changed = _spec(**make(mark))
    _edit(dataset / "metadata.json", lambda metadata: metadata.update(env_spec=changed))
    if spaces == "without its spaces":
        # Minari makes the environment, to look at its spaces.
        _edit(dataset / "metadata.json", lambda metadata: metadata.pop("observation_space"))
        with pytest.raises(
            DatasetError, match="is not what is registered here|which is not one of|cannot be read"
        ) as error:
            load_minari("test/mine-v0")
        said = str(error.value)
    else:
        loaded = load_minari("test/mine-v0")
        assert loaded.env_spec is None and loaded.env_refusal is not None
        said = loaded.env_refusal
    assert "--evaluation.env" in said and not mark.exists()
    outcome(f"dataset {spaces}: its environment has {fault}", said)


def test_environments_that_are_what_they_say(outcome) -> None:
    import owma.envs

    owma.envs.load_robotics()
    for name in ("owma/TwoRoutes-v0", "PointMaze_UMaze-v3", "CartPole-v1"):
        spec = gym.spec(name)
        assert read_env(spec.to_json(), "here").entry_point == spec.entry_point
    limited = _spec(max_episode_steps=7, kwargs={"preferred": "upper"})
    assert read_env(limited, "here").max_episode_steps == 7


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"id": 3}', "[" * 100_000, "3"])
def test_descriptions_that_are_none(text: str, outcome) -> None:
    with pytest.raises(ConfigError, match="cannot be read|is not what is registered") as error:
        read_env(text, "shapes.json")
    outcome(f"environment described as {text[:12]!r}", error.value)


def test_names_outside_in_a_manifest(tmp_path: Path, outcome) -> None:
    """Whoever makes a checkpoint can seal its manifest."""
    checkpoint.save(tmp_path / "mine", 1, TREE, config_fingerprint="a")
    (tmp_path / "secret").write_text("x")
    manifest = tmp_path / "mine" / "1" / "manifest.json"
    good = json.loads(manifest.read_text())["content"]
    for name in ("../../secret", "/etc/passwd", "arrays/../../../secret"):
        content = good | {"files": good["files"] | {name: hashlib.sha256(b"x").hexdigest()}}
        seal = hashlib.sha256(canonical(content).encode()).hexdigest()
        manifest.write_text(json.dumps({"sha256": seal, "content": content}))
        with pytest.raises(CheckpointError, match="not of the form that owma writes") as error:
            checkpoint.restore(tmp_path / "mine", TREE)
        outcome(f"checkpoint: a manifest that names {name}", error.value)


def _reseal(step: Path) -> None:
    """What whoever makes a checkpoint can do: a manifest that fits the files, whatever these are."""
    manifest = step / "manifest.json"
    content = json.loads(manifest.read_text())["content"]
    content["files"] = {
        str(path.relative_to(step)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(step.rglob("*"))
        if path.is_file() and path != manifest
    }
    seal = hashlib.sha256(canonical(content).encode()).hexdigest()
    manifest.write_text(json.dumps({"sha256": seal, "content": content}))


_RESTORE = """
import json, sys
import jax.numpy as jnp
from owma.runs import checkpoint
from owma._internal.errors import CheckpointError

tree = {"w": jnp.arange(64.0), "n": jnp.asarray(3)}
for folder in sys.argv[1:]:
    try:
        restored, _ = checkpoint.restore(folder, tree)
        right = bool(jnp.array_equal(restored["w"], tree["w"])) and int(restored["n"]) == 3
        print(json.dumps("right" if right else "wrong"))
    except CheckpointError as error:
        print(json.dumps(str(error)))
"""


def _restored_elsewhere(folders: Sequence[Path]) -> list[str]:
    """What came of `TREE` in each, in a process of its own: orbax leaves the readers of arrays behind when one fails,
    and they complain at any time after that.
    """
    environment = os.environ | {"PYTHONPATH": str(Path(owma.__file__).parent.parent)}
    command = [sys.executable, "-c", _RESTORE, *map(str, folders)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_sealed_checkpoints_of_other_files(tmp_path: Path, mark: Path, outcome) -> None:
    """The digests are right, and orbax is given metadata, arrays and B-trees of somebody else's making."""
    checkpoint.save(tmp_path / "good", 1, TREE, config_fingerprint="a")
    handler = b"orbax.checkpoint._src.handlers.standard_checkpoint_handler.StandardCheckpointHandler"
    harms: dict[str, Callable[[bytes], bytes]] = {
        "empty": lambda _: b"",
        "`null`": lambda _: b"null",
        "`{}`": lambda _: b"{}",
        "cut to half": lambda whole: whole[: len(whole) // 2],
        "a pickle": lambda _: pickle.dumps(_Bomb(mark)),
        "naming functions of `os`": lambda whole: whole.replace(handler, b"os.mkdir").replace(
            b"jax.Array", b"os.mkdir"
        ),
        "naming arrays of 8 TiB": lambda whole: whole.replace(b"[64]", b"[2199023255552]"),
    }
    folders: dict[str, list[Path]] = {fault: [] for fault in harms}
    for number, (fault, harm) in enumerate(harms.items()):
        for file in sorted((tmp_path / "good" / "1" / "arrays").rglob("*")):
            if file.is_file():
                copy = tmp_path / f"{number}-{len(folders[fault])}"
                path = Path(shutil.copytree(tmp_path / "good", copy)) / file.relative_to(tmp_path / "good")
                path.write_bytes(harm(path.read_bytes()))
                _reseal(copy / "1")
                folders[fault].append(copy)
    said = iter(_restored_elsewhere([folder for group in folders.values() for folder in group]))
    for fault, group in folders.items():
        ends = [next(said) for _ in group]
        refusals = [end for end in ends if end != "right"]  # there are files that orbax does not read
        assert "wrong" not in ends and all("cannot be read" in end for end in refusals), ends
        assert len(refusals) >= 2 or fault.startswith("naming"), ends
        told = f"{len(refusals)} refused, as: {refusals[0]}" if refusals else "the right arrays"
        outcome(f"checkpoint: each of {len(ends)} files {fault}, its manifest sealed anew", told)
    assert not mark.exists()


def test_a_sealed_manifest_that_lies_about_its_arrays(tmp_path: Path, outcome) -> None:
    checkpoint.save(tmp_path, 1, {"w": jnp.arange(8.0), "n": jnp.asarray(3)}, config_fingerprint="a")
    manifest = tmp_path / "1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("float32[8]", "float32[64]"))
    assert json.loads(manifest.read_text())["content"]["leaves"][1] == ["['w']", "float32[64]"]
    _reseal(tmp_path / "1")
    (said,) = _restored_elsewhere([tmp_path])
    assert "cannot be read (ValueError: Requested shape" in said
    outcome("checkpoint: a sealed manifest that names another shape", said)


def test_manifests_of_wrong_types(tmp_path: Path, outcome) -> None:
    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        folder = tmp_path / "mine"
        if not folder.exists():
            checkpoint.save(folder, 1, TREE, config_fingerprint="a")
            shutil.copy(folder / "1" / "manifest.json", tmp_path / "good")
        content = json.loads((tmp_path / "good").read_text())["content"]
        values = st.recursive(
            st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
            max_leaves=4,
        )
        content[data.draw(st.sampled_from(["files", "leaves", "config_fingerprint"]))] = data.draw(values)
        seal = hashlib.sha256(canonical(content).encode()).hexdigest()
        (folder / "1" / "manifest.json").write_text(json.dumps({"sha256": seal, "content": content}))
        with pytest.raises(CheckpointError):
            checkpoint.restore(folder, TREE, config_fingerprint="a")

    holds()
    outcome("checkpoint: a sealed manifest of any wrong types", "refused: CheckpointError (hypothesis)")


@pytest.mark.parametrize(
    "content",
    ["", "nonsense", "null", "[]", "{}", '{"obs": "4", "action": 2, "psi": 8, "obs_keys": null, "env": null}']
    + ['{"obs": 4, "action": 2, "psi": 8, "obs_keys": [1], "env": null}', "[" * 100_000]
    + ['{"obs": 4, "action": 2, "psi": -8, "obs_keys": null, "env": null}']
    + [
        f'{{"obs": 4, "action": 2, "psi": 8, "obs_keys": null, "env": null, "dataset": {dataset}}}'
        for dataset in (
            '"hopper"',
            '{"dataset_id": "hopper"}',
            '{"dataset_id": 3, "env_id": null, "env_settings": null, "references": null}',
            '{"dataset_id": "hopper", "env_id": null, "env_settings": null, "references": [2, 2]}',
        )
    ],
)
def test_shapes_of_wrong_types(content: str, tmp_path: Path, outcome) -> None:
    (tmp_path / "shapes.json").write_text(content)
    with pytest.raises(CheckpointError, match="shapes.json") as error:
        read_shapes(RunFolder(tmp_path))
    shown = content if len(content) < 80 else f"{content[:40]}…{content[-30:]}"
    outcome(f"run: shapes.json holds {shown!r}", error.value)


def test_a_configuration_with_a_wrong_value(outcome) -> None:
    """It is refused by the name of its field, or it is what the configuration then has."""
    from owma.config.json import to_json

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        config = to_json(ExperimentConfig())
        place, key = config, data.draw(st.sampled_from(sorted(config)))
        while isinstance(place[key], dict) and data.draw(st.booleans()):
            place = place[key]
            key = data.draw(st.sampled_from(sorted(place)))
        named = place["class"] if key == "class" else key
        place[key] = data.draw(st.sampled_from([None, True, -1, 3, 1e30, "x", "../x", [], {}, [1], {"class": "Path"}]))
        try:
            read = from_json(ExperimentConfig, config)
        except OwmaError as error:
            assert named in str(error), (key, place[key], str(error))
        else:
            assert to_json(read) == config, (key, place[key])

    holds()
    outcome("run: any value of config.json of another type", "OwmaError names the field (hypothesis)")
