"""OGBench's data made again, without a network: its environments and oracles, which its package holds.

Its scripts are not in the package; what is here follows them (`data_gen_scripts` of github.com/seohongpark/ogbench at
1d41409; Park et al. 2024, arXiv 2410.20092), but for this: in a maze the oracle goes to the goal itself once it is in
the goal's cell, not to the cell's middle, and goals after an episode's first are in the middle of cells.
Rewards are those of the goal that the oracle has at the time, 1 while it is reached and 0 before; tasks label them
anew. The same settings give the same data.
"""

import copy
from collections.abc import Mapping
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError
from owma.collect.claim import OnSteps, check_positive, missing, recorder_for
from owma.collect.recorder import Recorder
from owma.config.data import OGBenchMazeCollect, OGBenchNoisyCollect, OGBenchPlayCollect
from owma.envs import OGBENCH_ID

STITCH_DISTANCE = 4
"""Cells from the start of a *stitch* episode to its goal."""

_LENGTHS = {"navigate": 1000, "stitch": 200}
_PLAY_LENGTH = 1000
_MIN_NORM = 0.4  # Of what a Markov oracle moves by, as its scripts have it.
_MARKOV_NOISE_SHAPE = np.array([1.0, 1.0, 1.0, 3.0, 10.0])


def collect_ogbench_maze(config: OGBenchMazeCollect, progress: OnSteps | None = None) -> str:
    """Collect a pointmaze of OGBench: the unit vector to the next cell on a shortest way, noise added.

    *navigate*: 1000 steps an episode from a random cell to one random dead end, corner or junction after another.
    *stitch*: 200 steps from a random cell to a random one that is `STITCH_DISTANCE` cells away, and about it from then.

    **Arguments:**

    - `config`: the settings.
    - `progress`: called after every episode.

    **Returns:** the Minari id. A dataset of that id and these settings is reused, unless `config.overwrite`.

    **Raises:** `ConfigError` for values out of range and without OGBench, `DatasetError` if the id is taken by other
    data.
    """
    check_positive(config, "steps")
    with missing(config, progress) as is_missing:
        if is_missing:
            rng = np.random.default_rng(config.seed)
            length = _LENGTHS[config.kind]
            env, eval_env = _environments(f"pointmaze-{config.maze}", length)
            description = f"OGBench's pointmaze-{config.maze}, {config.kind}."
            algorithm = "OGBench's oracle of directions, Gaussian action noise"
            with recorder_for(config, env, eval_env, description, algorithm) as recorder:
                recorder.resume(rng)
                next_cells = _NextCells(cast(Any, recorder.env.unwrapped).inner)
                while recorder.num_steps < config.steps:
                    _roll_maze(recorder, min(length, config.steps - recorder.num_steps), config, next_cells, rng)
                    if progress is not None:
                        progress(recorder.num_steps, config.steps)
    return config.name


def collect_ogbench_play(config: OGBenchPlayCollect, progress: OnSteps | None = None) -> str:
    """Collect *play* of an OGBench arm: plans of its oracles, noise on the plans, one random target after another.

    **Arguments:**

    - `config`: the settings.
    - `progress`: called after every episode of 1000 steps.

    **Returns:** the Minari id. A dataset of that id and these settings is reused, unless `config.overwrite`.

    **Raises:** `ConfigError` for values out of range and without OGBench, `DatasetError` if the id is taken by other
    data.
    """
    check_positive(config, "steps")
    with missing(config, progress) as is_missing:
        if is_missing:
            rng = np.random.default_rng(config.seed)
            env, eval_env = _environments(config.scene, _PLAY_LENGTH)
            description = f"OGBench's {config.scene}, play."
            algorithm = "OGBench's plan oracles, smoothed noise on plans"
            with recorder_for(config, env, eval_env, description, algorithm) as recorder:
                recorder.resume(rng)
                oracles = _plan_oracles(config, cast(Any, recorder.env.unwrapped).inner)
                while recorder.num_steps < config.steps:
                    _roll_play(recorder, oracles, min(_PLAY_LENGTH, config.steps - recorder.num_steps), rng)
                    if progress is not None:
                        progress(recorder.num_steps, config.steps)
    return config.name


