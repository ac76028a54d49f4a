"""One pretrained run, many tasks: what is fitted, what is judged, and what goes on after a kill."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from line_world import line_world
from PIL import Image

from owma._internal.errors import ConfigError
from owma.config.experiment import EvaluationConfig, ExperimentConfig
from owma.config.task import GoalTaskConfig
from owma.config.transfer import TransferConfig
from owma.config.value import ValueConfig
from owma.envs import task_env, task_reward, without_goal
from owma.eval.evaluate import evaluate_planners
from owma.eval.judge import Judge
from owma.eval.setup import EvaluationSetup
from owma.outcomes.tasks import GoalTask, RewardTask
from owma.outcomes.transitions import Transitions
from owma.outcomes.value import LinearValue, TaskValue, untrained_decoder
from owma.results.plots import maze_heat
from owma.runs.folder import RunFolder
from owma.runs.parts import TrainedParts
from owma.sweep.steps import silent
from owma.transfer.episodes import label_sets, transfer
from owma.transfer.inference import TaskInference
from owma.transfer.summary import summarise_transfer, sweep_means, transfer_markdown, transfer_tables
from owma.transfer.tasks import TransferTask, transfer_tasks

VALUE = ValueConfig(kind="linear", members=1, num_tasks=4, width=8, depth=1)
EVALUATION = EvaluationConfig(planners=("static", "random_shooting"), episodes=3, replan_every=2, timed_decisions=0)


def _transitions(episodes: int = 30, length: int = 20) -> Transitions:
    """Random walks in the plane; no episode terminates."""
    rng = np.random.default_rng(0)
    walks = np.cumsum(rng.normal(size=(episodes, length + 1, 2)), axis=1)
    last = np.tile(np.arange(length) == length - 1, episodes)
    n = episodes * length
    return Transitions(
        obs=walks[:, :-1].reshape(n, 2).astype(np.float32),
        action=rng.normal(size=(n, 2)).astype(np.float32),
        reward=np.zeros(n, np.float32),
        next_obs=walks[:, 1:].reshape(n, 2).astype(np.float32),
        terminated=np.zeros(n, bool),
        truncated=last,
    )


def _first_coordinate(obs, action, next_obs) -> np.ndarray:
    return np.asarray(obs)[:, 0]


@pytest.fixture
def inference(gaussian_model) -> TaskInference:
    model = gaussian_model([0.0, 1.0], [1.0, 1.0], [1.0, 0.0])
    decoder = untrained_decoder(VALUE, 2, key=jax.random.key(0))
    one = jnp.ones(())
    task = TaskValue(decoder, decoder.embeddings[0], one, one)
    parts = TrainedParts(model.world, model.policy, LinearValue(jnp.zeros(2), one), task, one, one)
    return TaskInference(parts, ExperimentConfig(value=VALUE), _transitions(), seed=3)


def test_a_linear_reward_is_told_by_few_labels(inference: TaskInference) -> None:
    # r = s₁ is linear in the cumulants of this world (c = s), and so its value is in ψ.
    returns = inference.returns(_first_coordinate(inference.transitions.obs, None, None))
    model, row = inference.fit("linear", returns, inference.draw(60, 0), key=jax.random.key(0))
    assert row["r2"] > 0.97
    # Outcomes have unit variance in this model: the scale is the length of w.
    assert isinstance(model.value, LinearValue)
    length = float(jnp.linalg.norm(model.value.weight))
    assert row["value_scale"] == pytest.approx(length, rel=0.05) == pytest.approx(float(model.value_scale), rel=0.05)


def test_labels_are_drawn_by_number_and_draw(inference: TaskInference) -> None:
    first = inference.draw(16, 0)
    np.testing.assert_array_equal(first, inference.draw(16, 0))
    assert len(set(first.tolist())) == 16
    assert set(first.tolist()) != set(inference.draw(16, 1).tolist())
    assert len(inference.draw(10**6, 0)) == 600


@pytest.mark.parametrize("kind", ["decoder", "linear"])
def test_the_fit_sees_no_other_labels(kind, inference: TaskInference) -> None:
    returns = inference.returns(_first_coordinate(inference.transitions.obs, None, None))
    rows = inference.draw(32, 0)
    hidden = np.full_like(returns, 1e6)
    hidden[rows] = returns[rows]
    psi = jnp.asarray(inference.psi[5])
    values = [
        inference.fit(kind, labels, rows, key=jax.random.key(1))[0].value(psi).item() for labels in (returns, hidden)
    ]
    assert values[0] == values[1]


def test_labels_all_alike_leave_a_model_that_can_act(inference: TaskInference) -> None:
    flat = np.zeros(len(inference.psi), np.float32)
    model, row = inference.fit("linear", flat, inference.draw(16, 0), key=jax.random.key(0))
    assert row["r2"] is None and float(model.value_scale) == 1.0


def _setup(inference: TaskInference) -> EvaluationSetup:
    return EvaluationSetup(inference.parts.agent_model("linear"), EVALUATION, line_world(), None)


@pytest.fixture
def run_transfer(inference: TaskInference, tmp_path: Path) -> Callable[[], tuple[RunFolder, dict, list[str]]]:
    """A task that the environment judges, and one of our own: +1 for every step up to the second."""

    def early(obs, action, next_obs) -> np.ndarray:
        return np.asarray(next_obs)[:, 1] <= 2

    def run() -> tuple[RunFolder, dict, list[str]]:
        rewards = _first_coordinate(inference.transitions.obs, None, None)
        tasks = [TransferTask("recorded", rewards, None), TransferTask("mine:early", rewards, RewardTask(early))]
        labels: list[str] = []

        @contextlib.contextmanager
        def progress(label: str, total: int, done: int) -> Iterator[Callable[..., None]]:
            labels.append(label)
            yield lambda *_, **__: None

        config = TransferConfig(task=("recorded", "mine:early"), labels=(8, 16), draws=2, fits=("linear",), seed=2)
        folder = RunFolder(tmp_path)
        results = transfer(inference, tasks, folder, config, _setup(inference), progress=progress)
        return folder, results, labels

    return run


def test_a_goal_is_judged_as_in_the_table_of_a_training_run(inference: TaskInference, tmp_path: Path) -> None:
    goal = GoalTask(np.array([4.0]), radius=0.0, falloff=1.0, first_coordinate=1)
    labels = goal.judge(inference.transitions.obs, inference.transitions.action, inference.transitions.next_obs)
    config = TransferConfig(labels=(8,), fits=("linear",), seed=2)
    told, trained = RunFolder(tmp_path / "told"), RunFolder(tmp_path / "trained")
    for folder in (told, trained):
        folder.path.mkdir()
    transfer(inference, [TransferTask("goal", labels, goal)], told, config, _setup(inference), progress=silent)
    setup = dataclasses.replace(_setup(inference), judge=Judge(goal))
    evaluate_planners(EVALUATION.named_planners(), setup, trained, seed=2, progress=silent)
    keys = ("planner", "episode", "return", "success", "env_return", "env_success")
    for file in ("episodes.jsonl", "baselines.jsonl"):
        in_either = [
            [[row[key] for key in keys] for row in folder.read_jsonl(file) if "episode" in row]
            for folder in (told, trained)
        ]
        assert in_either[0] == in_either[1] and in_either[0]
    assert [row["success"] for row in trained.read_jsonl("episodes.jsonl")] == [False, True, True] * 2


def test_every_task_label_count_and_draw_is_judged_by_its_own_reward(run_transfer, inference: TaskInference) -> None:
    folder, results, labels = run_transfer()
    rows = folder.read_jsonl("episodes.jsonl")
    assert len(rows) == 2 * 2 * 2 * 2 * 3 and len(labels) == 16 + 1
    assert len(folder.read_jsonl("fits.jsonl")) == 2 * 2 * 2
    by_task = {name: [row for row in rows if row["task"] == name] for name in ("recorded", "mine:early")}
    # The line world's episodes of seeds 2000, 2001 and 2002 have 3, 4 and 5 steps of rewards 1, 2, 3, ...
    assert {(row["episode"], row["return"]) for row in by_task["recorded"]} == {(0, 6.0), (1, 10.0), (2, 15.0)}
    assert {row["success"] for row in by_task["recorded"]} == {True, False}
    assert {(row["return"], row["success"]) for row in by_task["mine:early"]} == {(2.0, None)}
    beside = folder.read_jsonl("baselines.jsonl")
    assert results == summarise_transfer(rows, beside) | {"cells": {}} == folder.read_json("results.json")
    # The same random actions, and the same walks of the dataset, by either.
    entries = {(entry["task"], entry["planner"]): entry for entry in results["baselines"]}
    assert entries["recorded", "random_actions"]["return"] == pytest.approx(31 / 3)
    assert entries["mine:early", "random_actions"]["return"] == 2.0
    walked = inference.transitions.obs[:, 0].sum() / 30
    assert entries["mine:early", "data"]["return"] == pytest.approx(walked, rel=1e-4)
    printed = [cell for table in transfer_tables(results) for cell in table.columns[2].cells]
    assert printed.count("random actions") == printed.count("data") == 2
    assert f"| data | – | {walked:.3g} [" in transfer_markdown(rows, beside)
    entry = results["entries"][0]
    assert (entry["task"], entry["labels"], entry["fit"], entry["episodes"], entry["draws"]) == (
        *("recorded", 8, "linear"),
        *(6, 2),
    )
    assert entry["return"] == pytest.approx(31 / 3)
    assert (folder.plots / "few_shot.png").exists() and not (folder.plots / "goals.png").exists()
    assert [table.title for table in transfer_tables(results)] == ["recorded", "mine:early"]


def test_ogbenchs_tasks_are_each_judged_in_their_own_environment(inference: TaskInference, tmp_path: Path) -> None:
    # Two of three episodes succeed after 3 to 5 steps, but not in the third task's environment, which stops after two.
    where = [line_world()] * 5
    where[2] = dataclasses.replace(where[2], max_episode_steps=2)
    rewards = _first_coordinate(inference.transitions.obs, None, None)

    def lost(obs, action, next_obs) -> np.ndarray:
        return np.full(len(obs), -1.0)

    tasks = [
        TransferTask(f"test task {number}", rewards, None, env=env, promised=RewardTask(lost), ogbench_task=number)
        for number, env in enumerate(where, start=1)
    ]
    tasks.append(TransferTask("another", rewards, None))

    @contextlib.contextmanager
    def progress(label: str, total: int, done: int) -> Iterator[Callable[..., None]]:
        yield lambda *_, **__: None

    def run() -> dict:
        config = TransferConfig(ogbench_tasks=True, labels=(16,), fits=("linear",), seed=2)
        return transfer(inference, tasks, folder, config, _setup(inference), progress=progress)

    folder = RunFolder(tmp_path)
    results = run()
    assert [(e["planner"], e["fit"], e["labels"]) for e in results["ogbench"]] == [
        (name, "linear", 16) for name in EVALUATION.planners
    ]
    for entry in results["ogbench"]:
        assert entry["tasks"] == {str(n): 0.0 if n == 3 else pytest.approx(2 / 3) for n in range(1, 6)}
        assert entry["ogbench_success"] == pytest.approx(8 / 15)
        assert entry["interval"][0] < 8 / 15 < entry["interval"][1]
    # The return is the environment's; the gap is counted in what V was told of, -1 for each of three steps.
    (first, *_) = folder.read_jsonl("episodes.jsonl")
    discount = inference.parts.world.discount
    assert first["return"] == 6.0
    assert first["value"] - first["promise_gap"] == pytest.approx(-(1 + discount + discount**2), rel=1e-4)
    *_, table = transfer_tables(results)
    assert "ogbench_success" in str(table.title)
    headings = [str(column.header).replace("\n", " ") for column in table.columns[3:]]
    assert headings == ["ogbench_success % [95 %]", *(f"task {number} %" for number in range(1, 6))]
    assert str(next(iter(table.columns[3].cells))).startswith("53 [") and list(table.columns[6].cells) == ["0", "0"]
    assert run() == results == folder.read_json("results.json")


def _ogbench_walk(position: tuple[float, float]) -> Transitions:
    """Forty steps about a place in OGBench's pointmaze."""
    rows = (np.asarray(position) + np.random.default_rng(0).uniform(-1, 1, (40, 2))).astype(np.float32)
    return Transitions(rows, rows, np.zeros(40, np.float32), rows, np.zeros(40, bool), np.arange(40) == 39)


