"""Gymnasium environments of our own; importing this package registers them and loads no simulator."""

from typing import TYPE_CHECKING

import gymnasium as gym

from owma._internal.moved import renamed
from owma.envs.ant_maze import ANT_MAZE_ID as ANT_MAZE_ID, AntMazeEnv as AntMazeEnv
from owma.envs.guards import (
    actions_inside as actions_inside,
    check_rewards as check_rewards,
    environment_errors as environment_errors,
    finite_observations as finite_observations,
)
from owma.envs.make import (
    MOST_STEPS as MOST_STEPS,
    check_env as check_env,
    limit_note as limit_note,
    make_env as make_env,
    statistics_note as statistics_note,
    vector_env as vector_env,
)
from owma.envs.mazes import cell_position as cell_position, maze_of as maze_of, without_goal as without_goal
from owma.envs.ogbench import (
    EPISODE_STEPS as EPISODE_STEPS,
    OGBENCH_ID as OGBENCH_ID,
    OGBenchEnv as OGBenchEnv,
    env_of_reward as env_of_reward,
    goal_env as goal_env,
    ogbench_name as ogbench_name,
    register_ogbench,
    task_env as task_env,
    task_reward as task_reward,
)
from owma.envs.payment import pays as pays
from owma.envs.registered import (
    env_json as env_json,
    find_env as find_env,
    import_modules as import_modules,
    read_env as read_env,
)
from owma.envs.rewards import foreign_reward as foreign_reward
from owma.envs.robotics import load_robotics as load_robotics
from owma.envs.success import reported_success as reported_success
from owma.envs.two_routes import (
    GOAL_CELL as GOAL_CELL,
    GOAL_RADIUS as GOAL_RADIUS,
    MAZE_MAP as MAZE_MAP,
    START_CELL as START_CELL,
    TWO_ROUTES_ID as TWO_ROUTES_ID,
    MazeMap as MazeMap,
    Route as Route,
    TwoRoutesEnv as TwoRoutesEnv,
    cell_at as cell_at,
    cell_center as cell_center,
    corner_cell as corner_cell,
    paid_ground as paid_ground,
    preferred_route_reward as preferred_route_reward,
    wall_cells as wall_cells,
)

if TWO_ROUTES_ID not in gym.registry:
    gym.register(id=TWO_ROUTES_ID, entry_point="owma.envs.two_routes:TwoRoutesEnv", max_episode_steps=300)
if ANT_MAZE_ID not in gym.registry:
    gym.register(id=ANT_MAZE_ID, entry_point="owma.envs.ant_maze:AntMazeEnv", max_episode_steps=1000)
register_ogbench()

if not TYPE_CHECKING:
    __getattr__ = renamed("owma.envs", {"mistakes_of_the_environment": "environment_errors"})