def collect_ogbench_noisy(config: OGBenchNoisyCollect, progress: OnSteps | None = None) -> str:
    """Collect *noisy* data of an OGBench arm: its oracle that looks at every state, with noise, and random actions.

    **Arguments:**

    - `config`: the settings.
    - `progress`: called after every episode of 1000 steps.

    **Returns:** the Minari id. A dataset of that id and these settings is reused, unless `config.overwrite`.

    **Raises:** `ConfigError` for values out of range and without OGBench, `DatasetError` if the id is taken by other
    data.
    """
    check_positive(config, "steps")
    if not 0 <= config.random_share <= 1:
        raise ConfigError(f"--random-share must be from 0 to 1; got {config.random_share}.")
    with missing(config, progress) as is_missing:
        if is_missing:
            rng = np.random.default_rng(config.seed)
            env, eval_env = _environments(config.scene, _PLAY_LENGTH)
            description = f"OGBench's {config.scene}, noisy."
            algorithm = "OGBench's Markov oracle, Gaussian action noise, random actions"
            with recorder_for(config, env, eval_env, description, algorithm) as recorder:
                recorder.resume(rng)
                oracle = _markov_oracle(cast(Any, recorder.env.unwrapped).inner)
                while recorder.num_steps < config.steps:
                    _roll_noisy(recorder, oracle, min(_PLAY_LENGTH, config.steps - recorder.num_steps), config, rng)
                    if progress is not None:
                        progress(recorder.num_steps, config.steps)
    return config.name


def _environments(name: str, length: int) -> tuple[gym.Env, EnvSpec]:
    """The one to collect in, and the one to evaluate in: OGBench's default task of those that it evaluates singly."""
    env = gym.make(OGBENCH_ID, env_id=f"{name}-v0", collecting=True, max_episode_steps=length, disable_env_checker=True)
    return env, copy.deepcopy(gym.spec(f"owma/ogbench-{name}-v0"))