def _rewards(task: TransferTask) -> np.ndarray:
    assert task.rewards is not None
    return task.rewards


def test_ogbenchs_tasks_are_told_by_a_slope() -> None:
    env, walk = gym.spec("owma/ogbench-pointmaze-medium-task4-v0"), _ogbench_walk((10.0, 10.0))
    goal = GoalTaskConfig((20.0, 20.0), radius=1.0, falloff=3.0)
    every = TransferConfig(ogbench_tasks=True)
    tasks = transfer_tasks(every, walk, env, trained_for=goal)
    assert [task.name for task in tasks] == [f"pointmaze-medium task {n}" for n in range(1, 6)]
    for number, task in enumerate(tasks, start=1):
        assert task.env == gym.spec(f"owma/ogbench-pointmaze-medium-task{number}-v0") and task.judge is None
        name = f"pointmaze_medium_task{number}"
        expected = np.asarray(task_reward(name, 3.0)(walk.obs, walk.action, walk.next_obs))
        np.testing.assert_allclose(_rewards(task), expected)
        assert task.promised is not None and task.ogbench_task == number
    wide = transfer_tasks(TransferConfig(ogbench_tasks=True, goal_falloff=6.0), walk, env, trained_for=goal)
    assert np.mean(_rewards(wide[0])) > np.mean(_rewards(tasks[0]))
    # Of an edge that nobody was near to nothing can be told.
    with pytest.raises(ConfigError, match=r"nothing of task 1 of pointmaze-medium.*--goal-falloff"):
        transfer_tasks(every, walk, env)


