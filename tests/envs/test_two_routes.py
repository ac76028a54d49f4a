import math
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from jaxtyping import TypeCheckError

import owma.envs
from owma.collect.waypoints import WaypointFollower
from owma.envs import GOAL_CELL, MAZE_MAP, START_CELL, Route, cell_at, cell_center, preferred_route_reward


@pytest.fixture
def env():
    env = gym.make(owma.envs.TWO_ROUTES_ID)
    yield env
    env.close()


def state(x, y, vx=0.0, vy=0.0):
    return np.array([x, y, vx, vy], dtype=np.float32)


def reward(x: float, y: float, preferred: Route = "lower") -> float:
    obs = state(x, y)
    return float(preferred_route_reward(obs, np.zeros(2, np.float32), obs, preferred=preferred))


def drive(env, cells, steps=300):
    """Follow the centres of `cells`; every step's (reward, info)."""
    obs, _ = env.reset(seed=0)
    follower = WaypointFollower(np.array([cell_center(*cell) for cell in cells]))
    rows = []
    for _ in range(steps):
        obs, r, terminated, truncated, info = env.step(np.array(follower.act(obs), np.float32))
        rows.append((r, info))
        assert not terminated
        if truncated:
            break
    return rows


def test_import_loads_no_simulator():
    code = (
        "import sys, owma.envs; owma.envs.preferred_route_reward;"
        "assert not {'mujoco', 'gymnasium_robotics'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_map_is_a_ring_with_two_routes():
    assert sum(cell == 1 for row in MAZE_MAP for cell in row) == 24 + 9
    assert cell_center(*START_CELL) == (-2.0, 2.0) and cell_center(*GOAL_CELL) == (2.0, -2.0)
    for row in range(7):
        for col in range(7):
            assert cell_at(*cell_center(row, col)) == (row, col)
    assert MAZE_MAP[START_CELL[0]][START_CELL[1]] == MAZE_MAP[GOAL_CELL[0]][GOAL_CELL[1]] == 0


def test_map_agrees_with_the_simulator(env):
    maze = env.unwrapped._maze.maze
    for row in range(7):
        for col in range(7):
            np.testing.assert_allclose(maze.cell_rowcol_to_xy((row, col)), cell_center(row, col))


def test_environment_follows_the_gymnasium_protocol(env, recwarn):
    check_env(env.unwrapped, skip_render_check=True)
    # Unbounded observations are PointMaze's own.
    assert not [warning for warning in recwarn if "Box observation space" not in str(warning.message)]


# By hand, with l = 4: the corner (-2, -2), the goal (2, -2).
@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (-2.0, 0.0, math.exp(-2 / 4)),  # left column, 2 m above the corner
        (-2.25, 2.0, math.exp(-math.hypot(0.25, 4) / 4)),  # start cell, on the lower side of the diagonal
        (-1.75, 2.0, 0.0),  # start cell, on the upper side
        (-2.0, -2.0, 1 + math.exp(-4 / 4)),  # the corner itself is stage 2
        (0.0, -2.0, 1 + math.exp(-2 / 4)),
        (2.0, -1.5625, 2.0),  # within 0.45 of the goal, reached from above
        (2.0, -1.0, 0.0),  # right column
        (0.0, 2.0, 0.0),  # top row
        (2.0, 2.0, 0.0),  # the other corner
    ],
)
def test_reward_by_hand(x, y, expected):
    assert reward(x, y) == pytest.approx(expected, abs=1e-6)
    # `upper` is the mirror image across y = -x.
    assert reward(-y, -x, preferred="upper") == pytest.approx(expected, abs=1e-6)


def test_reward_increases_along_the_preferred_route_only():
    down = [reward(-2.1, y) for y in np.arange(2.0, -2.0, -0.25)]
    right = [reward(x, -2.0) for x in np.arange(-2.0, 2.0, 0.25)]
    assert np.all(np.diff(down + right) >= 0) and down[0] < 0.4 < 1.9 < right[-1]
    assert {reward(x, 2.0) for x in np.arange(-1.5, 2.0, 0.25)} == {0.0}


