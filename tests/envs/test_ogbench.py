"""OGBench's environments: seeds that count, their own rewards, and nothing that a file could choose."""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
import pytest

from owma._internal.errors import ConfigError
from owma.config.data import OgbenchFile
from owma.config.presets import OGBENCH_CUBE, OGBENCH_STITCH
from owma.config.task import GoalTaskConfig, RewardTaskConfig, TaskConfig
from owma.envs import (
    EPISODE_STEPS,
    OGBENCH_ID,
    goal_env,
    ogbench as environments,
    ogbench_name,
    read_env,
    task_env,
    task_reward,
    without_goal,
)
from owma.envs.make import check_env, vector_env
from owma.envs.ogbench import TASKS
from owma.train.inputs import prepare_inputs


def _path(env, seed, steps=8):
    rows = [env.reset(seed=seed)[0]]
    rng = np.random.default_rng(0)
    for _ in range(steps):
        rows.append(env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))[0])
    return np.array(rows)


@pytest.fixture(scope="module", autouse=True)
def _installed():
    pytest.importorskip("ogbench")


@pytest.mark.parametrize("name", ["pointmaze-medium", "cube-single"])
def test_seeds_decide_and_the_global_random_numbers_do_not(name):
    env = gym.make(f"owma/ogbench-{name}-v0")
    first = _path(env, 3)
    np.random.seed(5)
    again, other = _path(env, 3), _path(env, 4)
    drawn = np.random.uniform()
    np.random.seed(5)
    assert drawn == np.random.uniform()  # nor does it use them up
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], other[0])
    env.close()


def test_tasks_pay_what_the_environment_pays():
    for number in range(1, 6):
        env = gym.make(f"owma/ogbench-pointmaze-medium-task{number}-v0")
        inner, reward = cast(Any, env.unwrapped).inner, getattr(environments, f"pointmaze_medium_task{number}")
        env.reset(seed=0)
        for offset in (3.0, 0.9):
            inner.set_xy(np.array(inner.cur_goal_xy) - [offset, 0.0])
            obs, action = inner.get_ob(), np.zeros(2, np.float32)
            after, paid, terminated, _, info = env.step(action)
            assert paid == reward(obs, action, after) == (0.0 if offset < 1 else -1.0)
            assert terminated == info["success"] == (offset < 1)
        env.close()


def test_tasks_of_the_cube_are_where_the_environment_has_them():
    for number in range(1, 6):
        env = gym.make(f"owma/ogbench-cube-single-task{number}-v0")
        inner, reward = cast(Any, env.unwrapped).inner, getattr(environments, f"cube_single_task{number}")
        _, goal_info = env.reset(seed=0)
        goal, start = goal_info["goal"], inner.compute_observation()
        assert reward(goal, np.zeros(5), goal) == 0.0 and reward(start, np.zeros(5), start) == -1.0
        # Of many cubes about the goal, the same are there.
        ((first, place, radius),) = TASKS[f"cube_single_task{number}"]
        assert first == 19 and radius == pytest.approx(0.4)
        np.testing.assert_allclose(inner.cur_task_info["goal_xyzs"][0] * 10 - [4.25, 0, 0], place, atol=1e-6)
        env.close()


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("name", ["scene", "puzzle-3x3"])
def test_tasks_of_many_things_pay_what_the_environment_pays(name, number):
    env = gym.make(f"owma/ogbench-{name}-task{number}-v0")
    inner, reward = cast(Any, env.unwrapped).inner, getattr(environments, f"{name.replace('-', '_')}_task{number}")
    before, info = env.reset(seed=0)
    goal, none = info["goal"], np.zeros(5)
    assert inner.cur_task_id == number and reward(goal, none, goal) == 0.0
    rng, paid = np.random.default_rng(number), set()
    for _ in range(5):
        after, reward_, *_ = env.step(rng.uniform(-1, 1, 5).astype(np.float32))
        assert reward_ == reward(before, none, after) < 0
        before = after
    # Anywhere about the goal, on both sides of what counts as there.
    for _ in range(60):
        inner._cur_button_states = np.where(
            rng.uniform(size=len(inner._target_button_states)) < 0.9,
            inner._target_button_states,
            1 - inner._target_button_states,
        )
        if name == "scene":
            cube = inner._data.mocap_pos[inner._cube_target_mocap_ids[0]]
            inner._data.joint("object_joint_0").qpos[:3] = cube + rng.uniform(-0.03, 0.03, 3)
            inner._data.joint("drawer_slide").qpos[0] = inner._target_drawer_pos + rng.uniform(-0.06, 0.06)
            inner._data.joint("window_slide").qpos[0] = inner._target_window_pos + rng.uniform(-0.06, 0.06)
        obs = inner.compute_observation().astype(np.float32)
        paid.add(inner.compute_reward())
        assert inner.compute_reward() == reward(obs, none, obs)
    assert {0.0, -1.0, -2.0} <= paid
    # And it is the environment that ends there.
    inner._cur_button_states = inner._target_button_states.copy()
    if name == "scene":
        inner._data.joint("object_joint_0").qpos[:3] = inner._data.mocap_pos[inner._cube_target_mocap_ids[0]]
        inner._data.joint("drawer_slide").qpos[0] = inner._target_drawer_pos
        inner._data.joint("window_slide").qpos[0] = inner._target_window_pos
    inner.post_step()
    _, reward_, terminated, _, info = env.step(np.zeros(5, np.float32))
    assert reward_ == 0.0 and terminated and info["success"]
    env.close()


