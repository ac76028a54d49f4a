"""`python -m owma.transfer`: other tasks for a trained run."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

import owma.transfer


@pytest.fixture
def mine(smoke_run, elsewhere: Path, monkeypatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(smoke_run.runs.parent / "datasets"))
    return Path(shutil.copytree(smoke_run.folder, elsewhere / "runs" / "mine" / "v3"))


def test_tasks_from_few_labels_and_on_after_a_kill(invoke, mine: Path) -> None:
    flags = ["--labels", "16", "64", "--planners", "static", "--episodes", "2"]
    tasks = ["owma.envs:preferred_route_reward", "goal:2,2"]
    done = invoke(owma.transfer.main, "runs/mine", "--task", *tasks, *flags)
    assert done.code == 0, done.stderr
    assert done.stdout == "runs/mine/v3/transfers/transfer/v1\n"
    folder = Path(done.stdout.strip())
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["task"], row["labels"], row["fit"], row["episode"]) for row in rows] == [
        (task, labels, fit, i) for task in tasks for labels in (16, 64) for fit in ("decoder", "linear") for i in (0, 1)
    ]
    assert all(tasks[0] in done.stderr and task in done.stderr for task in tasks)
    assert (folder / "plots" / "few_shot.png").exists()
    # Starts and draws are those of every other evaluation of this seed.
    assert {row["seed"] for row in rows} == {0} and {row["success"] for row in rows[:8]} == {None}

    (folder / "episodes.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    again = invoke(owma.transfer.main, "--resume", folder.parent)
    assert again.code == 0 and Path(again.stdout.strip()) == folder
    assert again.stderr.count("labels, ") == 1  # one progress line: one planner was run again
    assert (folder / "episodes.jsonl").read_text().splitlines() == lines


def test_a_folder_alone_is_not_believed(invoke, mine: Path, monkeypatch) -> None:
    """Code that its configuration names is imported only if the user's own command line says so."""
    (mine.parents[2] / "judges.py").write_text("def reward(obs, action, next_obs):\n    return next_obs[:, 0]\n")
    monkeypatch.syspath_prepend(mine.parents[2])
    flags = ("--labels", "16", "--fits", "linear", "--planners", "static", "--episodes", "1")
    done = invoke(owma.transfer.main, "runs/mine", "--task", "judges:reward", *flags)
    assert done.code == 0, done.stderr
    del sys.modules["judges"]
    config = json.loads((folder := Path(done.stdout.strip())).joinpath("config.json").read_text())
    del config["trust"]  # as a transfer of before there was the flag
    (folder / "config.json").write_text(json.dumps(config))
    said = invoke(owma.transfer.main, "--resume", folder).refused()
    assert re.search(f"imports judges, .*owma.transfer --resume {folder} --trust judges$", said)
    assert "judges" not in sys.modules
    assert invoke(owma.transfer.main, "--resume", folder, "--trust", "judges").code == 0


def test_mistakes_are_answered_before_anything_is_written(invoke, mine: Path) -> None:
    def refused(*arguments: object) -> str:
        return invoke(owma.transfer.main, *arguments).refused()

    assert "There is no run" in refused("--task", "recorded")
    assert "There is no task" in refused("runs/mine")
    assert "--planners" in refused("runs/mine", "--goals", "all", "--planners")
    assert "cannot be imported" in refused("runs/mine", "--task", "nowhere:reward")
    assert "prefers nothing" in refused("runs/mine", "--task", "goal:50,50")
    assert "There is no run at" in refused("runs/other", "--task", "recorded")
    assert not (mine / "transfers").exists()