def test_one_task_of_ogbench_is_judged_where_it_is_set() -> None:
    config = TransferConfig(task=("owma.envs.ogbench:pointmaze_medium_task2", "goal:20,0"))
    walk, env = _ogbench_walk((20.0, 0.5)), gym.spec("owma/ogbench-pointmaze-medium-v0")
    one, goal = transfer_tasks(config, walk, env)
    assert one.env == task_env("pointmaze_medium_task2") and one.judge is None and set(_rewards(one)) == {0.0, -1.0}
    assert goal.env is None and goal.judge is not None and without_goal(env).kwargs["terminate_at_goal"] is False
    with pytest.raises(ConfigError, match=r"is of owma/ogbench-pointmaze-medium-task2-v0, and the run's environment"):
        transfer_tasks(config, walk, gym.spec("owma/ogbench-pointmaze-large-v0"))


def test_decoder_and_linear_value_are_compared_episode_by_episode() -> None:
    def rows(fit: str, returns: list[float]) -> list[dict]:
        about = {"task": "early", "labels": 8, "fit": fit, "planner": "static", "seed": 3}
        about |= {"promise_gap": 0.0, "kl": 0.0, "r2": 0.5, "success": None}
        pairs = [(draw, episode) for draw in (0, 1) for episode in (0, 1)]
        return [
            about | {"draw": d, "episode": e, "return": value} for (d, e), value in zip(pairs, returns, strict=True)
        ]

    results = summarise_transfer(rows("decoder", [5.0, 7.0, 6.0, 9.0]) + rows("linear", [1.0, 4.0, 4.0, 2.0]))
    (comparison,) = results["comparisons"]
    # Differences of 4, 3, 2 and 7; the task knows no success, and nothing is said of it.
    assert (comparison["task"], comparison["labels"], comparison["planner"]) == (
        "early",
        8,
        "static",
    ) and "success" not in comparison
    assert comparison["return"]["mean"] == 4.0 and comparison["return"]["pairs"] == 4
    assert comparison["return"]["draws"] == 2 and "seeds" not in comparison["return"]
    assert 2 <= comparison["return"]["interval"][0] < 4 < comparison["return"]["interval"][1] <= 7
    (table,) = transfer_tables(results | {"cells": {}})
    assert list(table.columns[1].cells) == ["decoder", "linear", "decoder − linear"]
    assert summarise_transfer(rows("linear", [1.0, 4.0, 4.0, 2.0]))["comparisons"] == []


