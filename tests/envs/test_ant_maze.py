"""AntMaze with a goal that stays where a task says it is."""

import gymnasium as gym
import numpy as np
import pytest

from owma.envs import ANT_MAZE_ID, maze_of, read_env, without_goal

MAP = [[1, 1, 1, 1, 1], [1, "r", 0, 0, 1], [1, 1, 1, 0, 1], [1, "g", 0, 0, 1], [1, 1, 1, 1, 1]]


@pytest.fixture(scope="module")
def env():
    made = gym.make(ANT_MAZE_ID, maze_map=MAP)
    yield made
    made.close()


def test_goals_are_exact_and_starts_are_not(env):
    starts = []
    for seed in (0, 1, 0):
        obs, info = env.reset(seed=seed)
        assert obs["desired_goal"].tolist() == [-4.0, -4.0] and not info["success"]
        assert env.observation_space.contains(obs) and obs["observation"].shape == (27,)
        assert np.abs(obs["achieved_goal"] - [-4, 4]).max() <= 1.0
        starts.append(obs["achieved_goal"])
    assert np.array_equal(starts[0], starts[2]) and not np.array_equal(starts[0], starts[1])


def test_rewards_are_of_the_exact_goal(env):
    env.reset(seed=0)
    maze = env.unwrapped._maze

    def put(x, y):
        position = maze.data.qpos.copy()
        position[:3] = x, y, 0.75
        maze.ant_env.set_state(position, np.zeros_like(maze.data.qvel))
        return env.step(np.zeros(8, np.float32))

    for x, y, reached in ((-4.0, -3.7, True), (-4.0, -3.4, False), (-4.0, -4.0, True)):
        obs, reward, terminated, truncated, info = put(x, y)
        assert reward == float(reached) and info["success"] == reached and not (terminated or truncated)
        assert obs["desired_goal"].tolist() == [-4.0, -4.0]  # and stays


def test_an_episode_ends_at_the_goal_or_the_goal_moves_where_that_is_asked_for():
    for kwargs in ({"continuing_task": False}, {"reset_target": True}):
        free = [[0 if cell != 1 else 1 for cell in row] for row in MAP]
        env = gym.make(ANT_MAZE_ID, maze_map=free, **kwargs)
        first, _ = env.reset(seed=0, options={"goal_cell": np.array([1, 1]), "reset_cell": np.array([1, 3])})
        maze = env.unwrapped._maze  # pyright: ignore[reportAttributeAccessIssue]
        position = maze.data.qpos.copy()
        position[:2] = first["desired_goal"]
        maze.ant_env.set_state(position, np.zeros_like(maze.data.qvel))
        _, reward, terminated, *_ = env.step(np.zeros(8, np.float32))
        assert reward == 1.0 and terminated == ("continuing_task" in kwargs)
        goal = env.step(np.zeros(8, np.float32))[0]["desired_goal"]
        assert np.array_equal(goal, first["desired_goal"]) != ("reset_target" in kwargs)
        assert np.array_equal((goal / 4) % 1, [0, 0])  # a centre again
        env.close()


def test_it_is_a_maze_to_those_that_draw_and_sweep_mazes_and_a_registered_one_to_readers():
    spec = gym.spec(ANT_MAZE_ID)
    spec.kwargs["maze_map"] = MAP
    assert maze_of(spec) == (MAP, 4.0)
    assert without_goal(spec).kwargs == {"maze_map": MAP, "continuing_task": True, "reset_target": False}
    assert read_env(spec.to_json(), "it").kwargs == {"maze_map": MAP}
    del spec.kwargs["maze_map"]