def test_reward_is_vectorised_and_reads_position_only():
    rng = np.random.default_rng(0)
    next_obs = rng.uniform(-2.5, 2.5, (3, 5, 4)).astype(np.float32)
    rewards = preferred_route_reward(next_obs * 0, np.zeros((3, 5, 2), np.float32), next_obs)
    assert rewards.shape == (3, 5) and rewards.dtype == np.float32
    for index in np.ndindex(3, 5):
        x, y = next_obs[index][:2]
        assert rewards[index] == pytest.approx(reward(x, y), abs=1e-6)


def test_unknown_route_is_refused():
    # The test session's type checker comes first where it is on; users without one get the `ValueError`.
    with pytest.raises((ValueError, TypeCheckError), match="'left'"):
        preferred_route_reward(state(0, 0), np.zeros(2), state(0, 0), preferred="left")  # pyright: ignore[reportArgumentType]
    with pytest.raises((ValueError, TypeCheckError), match="'left'"):
        gym.make(owma.envs.TWO_ROUTES_ID, preferred="left")


UPPER = [(1, 3), (1, 5), (3, 5), (5, 5)]
LOWER = [(3, 1), (5, 1), (5, 3), (5, 5)]


@pytest.mark.parametrize("preferred", ["lower", "upper"])
@pytest.mark.parametrize(("cells", "route"), [(UPPER, "upper"), (LOWER, "lower")])
def test_success_is_arrival_by_the_preferred_route(preferred, cells, route):
    env = gym.make(owma.envs.TWO_ROUTES_ID, preferred=preferred)
    rows = drive(env, cells)
    env.close()
    reached = [info["goal_reached"] for _, info in rows]
    success = [info["success"] for _, info in rows]
    assert len(rows) == 300 and reached[-1] and rows[-1][1]["route"] == route
    assert success[-1] == (route == preferred)
    # Both stick, and success never precedes arrival.
    assert reached == sorted(reached) and success == sorted(success) and sum(success) in (0, sum(reached))
    assert rows[-1][0] == 2.0


@pytest.mark.parametrize(
    ("cells", "route"),
    [
        ([(5, 1), (1, 1), *UPPER], "lower"),  # the other corner on the way
        ([*UPPER, (5, 1), *LOWER[2:]], "upper"),  # the preferred corner only after the arrival
    ],
)
def test_a_detour_is_no_success(cells, route):
    env = gym.make(owma.envs.TWO_ROUTES_ID, max_episode_steps=800)
    info = drive(env, cells, steps=800)[-1][1]
    env.close()
    assert info["goal_reached"] and not info["success"] and info["route"] == route


def test_start_and_goal_stay_and_observations_are_copies(env):
    resets = [env.reset(seed=seed) for seed in range(5)]
    for obs, info in resets:
        assert cell_at(*obs["achieved_goal"]) == START_CELL and info["route"] == "none"
        np.testing.assert_array_equal(obs["desired_goal"], [2.0, -2.0])
    starts = [obs["achieved_goal"] for obs, _ in resets]
    assert np.ptp(starts, axis=0).min() > 0.05  # PointMaze's jitter
    obs, _ = resets[-1]
    kept = {key: value.copy() for key, value in obs.items()}
    new, *_ = env.step(np.ones(2, np.float32))
    for key in kept:
        np.testing.assert_array_equal(obs[key], kept[key])
        new[key][:] = 99.0
    after, *_ = env.step(np.zeros(2, np.float32))
    assert all(np.abs(value).max() < 10 for value in after.values())


def test_vectorised_infos():
    envs = gym.make_vec(owma.envs.TWO_ROUTES_ID, num_envs=2)
    envs.reset(seed=0)
    *_, infos = envs.step(np.zeros((2, 2), np.float32))
    envs.close()
    assert infos["success"].tolist() == [False, False] and infos["route"].tolist() == ["none", "none"]


@pytest.mark.cases
def test_gymnasium_makes_it_by_its_name_alone() -> None:
    """Gymnasium imports the module before the colon; from version 1.0 on it looks for no plugins."""
    script = 'import gymnasium; gymnasium.make("owma.envs:owma/TwoRoutes-v0").reset(seed=0)'
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
