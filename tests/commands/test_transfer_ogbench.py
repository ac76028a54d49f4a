"""OGBench's five tasks for one run, trained on a dataset that is collected here."""

import json
from pathlib import Path

import pytest

import owma.train.__main__
import owma.transfer.__main__
from owma.envs import task_env

pytest.importorskip("ogbench", reason="needs owma[ogbench]")

TINY = (
    *("smoke", "--evaluation.episodes", "0"),
    *("--world.width", "8", "--world.embed-width", "8", "--policy.width", "8", "--policy.embed-width", "8"),
    *("--training.updates", "4", "--value.updates", "4", "--value.width", "8"),
    *("data:ogbench-maze-collect", "--data.steps", "2000"),
    *("task:goal-task-config", "--task.goal", "20", "20", "--task.radius", "1", "--task.falloff", "6"),
)


def test_one_run_on_ogbenchs_data_is_judged_by_ogbenchs_metric(invoke, elsewhere: Path, monkeypatch) -> None:
    for number in range(1, 6):  # instead of a thousand steps, which an untrained agent would all take
        monkeypatch.setattr(task_env(f"pointmaze_medium_task{number}"), "max_episode_steps", 100)
    done = invoke(owma.train.__main__.main, *TINY)
    assert done.code == 0, done.stderr
    run = done.stdout.splitlines()[-1]
    flags = ("--labels", "200", "--fits", "linear", "--planners", "static", "--episodes", "2", "--replan-every", "50")
    done = invoke(owma.transfer.__main__.main, run, "--ogbench-tasks", *flags)
    assert done.code == 0, done.stderr
    folder = elsewhere / done.stdout.splitlines()[-1]
    rows = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    names = [f"pointmaze-medium task {number}" for number in range(1, 6)]
    assert [(row["task"], row["episode"]) for row in rows] == [(name, i) for name in names for i in (0, 1)]
    for row in rows:
        # An episode ends where its own goal is reached, and costs 1 a step until then.
        assert row["success"] == (row["return"] == 1 - row["steps"]) and row["return"] == -row["steps"] + row["success"]
        assert row["success"] or row["steps"] == 100
    (found,) = json.loads((folder / "results.json").read_text())["ogbench"]
    assert (found["labels"], found["fit"], found["planner"]) == (200, "linear", "static")
    assert found["tasks"] == {
        str(n): sum(row["success"] for row in rows if row["task"] == name) / 2 for n, name in enumerate(names, start=1)
    }
    assert found["ogbench_success"] == pytest.approx(sum(found["tasks"].values()) / 5)
    assert "ogbench_success" in done.stdout and all(name in done.stdout for name in names)

    said = invoke(
        owma.transfer.__main__.main, run, "--task", "owma.envs.ogbench:pointmaze_large_task2", *flags
    ).refused()
    assert "is of owma/ogbench-pointmaze-large-task2-v0" in said
