"""The memory-mapped copy of a dataset: the same rows, written once and whole, and refused when it is damaged."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError, DatasetError
from owma._internal.json import canonical
from owma.config.task import MinariDataset, RecordedTaskConfig
from owma.data import (
    ArrayFolder,
    OgbenchFile,
    cache_folder,
    cached,
    is_cache,
    load_minari,
    open_by_name,
    open_cache,
    open_minari,
    open_ogbench,
    read_whole,
)
from owma.data.cache import write_cache
from owma.data.load import load_dataset
from owma.outcomes.transitions import Transitions
from owma.train.inputs import prepare_inputs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches of this test alone; readers take seven rows at a time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module in ("arrays", "cache", "minari"):
        monkeypatch.setattr(f"owma.data.{module}.rows_in_piece", lambda *_: 7)
    monkeypatch.setattr("owma.train.inputs.rows_in_piece", lambda *_: 7)
    return tmp_path / "cache" / "owma" / "datasets"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "walk.npz",
        observations=rng.normal(size=(40, 3)),
        actions=rng.uniform(-1, 1, (40, 2)),
        rewards=np.repeat([0.0, 1.0, 2.0, 2.0], 10),
        terminals=np.arange(40) % 20 == 19,
    )
    return tmp_path / "walk.npz"


def same(left: Transitions, right: Transitions) -> bool:
    names = [field.name for field in dataclasses.fields(Transitions)]
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


def test_the_copy_is_the_same(file: Path, caches: Path) -> None:
    recording, written = open_ogbench(file), []
    whole, mapped = read_whole(recording), cached(recording, written.append)
    assert mapped.transitions.is_mapped and same(mapped.transitions, whole.transitions) and sum(written) == 38
    for name in ("dataset_id", "obs_keys", "env_spec", "references"):
        assert getattr(mapped, name) == getattr(whole, name)
    np.testing.assert_array_equal(mapped.action_low, whole.action_low)
    np.testing.assert_array_equal(mapped.action_high, whole.action_high)
    folder = cache_folder(recording)
    assert [path for path in caches.iterdir()] == [folder] and folder.name.startswith("walk-")
    source = json.loads((folder / "manifest.json").read_text())["content"]["source"]
    assert source["files"][0][:2] == [str(file), file.stat().st_size]
    # By its folder it is a dataset too.
    again = open_by_name(str(folder))
    assert again.form == "OGBench file, memory-mapped copy"
    assert same(read_whole(again).transitions, whole.transitions)


def test_it_is_written_once_and_again_for_another_file(file: Path, caches: Path) -> None:
    cached(open_ogbench(file))
    written: list[int] = []
    cached(open_ogbench(file), written.append)
    assert written == []
    np.savez(file, observations=np.zeros((9, 3)), actions=np.zeros((9, 2)), terminals=np.arange(9) == 8)
    assert len(cached(open_ogbench(file)).transitions) == 8 and len(list(caches.iterdir())) == 2


def test_minari_datasets_with_and_without_goals(write: Any, episode: Any) -> None:
    box = gym.spaces.Box(-np.inf, np.inf, (3,), np.float64)
    write([episode(5, 0), episode(9, 1, terminated=True, truncated=False), episode(4, 2)], box)
    mapped, whole = cached(open_minari("test/mine-v0")), load_minari("test/mine-v0")
    assert same(mapped.transitions, whole.transitions) and mapped.action_low.tolist() == [-1, -1]
    goals: dict[str, gym.Space[Any]] = {"achieved_goal": box, "desired_goal": box, "observation": box}
    rng = np.random.default_rng(0)
    for name, offset in (("repeats", 0.0), ("differs", 1.0)):
        parts = [{key: rng.normal(size=(6, 3)) for key in goals} for _ in range(3)]
        for number, part in enumerate(parts):
            part["achieved_goal"] = part["observation"] + offset * (number == 2)
        write([episode(5, obs=part) for part in parts], gym.spaces.Dict(goals), dataset_id=f"test/{name}-v0")
        mapped, whole = cached(open_minari(f"test/{name}-v0")), load_minari(f"test/{name}-v0")
        assert same(mapped.transitions, whole.transitions) and mapped.obs_keys == whole.obs_keys


def test_nothing_is_left_of_a_copy_that_fails(file: Path, caches: Path) -> None:
    source = open_ogbench(file)

    def pieces() -> Iterator[Transitions]:
        yield next(source.pieces())
        raise DatasetError("the rest is gone")

    with pytest.raises(DatasetError, match="the rest is gone"):
        cached(dataclasses.replace(source, pieces=pieces))
    assert list(caches.iterdir()) == []
    arrays = dict(np.load(file))
    arrays["observations"][30] = np.nan
    np.savez(file, **arrays)
    with pytest.raises(DatasetError, match="not finite, the first in transition 28"):
        cached(open_ogbench(file))
    assert list(caches.iterdir()) == []


def test_the_faster_of_two_wins(file: Path, caches: Path) -> None:
    source = open_ogbench(file)
    cached(source)
    write_cache(source, cache_folder(source))
    assert len(list(caches.iterdir())) == 1 and is_cache(cache_folder(source))


def test_a_disk_without_room(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_ogbench(file)
    with pytest.raises(DatasetError, match=r"takes 931\.\d GiB and .* has .* left; free some, or set XDG_CACHE_HOME"):
        cached(dataclasses.replace(source, rows=10**12 // 38))
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))  # no folder
    with pytest.raises(DatasetError, match="Could not write .*set XDG_CACHE_HOME"):
        cached(source)


def test_damage_is_found(file: Path) -> None:
    source = open_ogbench(file)
    cached(source)
    folder = cache_folder(source)
    whole = (folder / "action.npy").read_bytes()
    (folder / "action.npy").write_bytes(whole[:-1])
    with pytest.raises(DatasetError, match="is damaged .`action.npy` is not of .* delete it, it is written again"):
        open_cache(folder)
    (folder / "action.npy").write_bytes(whole.replace(b"<f4", b"<i4"))
    with pytest.raises(DatasetError, match="`action.npy` is int32"):
        open_cache(folder)
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest.replace('"walk"', '"talk"'))
    with pytest.raises(DatasetError, match="does not match its own digest"):
        open_cache(folder)
    (folder / "manifest.json").write_text(manifest[:-9])
    with pytest.raises(DatasetError, match="`manifest.json` cannot be read"):
        open_cache(folder)


def sealed(folder: Path, *, without: str = "", **changed: Any) -> None:
    """Change what a manifest says, as anybody can: with a digest that fits."""
    content = json.loads((folder / "manifest.json").read_text())["content"] | changed
    content.pop(without, None)
    manifest = {"format": "owma transitions 1", "sha256": sha256(canonical(content).encode()).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"content": content}))


@pytest.mark.parametrize(
    "changed",
    [
        {"fields": {}},
        {"fields": 3},
        {"obs_keys": "observation"},
        {"obs_keys": [1]},
        {"action_low": [0.0]},
        {"action_high": ["x", "y"]},
        {"notes": [3]},
        {"source": {}},
        {"dataset_id": None},
        {"env_spec": 3},
        {"env_refusal": 3},
        {"references": [2.0, 1.0]},
        {"references": ["0", "1"]},
    ],
    ids=str,
)
def test_a_manifest_of_another_form_is_refused(changed: dict[str, Any], file: Path) -> None:
    folder = cache_folder(open_ogbench(file))
    cached(open_ogbench(file))
    sealed(folder, **changed)
    with pytest.raises(DatasetError, match="is damaged .`manifest.json` (is not of the form|cannot be read)"):
        open_cache(folder)


def test_a_copy_names_no_code(file: Path, tmp_path: Path) -> None:
    """Gymnasium would import and call what the description of an environment names."""
    cached(open_ogbench(file))
    folder, mark = cache_folder(open_ogbench(file)), tmp_path / "mark"
    env = EnvSpec("owma/TwoRoutes-v0", "os:mkdir", kwargs={"path": str(mark)})
    sealed(folder, env_spec=env.to_json())
    dataset = open_cache(folder)
    assert dataset.env_spec is None and not mark.exists()
    assert dataset.env_refusal is not None and "'os:mkdir', which is not what is registered" in dataset.env_refusal
    # What was refused when the copy was written is said by the copy.
    source = dataclasses.replace(open_ogbench(file), env_refusal="It would run something.")
    write_cache(source, tmp_path / "copy")
    assert open_cache(tmp_path / "copy").env_refusal == "It would run something."
    with pytest.raises(ConfigError, match="It would run something"):
        prepare_inputs(ArrayFolder(tmp_path / "copy"), RecordedTaskConfig(), _no_progress)
    # So are the returns that scores refer to, which older copies lack.
    write_cache(dataclasses.replace(open_ogbench(file), references=(1.0, 2.0)), tmp_path / "scored")
    assert open_cache(tmp_path / "scored").origin.references == (1.0, 2.0)
    assert open_by_name(str(tmp_path / "scored")).references == (1.0, 2.0)
    sealed(tmp_path / "scored", without="references")
    assert open_cache(tmp_path / "scored").references is None
    # One that was written before refusals were kept.
    sealed(folder, env_spec=None, without="env_refusal")
    assert open_cache(folder).env_refusal is None


_COPY_AND_READ = """
import sys
import numpy as np
import psutil
from owma.data import cached, open_by_name

