"""Folders that hold no run, or one without models: what is there is said, and what it is good for."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import owma.diagnose.__main__
import owma.eval.__main__
import owma.report.__main__
import owma.train.__main__
import owma.transfer.__main__

pytestmark = pytest.mark.cases

COMMANDS: dict[str, tuple[Callable[[], None], tuple[str, ...]]] = {
    "eval": (owma.eval.__main__.main, ()),
    "transfer": (owma.transfer.__main__.main, ("--task", "goal:1,1")),
    "report": (owma.report.__main__.main, ()),
    "diagnose": (owma.diagnose.__main__.main, ()),
}


@pytest.fixture
def runs(elsewhere: Path) -> Path:
    """One run, one folder without any, and rows as they are committed: no `v<N>`, no models."""
    (elsewhere / "runs" / "mine" / "v1").mkdir(parents=True)
    (elsewhere / "runs" / "mine" / "v1" / "config.json").write_text("{}")
    (elsewhere / "runs" / "plots").mkdir()
    (elsewhere / "runs" / "empty" / "v3").mkdir(parents=True)
    for rows in (elsewhere / "runs" / "rows", elsewhere / "runs" / "versioned" / "v2"):
        rows.mkdir(parents=True)
        (rows / "config.json").write_text("{}")
        (rows / "episodes.jsonl").write_text('{"planner": "static"}\n')
    return elsewhere / "runs"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", ["runs/none", "runs/plots"])
def test_only_runs_are_offered(command: str, place: str, invoke, runs: Path) -> None:
    main, flags = COMMANDS[command]
    said = invoke(main, place, *flags).refused()
    assert said == f"owma: error: There is no run at {place}; choose one of runs/mine, runs/versioned."


def test_runs_within_a_folder_are_offered_and_none_is_made_up(invoke, runs: Path) -> None:
    assert (
        invoke(owma.eval.__main__.main, "runs")
        .refused()
        .endswith("no run at runs; choose one of runs/mine, runs/versioned.")
    )
    said = invoke(owma.train.__main__.main, "--resume", "nowhere/none").refused()
    assert said.endswith(
        "There is no run at nowhere/none, nor another one beside it; train first: `python -m owma.train`."
    )


@pytest.mark.parametrize("place", ["runs/rows", "runs/versioned", "runs/versioned/v2"])
@pytest.mark.parametrize("command", ["eval", "transfer", "diagnose"])
def test_rows_without_models_are_said_to_be_rows(command: str, place: str, invoke, runs: Path) -> None:
    main, flags = COMMANDS[command]
    folder = "runs/versioned/v2" if "versioned" in place else place
    said = invoke(main, place, *flags).refused()
    assert f"{folder} holds rows only, no models: `python -m owma.report {folder}` shows what they say" in said


def test_a_mistake_in_a_folder_is_answered_without_jax(runs: Path) -> None:
    for name in ("eval", "report"):
        script = (
            "import sys\n"
            f"import owma.{name}.__main__ as command\n"
            f"sys.argv = ['x', 'runs/none']\n"
            "from owma._internal.command import command as run\n"
            "try:\n    run(command.main)\nfinally:\n    assert 'jax' not in sys.modules\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=runs.parent, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2 and "There is no run at runs/none" in done.stderr, done.stderr
