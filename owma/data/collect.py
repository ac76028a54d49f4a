"""Datasets of our own, without a network: scripted control in PointMaze and in the two-route maze.

Action noise is what makes them offline-RL data and not demonstrations: action = clip(10 (waypoint − position) −
velocity, ±1) + N(0, σ²), clipped to the action space and recorded as sent. The same settings give the same data.
"""

import copy
import dataclasses
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._errors import ConfigError, DatasetError
from owma.data.store import check_dataset_id, recording, stored_settings
from owma.data.waypoints import GoalSeeker, WaypointFollower, cell_path, jittered_waypoints
from owma.data_config import PointMazeCollect, TwoRoutesCollect
from owma.envs import GOAL_CELL, MAZE_MAP, START_CELL, TWO_ROUTES_ID, Route, corner_cell, load_robotics

Progress: TypeAlias = Callable[[int, int], None]
"""Called now and then with the number of steps collected and of steps to collect."""


def collect_two_routes(config: TwoRoutesCollect, progress: Progress | None = None) -> str:
    """Collect a two-route dataset: round(skew · episodes) episodes, at random places, take the lower route.

    **Arguments:**

    - `config`: the settings.
    - `progress`: called after every episode.

    **Returns:** the Minari id. A dataset of that id and these settings is reused, unless `config.overwrite`.

    **Raises:** `ConfigError` for values out of range, `DatasetError` if the id is taken by other data.
    """
    if not 0 <= config.skew <= 1:
        raise ConfigError(f"--skew is a share of the episodes, between 0 and 1; got {config.skew}.")
    _check_positive(config, "episodes", "steps")
    if is_collected(config):
        return config.name
    rng = np.random.default_rng(config.seed)
    rare = np.arange(config.episodes) < round(config.skew * config.episodes)
    routes: list[Route] = ["lower" if is_rare else "upper" for is_rare in rng.permutation(rare)]
    share = f"{routes.count('lower')} of {config.episodes} episodes"
    description = f"Around a block, top left to bottom right; {share} by the lower route, the others by the upper."
    # No Gymnasium checker: Minari's collector checks every observation and action itself.
    env = gym.make(TWO_ROUTES_ID, max_episode_steps=config.steps, disable_env_checker=True)
    with _recording(config, env, gym.spec(TWO_ROUTES_ID), description) as recorded:
        for number, route in enumerate(routes, start=1):
            corner = corner_cell(route)
            path = cell_path(MAZE_MAP, START_CELL, corner) + cell_path(MAZE_MAP, corner, GOAL_CELL)[1:]
            follower = WaypointFollower(jittered_waypoints(MAZE_MAP, path[1:], rng))
            _roll(recorded, follower, config.steps, config.action_noise, rng)
            if progress is not None:
                progress(number * config.steps, config.episodes * config.steps)
    return config.name


def collect_pointmaze(config: PointMazeCollect, progress: Progress | None = None) -> str:
    """Collect a PointMaze dataset: shortest paths to uniformly random free cells, a new goal on arrival within 0.45 m.

    **Arguments:**

    - `config`: the settings.
    - `progress`: called after every episode.

    **Returns:** the Minari id. A dataset of that id and these settings is reused, unless `config.overwrite`.

    **Raises:** `ConfigError` for values out of range, `DatasetError` if the id is taken by other data.
    """
    if config.maze not in _POINTMAZE_IDS:
        raise ConfigError(f"--maze must be one of {', '.join(_POINTMAZE_IDS)}; got {config.maze!r}.")
    _check_positive(config, "steps")
    if is_collected(config):
        return config.name
    load_robotics()
    rng = np.random.default_rng(config.seed)
    env_id = _POINTMAZE_IDS[config.maze]
    # In the data the environment moves its goal on arrival, and the controller follows; an evaluation has one goal.
    env = gym.make(env_id, disable_env_checker=True, continuing_task=True, reset_target=True)
    eval_env = copy.deepcopy(gym.spec(env_id))
    eval_env.kwargs.update(continuing_task=True, reset_target=False)
    assert eval_env.max_episode_steps is not None
    maze: Any = env.unwrapped
    Path(maze.tmp_xml_file_path).unlink(missing_ok=True)  # PointMaze leaves the model it has loaded behind.
    description, done = f"PointMaze {config.maze}: from one random goal to the next.", 0
    with _recording(config, env, eval_env, description) as recorded:
        while done < config.steps:
            steps = min(eval_env.max_episode_steps, config.steps - done)
            _roll(recorded, GoalSeeker(maze.maze.maze_map, rng), steps, config.action_noise, rng)
            done += steps
            if progress is not None:
                progress(done, config.steps)
    return config.name