def test_planners_act_beside_themselves_with_other_settings() -> None:
    def acting(*each: str, price: float | None = None) -> dict[str, Any]:
        evaluation = EvaluationConfig(planners=("static", "online_adaptation"), kl_coef=price)
        config = TransferConfig(task=("recorded",), each=each)
        return {name: getattr(planner, "kl_coef", None) for name, planner in config.acting_planners(evaluation).items()}

    ours = "online_adaptation"
    assert acting() == {"static": None, ours: 0.25}
    # Whatever the price of all is, that of the planner itself is there once.
    each = f"{ours}.kl_coef=0.25,1"
    assert acting(each) == {"static": None, ours: 0.25, f"{ours}-kl_coef=1": 1.0}
    assert acting(each, price=1.0) == {"static": None, ours: 1.0, f"{ours}-kl_coef=0.25": 0.25}
    both = f"{ours}.kl_coef:{ours}.adaptation_steps=1:5"
    assert acting(each, both) == acting(each) | {f"{ours}-kl_coef=1-adaptation_steps=5": 1.0}
    with pytest.raises(ConfigError, match="two settings are called 'online_adaptation-kl_coef=1.23457'"):
        acting(f"{ours}.kl_coef=1.2345678,1.2345679")


@pytest.mark.cases
def test_random_actions_had_no_success_in_a_task_where_a_planner_did() -> None:
    about: dict[str, Any] = {"seed": 1, "return": 1.0} | dict.fromkeys(("value", "promise_gap", "kl", "r2"))
    about |= dict.fromkeys(("nfe", "ms_p50", "ms_p95"))
    told = {"planner": "static", "labels": 8, "draw": 0, "fit": "linear"}
    rows = [
        about | told | {"task": task, "episode": episode, "success": success}
        for task, success in (("spoken", True), ("silent", None))
        for episode, success in enumerate((success, None))
    ]
    beside = [about | {"planner": "random_actions", "task": row["task"], "episode": row["episode"]} for row in rows]
    beside = [row | {"success": None} for row in beside]
    results = summarise_transfer(rows, beside)
    assert [entry["success"] for entry in results["entries"]] == [0.5, None]
    assert [entry["success"] for entry in results["baselines"]] == [0.0, None]
    spoken, silent = transfer_markdown(rows, beside).split("**silent**")
    assert "| random_actions | 0 [0, 6" in spoken and "| random_actions | – |" in silent


