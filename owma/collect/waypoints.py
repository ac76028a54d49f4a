"""The scripted controllers that make our datasets: follow jittered waypoints along the cells of a shortest path."""

import math
from collections import deque
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from owma._internal.types import Float
from owma.envs.two_routes import MazeMap, cell_at, cell_center

Cell: TypeAlias = tuple[int, int]
"""The (row, col) of a cell."""

ARRIVAL_RADIUS = 0.45
"""Metres within which a waypoint counts as reached; PointMaze's own radius for goals."""

WAYPOINT_JITTER = 0.25
"""Intermediate waypoints are uniform within this many metres of their cell's centre, per coordinate."""


def cell_path(maze_map: MazeMap, start: Cell, goal: Cell) -> list[Cell]:
    """A shortest path of free cells from `start` to `goal`, both included, by breadth-first search.

    **Raises:** `ValueError` if no path leads there.
    """
    previous: dict[Cell, Cell] = {start: start}
    frontier = deque([start])
    while frontier and goal not in previous:
        row, col = cell = frontier.popleft()
        for neighbour in ((row + 1, col), (row, col + 1), (row - 1, col), (row, col - 1)):
            if neighbour not in previous and _is_free(maze_map, neighbour):
                previous[neighbour] = cell
                frontier.append(neighbour)
    if goal not in previous:
        raise ValueError(f"No path leads from cell {start} to cell {goal}.")
    path = [goal]
    while path[-1] != start:
        path.append(previous[path[-1]])
    return path[::-1]


def free_cell_at(maze_map: MazeMap, x: float, y: float) -> Cell:
    """The cell that holds (x, y) or, where contact has pressed the point into a wall, the nearest free one."""
    cell = cell_at(x, y, maze_map)
    if _is_free(maze_map, cell):
        return cell
    return min(free_cells(maze_map), key=lambda cell: math.dist(cell_center(*cell, maze_map), (x, y)))


def free_cells(maze_map: MazeMap) -> list[Cell]:
    """The cells that are no walls, row by row."""
    cells = [(row, col) for row in range(len(maze_map)) for col in range(len(maze_map[0]))]
    return [cell for cell in cells if _is_free(maze_map, cell)]


def task_cells(maze_map: MazeMap) -> tuple[Cell, Cell]:
    """The start and the goal of the longest task there is from the first free cell."""
    start, *others = free_cells(maze_map)
    return start, max(others, key=lambda cell: len(cell_path(maze_map, start, cell)))


class WaypointFollower:
    """Drives a point mass to one waypoint after another, and stays at the last.

    The action is clip(10 (waypoint − position) − velocity, ±1), noise not included.

    **Arguments:**

    - `waypoints`: positions in metres, in order; at least one.
    """

    def __init__(self, waypoints: Float[np.ndarray, "waypoints 2"]) -> None:
        self._waypoints = [(float(x), float(y)) for x, y in waypoints]
        self._next = 0

    def act(self, obs: Mapping[str, np.ndarray]) -> tuple[float, float]:
        """The force along x and y, each in [-1, 1], for an observation of PointMaze's form."""
        x, y, vx, vy = obs["observation"].tolist()
        last = len(self._waypoints) - 1
        while self._next < last and math.dist(self._waypoints[self._next], (x, y)) <= ARRIVAL_RADIUS:
            self._next += 1
        target_x, target_y = self._waypoints[self._next]
        return _clip(10 * (target_x - x) - vx), _clip(10 * (target_y - y) - vy)


class GoalSeeker:
    """Follows the environment's own goal: plans a path of cells to it, and plans anew when the environment moves it.

    Taking the goal from the observation is what keeps the recorded `desired_goal` true.

    **Arguments:**

    - `maze_map`: the map to plan on.
    - `rng`: draws the jitter of the waypoints.
    """

    def __init__(self, maze_map: MazeMap, rng: np.random.Generator) -> None:
        self._maze_map = maze_map
        self._rng = rng
        self._goal: tuple[float, float] | None = None
        self._follower: WaypointFollower | None = None

    def act(self, obs: Mapping[str, np.ndarray]) -> tuple[float, float]:
        """The force along x and y, each in [-1, 1], for an observation of PointMaze's form."""
        goal_x, goal_y = obs["desired_goal"].tolist()
        if self._follower is None or (goal_x, goal_y) != self._goal:
            waypoints = waypoints_to(self._maze_map, obs["achieved_goal"], obs["desired_goal"], self._rng)
            self._goal, self._follower = (goal_x, goal_y), WaypointFollower(waypoints)
        return self._follower.act(obs)


def waypoints_to(
    maze_map: MazeMap,
    position: Float[np.ndarray, "2"],
    goal: Float[np.ndarray, "2"],
    rng: np.random.Generator,
    cell_size: float = 1.0,
) -> Float[np.ndarray, "waypoints 2"]:
    """Jittered waypoints from a position to a goal, which is the last of them, exactly.

    `position`, `goal` and what is returned are in metres; cells are squares of `cell_size` metres.
    """
    start, end = (free_cell_at(maze_map, *(place / cell_size).tolist()) for place in (position, goal))
    path = cell_path(maze_map, start, end)
    # The cell that the agent is in is no waypoint, unless the goal is in it too.
    waypoints = cell_size * jittered_waypoints(maze_map, path[1:] or path, rng)
    waypoints[-1] = goal
    return waypoints


def jittered_waypoints(
    maze_map: MazeMap, path: list[Cell], rng: np.random.Generator
) -> Float[np.ndarray, "waypoints 2"]:
    """The centres of the cells of `path` in metres, all but the last moved by up to `WAYPOINT_JITTER`."""
    centers = np.array([cell_center(*cell, maze_map) for cell in path])
    jitter = rng.uniform(-WAYPOINT_JITTER, WAYPOINT_JITTER, centers.shape)
    jitter[-1] = 0.0
    return centers + jitter


def _is_free(maze_map: MazeMap, cell: Cell) -> bool:
    row, col = cell
    return 0 <= row < len(maze_map) and 0 <= col < len(maze_map[0]) and maze_map[row][col] != 1


def _clip(force: float) -> float:
    return min(1.0, max(-1.0, force))
