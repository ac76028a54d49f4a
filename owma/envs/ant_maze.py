"""AntMaze with a goal that stays in one place, so that a task can say where it is."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle

from owma.envs.robotics import load_robotics
from owma.envs.two_routes import MazeMap

ANT_MAZE_ID = "owma/AntMaze-v0"


class AntMazeEnv(gym.Env[dict[str, np.ndarray], np.ndarray], EzPickle):
    """gymnasium-robotics' `AntMaze` (v5), `gymnasium.make("owma/AntMaze-v0", maze_map=...)` after `import owma.envs`.

    It differs in two things. A goal is the exact centre of its cell: AntMaze moves it by up to 1 m at every reset, and
    an agent whose task is a place would have to guess where to. And contact forces are no part of the observation, as
    in D4RL and in Minari's D4RL datasets: `observation` holds 27 numbers, height and orientation of the torso, 8 joint
    angles and 14 velocities; `achieved_goal` (x, y) and `desired_goal` are in metres. Starts are moved as in AntMaze.
    Actions are 8 torques in [-1, 1], at 20 Hz. The reward is 1 within 0.45 m of the goal, else 0, and so is
    `info["success"]`.

    **Arguments:**

    - `maze_map`: rows of cells, squares of 4 m: 1 is a wall; `"r"` may be a start, `"g"` a goal, `"c"` both; without
        such marks every free cell is both.
    - `continuing_task`: whether reaching the goal ends nothing; else it terminates the episode.
    - `reset_target`: whether a reached goal moves to another cell.
    - `render_mode`: as in AntMaze.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "depth_array"], "render_fps": 20}

    def __init__(
        self,
        maze_map: MazeMap,
        continuing_task: bool = True,
        reset_target: bool = False,
        render_mode: str | None = None,
    ) -> None:
        EzPickle.__init__(self, maze_map, continuing_task, reset_target, render_mode)
        # Here and not at the top: MuJoCo takes half a second.
        load_robotics()
        from gymnasium_robotics.envs.maze.ant_maze_v5 import AntMazeEnv as Original

        self._maze = Original(
            maze_map=[list(row) for row in maze_map],
            continuing_task=continuing_task,
            reset_target=reset_target,
            render_mode=render_mode,
            include_cfrc_ext_in_observation=False,
        )
        # AntMaze leaves the model that it has just loaded behind in the temporary folder, a file an environment.
        Path(self._maze.tmp_xml_file_path).unlink(missing_ok=True)
        self.render_mode = render_mode
        self.observation_space = self._maze.observation_space
        self.action_space = self._maze.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """`options` as in AntMaze: `reset_cell` and `goal_cell`, each (row, col)."""
        obs, info = self._maze.reset(seed=seed, options=options)
        self._centre_goal()
        return obs | {"desired_goal": self._maze.goal.copy()}, info

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Advance by 50 ms."""
        before = self._maze.goal
        obs, reward, terminated, truncated, info = self._maze.step(action)
        if self._maze.goal is not before:  # it was reached, and has moved
            self._centre_goal()
        return obs, float(reward), terminated, truncated, info

    def render(self) -> Any:
        """Render as AntMaze does."""
        return self._maze.render()

    def close(self) -> None:
        """Close the simulator's windows."""
        self._maze.close()

    def _centre_goal(self) -> None:
        maze = self._maze.maze
        self._maze.goal = maze.cell_rowcol_to_xy(maze.cell_xy_to_rowcol(self._maze.goal))
        self._maze.update_target_site_pos()