class _NextCells:
    """OGBench's oracle, which searches the whole maze at every step, asked once for each pair of cells."""

    def __init__(self, maze: Any) -> None:
        self._maze = maze
        self._known: dict[tuple[Any, Any], np.ndarray] = {}

    def __call__(self, position: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """The centre of the next cell on a shortest way; in the goal's own cell, where there is none, the goal."""
        here, there = self._maze.xy_to_ij(position), self._maze.xy_to_ij(goal)
        if here == there:
            return goal
        if (here, there) not in self._known:
            self._known[here, there] = self._maze.get_oracle_subgoal(position, goal)[0]
        return self._known[here, there]


def _roll_maze(
    recorder: Recorder, steps: int, config: OGBenchMazeCollect, next_cells: _NextCells, rng: np.random.Generator
) -> None:
    maze: Any = cast(Any, recorder.env.unwrapped).inner
    cells = [(int(row), int(col)) for row, col in np.argwhere(maze.maze_map == 0)]
    start = cells[rng.integers(len(cells))]
    goals = _turns(maze.maze_map, cells)
    if config.kind == "stitch":
        xy = np.array(maze.ij_to_xy(start))
        distances = maze.get_oracle_subgoal(xy, xy)[1]
        goals = [cell for cell in cells if distances[cell] == STITCH_DISTANCE] or [start]
    goal = goals[rng.integers(len(goals))]
    options = {"reset_cell": np.array(start), "goal_cell": np.array(goal)}
    obs = recorder.reset(seed=int(rng.integers(2**31)), options=options)
    target = np.array(maze.cur_goal_xy)
    for noise in rng.normal(0.0, config.action_noise, (steps, 2)):
        ahead = next_cells(obs, target) - obs
        direction = ahead / max(float(np.linalg.norm(ahead)), 1e-6)
        obs = recorder.step(np.clip(direction + noise, -1.0, 1.0).astype(np.float32))
        if config.kind == "navigate" and maze.compute_success():
            target = np.array(maze.ij_to_xy(goals[rng.integers(len(goals))]))
            maze.set_goal(goal_xy=target)
    recorder.keep(rng)


def _turns(maze_map: np.ndarray, cells: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Dead ends, corners and junctions: all cells but those in the middle of a straight way."""

    def is_straight(row: int, col: int) -> bool:
        beside = ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1))
        up, down, left, right = (bool(maze_map[cell] == 0) for cell in beside)
        return (up and down and not (left or right)) or (left and right and not (up or down))

    return [cell for cell in cells if not is_straight(*cell)]


def _plan_oracles(config: OGBenchPlayCollect, inner: Any) -> Mapping[str, Any]:
    """An oracle for each kind of target."""
    from ogbench.manipspace.oracles.plan.button_plan import ButtonPlanOracle  # pyright: ignore[reportMissingImports]
    from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle  # pyright: ignore[reportMissingImports]
    from ogbench.manipspace.oracles.plan.drawer_plan import DrawerPlanOracle  # pyright: ignore[reportMissingImports]
    from ogbench.manipspace.oracles.plan.window_plan import WindowPlanOracle  # pyright: ignore[reportMissingImports]

    noise: dict[str, Any] = {"env": inner, "noise": config.plan_noise}
    button = ButtonPlanOracle(**noise, gripper_always_closed=config.scene.startswith("puzzle"))
    return {
        "cube": CubePlanOracle(**noise),
        "button": button,
        "drawer": DrawerPlanOracle(**noise),
        "window": WindowPlanOracle(**noise),
    }


def _roll_play(recorder: Recorder, oracles: Mapping[str, Any], steps: int, rng: np.random.Generator) -> None:
    env: Any = recorder.env.unwrapped
    obs = recorder.reset(seed=int(rng.integers(2**31)))
    info = env.inner.compute_ob_info()
    oracle = oracles[info["privileged/target_task"]]
    with env.own_numbers():  # those that plans are drawn from
        oracle.reset(obs, info)
    for _ in range(steps):
        action = np.clip(oracle.select_action(obs, info), -1.0, 1.0)
        obs = recorder.step(action.astype(np.float32))
        info = env.inner.compute_ob_info()
        if oracle.done:
            with env.own_numbers():
                obs_of_target, info = env.inner.set_new_target()
                oracle = oracles[info["privileged/target_task"]]
                oracle.reset(obs_of_target, info)
    recorder.keep(rng)


def _markov_oracle(inner: Any) -> Any:
    from ogbench.manipspace.oracles.markov.cube_markov import (  # pyright: ignore[reportMissingImports]
        CubeMarkovOracle,
    )

    return CubeMarkovOracle(env=inner, min_norm=_MIN_NORM)


def _roll_noisy(
    recorder: Recorder, oracle: Any, steps: int, config: OGBenchNoisyCollect, rng: np.random.Generator
) -> None:
    env: Any = recorder.env.unwrapped
    obs = recorder.reset(seed=int(rng.integers(2**31)))
    info = env.inner.compute_ob_info()
    scale = rng.uniform(0.0, config.action_noise) * _MARKOV_NOISE_SHAPE
    with env.own_numbers():  # those that the ends of its ways are drawn from
        oracle.reset(obs, info)
    for _ in range(steps):
        if rng.uniform() < config.random_share:
            action = rng.uniform(-1.0, 1.0, len(scale))
        else:
            action = np.asarray(oracle.select_action(obs, info)) + rng.normal(0.0, scale)
        obs = recorder.step(np.clip(action, -1.0, 1.0).astype(np.float32))
        info = env.inner.compute_ob_info()
        if oracle.done:
            with env.own_numbers():
                obs_of_target, info = env.inner.set_new_target()
                oracle.reset(obs_of_target, info)
    recorder.keep(rng)