def test_seeds_of_a_transfer_are_one_table() -> None:
    def row(task: str, planner: str, seed: int, back: float) -> dict[str, Any]:
        told = {"task": task, "labels": 8, "draw": 0, "fit": "linear", "r2": 0.5, "success": None, "value": 1.0}
        made = {"promise_gap": 0.0, "kl": 0.0, "nfe": 11, "ms_p50": None, "ms_p95": None, "fallbacks": 0}
        return told | made | {"clipped": 0, "planner": planner, "seed": seed, "episode": 0, "return": back}

    seeds = [(1, 6.0, 1.0), (2, 8.0, 5.0), (3, 10.0, 9.0)]
    rows = [
        row(task, planner, seed, back)
        for task in ("early", "late")
        for seed, ours, theirs in seeds
        for planner, back in (("online_adaptation", ours), ("static", theirs))
    ]
    early, late = transfer_markdown(rows).split("**late**")
    assert early.startswith("**early**") and "| online_adaptation | – | 8 [6, 10] |" in early
    # Of the same seeds and episodes 5, 3 and 1 more.
    assert "- online_adaptation − static: return +3 [+1, +5]" in early and "of 3 seeds" in late
    # What else there are several of tells tables apart.
    other = [one | {"fit": "decoder"} for one in rows]
    assert "**early, fit linear**" in (both := transfer_markdown([*rows, *other])) and "**late, fit decoder**" in both


def test_a_killed_transfer_goes_on(run_transfer) -> None:
    folder, results, _ = run_transfer()
    rows, fits = folder.read_jsonl("episodes.jsonl"), folder.read_jsonl("fits.jsonl")
    folder.write_jsonl("episodes.jsonl", rows[:-5])  # in the middle of the last but one of the planners
    with (folder.path / "episodes.jsonl").open("a") as file:
        file.write('{"task": "ear')
    _, again, labels = run_transfer()
    assert labels == [f"mine:early, 16 labels, linear, {name}" for name in EVALUATION.planners]
    assert again == results
    assert folder.read_jsonl("episodes.jsonl") == rows and folder.read_jsonl("fits.jsonl") == fits
    assert run_transfer()[2] == []
    # A stop as random actions of the last task began: its planners are done, and what they are held against is not.
    beside = folder.read_jsonl("baselines.jsonl")
    folder.write_jsonl("baselines.jsonl", [row for row in beside if row["task"] != "mine:early"])
    _, again, labels = run_transfer()
    assert labels == ["evaluating random_actions"] and again == results
    assert folder.read_jsonl("baselines.jsonl") == beside


MAZE = EnvSpec("test/PointMaze-v0", kwargs={"maze_map": [[1, 1, 1, 1], [1, "r", 0, 1], [1, 1, "g", 1], [1, 1, 1, 1]]})


