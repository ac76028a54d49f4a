"""`python -m owma.sweep`: what it would run, what it refuses, and a driver that is killed half way."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_train import TINY

import owma.sweep.__main__
from owma.config.json import to_json
from owma.config.sweep import SweepConfig, points
from owma.runs.folder import RunFolder
from owma.sweep import steps

CHECKOUT = Path(__file__).parent.parent.parent


def _overrides() -> list[str]:
    """The flags of a tiny training as overrides."""
    flags = iter(TINY[1:])
    pairs = {flag.removeprefix("--").replace("-", "_"): value for flag, value in zip(flags, flags)}
    # Chains of two steps: what takes long is compiling them.
    short = {"evaluation.episodes": "1", "world.solver_steps": "2", "policy.solver_steps": "2"}
    return [f"{field}={value}" for field, value in (pairs | short | {"training.bootstrap_steps": "2"}).items()]


def test_a_dry_run_prints_the_points_and_leaves_nothing(invoke, elsewhere: Path) -> None:
    flags = ("--grid", "data.skew=0.1,0.2", "online-adaptation.kl-coef=0.5", "--seeds", "1", "2", "--dry-run")
    done = invoke(owma.sweep.__main__.main, "own", *flags)
    assert done.code == 0 and len(done.stdout.splitlines()) == 4
    assert done.stdout.splitlines()[0] == "two-routes-skew0.1-seed1/online_adaptation-kl_coef=0.5"
    assert done.stderr == ""
    other = """data={"class":"D4rlFile","file":"mine.hdf5","episode_steps":null}"""
    done = invoke(owma.sweep.__main__.main, "own", "--overrides", other, "--seeds", "1", "2", "--dry-run")
    assert done.code == 0 and done.stderr.count("owma: warning: the preset's task, ") == 1
    same = ("--overrides", "evaluation.kl_coef=0.5", "--planners", "static", "published", "--dry-run")
    done = invoke(owma.sweep.__main__.main, "own", *same)
    assert done.code == 0 and done.stderr.count("owma: warning: published keeps its own kl_coef=1; ") == 1
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("own", "--grid", "no.such=1"), "There is no field 'no.such'"),
        (("planners", "--planners", "best"), "choose from static"),
        (("--resume", "runs/none"), "no run at runs/none"),
    ],
)
def test_refusals(flags, sentence: str, invoke, elsewhere: Path) -> None:
    assert re.search(sentence, invoke(owma.sweep.__main__.main, *flags).refused())
    assert not list(elsewhere.iterdir())


def test_without_ray_it_says_what_to_install(invoke, elsewhere: Path, monkeypatch) -> None:
    monkeypatch.setattr(owma.sweep.__main__.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'owma[sweep]'" in invoke(owma.sweep.__main__.main, "own").refused()
    assert not list(elsewhere.iterdir())


class _AtOnce:
    """Ray's tasks in this process, as they are asked for."""

    exceptions = SimpleNamespace(RayTaskError=RuntimeError, RayError=RuntimeError)

    def remote(self, **_: Any) -> Callable[[Callable[..., Any]], SimpleNamespace]:
        return lambda step: SimpleNamespace(remote=lambda *arguments: [step(*arguments)])

    def wait(self, tasks: list[list[Any]], timeout: float) -> tuple[list[list[Any]], list[list[Any]]]:
        return tasks[:1], tasks[1:]

    def get(self, task: list[Any]) -> Any:
        return task[0]


def test_no_data_are_collected_for_what_is_trained(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where the points of the experiment that a model was trained for are done, and others act in it."""
    config = SweepConfig(base="smoke", grid=("evaluation.replan_every=1,2",), planners=("static",), seeds=(0, 1))
    folder = RunFolder.create(elsewhere / "runs", "sweep")
    folder.write_json("config.json", to_json(dataclasses.replace(config, timed_decisions=0)))
    folder.write_json("versions.json", {})
    planned, calls = points(config), []
    names = {point.experiment.seed: point.experiment.name for point in reversed(planned)}
    monkeypatch.setattr(owma.sweep.__main__, "_ray", lambda arguments: contextlib.nullcontext(_AtOnce()))
    monkeypatch.setattr(steps, "is_evaluated", lambda point, sweep: point.experiment.name == names[0])
    monkeypatch.setattr(steps, "is_trained", lambda experiment, runs, sweep: experiment.name == names[0])
    monkeypatch.setattr(steps, "collect", lambda experiment, sweep: calls.append((experiment.name, "collect")))
    monkeypatch.setattr(steps, "train", lambda experiment, *rest: calls.append((experiment.name, rest[-1])))
    monkeypatch.setattr(steps, "evaluate_point", lambda *arguments: None)
    monkeypatch.setattr(steps, "gather_rows", lambda *arguments: None)
    assert owma.sweep.__main__._run(planned, folder, owma.sweep.__main__.Sweep()) == []
    assert calls == [(names[1], "collect"), (names[1], [None]), (names[0], None)]


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_no_row_is_there_twice(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="a sweep needs Ray: pip install 'owma[sweep]'")
    environment = os.environ | {
        "MINARI_DATASETS_PATH": str(tmp_path / "datasets"),
        "PYTHONPATH": str(CHECKOUT),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    start = [sys.executable, "-m", "owma.sweep"]
    flags = ["own", "--base", "smoke", "--planners", "static", "--timed-decisions", "0", "--parallel", "2"]
    flags += ["--seeds", *map(str, range(8)), "--overrides", *_overrides()]
    rows = tmp_path / "runs" / "sweep" / "v1" / "rows.jsonl"
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen([*start, *flags], cwd=tmp_path, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 500
        try:
            while not rows.exists() or len(rows.read_text().splitlines()) < 3:
                assert driver.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.1)
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
    done_before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("row.json")}
    assert 3 <= len(done_before) < 8
    resume = [*start, "--resume", "runs/sweep"]
    done = subprocess.run(resume, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "runs/sweep/v1", done.stderr
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert sorted(row["seed"] for row in found) == list(range(8))
    # What was done stayed, and each model was trained in one place.
    assert all(path.stat().st_mtime_ns == then for path, then in done_before.items())
    assert all(path.name == "v1" for path in (tmp_path / "runs").glob("smoke-seed*/v*"))
