"""`python -m owma.transfer`: other tasks for a trained run."""

import functools
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import owma.train.__main__
import owma.transfer.__main__
from owma.collect.hopper_policies import LinearPolicies
from owma.collect.waypoints import free_cells
from owma.envs.two_routes import MAZE_MAP
from owma.train.rows import sample_rows


@pytest.fixture
def mine(smoke_run, elsewhere: Path, monkeypatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(smoke_run.runs.parent / "datasets"))
    return Path(shutil.copytree(smoke_run.folder, elsewhere / "runs" / "mine" / "v3"))


@pytest.mark.slow
def test_tasks_from_few_labels_and_on_after_a_kill(invoke, mine: Path) -> None:
    flags = ["--labels", "16", "64", "--planners", "static", "--episodes", "2"]
    tasks = ["owma.envs:preferred_route_reward", "goal:2,2"]
    done = invoke(owma.transfer.__main__.main, "runs/mine", "--task", *tasks, *flags)
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "runs/mine/v3/transfers/transfer/v1"
    folder = Path(done.stdout.splitlines()[-1])
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    fits = ("pessimistic", "decoder", "linear")
    assert [(row["task"], row["labels"], row["fit"], row["episode"]) for row in rows] == [
        (task, labels, fit, i) for task in tasks for labels in (16, 64) for fit in fits for i in (0, 1)
    ]
    assert all(f"\n{task}" in f"\n{done.stdout}" for task in tasks)  # the titles of the tables
    subject = done.stderr.splitlines()[:4]
    assert subject[0].startswith("data: owma/two-routes-skew0p2-20x200-seed0-v0: 4,000 transitions in 20 episodes, 0 ")
    assert subject[1:] == [
        "task: owma.envs:preferred_route_reward: the reward function owma.envs:preferred_route_reward",
        "task: goal:2,2: the goal (2, 2) within 0.5, in coordinates 0 to 1",
        "environment: owma/TwoRoutes-v0, 300 steps",
    ]
    assert (folder / "plots" / "few_shot.png").exists()
    # Starts and draws are those of every other evaluation of this seed.
    assert {row["seed"] for row in rows} == {0}
    # A goal pays 1 a step at which it is reached, and nothing else; the first task pays 2 at its goal.
    assert all(row["success"] == (row["return"] >= 1) for row in rows if row["task"] == tasks[1])
    assert all(row["return"] >= 2 for row in rows if row["task"] == tasks[0] and row["success"])
    # The environment pays the first task itself; beside the other stands what it pays.
    assert all(("env_return" in row) == (row["task"] == tasks[1]) for row in rows)

    (folder / "episodes.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    again = invoke(owma.transfer.__main__.main, "--resume", folder.parent)
    assert again.code == 0 and Path(again.stdout.splitlines()[-1]) == folder
    # One planner was run again.
    assert len(re.findall(r"labels, .*: [\d,]+ of [\d,]+ steps", again.stderr)) == 1, again.stderr
    assert (folder / "episodes.jsonl").read_text().splitlines() == lines


@pytest.mark.slow
def test_one_run_goes_to_every_cell_of_its_maze(invoke, mine: Path) -> None:
    flags = ("--labels", "500", "--fits", "linear", "--planners", "static", "--episodes", "1")
    done = invoke(owma.transfer.__main__.main, "runs/mine", "--goals", "all", "--goal-radius", "0.7", *flags)
    assert done.code == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    cells = json.loads((folder / "results.json").read_text())["cells"]
    maze = {f"cell {row},{col}": [row, col] for row, col in free_cells(MAZE_MAP)}
    assert {name: entry["cell"] for name, entry in cells.items()} == maze
    rows = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    # A cell that the data never visit cannot be told by labels, and is not evaluated.
    visited = [name for name, entry in cells.items() if entry["visited"]]
    assert [row["task"] for row in rows] == visited and len(visited) > len(maze) / 2
    # The run's start is in one of the cells: its episode begins at its goal.
    assert any(row["success"] for row in rows)
    assert f"{len(visited)} goal cells" in done.stdout and (folder / "plots" / "goals.png").exists()


def test_a_planner_with_other_settings_acts_beside_itself(invoke, mine: Path) -> None:
    flags = ("--labels", "500", "--fits", "linear", "--episodes", "1", "--planners", "static", "random_shooting")
    each = ("random_shooting.num_samples=2,1000,4",)
    done = invoke(owma.transfer.__main__.main, "runs/mine", "--task", "goal:2,2", *flags, "--each", *each)
    assert done.code == 0, done.stderr
    rows = [json.loads(line) for line in Path(done.stdout.splitlines()[-1], "episodes.jsonl").read_text().splitlines()]
    passes = {row["planner"]: row["nfe"] for row in rows}
    # A thousand is the default, and that row is the planner's own.
    names = ["static", "random_shooting", "random_shooting-num_samples=2", "random_shooting-num_samples=4"]
    assert list(passes) == names
    one = passes["static"]
    assert [passes[name] / one for name in names[1:]] == [1000, 2, 4]


def test_data_larger_than_memory_stay_on_disk(invoke, mine: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(mine.parents[2] / "cache"))
    monkeypatch.setattr("owma.train.rows.sample_rows", functools.partial(sample_rows, most=1000))
    flags = ("--fits", "linear", "--planners", "static", "--episodes", "1", "--memory-gib", "1e-6")
    done = invoke(owma.transfer.__main__.main, "runs/mine", "--task", "owma.envs:preferred_route_reward", *flags)
    assert done.code == 0 and "copying" in done.stderr, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    # Asked for ten thousand labels, it gives all of the sample that it reads: whole episodes of 200.
    (row,) = [json.loads(line) for line in (folder / "fits.jsonl").read_text().splitlines()]
    assert row["labels"] == 1000
    # A transfer of before there was the flag goes on as it was begun.
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("memory_gib") == 1e-6
    (folder / "config.json").write_text(json.dumps(config))
    again = invoke(owma.transfer.__main__.main, "--resume", folder)
    assert again.code == 0 and "copying" not in again.stderr


@pytest.mark.slow
def test_one_run_on_hoppers_data_serves_four_tasks(invoke, elsewhere: Path) -> None:
    rng = np.random.default_rng(0)
    LinearPolicies(
        task=("stand", "forward"),
        stage=("late", "late"),
        seed=np.zeros(2, int),
        generation=np.zeros(2, int),
        weight=0.3 * rng.normal(size=(2, 3, 11)),
        bias=np.zeros((2, 3)),
        returns=np.full(2, 20.0),
        steps=np.full(2, 20.0),
    ).save(elsewhere / "mine.npz")
    short = ["--training.updates", "4", "--value.updates", "4", "--evaluation.episodes", "0"]
    data = ["data:hopper-collect", "--data.steps", "600", "--data.policies", "mine.npz"]
    task = ["task:reward-task-config", "--task.reward", "owma.envs.hopper:forward"]
    done = invoke(owma.train.__main__.main, "smoke", *short, *data, *task)
    assert done.code == 0, done.stderr
    tasks = ["hopper-forward", "hopper-backward", "hopper-stand", "hopper-jump"]
    flags = ["--labels", "200", "--fits", "linear", "--planners", "static", "--episodes", "1", "--env", "Hopper-v5"]
    done = invoke(owma.transfer.__main__.main, done.stdout.splitlines()[-1], "--task", *tasks, *flags)
    assert done.code == 0, done.stderr
    rows = [json.loads(line) for line in Path(done.stdout.splitlines()[-1], "episodes.jsonl").read_text().splitlines()]
    found = {row["task"]: row["return"] for row in rows}
    # `static` draws the same plans whatever the task: one episode, judged four times.
    assert list(found) == tasks and found["hopper-forward"] == pytest.approx(-found["hopper-backward"]) != 0
    # It stands for a while before it falls, and does not leap: another reward judges each task.
    assert found["hopper-stand"] > 1 > found["hopper-jump"]


def test_a_folder_alone_is_not_believed(invoke, mine: Path, monkeypatch) -> None:
    """Code that its configuration names is imported only if the user's own command line says so."""
    (mine.parents[2] / "judges.py").write_text("def reward(obs, action, next_obs):\n    return next_obs[:, 0]\n")
    monkeypatch.syspath_prepend(mine.parents[2])
    flags = ("--labels", "16", "--fits", "linear", "--planners", "static", "--episodes", "1")
    done = invoke(owma.transfer.__main__.main, "runs/mine", "--task", "judges:reward", *flags)
    assert done.code == 0, done.stderr
    del sys.modules["judges"]
    config = json.loads((folder := Path(done.stdout.splitlines()[-1])).joinpath("config.json").read_text())
    del config["trust"]  # as a transfer of before there was the flag
    (folder / "config.json").write_text(json.dumps(config))
    said = invoke(owma.transfer.__main__.main, "--resume", folder).refused()
    assert re.search(f"imports judges, .*owma.transfer --resume {folder} --trust judges$", said)
    assert "judges" not in sys.modules
    assert invoke(owma.transfer.__main__.main, "--resume", folder, "--trust", "judges").code == 0


def test_mistakes_are_answered_before_anything_is_written(invoke, mine: Path) -> None:
    def refused(*arguments: object) -> str:
        return invoke(owma.transfer.__main__.main, *arguments).refused()

    assert "There is no run" in refused("--task", "recorded")
    assert "There is no task" in refused("runs/mine")
    assert "--planners" in refused("runs/mine", "--goals", "all", "--planners")
    each = ("runs/mine", "--task", "recorded", "--planners", "static", "cem", "--each")
    assert "svdd.kl_coef is no field of one of the planners, static, cem" in refused(*each, "svdd.kl_coef=1")
    assert "no field 'price'" in refused(*each, "cem.price=1")
    assert "kl_coef=-1.0" in refused(*each, "cem.kl_coef=-1")
    assert "cannot be imported" in refused("runs/mine", "--task", "nowhere:reward")
    assert "prefers nothing" in refused("runs/mine", "--task", "goal:50,50")
    for task in ("owma.envs.kitchen:kettle", "hopper-stand"):
        assert "reads the observations of" in refused("runs/mine", "--task", task)
    assert "There is no run at" in refused("runs/other", "--task", "recorded")
    assert not (mine / "transfers").exists()