def test_a_sweep_has_a_goal_in_every_free_cell() -> None:
    # Cells (1,1), (1,2) and (2,2) have their centres at (-0.5, 0.5), (0.5, 0.5) and (0.5, -0.5).
    visited = np.array([[-0.5, 0.5], [0.5, 0.45], [0.0, 0.5], [0.5, 0.5]], np.float32)
    flags = np.array([False, False, False, True])
    transitions = Transitions(visited, np.zeros((4, 2), np.float32), np.zeros(4, np.float32), visited, ~flags, flags)
    tasks = transfer_tasks(TransferConfig(goals="all"), transitions, MAZE)
    assert [task.cell for task in tasks] == [(1, 1), (1, 2), (2, 2)]
    np.testing.assert_array_equal(tasks[0].rewards, [1, 0, 0, 0])
    np.testing.assert_array_equal(tasks[1].rewards, [0, 1, 0, 1])
    assert tasks[2].rewards is None  # nobody was there: labels cannot tell of it


def test_cells_of_an_ant_maze_are_four_metres_wide() -> None:
    ant = EnvSpec("AntMaze_UMaze-v5", kwargs=MAZE.kwargs)
    rows = np.array([[-2.0, 2.0], [2.0, 2.0], [2.0, -2.0]], np.float32)
    flags = np.array([False, False, True])
    transitions = Transitions(rows, rows, np.zeros(3, np.float32), rows, ~flags, flags)
    tasks = transfer_tasks(TransferConfig(goals="all"), transitions, ant)
    np.testing.assert_array_equal(np.stack([task.rewards for task in tasks if task.rewards is not None]), np.eye(3))


def test_a_maze_is_judged_without_its_own_goal() -> None:
    assert without_goal(MAZE).kwargs["continuing_task"] is True and "continuing_task" not in MAZE.kwargs
    assert without_goal(line_world()).kwargs == line_world().kwargs


def test_as_many_labels_as_there_are_transitions_are_drawn_once() -> None:
    config = TransferConfig(task=("recorded",), labels=(10_000, 16, 700), draws=2, fits=("linear",))
    assert list(label_sets(config, 600)) == [(16, 0, "linear"), (16, 1, "linear"), (600, 0, "linear")]


def test_the_map_of_goals_shows_every_panel(tmp_path: Path) -> None:
    success = {"static, linear": {(1, 1): 1.0, (1, 2): 0.25}, "static, decoder": {(1, 1): 0.0}}
    path = maze_heat(tmp_path / "plots" / "goals.png", MAZE.kwargs["maze_map"], success)
    with Image.open(path) as picture:
        width, height = picture.size
    assert width > 1.5 * height  # two panels side by side


def test_what_cannot_be_swept_is_refused() -> None:
    with pytest.raises(ConfigError, match="no maze with a map"):
        transfer_tasks(TransferConfig(goals="all"), _transitions(), line_world())
    with pytest.raises(ConfigError, match="none of pointmaze-medium, .*--env owma/ogbench-NAME-v0"):
        transfer_tasks(TransferConfig(ogbench_tasks=True), _transitions(), line_world())


def test_means_over_the_cells_of_a_sweep() -> None:
    def rows(task: str, successes: list[bool]) -> list[dict]:
        about = {"task": task, "labels": 10, "draw": 0, "fit": "linear", "planner": "static", "seed": 0}
        about |= {"promise_gap": 0.0, "kl": 0.0, "r2": 0.5}
        return [about | {"episode": i, "success": s, "return": 10.0 * s} for i, s in enumerate(successes)]

    cells = rows("cell 1,1", [True, True]) + rows("cell 1,2", [True, False]) + rows("cell 2,2", [False, False])
    results = summarise_transfer(cells) | {"cells": {f"cell {c}": {} for c in ("1,1", "1,2", "2,2")}}
    (mean,) = sweep_means(results)
    assert (mean["task"], mean["success"], mean["return"], mean["episodes"]) == ("3 goal cells", 0.5, 5.0, 3)
    low, high = mean["intervals"]["success"]
    assert 0 <= low < 0.5 < high <= 1
    assert [table.title for table in transfer_tables(results)] == ["3 goal cells"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"task": ("goal:1,x",)}, "not a list of numbers"),
        ({"task": ("regions:1,2,3",)}, "a region is WEIGHT"),
        ({"task": ("recorded", "recorded")}, "twice"),
        ({"labels": (1,)}, "at least 2"),
        ({"fits": ()}, "decoder"),
        ({"draws": 0}, "draws=0"),
        ({"goal_radius": 0.0}, "goal_radius"),
        ({"goal_falloff": -1.0}, "goal_falloff"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_configurations_out_of_range(wrong: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TransferConfig(**wrong)