def test_a_slope_is_of_places_and_not_of_buttons():
    about = np.zeros(40, np.float32)
    for first, values, _ in TASKS["scene_task1"]:
        about[first : first + len(values)] = values
    assert task_reward("scene_task1", 0.5)(about, about, about) == 0.0
    far = about.copy()
    far[19] += 0.4 + 0.5  # the cube, by its tolerance and one falloff
    assert task_reward("scene_task1", 0.5)(far, far, far) == pytest.approx(np.exp(-0.5) - 1, abs=1e-6)
    assert task_reward("scene_task1")(far, far, far) == -1.0
    far[29] = 0.0  # the first button, besides
    assert task_reward("scene_task1", 0.5)(far, far, far) == pytest.approx(np.exp(-0.5) - 2, abs=1e-6)


def test_without_its_goal_an_environment_goes_on_where_that_is_reached():
    for spec, ends in ((gym.spec("owma/ogbench-pointmaze-medium-task2-v0"), True), (None, False)):
        env = gym.make(spec or without_goal(gym.spec("owma/ogbench-pointmaze-medium-task2-v0")))
        inner = cast(Any, env.unwrapped).inner
        env.reset(seed=0)
        inner.set_xy(np.array(inner.cur_goal_xy))
        *_, terminated, truncated, info = env.step(np.zeros(2, np.float32))
        assert (terminated, truncated, info["success"]) == (ends, False, True)
        env.close()


@pytest.mark.parametrize(
    ("env_id", "name"),
    [
        ("owma/ogbench-puzzle-3x3-v0", "puzzle-3x3"),
        ("owma/ogbench-pointmaze-large-task4-v0", "pointmaze-large"),
        ("owma/TwoRoutes-v0", None),
        ("CartPole-v1", None),
    ],
)
def test_names_of_environments(env_id, name):
    assert ogbench_name(gym.spec(env_id)) == name


def test_every_environment_has_its_ids_and_readers_know_them():
    for name, steps in EPISODE_STEPS.items():
        spec = gym.spec(f"owma/ogbench-{name}-task5-v0")
        assert spec.max_episode_steps == steps and read_env(spec.to_json(), "it") == spec
    with pytest.raises(ValueError, match="observations of 2 numbers are of another environment"):
        environments.__getattr__("cube_single_task1")(np.zeros((3, 2)), np.zeros((3, 5)), np.zeros((3, 2)))
    assert {int(name[-1]) for name in TASKS} == {1, 2, 3, 4, 5} and len(TASKS) == 5 * len(EPISODE_STEPS)
    assert all(task_env(name).id in gym.registry for name in TASKS)


def test_a_task_of_ogbench_is_evaluated_where_it_is_one(tmp_path: Path) -> None:
    rows = np.stack([np.linspace(0, 20, 40), np.zeros(40)], axis=1)  # in metres, to the goal of the second task
    np.savez(tmp_path / "a.npz", observations=rows, actions=np.zeros((40, 2)), terminals=np.arange(40) == 39)

    def env_id(task: TaskConfig, env: str | None = None) -> str | None:
        nothing = contextlib.nullcontext(lambda *_, **__: None)
        inputs = prepare_inputs(OgbenchFile(tmp_path / "a.npz"), task, lambda *_: nothing, env=env, needs_env=False)
        return None if inputs.env is None else inputs.env.id

    second = RewardTaskConfig("owma.envs.ogbench:pointmaze_medium_task2")
    assert env_id(second) == "owma/ogbench-pointmaze-medium-task2-v0"
    assert env_id(second, env="owma/ogbench-pointmaze-medium-v0") == "owma/ogbench-pointmaze-medium-v0"
    assert env_id(GoalTaskConfig((20.0, 0.0))) is None
    with pytest.raises(
        ConfigError, match="task is of owma/ogbench-pointmaze-medium-task2-v0, .* choose a task of that"
    ):
        env_id(second, env="owma/ogbench-pointmaze-large-v0")