recording = open_by_name(sys.argv[1])
assert recording.num_bytes > 99e6
process, peak = psutil.Process(), 0
before = process.memory_info().rss

def look(_=0):
    global peak
    peak = max(peak, process.memory_info().rss - before)

transitions, rng = cached(recording, look).transitions, np.random.default_rng(0)
for start in range(0, len(transitions), 12_500):
    transitions.rows(slice(start, start + 12_500))
    look()
for _ in range(40):
    transitions.rows(rng.integers(0, len(transitions), 200))
    look()
print(peak)
"""


def test_copying_and_reading_take_little_memory(tmp_path: Path) -> None:
    """Of a hundred megabytes, those of a few pieces are ever in memory, mapped pages included.

    In a process of its own: in this one, tests before leave free memory behind, out of which any peak can be served.
    """
    folder = tmp_path / "big"
    folder.mkdir()
    obs = np.random.default_rng(0).normal(size=(50_001, 60)).astype(np.float32)
    for number in range(4):
        np.savez(folder / f"{number}.npz", obs=obs, action=obs[1:, :4])
    command = [sys.executable, "-c", _COPY_AND_READ, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) < 70e6


def _no_progress(*_: object) -> Any:
    import contextlib

    return contextlib.nullcontext(lambda *_: None)


def test_what_does_not_fit_into_memory_is_mapped(file: Path, write: Any, episode: Any) -> None:
    write([episode(30)], gym.spaces.Box(-np.inf, np.inf, (3,), np.float64))
    for config in (OgbenchFile(file), MinariDataset("test/mine-v0")):
        inside, outside = (load_dataset(config, _no_progress, memory_gib=most) for most in (4.0, 1e-7))
        assert not inside.transitions.is_mapped and outside.transitions.is_mapped
        assert same(inside.transitions, outside.transitions)
    folder = ArrayFolder(cache_folder(open_ogbench(file)))
    assert load_dataset(folder, _no_progress, memory_gib=1e-7).transitions.is_mapped
    assert not load_dataset(folder, _no_progress).transitions.is_mapped


def test_rewards_of_mapped_data(file: Path) -> None:
    """In blocks of seven rows, some of which all have the same reward."""
    rewards = [
        prepare_inputs(OgbenchFile(file), RecordedTaskConfig(), _no_progress, needs_env=False, memory_gib=most).rewards
        for most in (4.0, 1e-7)
    ]
    np.testing.assert_array_equal(rewards[0], rewards[1])
    arrays: dict[str, Any] = dict(np.load(file)) | {"rewards": np.full(40, 3.0)}
    np.savez(file, **arrays)
    with pytest.raises(ConfigError, match="recorded reward is 3 for every transition"):
        prepare_inputs(OgbenchFile(file), RecordedTaskConfig(), _no_progress, needs_env=False, memory_gib=1e-7)
