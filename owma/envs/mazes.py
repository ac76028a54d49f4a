"""Mazes of gymnasium-robotics as maps: which environment is one, and where its cells lie."""

import copy

from gymnasium.envs.registration import EnvSpec

from owma.envs.ogbench import ogbench_name
from owma.envs.two_routes import MAZE_MAP, TWO_ROUTES_ID, MazeMap, cell_center

_CELL_SIZES = {"PointMaze": 1.0, "AntMaze": 4.0}
"""Metres of a cell's side, by how the id begins: gymnasium-robotics' `maze_size_scaling`."""


def maze_of(env: EnvSpec) -> tuple[MazeMap, float] | None:
    """The map of a maze and the length of a cell's side in metres; `None` of any other environment."""
    if env.id == TWO_ROUTES_ID:
        return MAZE_MAP, 1.0
    maze_map = env.kwargs.get("maze_map")
    size = next((size for name, size in _CELL_SIZES.items() if env.id.split("/")[-1].startswith(name)), 1.0)
    return None if maze_map is None else (maze_map, size)


def cell_position(row: int, col: int, maze_map: MazeMap, cell_size: float) -> tuple[float, float]:
    """The centre (x, y) of a cell, in metres."""
    x, y = cell_center(row, col, maze_map)
    return cell_size * x, cell_size * y


def without_goal(env: EnvSpec) -> EnvSpec:
    """The same maze, or environment of OGBench, in which reaching its own goal neither ends the episode nor moves the
    goal: what an agent with another task is to be judged in. Other environments come back as they are.
    """
    if "maze_map" in env.kwargs:
        changes = {"continuing_task": True, "reset_target": False}
    elif ogbench_name(env) is not None:
        changes = {"terminate_at_goal": False}
    else:
        return env
    changed = copy.deepcopy(env)
    changed.kwargs |= changes
    return changed