def test_copies_are_stepped_together_each_with_its_own_numbers():
    spec = gym.spec("owma/ogbench-pointmaze-medium-task3-v0")
    check_env(spec, None, obs_dim=2, action_dim=2)
    with pytest.raises(ConfigError, match="does not fit the dataset"):
        check_env(spec, None, obs_dim=28, action_dim=2)
    with vector_env(spec, 2) as envs:
        first, _ = cast(Any, envs).reset(seed=[0, 1])
        *_, infos = envs.step(np.zeros((2, 2), np.float32))
        assert infos["success"].tolist() == [False, False]
        again, _ = cast(Any, envs).reset(seed=[1, 0])
    np.testing.assert_array_equal(first, again[::-1])


@pytest.mark.parametrize(("name", "number"), [("pointmaze-medium", 2), ("pointmaze-large", 5)])
def test_a_goal_is_told_as_ogbench_tells_it(name, number):
    """From the same random numbers the same start and goal as its own environment; success is what it says."""
    env, theirs = gym.make(goal_env(name, number)), gym.make(f"{name}-v0")
    inner, own = cast(Any, theirs.unwrapped), cast(Any, env.unwrapped).inner
    inner.action_space.seed(3)
    before = np.random.get_state()
    np.random.seed(3)
    start, info = theirs.reset(seed=3, options={"task_id": number})
    np.random.set_state(before)
    shown, said = env.reset(seed=3)
    np.testing.assert_array_equal(shown["observation"], start)
    np.testing.assert_array_equal(shown["desired_goal"], info["goal"])
    # Both ends are moved by up to a metre along either axis, from the middles of the task's cells.
    ends = inner.task_infos[number - 1]
    assert np.abs(start - ends["init_xy"]).max() <= 1 and 0 < np.abs(info["goal"] - ends["goal_xy"]).max() <= 1
    assert not said["success"] and env.spec is not None and env.spec.max_episode_steps == 1000
    for away, reached in ((1.5, False), (0.5, True)):
        own.set_xy(np.array(own.cur_goal_xy) + [away, 0.0])
        after, reward, terminated, _, step = env.step(np.zeros(2, np.float32))
        assert (reward, terminated, step["success"]) == (float(reached), reached, reached)
        np.testing.assert_array_equal(after["desired_goal"], shown["desired_goal"])
    env.close()
    theirs.close()


def test_the_goal_of_a_cube_is_a_state_in_which_it_is_there():
    env = gym.make(goal_env("cube-single", 4))
    shown, said = env.reset(seed=0)
    ((first, place, tolerance),) = TASKS["cube_single_task4"]
    assert np.linalg.norm(shown["desired_goal"][first : first + 3] - place) < tolerance
    assert np.linalg.norm(shown["observation"][first : first + 3] - place) > tolerance and not said["success"]
    env.close()


def test_presets_are_of_the_default_tasks():
    for preset, env_name in ((OGBENCH_STITCH, "pointmaze-medium"), (OGBENCH_CUBE, "cube-single")):
        env = gym.make(f"owma/ogbench-{env_name}-v0")
        env.reset(seed=0)
        number = cast(Any, env.unwrapped).inner.cur_task_id
        env.close()
        task = preset.task
        assert isinstance(task, GoalTaskConfig)
        place = task.first_coordinate, task.goal, task.radius
        ((first, goal, radius),) = TASKS[f"{env_name.replace('-', '_')}_task{number}"]
        assert place == (first, pytest.approx(goal), radius)


@pytest.mark.parametrize("env_id", ["os:system-v0", "CartPole-v1", "pointmaze-tiny-v0", "powderworld-easy-v0"])
def test_only_environments_of_ogbench_are_made(env_id):
    with pytest.raises(ConfigError, match="OGBench has no environment"):
        gym.make(OGBENCH_ID, env_id=env_id)


def test_without_the_package_there_is_a_sentence_and_no_task_is_lost():
    code = """
import sys
sys.modules["ogbench"] = None
import gymnasium, owma.envs
from owma._internal.errors import ConfigError
assert owma.envs.ogbench.cube_single_task1.__name__ == "cube_single_task1"
try:
    gymnasium.make("owma/ogbench-cube-single-v0")
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'owma[ogbench]'" in done.stdout, done.stderr
    names = "pointmaze_medium_task1, .*, scene_task1, puzzle_3x3_task1, each up to _task5"
    with pytest.raises(AttributeError, match=f"no attribute 'pointmaze_medium_task6'; .*{names}"):
        environments.pointmaze_medium_task6  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
