"""Two ways around a block: one common in the data, one rare, and a task that wants the rare one.

The map is a ring of free cells around a 3x3 block. A point mass starts at the top left and is to reach the bottom
right, by the `lower` route (down the left column, then along the bottom row) or the `upper` one (along the top row,
then down the right column). The physics are gymnasium-robotics' PointMaze; the geometry and the reward below need no
simulator, so a dataset can be relabelled and a maze drawn without one.
"""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle

from owma._internal.types import Float, HostArray
from owma.envs.robotics import load_robotics

Route: TypeAlias = Literal["lower", "upper"]
"""The way around the block."""

TWO_ROUTES_ID = "owma/TwoRoutes-v0"

MazeMap: TypeAlias = Sequence[Sequence[int | str]]
"""Rows of cells from the top: 1 is a wall, anything else is free (PointMaze marks some free cells by letters)."""

MAZE_MAP: MazeMap = (
    (1, 1, 1, 1, 1, 1, 1),
    (1, 0, 0, 0, 0, 0, 1),
    (1, 0, 1, 1, 1, 0, 1),
    (1, 0, 1, 1, 1, 0, 1),
    (1, 0, 1, 1, 1, 0, 1),
    (1, 0, 0, 0, 0, 0, 1),
    (1, 1, 1, 1, 1, 1, 1),
)
"""The two-route map; cells are squares of 1 m."""

START_CELL = (1, 1)
GOAL_CELL = (5, 5)
GOAL_RADIUS = 0.45
"""Metres from the centre of the goal cell within which the goal counts as reached."""

REWARD_LENGTH = 4.0
"""The length ℓ of the reward's decay, in metres: the distance from the start to a corner."""


def cell_center(row: int, col: int, maze_map: MazeMap = MAZE_MAP) -> tuple[float, float]:
    """The centre (x, y) of a cell in metres; x grows to the right, y upwards, the origin is the middle of the map."""
    return col + 0.5 - len(maze_map[0]) / 2, len(maze_map) / 2 - (row + 0.5)


def cell_at(x: float, y: float, maze_map: MazeMap = MAZE_MAP) -> tuple[int, int]:
    """The (row, col) of the cell that holds a position in metres; the inverse of `cell_center`."""
    return math.floor(len(maze_map) / 2 - y), math.floor(x + len(maze_map[0]) / 2)


def wall_cells(maze_map: MazeMap = MAZE_MAP) -> tuple[tuple[int, int], ...]:
    """The (row, col) of every wall cell. Deprecated: `MAZE_MAP[row][col]` is 1 there."""
    said = "owma.envs.wall_cells goes with the next minor version; MAZE_MAP[row][col] is 1 for a wall."
    warnings.warn(said, DeprecationWarning, stacklevel=2)
    return tuple((row, col) for row, cells in enumerate(maze_map) for col, wall in enumerate(cells) if wall == 1)


def corner_cell(route: Route) -> tuple[int, int]:
    """The (row, col) of the corner where `route` turns: the one cell that tells the two routes apart."""
    return (GOAL_CELL[0], START_CELL[1]) if route == "lower" else (START_CELL[0], GOAL_CELL[1])


def preferred_route_reward(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
    *,
    preferred: Route = "lower",
) -> Float[np.ndarray, "*batch"]:
    r"""The reward of reaching the goal by the preferred route: dense, in two stages, of position alone.

    With $p$ the position in `next_obs`, $w$ the corner of the preferred route, $g$ the goal, $\ell = 4$ m, and for
    `preferred="lower"`

    $$r = \begin{cases} 2 & |p - g| \le 0.45 \text{ (whichever way it was reached)} \\
    1 + e^{-|p - g|/\ell} & p \text{ in the bottom row, goal cell included (stage 2)} \\
    e^{-|p - w|/\ell} & p \text{ elsewhere below the line from start to goal (stage 1)} \\
    0 & \text{elsewhere} \end{cases}$$

    `preferred="upper"` is the mirror image across the line from start to goal.

    **Arguments:**

    - `obs`, `action`: ignored; they are there because every reward function takes them.
    - `next_obs`: any leading axes, columns x, y (metres) and then whatever follows (velocities).
    - `preferred`: the route that pays.

    **Returns:** rewards between 0 and 2, in the dtype of `next_obs`.

    **Raises:** `ValueError` if `preferred` is not a route.
    """
    del obs, action
    _check_route(preferred)
    position = np.asarray(next_obs)
    x, y = position[..., 0], position[..., 1]
    if preferred == "upper":
        x, y = -y, -x
    corner_x, corner_y = cell_center(*corner_cell("lower"))
    goal_x, goal_y = cell_center(*GOAL_CELL)
    to_corner = np.hypot(x - corner_x, y - corner_y)
    to_goal = np.hypot(x - goal_x, y - goal_y)
    reward = np.where(x + y < 0, np.exp(-to_corner / REWARD_LENGTH), 0.0)
    reward = np.where(y < goal_y + 0.5, 1.0 + np.exp(-to_goal / REWARD_LENGTH), reward)
    return np.where(to_goal <= GOAL_RADIUS, 2.0, reward).astype(position.dtype)


