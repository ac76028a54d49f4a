"""AntMaze without a network: a trained ant walks along jittered waypoints to one goal an episode.

The ant is a direction-following policy, packaged as `ant_direction.npz`: soft actor-critic, trained for this project on
Gymnasium's `Ant-v5` with the reward *velocity along a commanded direction − 0.3 |sideways velocity| + 0.5 − 0.05 ‖a‖²*.
Its input are the 27 numbers of AntMaze's `observation` and the unit vector (2) to the next waypoint; its actions are
sampled, noise is added, and what is sent is recorded. The same settings give the same data.
"""

import copy
import functools
import importlib.resources
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError
from owma._internal.types import Float
from owma.collect.claim import OnSteps, check_positive, missing, recorder_for
from owma.collect.recorder import Recorder
from owma.collect.waypoints import Cell, waypoints_to
from owma.config.data import AntMazeCollect
from owma.envs import ANT_MAZE_ID, MazeMap, load_robotics

CELL_SIZE = 4.0
"""Metres of a cell's side."""

EVALUATION_CELLS: Mapping[str, tuple[Cell, Cell]] = {
    "umaze": ((1, 1), (3, 1)),
    "medium": ((1, 1), (6, 6)),
    "large": ((1, 1), (7, 9)),
}
"""Start and goal of each maze's evaluation: those of Minari's D4RL sets; of UMaze, which they mirror, its two ends."""

PLAY_CELLS: Mapping[str, tuple[tuple[Cell, ...], tuple[Cell, ...]]] = {
    "umaze": (((1, 1),), ((3, 1),)),
    "medium": (((1, 1), (4, 2), (6, 3), (4, 6)), ((2, 6), (5, 1), (6, 5), (6, 6))),
    "large": (((1, 1), (3, 5), (7, 4), (5, 9)), ((1, 6), (3, 10), (7, 1), (7, 9))),
}
"""Starts and goals of *play*, picked by hand: dead ends and junctions in all parts of a maze, every goal far from most
starts. D4RL picked its own; like them, few are those of the evaluation."""

_ENV_IDS = {"umaze": "AntMaze_UMaze-v5", "medium": "AntMaze_Medium-v5", "large": "AntMaze_Large-v5"}
_ARRIVAL_RADIUS = 1.0
"""Metres within which a waypoint counts as reached: about the length of the ant's legs."""


def collect_antmaze(config: AntMazeCollect, progress: OnSteps | None = None) -> str:
    """Collect an AntMaze dataset in the form of Minari's D4RL sets: one goal an episode, and no episode terminates.

    The environment to evaluate in (`owma.envs.AntMazeEnv`) has the start and the goal of `EVALUATION_CELLS`.

    **Arguments:**

    - `config`: the settings.
    - `progress`: called after every episode.

    **Returns:** the Minari id. A dataset of that id and these settings is reused, unless `config.overwrite`.

    **Raises:** `ConfigError` for values out of range, `DatasetError` if the id is taken by other data.
    """
    check_positive(config, "steps")
    if config.fallen_steps < 0:
        raise ConfigError(f"--fallen-steps must not be negative; got {config.fallen_steps}.")
    if config.maze not in _ENV_IDS:
        raise ConfigError(f"--maze must be one of {', '.join(_ENV_IDS)}; got {config.maze!r}.")
    with missing(config, progress) as is_missing:
        if is_missing:
            _collect(config, progress)
    return config.name


class DirectionAnt:
    """Walks in the direction that it is told.

    **Arguments:**

    - `weights`: the arrays of `ant_direction.npz`, of two hidden layers and the mean and log deviation of actions.
    """

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self._weights = weights

    def act(
        self, body: Float[np.ndarray, "27"], direction: Float[np.ndarray, "2"], rng: np.random.Generator
    ) -> Float[np.ndarray, "8"]:
        r"""A sampled action, $\tanh(\mu + \sigma\xi)$, in [-1, 1].

        `body`: AntMaze's `observation`. `direction`: a unit vector in the plane, in the world's axes.
        """
        w = self._weights
        hidden = np.concatenate([body, direction]).astype(np.float32)
        for layer in ("0", "1"):
            hidden = np.maximum(hidden @ w[f"w{layer}"] + w[f"b{layer}"], 0.0)
        mean = hidden @ w["w_mean"] + w["b_mean"]
        deviation = np.exp(np.clip(hidden @ w["w_log_std"] + w["b_log_std"], -20.0, 2.0))
        return np.tanh(mean + deviation * rng.standard_normal(8, np.float32))


