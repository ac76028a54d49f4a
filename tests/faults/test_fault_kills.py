"""kill -9 while a command trains, saves, fits the value or collects: what is on disk is whole, and ends the same."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import equinox as eqx
import pytest

import owma
from owma.data import TwoRoutesCollect, load_minari
from owma.runs import checkpoint
from owma.runs.folder import RunFolder
from owma.runs.parts import restore_parts

CHECKOUT = Path(owma.__file__).parent.parent

# Chunks of half a second and saves of a tenth: kills meet both.
FLAGS = (
    *("smoke", "--data.episodes", "4", "--data.steps", "100", "--data.skew", "0.5", "--evaluation.episodes", "0"),
    *("--world.width", "8", "--world.embed-width", "8", "--policy.width", "8", "--policy.embed-width", "8"),
    *("--world.solver-steps", "2", "--policy.solver-steps", "2", "--training.bootstrap-steps", "2"),
    *("--training.updates", "6000", "--training.report-every", "50", "--training.batch-size", "16"),
    *("--value.updates", "2000", "--value.report-every", "50", "--value.width", "8", "--value.batch-size", "16"),
)

SEEDS = range(32)
"""One a kill: 0 to 27 in the training of outcomes, every other of them in a save, the rest in that of the value."""
IN_OUTCOMES = 28


@dataclasses.dataclass(frozen=True)
class _Place:
    """A current folder, with the datasets and programs of all of them."""

    home: Path
    shared: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = os.environ | {
            "MINARI_DATASETS_PATH": str(self.shared / "datasets"),
            "PYTHONPATH": str(CHECKOUT),
            "XDG_CACHE_HOME": str(self.shared / "cache"),
        }
        with (self.home / "log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=self.home, env=environment, stdout=log, stderr=log, text=True
            )

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.home / "runs" / "smoke" / "v1")


@pytest.fixture(scope="module", autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """A shell's background jobs are started to ignore it, and so is what they start: these tests, it may be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> _Place:
    """Trained without a break."""
    place = _Place(tmp_path_factory.mktemp("whole"), shared)
    process = place.start("owma.train", *FLAGS)
    assert process.wait(timeout=600) == 0, (place.home / "log").read_text()
    return place


def _wait(process: subprocess.Popen[str], what: Callable[[], bool], place: _Place, pause: float) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert process.poll() is None and time.monotonic() < deadline, (place.home / "log").read_text()[-3000:]
        time.sleep(pause)


def _kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()  # and not `wait`, which leaves pipes open


def _saving(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(".tmp") for entry in entries)


def _value_rows(run: RunFolder) -> int:
    return run.metrics_jsonl.read_text().count('"phase": "value"') if run.metrics_jsonl.exists() else 0


def _one_life(place: _Place, seed: int) -> str:
    """Start or resume, be killed at a random time; where that was."""
    draw = random.Random(seed)
    checkpoints = place.run.checkpoints
    first = not place.run.config_json.exists()
    process = place.start("owma.train", *(FLAGS if first else ("--resume", "runs/smoke")))
    if seed >= IN_OUTCOMES:
        before = _value_rows(place.run)
        _wait(process, lambda: checkpoint.latest(checkpoints) == 6000 and _value_rows(place.run) != before, place, 0.02)
        time.sleep(draw.uniform(0.0, 0.2))
        where = "value"
    else:
        before = checkpoint.latest(checkpoints)
        _wait(process, lambda: checkpoint.latest(checkpoints) != before, place, 0.02)
        time.sleep(draw.uniform(0.0, 0.8))
        where = "training"
        if seed % 2:
            # Polled without a pause: a save takes a tenth of a second.
            _wait(process, lambda: _saving(checkpoints), place, 0.0)
            time.sleep(draw.uniform(0.0, 0.06))
            where = "a save"
    assert process.poll() is None, "the run ended before it could be killed"
    _kill(process)
    return where


def _check_whole(place: _Place, reached: int) -> int:
    """What a kill has left is whole, and no checkpoint is lost; the newest step."""
    newest, damaged = checkpoint.newest_intact(place.run.checkpoints)
    assert newest is not None and newest >= reached and not damaged, (newest, reached, damaged)
    assert newest == checkpoint.latest(place.run.checkpoints)
    return newest


def _same(place: _Place, whole: _Place) -> None:
    from owma.config.experiment import ExperimentConfig
    from owma.config.json import from_json

    configs = [from_json(ExperimentConfig, p.run.read_json("config.json")) for p in (place, whole)]
    parts = [restore_parts(p.run, config) for p, config in zip((place, whole), configs)]
    assert eqx.tree_equal(*parts)
    assert place.run.read_jsonl("metrics.jsonl") == whole.run.read_jsonl("metrics.jsonl")


