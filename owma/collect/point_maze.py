"""Datasets of our own, without a network: scripted control in PointMaze and in the two-route maze.

Action noise is what makes them offline-RL data and not demonstrations: action = clip(10 (waypoint − position) −
velocity, ±1) + N(0, σ²), clipped to the action space and recorded as sent. The same settings give the same data.
"""

import copy
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError
from owma.collect.claim import OnSteps, check_positive, missing, recorder_for
from owma.collect.recorder import Recorder
from owma.collect.waypoints import (
    Cell,
    GoalSeeker,
    WaypointFollower,
    cell_path,
    free_cells,
    jittered_waypoints,
    task_cells,
)
from owma.config.data import PointMazeCollect, StitchCollect, TwoRoutesCollect
from owma.envs import GOAL_CELL, MAZE_MAP, START_CELL, TWO_ROUTES_ID, MazeMap, Route, corner_cell, load_robotics


def collect_two_routes(config: TwoRoutesCollect, progress: OnSteps | None = None) -> str:
    """Collect a two-route dataset: round(skew · episodes) episodes, at random places, take the lower route.

    **Arguments:**

    - `config`: the settings.
    - `progress`: called after every episode.

    **Returns:** the Minari id. A dataset of that id and these settings is reused, unless `config.overwrite`.

    **Raises:** `ConfigError` for values out of range, `DatasetError` if the id is taken by other data.
    """
    if not 0 <= config.skew <= 1:
        raise ConfigError(f"--skew is a share of the episodes, between 0 and 1; got {config.skew}.")
    check_positive(config, "episodes", "steps")
    with missing(config, progress) as is_missing:
        if is_missing:
            _collect_two_routes(config, progress)
    return config.name


def _collect_two_routes(config: TwoRoutesCollect, progress: OnSteps | None) -> None:
    rng = np.random.default_rng(config.seed)
    rare = np.arange(config.episodes) < round(config.skew * config.episodes)
    routes: list[Route] = ["lower" if is_rare else "upper" for is_rare in rng.permutation(rare)]
    share = f"{routes.count('lower')} of {config.episodes} episodes"
    description = f"Around a block, top left to bottom right; {share} by the lower route, the others by the upper."
    # No Gymnasium checker: it checks every observation and action, of an environment of our own.
    env = gym.make(TWO_ROUTES_ID, max_episode_steps=config.steps, disable_env_checker=True)
    with recorder_for(config, env, gym.spec(TWO_ROUTES_ID), description) as recorder:
        for number in range(recorder.resume(rng) + 1, config.episodes + 1):
            corner = corner_cell(routes[number - 1])
            path = cell_path(MAZE_MAP, START_CELL, corner) + cell_path(MAZE_MAP, corner, GOAL_CELL)[1:]
            follower = WaypointFollower(jittered_waypoints(MAZE_MAP, path[1:], rng))
            _roll(recorder, follower, config.steps, config.action_noise, rng)
            if progress is not None:
                progress(number * config.steps, config.episodes * config.steps)


def collect_pointmaze(config: PointMazeCollect, progress: OnSteps | None = None) -> str:
    """Collect a PointMaze dataset: shortest paths to uniformly random free cells, a new goal on arrival within 0.45 m.

    The environment to evaluate in is the maze with the start and the goal of one task (`task_cells`).

    **Arguments:**

    - `config`: the settings.
    - `progress`: called after every episode.

    **Returns:** the Minari id. A dataset of that id and these settings is reused, unless `config.overwrite`.

    **Raises:** `ConfigError` for values out of range, `DatasetError` if the id is taken by other data.
    """
    check_positive(config, "steps")
    with missing(config, progress) as is_missing:
        if is_missing:
            _collect_pointmaze(config, progress)
    return config.name


def _collect_pointmaze(config: PointMazeCollect, progress: OnSteps | None) -> None:
    rng = np.random.default_rng(config.seed)
    # In the data the environment moves its goal on arrival, and the controller follows; an evaluation has one goal.
    env, eval_env = _pointmaze(config.maze, reset_target=True)
    assert eval_env.max_episode_steps is not None
    maze: Any = env.unwrapped
    _mark(eval_env, maze.maze.maze_map)
    description = f"PointMaze {config.maze}: from one random goal to the next."
    with recorder_for(config, env, eval_env, description) as recorder:
        done = recorder.resume(rng) * eval_env.max_episode_steps  # the last may be shorter
        while done < config.steps:
            steps = min(eval_env.max_episode_steps, config.steps - done)
            _roll(recorder, GoalSeeker(maze.maze.maze_map, rng), steps, config.action_noise, rng)
            done += steps
            if progress is not None:
                progress(done, config.steps)