def is_collected(config: TwoRoutesCollect | PointMazeCollect) -> bool:
    """Whether the dataset is there already, so that collecting would return at once.

    **Raises:** `ConfigError` for an id that Minari would not take, `DatasetError` if the id is taken by other data.
    """
    check_dataset_id(config.name)
    if config.overwrite:
        return False
    stored, wanted = stored_settings(config.name), _settings(config)
    if stored is None:
        return False
    if stored != wanted:
        differing = [key for key in sorted(stored | wanted) if stored.get(key) != wanted.get(key)]
        values = ", ".join(f"{key} {stored.get(key)} and not {wanted.get(key)}" for key in differing)
        raise DatasetError(
            f"Dataset {config.name} exists with other settings ({values}); choose another --dataset-id, or replace it "
            "with --overwrite."
        )
    return True


def command_for(dataset_id: str) -> str | None:
    """The command that collects a dataset, if its id is one that this module gives."""
    if match := re.fullmatch(r"owma/two-routes-skew(.+?)-(\d+)x(\d+)(?:-noise(.+?))?-seed(\d+)-v0", dataset_id):
        skew, episodes, steps, noise, seed = match.groups()
        flags = {"skew": skew, "episodes": episodes, "steps": steps, "action-noise": noise, "seed": seed}
        name = "two-routes"
    elif match := re.fullmatch(r"owma/pointmaze-([a-z]+)-(\d+)(?:-noise(.+?))?-seed(\d+)-v0", dataset_id):
        maze, steps, noise, seed = match.groups()
        flags = {"maze": maze, "steps": steps, "action-noise": noise, "seed": seed}
        name = "pointmaze"
    else:
        return None
    given = [f"--{flag} {value.replace('p', '.')}" for flag, value in flags.items() if value is not None]
    return " ".join(["python -m owma.collect", name, *given])


def _recording(
    config: TwoRoutesCollect | PointMazeCollect, env: gym.Env, eval_env: EnvSpec, description: str
) -> AbstractContextManager[gym.Env]:
    return recording(
        config.name,
        env,
        eval_env=eval_env,
        settings=_settings(config),
        description=description,
        overwrite=config.overwrite,
    )


def _roll(
    env: gym.Env, controller: WaypointFollower | GoalSeeker, steps: int, action_noise: float, rng: np.random.Generator
) -> None:
    """One episode of exactly `steps` steps."""
    noise = rng.normal(0.0, action_noise, (steps, 2))
    obs, _ = env.reset(seed=int(rng.integers(2**31)))
    for row in noise:
        action = np.minimum(np.maximum(controller.act(obs) + row, -1.0), 1.0)
        obs, *_ = env.step(action.astype(np.float32))


def _settings(config: TwoRoutesCollect | PointMazeCollect) -> dict[str, Any]:
    """What determines the data, and nothing else."""
    values = dataclasses.asdict(config)
    del values["dataset_id"], values["overwrite"]
    return {"kind": type(config).__name__, **values}


def _check_positive(config: TwoRoutesCollect | PointMazeCollect, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise ConfigError(f"--{name} must be at least 1; got {getattr(config, name)}.")
    if not config.action_noise >= 0:
        raise ConfigError(f"--action-noise must not be negative; got {config.action_noise}.")
    if config.seed < 0:
        raise ConfigError(f"--seed must not be negative; got {config.seed}.")


_POINTMAZE_IDS = {"umaze": "PointMaze_UMaze-v3", "medium": "PointMaze_Medium-v3", "large": "PointMaze_Large-v3"}