def paid_ground(preferred: Route = "lower") -> list[list[float]]:
    """`preferred_route_reward` amid every cell, as a share of the largest, by rows from the top; 0 in walls.

    Raises `ValueError` if `preferred` is not a route.
    """
    cells = np.array([[cell_center(row, col) for col in range(len(MAZE_MAP[0]))] for row in range(len(MAZE_MAP))])
    reward = preferred_route_reward(cells, cells, cells, preferred=preferred)  # of position alone
    return np.where(np.asarray(MAZE_MAP) == 1, 0.0, reward / reward.max()).tolist()


class TwoRoutesEnv(gym.Env[dict[str, np.ndarray], np.ndarray], EzPickle):
    """The two-route maze, `gymnasium.make("owma.envs:owma/TwoRoutes-v0")`.

    Observations are PointMaze's dict: `observation` (x, y, vx, vy in metres and metres a second), `achieved_goal`
    (x, y) and `desired_goal`. The start is jittered by up to 0.25 m as in PointMaze; the goal is the exact centre of
    its cell, since the reward and the success know no other. Actions are forces in [-1, 1]². An episode never
    terminates.

    `info` holds `success` (the goal was reached by the preferred route: its corner cell visited and the other corner
    not, up to the first arrival), `goal_reached` (by any route) and `route` (`"none"`, or the route whose corner was
    visited first); all three stick until the next reset.

    **Arguments:**

    - `preferred`: the route that the task wants.
    - `render_mode`: as in PointMaze.

    **Raises:** `ValueError` if `preferred` is not a route.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "depth_array"], "render_fps": 100}

    def __init__(self, preferred: Route = "lower", render_mode: str | None = None) -> None:
        EzPickle.__init__(self, preferred, render_mode)
        _check_route(preferred)
        # Here and not at the top: MuJoCo takes half a second, and this module is imported for its geometry too.
        load_robotics()
        from gymnasium_robotics.envs.maze.point_maze import PointMazeEnv

        self._maze = PointMazeEnv(
            maze_map=[list(row) for row in MAZE_MAP],
            render_mode=render_mode,
            continuing_task=True,
            reset_target=False,
        )
        # PointMaze leaves the model that it has just loaded behind in the temporary folder, a file an environment.
        Path(self._maze.tmp_xml_file_path).unlink(missing_ok=True)
        self.preferred: Route = preferred
        self.render_mode = render_mode
        self.observation_space = self._maze.observation_space
        self.action_space = self._maze.action_space
        self._goal = np.array(cell_center(*GOAL_CELL))
        self._visited: list[Route] = []
        self._reached_by: tuple[Route, ...] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Put the point at the start. `options` are ignored: start and goal are part of the task."""
        del options
        super().reset(seed=seed)
        cells = {"reset_cell": np.array(START_CELL), "goal_cell": np.array(GOAL_CELL)}
        obs, _ = self._maze.reset(seed=seed, options=cells)
        self._maze.goal = self._goal.copy()
        self._maze.update_target_site_pos()
        self._visited = []
        self._reached_by = None
        return self._observe(obs), self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Advance by 10 ms."""
        obs, *_ = self._maze.step(action)
        self._follow(obs["observation"])
        state = obs["observation"]
        reward = preferred_route_reward(state, action, state, preferred=self.preferred)
        return self._observe(obs), float(reward), False, False, self._info()

    def render(self) -> Any:
        """Render as PointMaze does."""
        return self._maze.render()

    def close(self) -> None:
        """Close the simulator's windows."""
        self._maze.close()

    def _observe(self, obs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        state = obs["observation"]
        return {"observation": state.copy(), "achieved_goal": state[:2].copy(), "desired_goal": self._goal.copy()}

    def _follow(self, state: np.ndarray) -> None:
        """Note the corners visited and, at the first arrival, by which of them the goal was reached."""
        x, y = float(state[0]), float(state[1])
        cell = cell_at(x, y)
        for route in _ROUTES:
            if cell == corner_cell(route) and route not in self._visited:
                self._visited.append(route)
        if self._reached_by is None and math.dist((x, y), self._goal) <= GOAL_RADIUS:
            self._reached_by = tuple(self._visited)

    def _info(self) -> dict[str, Any]:
        return {
            "success": self._reached_by == (self.preferred,),
            "goal_reached": self._reached_by is not None,
            "route": self._visited[0] if self._visited else "none",
        }


_ROUTES: tuple[Route, ...] = ("lower", "upper")


def _check_route(preferred: Route) -> None:
    if preferred not in _ROUTES:
        raise ValueError(f"`preferred` must be one of {_ROUTES}, got {preferred!r}.")
