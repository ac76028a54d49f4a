"""Rewards of Hopper and of Franka Kitchen: formulas by hand, and the layout that they rely on from the simulators."""

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest

from owma.config.task import parse_task
from owma.envs import hopper, kitchen, load_robotics
from owma.outcomes.tasks import AbstractRewardTask, build_task

_NONE, _NONE3, _ACTION = np.zeros((2, 3)), np.zeros((3, 3)), np.zeros(3)


def _hopper(height: float, angle: float, speed: float, rise: float) -> np.ndarray:
    state = np.full(11, 100.0)  # whatever else is there must not count
    state[[0, 1, 5, 6]] = height, angle, speed, rise
    return state


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        (hopper.forward, [2.0, -0.5]),
        (hopper.backward, [-2.0, 0.5]),
        (hopper.stand, [0.8 * np.cos(0.2) * np.exp(-4.0), np.exp(-0.25)]),
        (hopper.jump, [0.0, 3.0]),
    ],
)
def test_hopper_by_hand(reward: Callable[..., np.ndarray], expected: list[float]) -> None:
    states = np.stack([_hopper(1.0, 0.2, 2.0, -1.0), _hopper(1.5, 0.0, -0.5, 3.0)])
    np.testing.assert_allclose(reward(states, _NONE, states), expected)
    np.testing.assert_allclose(reward(states[0], _NONE[0], states[0]), expected[0])  # any leading axes


def test_hopper_reads_the_simulators_observation() -> None:
    env = gym.make("Hopper-v5", disable_env_checker=True)
    obs, _ = env.reset(seed=0)
    data = env.unwrapped.data  # pyright: ignore[reportAttributeAccessIssue]
    for _ in range(5):
        obs, *_ = env.step(np.array([0.3, -0.2, 0.5], np.float32))
    speed, rise = data.qvel[:2]
    assert abs(speed) > 1e-3
    assert hopper.forward(obs, _ACTION, obs) == pytest.approx(speed)
    assert hopper.jump(obs, _ACTION, obs) == pytest.approx(max(rise, 0.0))
    height, angle = data.qpos[1:3]
    assert hopper.STANDING_HEIGHT == pytest.approx(height, abs=0.1)
    upright = min(height / 1.25, 1) * np.cos(angle) * np.exp(-(speed**2))
    assert hopper.stand(obs, _ACTION, obs) == pytest.approx(upright)
    env.close()


def test_the_kitchens_objects_are_those_of_gymnasium_robotics() -> None:
    load_robotics()
    from gymnasium_robotics.envs.franka_kitchen import kitchen_env as theirs

    assert kitchen.THRESHOLD == theirs.BONUS_THRESH
    assert set(kitchen.OBJECTS) == set(theirs.OBS_ELEMENT_GOALS)
    for name, (joints, goal) in kitchen.OBJECTS.items():
        np.testing.assert_array_equal(joints, theirs.OBS_ELEMENT_INDICES[name])
        np.testing.assert_allclose(goal, theirs.OBS_ELEMENT_GOALS[name])


@pytest.mark.parametrize("name", list(kitchen.OBJECTS))
def test_each_subtask_pays_while_its_object_is_done(name: str) -> None:
    reward: Callable[..., np.ndarray] = getattr(kitchen, name.replace(" ", "_"))
    joints, goal = kitchen.OBJECTS[name]
    positions = np.full((3, 30), 9.0)  # every other object is far from where it is to be
    positions[:, joints] = goal
    positions[1, joints[0]] += 0.29
    positions[2, joints[0]] += 0.31
    obs = np.concatenate([positions[:, :9], np.zeros((3, 9)), positions[:, 9:], np.zeros((3, 20))], axis=1)
    with pytest.raises(ValueError, match="of 30 numbers; FrankaKitchen-v1 has 59"):
        reward(positions, _NONE3, positions)
    np.testing.assert_array_equal(reward(obs, _NONE3, obs), [1, 1, 0])
    # D4RL's own files: positions without velocities, then goals, which must not count.
    goals = np.full((3, 30), 9.0)
    goals[2, joints] = goal
    of_d4rl = np.concatenate([positions, goals], axis=1)
    np.testing.assert_array_equal(reward(of_d4rl, _NONE3, of_d4rl), [1, 1, 0])
    four = kitchen.four_of_partial(obs, _NONE3, obs) + kitchen.four_of_mixed(obs, _NONE3, obs)
    both, one = ("microwave", "kettle", "light switch"), ("slide cabinet", "bottom burner")
    np.testing.assert_array_equal(four, np.array([1, 1, 0]) * (2 if name in both else 1 if name in one else 0))


def test_an_unknown_object_is_refused() -> None:
    with pytest.raises(ValueError, match="no 'toaster'"):
        kitchen.completed(np.zeros((1, 59)), ("toaster",))


@pytest.mark.parametrize("name", ["hopper:forward", "hopper:stand", "kitchen:kettle"])
def test_they_are_tasks_by_name(name: str) -> None:
    task = build_task(parse_task(f"owma.envs.{name}"))
    assert isinstance(task, AbstractRewardTask)
    rows = np.zeros((2, 11 if "hopper" in name else 59), np.float32)
    assert task.judge(rows, _NONE, rows).shape == (2,)


@pytest.mark.parametrize("name", ["forward", "backward", "stand", "jump"])
def test_hoppers_tasks_have_names_of_their_own(name: str) -> None:
    assert parse_task(f"hopper-{name}") == parse_task(f"owma.envs.hopper:{name}")