class WaypointAnt:
    """Walks along jittered waypoints to the goal of an episode: what the data are recorded of.

    **Arguments:**

    - `maze_map`: the map to plan on.
    - `obs`: AntMaze's first observation of the episode.
    - `action_noise`: standard deviation of the noise on actions, whose range is [-1, 1].
    - `rng`: draws waypoints, actions and noise.
    """

    def __init__(
        self, maze_map: MazeMap, obs: Mapping[str, np.ndarray], action_noise: float, rng: np.random.Generator
    ) -> None:
        self._places = waypoints_to(maze_map, obs["achieved_goal"], obs["desired_goal"], rng, CELL_SIZE).tolist()
        self._action_noise = action_noise
        self._rng = rng

    def act(self, obs: Mapping[str, np.ndarray]) -> Float[np.ndarray, "8"]:
        """An action, in [-1, 1], for an observation of AntMaze's form."""
        x, y = obs["achieved_goal"].tolist()
        while len(self._places) > 1 and math.dist(self._places[0], (x, y)) <= _ARRIVAL_RADIUS:
            del self._places[0]
        ahead = np.array([self._places[0][0] - x, self._places[0][1] - y])
        direction = ahead / max(float(np.linalg.norm(ahead)), 1e-6)
        action = direction_ant().act(obs["observation"], direction, self._rng)
        return np.clip(action + self._rng.normal(0.0, self._action_noise, 8), -1.0, 1.0).astype(np.float32)


@functools.cache
def direction_ant() -> DirectionAnt:
    """The packaged ant."""
    packaged = importlib.resources.files("owma.collect").joinpath("ant_direction.npz")
    with packaged.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return DirectionAnt({name: arrays[name] for name in arrays.files})


def marked(maze_map: MazeMap, starts: tuple[Cell, ...], goals: tuple[Cell, ...]) -> list[list[int | str]]:
    """The map with its starts and goals marked as gymnasium-robotics' mazes read them."""
    cells = [list(row) for row in maze_map]
    for mark, places in (("r", starts), ("g", goals)):
        for row, col in places:
            cells[row][col] = mark
    return cells


def _collect(config: AntMazeCollect, progress: OnSteps | None) -> None:
    rng = np.random.default_rng(config.seed)
    env, eval_env = environments(config)
    length = gym.spec(_ENV_IDS[config.maze]).max_episode_steps
    assert length is not None
    description = f"AntMaze {config.maze}, {config.goals}: one goal an episode, which stays when it is reached."
    algorithm = "jittered waypoints, direction-following ant (soft actor-critic), Gaussian action noise"
    with recorder_for(config, env, eval_env, description, algorithm) as recorder:
        recorder.resume(rng)
        while recorder.num_steps < config.steps:
            _roll(recorder, min(length, config.steps - recorder.num_steps), config, rng)
            if progress is not None:
                progress(recorder.num_steps, config.steps)


def environments(config: AntMazeCollect) -> tuple[gym.Env, EnvSpec]:
    """The one to collect in, whose own random numbers pick starts and goals, and the one to evaluate in."""
    load_robotics()
    original = gym.spec(_ENV_IDS[config.maze])
    maze_map = original.kwargs["maze_map"]
    env = gym.make(
        original,
        maze_map=marked(maze_map, *PLAY_CELLS[config.maze]) if config.goals == "play" else maze_map,
        continuing_task=True,
        reset_target=False,
        include_cfrc_ext_in_observation=False,
        disable_env_checker=True,
    )
    Path(cast(Any, env.unwrapped).tmp_xml_file_path).unlink(missing_ok=True)  # it is left behind otherwise
    eval_env = copy.deepcopy(gym.spec(ANT_MAZE_ID))
    start, goal = EVALUATION_CELLS[config.maze]
    eval_env.kwargs["maze_map"] = marked(maze_map, (start,), (goal,))
    eval_env.max_episode_steps = original.max_episode_steps
    return env, eval_env


def _roll(recorder: Recorder, steps: int, config: AntMazeCollect, rng: np.random.Generator) -> None:
    """One episode of `steps` steps, or until the ant has lain on its back for too long."""
    maze = cast(Any, recorder.env.unwrapped).maze
    obs = recorder.reset(seed=int(rng.integers(2**31)))
    ant = WaypointAnt(maze.maze_map, obs, config.action_noise, rng)
    fallen = 0
    for _ in range(steps):
        obs = recorder.step(ant.act(obs))
        fallen = fallen + 1 if is_on_its_back(obs["observation"]) else 0
        if fallen and fallen == config.fallen_steps:
            break
    recorder.keep(rng)


def is_on_its_back(body: Float[np.ndarray, "27"]) -> bool:
    """Whether the torso's own upward axis points down; entries 1 to 4 are its quaternion (w, x, y, z)."""
    return 1 - 2 * float(body[2] ** 2 + body[3] ** 2) < 0