@pytest.mark.slow
def test_thirty_kills_along_one_training(whole: _Place, shared: Path, tmp_path: Path, outcome) -> None:
    place, reached, places = _Place(tmp_path, shared), 0, []
    for seed in SEEDS:
        places.append(_one_life(place, seed))
        reached = _check_whole(place, reached)
        if seed == IN_OUTCOMES - 1 and reached < 6000:
            # To the end of the outcomes, where the value's kills begin.
            process = place.start("owma.train", "--resume", "runs/smoke")
            _wait(process, lambda: checkpoint.latest(place.run.checkpoints) == 6000, place, 0.02)
            _kill(process)
            reached = _check_whole(place, reached)
    process = place.start("owma.train", "--resume", "runs/smoke")
    assert process.wait(timeout=600) == 0, (place.home / "log").read_text()[-3000:]
    _same(place, whole)
    told = ", ".join(f"{places.count(name)} in {name}" for name in ("training", "a save", "value"))
    outcome(
        f"kill -9, {len(places)} times along one training: {told}",
        "every visible checkpoint whole, none lost; models and metrics bit for bit those of the uninterrupted run",
    )


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_in_training(
    number: signal.Signals, code: int, whole: _Place, shared: Path, tmp_path: Path, outcome
) -> None:
    place = _Place(tmp_path, shared)
    process = place.start("owma.train", *FLAGS)
    _wait(process, lambda: checkpoint.latest(place.run.checkpoints) is not None, place, 0.05)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert (tmp_path / "log").read_text().splitlines()[-1].endswith("python -m owma.train --resume runs/smoke/v1")
    reached = _check_whole(place, 50)
    # Nothing of a half-made save is left.
    assert not _saving(place.run.checkpoints) and reached < 6000
    assert place.start("owma.train", "--resume", "runs/smoke").wait(timeout=600) == 0
    _same(place, whole)
    outcome(f"{number.name} in training", f"saved, exit {code} with the command to go on; ends bit for bit the same")


@pytest.mark.slow
def test_damage_to_the_newest_checkpoint_of_a_killed_run(whole: _Place, shared: Path, tmp_path: Path, outcome) -> None:
    place = _Place(tmp_path, shared)
    shutil.copytree(whole.run.path, place.run.path)
    shutil.rmtree(place.run.path / "models")
    newest = place.run.checkpoints / "6000"
    largest = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 3] ^= 4
    largest.write_bytes(content)
    assert place.start("owma.train", "--resume", "runs/smoke").wait(timeout=600) == 0
    said = next(line for line in (tmp_path / "log").read_text().splitlines() if "warning: The checkpoint" in line)
    assert "goes on from step 5950" in said
    _same(place, whole)
    outcome("a flipped bit in the newest checkpoint of a killed run", said.removeprefix("owma: warning: "))


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "datasets").mkdir()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    yield tmp_path / "datasets"


def _collect(datasets: Path, config: TwoRoutesCollect) -> subprocess.Popen[str]:
    flags = ["--episodes", str(config.episodes), "--steps", str(config.steps), "--skew", str(config.skew)]
    environment = os.environ | {"MINARI_DATASETS_PATH": str(datasets), "PYTHONPATH": str(CHECKOUT)}
    return subprocess.Popen(
        [sys.executable, "-m", "owma.collect", "two-routes", *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _same_data(left: str, right: str) -> bool:
    first, second = (load_minari(name).transitions for name in (left, right))
    return all(bool((getattr(first, f.name) == getattr(second, f.name)).all()) for f in dataclasses.fields(first))


@pytest.mark.slow
def test_kills_while_collecting(datasets: Path, outcome) -> None:
    from owma.data import collect

    config = TwoRoutesCollect(skew=0.5, episodes=150, steps=100)
    done_before = 0
    for seed in range(3):
        process = _collect(datasets, config)
        deadline = time.monotonic() + 60
        while len(list(datasets.glob(".collecting-*/part-*.npz"))) <= done_before:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(random.Random(seed).uniform(0.0, 0.3))
        _kill(process)
        done_before = len(list(datasets.glob(".collecting-*/part-*.npz")))
    process = _collect(datasets, config)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert stdout.strip() == str(datasets / config.name) and not list(datasets.glob(".collecting-*"))
    other = collect(dataclasses.replace(config, dataset_id="mine/whole-v0"))
    assert _same_data(config.name, other)
    outcome("kill -9, 3 times while collecting", "goes on after the last whole part; the dataset is the same")


@pytest.mark.slow
def test_two_that_collect_the_same_dataset_at_once(datasets: Path, outcome) -> None:
    config = TwoRoutesCollect(skew=0.5, episodes=60, steps=100)
    processes = [_collect(datasets, config) for _ in range(2)]
    ends = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    assert [stdout.strip() for stdout, _ in ends] == [str(datasets / config.name)] * 2
    # Both may look before either claims the id: then neither says that it waits.
    assert sum("another process" in stderr for _, stderr in ends) <= 1
    assert len(load_minari(config.name).transitions) == 6000 and not list(datasets.glob(".collecting-*"))
    outcome("two processes collect one dataset", "the second waits, and takes the first's")


def test_the_seeds_are_fixed_and_enough() -> None:
    assert len(SEEDS) >= 30 and json.dumps(list(SEEDS)) == json.dumps(list(range(32)))
