"""Several processes of `python -m owma.train` that train one run together."""

import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_train import TINY

import owma.train.__main__
from owma.config.flags import command_with
from owma.runs import checkpoint
from owma.train.__main__ import Train
from owma.train.job import JobConfig

TWO = ("--job.processes", "2")

# Flags, and what the sentence must name.
MISTAKES = {
    "no coordinator": ((*TWO, "--job.process", "0"), "add --job.coordinator, or give --job.cluster"),
    "coordinator alone": (("--job.coordinator", "host:1"), "add --job.processes, --job.process, or"),
    "no port": (("--job.coordinator", "host", *TWO, "--job.process", "0"), "--job.coordinator host: write HOST:PORT"),
    "out of range": (("--job.coordinator", "host:1", *TWO, "--job.process", "2"), "--job.process 2: .* from 0 to 1"),
    "both ways": (("--job.cluster", *TWO), "leave the other flags of the job out"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_flags_that_make_no_job_are_refused(name: str, invoke, elsewhere: Path) -> None:
    arguments, sentence = MISTAKES[name]
    assert re.search(sentence, invoke(owma.train.__main__.main, "smoke", *arguments).refused())
    assert not list(elsewhere.rglob("*"))


def test_the_way_on_takes_the_same_part() -> None:
    job = JobConfig("host:1234", 4, 3)
    on = "python -m owma.train --resume runs/a --job."
    command = functools.partial(command_with, "train")
    assert command(Train(resume=Path("runs/a"), job=job)) == (
        f"{on}coordinator host:1234 --job.processes 4 --job.process 3"
    )
    assert command(Train(resume=Path("runs/a"), job=JobConfig(cluster=True))) == f"{on}cluster"


def _start(elsewhere: Path, *flags: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "MINARI_DATASETS_PATH": str(elsewhere.parent / "datasets"),
        "PYTHONPATH": str(Path(owma.train.__file__).parents[2]),
        "XDG_CACHE_HOME": str(elsewhere.parent / "cache"),
    }
    command = [sys.executable, "-m", "owma.train", *flags]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=elsewhere, env=environment, stdout=pipe, stderr=pipe, text=True)


def _start_two(elsewhere: Path, *flags: str) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    job = ("--job.coordinator", address, *TWO)
    return [_start(elsewhere, *flags, *job, "--job.process", str(i)) for i in range(2)]


def _ended(*processes: subprocess.Popen[str]) -> list[str]:
    """What they print, of which all end well."""
    shown = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), shown
    return [out for out, _ in shown]


def _assert_same_losses(folder: Path, expected: Path) -> None:
    losses, wanted = (
        [json.loads(line) for line in (each / "metrics.jsonl").read_text().splitlines()] for each in (folder, expected)
    )
    assert [(row["phase"], row.get("step")) for row in losses] == [(row["phase"], row.get("step")) for row in wanted]
    for row, other in zip(losses, wanted):
        names = [name for name in row if name.endswith("_loss")]
        np.testing.assert_allclose([row[name] for name in names], [other[name] for name in names], rtol=1e-5)


@pytest.mark.slow
def test_two_processes_train_the_run_that_one_does_and_either_goes_on_with_the_others(elsewhere: Path) -> None:
    """With data that stay on disk: each process reads them."""
    memory = ("--memory-gib", "1e-6")
    flags = (*TINY, *memory, "--evaluation.episodes", "1", "--evaluation.planners", "static")
    runs = elsewhere / "runs" / "smoke"
    first, other = _ended(*_start_two(elsewhere, *flags))
    assert first.splitlines()[-1] == "runs/smoke/v1" and other == ""
    assert {path.name for path in runs.iterdir()} == {"v1"} and (runs / "v1" / "results.json").exists()
    (alone,) = _ended(_start(elsewhere, *flags))
    assert alone.splitlines()[-1] == "runs/smoke/v2"
    _assert_same_losses(runs / "v1", runs / "v2")
    for number, start in ((1, _start), (2, _start_two)):
        # As it was when half of the updates were done.
        unfinished = Path(shutil.copytree(runs / f"v{number}", runs / f"v{number + 2}"))
        shutil.rmtree(unfinished / "models")
        shutil.rmtree(unfinished / "checkpoints" / "4")
        started = start(elsewhere, "--resume", str(unfinished), *memory)
        _ended(*(started if isinstance(started, list) else [started]))
        assert checkpoint.latest(unfinished / "models") == 4
        _assert_same_losses(unfinished, runs / "v2")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("which", [0, 1])
def test_none_is_left_behind_by_another(number: signal.Signals, which: int, elsewhere: Path) -> None:
    both = _start_two(elsewhere, *TINY, "--training.updates", "100000")
    checkpoints, deadline = elsewhere / "runs" / "smoke" / "v1" / "checkpoints", time.monotonic() + 300
    while checkpoint.latest(checkpoints) is None:
        assert all(process.poll() is None for process in both) and time.monotonic() < deadline
        time.sleep(0.05)
    both[which].send_signal(number)
    errors = [process.communicate(timeout=150)[1] for process in both]
    reached = checkpoint.newest_intact(checkpoints)[0]
    assert reached is not None and reached >= 2
    if number == signal.SIGTERM:
        for i, (process, error) in enumerate(zip(both, errors)):
            last = error.splitlines()[-1]
            assert process.returncode == 0 and last.startswith("owma: stopped; go on with: "), error
            assert last.endswith(f"--job.processes 2 --job.process {i}")
        return
    assert both[1 - which].returncode not in (0, None)
    # Where it was the first that died, JAX may be quicker than we are to say so, and ends the process.
    assert re.search("another one has ended|indicates that another task died", errors[1 - which]), errors
