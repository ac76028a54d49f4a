"""Tasks label a dataset, or say in one sentence why they cannot."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import equinox as eqx
import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError
from owma.config.task import (
    GoalTaskConfig,
    LabelledTaskConfig,
    PreferenceTaskConfig,
    RecordedTaskConfig,
    RewardTaskConfig,
    parse_task,
)
from owma.eval.judge import Judge, judge_of, trusted_judge
from owma.outcomes.tasks import GoalTask, LabelledTask, PreferenceTask, RecordedTask, RewardTask, build_task
from owma.outcomes.transitions import Transitions
from owma.runs.labels import keep_labels, kept_task


def _transitions(next_obs: np.ndarray, reward: np.ndarray | None = None) -> Transitions:
    n = len(next_obs)
    marks = np.zeros(n, bool)
    marks[-1] = True
    next_obs = np.asarray(next_obs, np.float32)
    reward = np.zeros(n, np.float32) if reward is None else np.asarray(reward, np.float32)
    return Transitions(0 * next_obs, np.ones((n, 1), np.float32), reward, next_obs, np.zeros(n, bool), marks)


_ROWS = np.array([[0.0, 0.0, 9.0], [1.0, 0.0, -9.0], [0.3, 0.4, 0.0], [3.0, 4.0, 0.0]])


def test_goal_task_looks_at_the_leading_coordinates_of_the_next_state() -> None:
    # Distances from the origin: 0, 1, 0.5, 5.
    rewards = GoalTask(np.zeros(2), radius=0.6).rewards(_transitions(_ROWS))
    np.testing.assert_array_equal(rewards, [1, 0, 1, 0])
    assert rewards.dtype == np.float32


def test_a_goal_that_falls_off_is_reached_within_its_radius_alone() -> None:
    # Distances from the origin in the last two coordinates: 9, 9, 0.4, 4.
    task = GoalTask(np.zeros(2), radius=1.0, falloff=3.0, first_coordinate=1)
    rewards = task.rewards(_transitions(_ROWS))
    np.testing.assert_allclose(rewards, np.exp([-0.5 * (8 / 3) ** 2, -0.5 * (8 / 3) ** 2, 0, -0.5]), rtol=1e-6)
    np.testing.assert_array_equal(rewards >= GoalTask.success_reward, [False, False, True, False])
    just_outside = _transitions(np.array([[0.0, 1.0001, 0.0]] * 2 + [[0.0, 9.0, 0.0]]))
    assert (task.rewards(just_outside) < GoalTask.success_reward).all()
    edge = GoalTask(np.zeros(2), radius=1.0, first_coordinate=1)
    np.testing.assert_array_equal(edge.rewards(_transitions(_ROWS)), [0, 0, 1, 0])
    with pytest.raises(ConfigError, match="The goal has 2 coordinates from 2 on, the observations have 3"):
        GoalTask(np.zeros(2), first_coordinate=2).rewards(_transitions(_ROWS))
    with pytest.raises(ConfigError, match="falloff=-1.0.*none may be negative"):
        GoalTaskConfig((0.0, 0.0), falloff=-1.0)


def test_the_task_judges_where_the_environment_does_not_pay_it() -> None:
    two_routes, maze = gym.spec("owma/TwoRoutes-v0"), EnvSpec("test/Maze-v0")
    goal = GoalTaskConfig((1.0, 2.0), radius=0.25, falloff=3.0)
    judge, built = judge_of(goal, two_routes).task, build_task(goal)
    assert isinstance(judge, GoalTask) and isinstance(built, GoalTask)
    np.testing.assert_array_equal(judge.rewards(_transitions(_ROWS)), built.rewards(_transitions(_ROWS)))
    assert isinstance(judge_of(PreferenceTaskConfig(((1.0, 0.0, 0.0, 1.0, 1.0),)), maze).task, PreferenceTask)
    assert judge_of(RecordedTaskConfig(), maze) == Judge()
    # The two-route maze pays its own reward, for one of the routes; others do not.
    reward = RewardTaskConfig("owma.envs:preferred_route_reward")
    other_route = dataclasses.replace(two_routes, kwargs={"preferred": "upper"})
    assert judge_of(reward, two_routes) == Judge()
    assert all(isinstance(judge_of(reward, env).task, RewardTask) for env in (maze, other_route))
    assert isinstance(judge_of(RewardTaskConfig("owma.envs.hopper:stand"), two_routes).task, RewardTask)
    # OGBench's pay the reward of one task each.
    third = RewardTaskConfig("owma.envs.ogbench:pointmaze_medium_task3")
    pointmaze = "owma/ogbench-pointmaze-medium"
    assert judge_of(third, gym.spec(f"{pointmaze}-task3-v0")) == Judge()
    assert all(judge_of(third, gym.spec(f"{pointmaze}{n}-v0")).task for n in ("", "-task1"))
    with pytest.raises(ConfigError, match="cannot be imported"):
        judge_of(RewardTaskConfig("nowhere:reward"), maze)


def test_reward_task_is_called_once_with_whole_arrays() -> None:
    calls = []

    def reward(obs, action, next_obs):
        calls.append((obs.shape, action.shape))
        return next_obs[:, 0] - 2 * action[:, 0]

    rewards = RewardTask(reward).rewards(_transitions(_ROWS))
    np.testing.assert_allclose(rewards, [-2, -1, -1.7, 1], rtol=1e-6)
    assert calls == [((4, 3), (4, 1))]


def _careful(obs, action, next_obs):
    return np.abs(next_obs[:, 0] - 1) - action[:, 0] + obs[:, 1]


def _in_place(obs, action, next_obs):
    away = next_obs[:, 0]
    away -= 1
    np.abs(away, out=away)
    action *= -1
    obs += action
    away += obs[:, 1]
    next_obs.shape = (next_obs.size,)
    return away


@pytest.mark.cases
@pytest.mark.parametrize("where", ["memory", "read only", "mapped", "device"])
def test_a_reward_that_works_in_place_moves_nothing_but_its_own_copies(where: str, tmp_path: Path) -> None:
    transitions = _transitions(_ROWS)
    for field in dataclasses.fields(transitions):
        np.save(tmp_path / field.name, getattr(transitions, field.name))

    def held(name: str) -> Any:
        array = np.load(tmp_path / f"{name}.npy", mmap_mode="r" if where == "mapped" else None)
        array.flags.writeable = where == "memory"
        return jnp.asarray(array) if where == "device" else array

    given = Transitions(**{field.name: held(field.name) for field in dataclasses.fields(transitions)})
    expected = RewardTask(_careful).rewards(transitions)
    for _ in range(2):  # the second task finds what the first one found
        np.testing.assert_allclose(RewardTask(_in_place).rewards(given), expected, rtol=1e-6)
        assert eqx.tree_equal(jax.tree.map(np.asarray, given), transitions)
    # So does the agent, which decides by what was judged.
    visited = [np.array(_ROWS, np.float32), np.array(_ROWS + 1, np.float32)]
    judged = RewardTask(_in_place).judge(visited[0], np.ones((4, 1), np.float32), visited[1])
    np.testing.assert_array_equal(visited, [_ROWS.astype(np.float32), (_ROWS + 1).astype(np.float32)])
    np.testing.assert_allclose(judged, _careful(visited[0], np.ones((4, 1)), visited[1]), rtol=1e-6)


def test_rewards_are_kept_though_the_function_writes_into_one_array_for_all_its_calls() -> None:
    buffer = np.zeros(4, np.float32)

    def reward(obs, action, next_obs):
        np.multiply(next_obs[:, 0], 2, out=buffer)
        return buffer

    task = RewardTask(reward)
    first, second = task.rewards(_transitions(_ROWS)), task.rewards(_transitions(10 * _ROWS))
    np.testing.assert_array_equal(second, 10 * first)


def test_recorded_task_reads_the_rewards_of_the_dataset() -> None:
    rewards = RecordedTask().rewards(_transitions(_ROWS, np.array([0.0, 1.0, 2.0, 3.0])))
    np.testing.assert_array_equal(rewards, [0, 1, 2, 3])


def test_labelled_task_interpolates_its_samples() -> None:
    rng = np.random.default_rng(0)
    samples = rng.uniform(-1, 1, (300, 2))

    def truth(s: np.ndarray) -> np.ndarray:
        return np.sin(2 * s[:, 0]) + s[:, 1]

    task = LabelledTask(samples, truth(samples), bandwidth=1.0, ridge=1e-6)
    queries = rng.uniform(-0.9, 0.9, (9000, 2))  # several chunks
    np.testing.assert_allclose(task.rewards(_transitions(queries)), truth(queries), atol=0.02)


def test_labelled_task_against_kernel_ridge_by_hand() -> None:
    # Samples at ±1 (standard deviation 1) with rewards 0 and 2; bandwidth 1. K = [[1, e⁻²], [e⁻², 1]], centred rewards
    # are ∓1, weights ∓1/(1 + ridge − e⁻²). At +1: 1 + (1 − e⁻²)/(1 + ridge − e⁻²). At 0: 1. Far away: the mean, 1.
    task = LabelledTask(np.array([[-1.0], [1.0]]), np.array([0.0, 2.0]), bandwidth=1.0, ridge=0.5)
    rewards = task.rewards(_transitions(np.array([[1.0], [0.0], [50.0]])))
    gap = 1 - np.exp(-2)
    np.testing.assert_allclose(rewards, [1 + gap / (gap + 0.5), 1, 1], rtol=1e-5)


def test_a_task_that_prefers_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="goal reward is 0 for every transition.*prefers nothing"):
        GoalTask(np.array([100.0, 100.0])).rewards(_transitions(_ROWS))
    with pytest.raises(ConfigError, match="recorded reward is 0 for every"):
        RecordedTask().rewards(_transitions(_ROWS))


def test_a_reward_of_the_wrong_shape_is_refused() -> None:
    def one_number(obs, action, next_obs):
        return np.asarray(1.0)

    with pytest.raises(ConfigError, match=r"'one_number' returned shape \(\) for 4 transitions; it must return \(4,\)"):
        RewardTask(one_number).rewards(_transitions(_ROWS))

    def column(obs, action, next_obs):
        return next_obs[:, :1]

    with pytest.raises(ConfigError, match=r"returned shape \(4, 1\)"):
        RewardTask(column).rewards(_transitions(_ROWS))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_reward_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ConfigError, match="recorded reward is not finite at transition 2"):
        RecordedTask().rewards(_transitions(_ROWS, np.array([0.0, 1.0, bad, bad])))


def test_preferences_add_up_the_weights_of_the_regions_around_the_next_state() -> None:
    task = PreferenceTask(
        np.array([2.0, -0.5], np.float32),
        np.array([[0, 0], [0.5, -1]], np.float32),
        np.array([[1, 1], [4, 0.4]], np.float32),
    )
    # (0,0): the first only, its edge included; (1,0): both; (0.3,0.4): the first; (3,4): neither.
    np.testing.assert_array_equal(task.rewards(_transitions(_ROWS)), [2, 1.5, 2, 0])


def test_an_episode_is_judged_though_all_its_rewards_are_the_same() -> None:
    goal = GoalTask(np.array([100.0, 100.0]))
    np.testing.assert_array_equal(goal.judge(_ROWS, _ROWS, _ROWS), [0, 0, 0, 0])
    assert goal.success_reward == 1 and RewardTask(lambda *_: np.zeros(4)).success_reward is None
    with pytest.raises(ConfigError, match="not finite at transition 1"):
        RewardTask(lambda *_: np.array([0, np.nan])).judge(_ROWS[:2], _ROWS[:2], _ROWS[:2])


@pytest.mark.parametrize(
    ("spec", "config"),
    [
        ("recorded", RecordedTaskConfig()),
        ("goal:1.5,-2", GoalTaskConfig((1.5, -2.0))),
        ("goal:1,2@0.25", GoalTaskConfig((1.0, 2.0), 0.25)),
        ("goal:1,2@0.25,3", GoalTaskConfig((1.0, 2.0), 0.25, falloff=3.0)),
        ("goal:1@0.25,3,19", GoalTaskConfig((1.0,), 0.25, falloff=3.0, first_coordinate=19)),
        (
            "regions:1,-3,-3,3,0;-1,0,0,3,3",
            PreferenceTaskConfig(((1.0, -3.0, -3.0, 3.0, 0.0), (-1.0, 0.0, 0.0, 3.0, 3.0))),
        ),
        ("labels/mine.npz", LabelledTaskConfig(Path("labels/mine.npz"))),
        ("my.module:reward", RewardTaskConfig("my.module:reward")),
    ],
)
def test_a_task_in_one_word(spec: str, config: object) -> None:
    assert parse_task(spec) == config


@pytest.mark.parametrize("spec", ["goal:1@0.2,3,19,4", "goal:1@0.2,3,1.5"])
def test_a_goal_has_no_more_to_it(spec: str) -> None:
    with pytest.raises(ConfigError, match="after @ come a radius, a falloff and the number of a coordinate"):
        parse_task(spec)


@pytest.mark.parametrize("spec", ["hoper-forward", "gaol", "goals", "labels.npy"])
def test_a_mistyped_task_is_answered_with_the_kinds_that_there_are(spec: str) -> None:
    with pytest.raises(ConfigError, match=f"{spec}'.*recorded, goal:X,Y.*hopper-forward.*module:function"):
        parse_task(spec)


def test_a_run_keeps_its_labels_and_goes_by_them(tmp_path: Path) -> None:
    named, folder = LabelledTaskConfig(tmp_path / "mine.npz"), tmp_path / "run"
    folder.mkdir()
    np.savez(named.file, obs=np.eye(2), reward=np.array([0.0, 2.0]))
    assert kept_task(named, folder) == named  # of a run from before
    keep_labels(named, folder)
    np.savez(named.file, obs=np.eye(2), reward=np.array([2.0, 0.0]))
    ours, theirs = build_task(kept_task(named, folder)), build_task(named)
    assert isinstance(ours, LabelledTask) and isinstance(theirs, LabelledTask)
    np.testing.assert_array_equal(ours.reward, [0, 2])
    np.testing.assert_array_equal(theirs.reward, [2, 0])
    assert kept_task(RecordedTaskConfig(), folder) == RecordedTaskConfig()


def test_a_folders_labels_elsewhere_are_not_opened(tmp_path: Path) -> None:
    task = LabelledTaskConfig(tmp_path / "elsewhere.npz")
    np.savez(task.file, obs=np.eye(2), reward=np.array([0.0, 2.0]))
    folder, env = tmp_path / "run", EnvSpec("test/It-v0")
    said: list[str] = []
    assert trusted_judge(task, env, folder, (), warn=said.append, remedy="") == Judge(knows_promise=False)
    assert len(said) == 1 and "has no copy of its labels" in said[0]
    folder.mkdir()
    keep_labels(task, folder)
    judge = trusted_judge(kept_task(task, folder), env, folder, (), warn=said.append, remedy="")
    assert isinstance(judge.task, LabelledTask) and len(said) == 1


def test_a_preference_is_built_from_its_configuration() -> None:
    task = build_task(parse_task("regions:2,0,0,1,1;-0.5,0.5,-1,4,0.4"))
    np.testing.assert_array_equal(task.rewards(_transitions(_ROWS)), [2, 1.5, 2, 0])


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (GoalTask(np.zeros(3, np.float32)), "The goal has 3 coordinates, the observations have 1"),
        (LabelledTask(np.zeros((4, 2), np.float32), np.arange(4, dtype=np.float32)), "of 2 numbers, the dataset has 1"),
        (
            PreferenceTask(np.ones(1, np.float32), np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)),
            "the observations have one number",
        ),
    ],
    ids=["goal", "labels", "regions"],
)
def test_a_task_of_another_width_is_refused(task: GoalTask | LabelledTask | PreferenceTask, said: str) -> None:
    rows = np.zeros((5, 1), np.float32)
    with pytest.raises(ConfigError, match=said):
        task.judge(rows, rows, rows)


def test_a_reward_too_large_to_learn_from_can_still_be_judged() -> None:
    rows = np.linspace(0, 1, 5, dtype=np.float32)[:, None]
    flags = np.zeros(5, bool)
    task = RewardTask(lambda obs, action, next_obs: 1e13 * np.asarray(obs)[:, 0])
    with pytest.raises(ConfigError, match="as large as 1e.13.*stays below 1e.12"):
        task.rewards(Transitions(rows, rows, rows[:, 0], rows, flags, flags))
    assert task.judge(rows, rows, rows)[-1] == np.float32(1e13)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("owma.envs.kitchen:microwave", r"owma\.envs\.kitchen:microwave raised ValueError \(.* 4 numbers; Franka"),
        ("owma.envs.ogbench:cube_single_task1", r"owma\.envs\.ogbench:cube_single_task1 raised ValueError \("),
        ("hopper-forward", r"owma\.envs\.hopper:forward raised IndexError \(index 5 is out of bounds"),
    ],
)
def test_a_reward_of_another_environment_is_refused(spec: str, said: str) -> None:
    rows = np.zeros((5, 4), np.float32)
    task = build_task(parse_task(spec))
    assert isinstance(task, RewardTask)
    widths = r".*observations of 4 numbers, actions of 2 and next observations of 4; choose a task"
    with pytest.raises(ConfigError, match=said + widths) as refusal:
        task.judge(rows, rows[:, :2], rows)
    assert isinstance(refusal.value.__cause__, ValueError | IndexError)
    with pytest.raises(ConfigError, match=said + widths.replace("actions of 2", "actions of 1")):
        task.rewards(_transitions(rows))


def test_a_mistake_in_a_reward_function_says_where_it_is() -> None:
    def mine(obs, action, next_obs):
        raise KeyError("speed\nof what")

    said = r"reward test_tasks:mine raised KeyError \(.*speed.*test_tasks.py, line \d+\).*or mend the function"
    with pytest.raises(ConfigError, match=said) as refusal:
        RewardTask(mine).rewards(_transitions(_ROWS))
    assert isinstance(refusal.value.__cause__, KeyError) and "\n" not in str(refusal.value)
    no_numbers: Any = lambda *_: {"reward": 1.0}  # noqa: E731
    too_few: Any = lambda obs: obs[:, 0]  # noqa: E731
    for function, said in ((no_numbers, "returned a dict; it must"), (too_few, r"raised TypeError \(")):
        with pytest.raises(ConfigError, match=said):
            RewardTask(function).rewards(_transitions(_ROWS))
    with pytest.raises(ConfigError, match="functools.partial.* returned shape"):
        RewardTask(functools.partial(lambda size, *_: np.ones(size), 2)).rewards(_transitions(_ROWS))


def _exits(obs: np.ndarray) -> np.ndarray:
    del obs
    raise SystemExit(3)


def _asserts(obs: np.ndarray) -> np.ndarray:
    raise AssertionError


_X = np.linspace(-1, 1, 50)


@pytest.mark.cases
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: None, "returned nothing"),
        (lambda x: x + 1j, "returned complex numbers"),
        (lambda x: [str(number) for number in x], "returned text"),
        (lambda x: np.array([str(number) for number in x], object), "array of objects, among them a str"),
        (lambda x: np.ma.masked_less(x, 0), "returned a masked array"),
        (lambda x: (number for number in x), "returned a generator"),
        (lambda x: x * 1e39, "as large as 1e.39, which is too large for float32: divide it"),
        (lambda x: x * 1e300, "as large as 1e.300, which is too large for float32: divide it"),
        (lambda x: 1e6 + 0.01 * x, r"from 999999.99 to 1000000.01, and rounding .* 50% of that range: subtract"),
        (lambda x: 1e9 + x, r"from 999999999 to 1000000001, and rounding .* 50% of that range: subtract"),
        (lambda x: 0 * x + 0.1, "is 0.1 for every transition"),
        (lambda x: 0.1 + np.where(x > 0, 1e-17, 0.0) + np.where(x < 0, 2e-17, 0), "is 0.1 for every transition"),
        (_exits, r"raised SystemExit \(3; .*test_tasks.py, line \d+\)"),
        (_asserts, r"raised AssertionError \([^;]*test_tasks.py, line \d+\)"),
        (lambda x: np.stack([x, x[:3]]), r"raised ValueError \(.*; .*test_tasks.py, line \d+\)"),
    ],
)
def test_what_is_no_reward_is_named(function: Any, said: str) -> None:
    task = RewardTask(lambda obs, action, next_obs: function(next_obs[:, 0].astype(np.float64)))
    with pytest.raises(ConfigError, match=said) as refusal:
        task.rewards(_transitions(_X[:, None]))
    assert "\n" not in str(refusal.value)


@pytest.mark.cases
def test_an_offset_that_float32_holds_is_no_matter() -> None:
    task = RewardTask(lambda obs, action, next_obs: 1000 + next_obs[:, 0].astype(np.float64))
    np.testing.assert_allclose(task.rewards(_transitions(_X[:, None])), 1000 + _X, atol=1e-4)
    objects = RewardTask(lambda obs, action, next_obs: np.array([float(x) for x in next_obs[:, 0]], object))
    np.testing.assert_array_equal(objects.rewards(_transitions(_X[:, None])), np.float32(_X))