def collect_stitch(config: StitchCollect, progress: OnSteps | None = None) -> str:
    """Collect pieces of ways through a PointMaze: from one random free cell towards another, `config.steps` long.

    No pair of cells is drawn whose shortest path passes both the start and the goal of the task (`task_cells`). The
    environment to evaluate in is the maze with this start and this goal.

    **Arguments:**

    - `config`: the settings.
    - `progress`: called after every episode.

    **Returns:** the Minari id. A dataset of that id and these settings is reused, unless `config.overwrite`.

    **Raises:** `ConfigError` for values out of range, `DatasetError` if the id is taken by other data.
    """
    check_positive(config, "episodes", "steps")
    with missing(config, progress) as is_missing:
        if is_missing:
            _collect_stitch(config, progress)
    return config.name


def _collect_stitch(config: StitchCollect, progress: OnSteps | None) -> None:
    rng = np.random.default_rng(config.seed)
    env, eval_env = _pointmaze(config.maze, reset_target=False)
    maze_map: MazeMap = cast(Any, env.unwrapped).maze.maze_map
    start, goal = _mark(eval_env, maze_map)
    cells = free_cells(maze_map)
    description = f"PointMaze {config.maze}: pieces of ways, none from {start} to {goal}."
    with recorder_for(config, env, eval_env, description) as recorder:
        for number in range(recorder.resume(rng) + 1, config.episodes + 1):
            path = [start, goal]
            while start in path and goal in path:
                first, last = rng.choice(len(cells), 2, replace=False)
                path = cell_path(maze_map, cells[first], cells[last])
            follower = WaypointFollower(jittered_waypoints(maze_map, path[1:], rng))
            options = {"reset_cell": np.array(path[0]), "goal_cell": np.array(path[-1])}
            _roll(recorder, follower, config.steps, config.action_noise, rng, options)
            if progress is not None:
                progress(number * config.steps, config.episodes * config.steps)


def _pointmaze(maze: str, *, reset_target: bool) -> tuple[gym.Env, EnvSpec]:
    """The environment to collect in, which moves its goal on arrival if `reset_target`, and the one to evaluate in."""
    if maze not in _POINTMAZE_IDS:
        raise ConfigError(f"--maze must be one of {', '.join(_POINTMAZE_IDS)}; got {maze!r}.")
    load_robotics()
    env_id = _POINTMAZE_IDS[maze]
    env = gym.make(env_id, disable_env_checker=True, continuing_task=True, reset_target=reset_target)
    # PointMaze leaves the model it has loaded behind.
    Path(cast(Any, env.unwrapped).tmp_xml_file_path).unlink(missing_ok=True)
    eval_env = copy.deepcopy(gym.spec(env_id))
    eval_env.kwargs.update(continuing_task=True, reset_target=False)
    return env, eval_env


def _mark(eval_env: EnvSpec, maze_map: MazeMap) -> tuple[Cell, Cell]:
    """Give the environment to evaluate in the start and the goal of the maze's task, which come back."""
    start, goal = task_cells(maze_map)
    marked = [list(row) for row in maze_map]
    marked[start[0]][start[1]], marked[goal[0]][goal[1]] = "r", "g"
    eval_env.kwargs["maze_map"] = marked
    return start, goal


def _roll(
    recorder: Recorder,
    controller: WaypointFollower | GoalSeeker,
    steps: int,
    action_noise: float,
    rng: np.random.Generator,
    options: dict[str, Any] | None = None,
) -> None:
    """One episode of exactly `steps` steps."""
    noise = rng.normal(0.0, action_noise, (steps, 2))
    obs = recorder.reset(seed=int(rng.integers(2**31)), options=options)
    for row in noise:
        action = np.minimum(np.maximum(controller.act(obs) + row, -1.0), 1.0)
        obs = recorder.step(action.astype(np.float32))
    recorder.keep(rng)


_POINTMAZE_IDS = {"umaze": "PointMaze_UMaze-v3", "medium": "PointMaze_Medium-v3", "large": "PointMaze_Large-v3"}
