r"""OGBench's environments (Park et al. 2024, arXiv 2410.20092) with seeds that count, and the rewards of their tasks.

They need the extra: `pip install 'owma[ogbench]'`. OGBench draws from NumPy's global random numbers, whatever seed it
is reset with; here each copy has numbers of its own. `owma/ogbench-NAME-v0` is the single-task variant of NAME with
OGBench's default task, `owma/ogbench-NAME-task3-v0` the one with its third. The rewards are OGBench's, minus the number
of things that are not where they should be; when there is none the episode ends, and is a success.

Rewards of the tasks as functions r(obs, action, next_obs), for `--task.reward` and `python -m owma.transfer`, are
`owma.envs.ogbench:pointmaze_medium_task1` and so on, of `TASKS`.
"""

import copy
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.utils import EzPickle

from owma._errors import ConfigError
from owma._types import Float, HostArray

_Obs = Float[HostArray, "*batch obs"]
_Act = Float[HostArray, "*batch act"]
_Reward = Float[np.ndarray, "*batch"]

OGBENCH_ID = "owma/OGBench-v0"

EPISODE_STEPS: Mapping[str, int] = {
    "pointmaze-medium": 1000,
    "pointmaze-large": 1000,
    "pointmaze-giant": 1000,
    "cube-single": 200,
    "scene": 750,
    "puzzle-3x3": 500,
}
"""The environments that have ids here, and OGBench's limit of steps for each."""

_MAZE_UNIT = 4.0  # Metres of a cell's side; the centre of cell (1, 1) is the origin.
_MAZE_GOALS = {
    "medium": ((6, 6), (1, 6), (4, 2), (6, 1), (1, 1)),
    "large": ((7, 10), (7, 1), (1, 10), (5, 4), (5, 4)),
    "giant": ((10, 14), (10, 1), (1, 1), (5, 12), (3, 8)),
}
_CUBE_GOALS = ((0.425, -0.1), (0.5, 0.0), (0.35, 0.0), (0.5, 0.2), (0.5, -0.2))
_CUBE_CENTRE, _CUBE_SCALE, _CUBE_HEIGHT = (0.425, 0.0, 0.0), 10.0, 0.02

TASKS: Mapping[str, tuple[int, tuple[float, ...], float]] = {
    f"pointmaze_{maze}_task{number}": (0, (_MAZE_UNIT * (col - 1), _MAZE_UNIT * (row - 1)), 1.0)
    for maze, cells in _MAZE_GOALS.items()
    for number, (row, col) in enumerate(cells, start=1)
} | {
    # Where an observation holds the cube's position, it is about the table's centre and in decimetres.
    f"cube_single_task{number}": (
        19,
        tuple(_CUBE_SCALE * (p - c) for p, c in zip((x, y, _CUBE_HEIGHT), _CUBE_CENTRE)),
        _CUBE_SCALE * 0.04,
    )
    for number, (x, y) in enumerate(_CUBE_GOALS, start=1)
}
"""Of each task: the first coordinate of what is to be moved, where to, and within which distance it is there."""


def __getattr__(name: str) -> Callable[[_Obs, _Act, _Obs], _Reward]:
    """The reward of a task of `TASKS`."""
    if name not in TASKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    first, goal, radius = TASKS[name]

    def reward(
        obs: Float[HostArray, "*batch obs"],
        action: Float[HostArray, "*batch act"],
        next_obs: Float[HostArray, "*batch obs"],
    ) -> Float[np.ndarray, "*batch"]:
        r"""$r = 0$ while $\|s_{i:i+n} - g\| \le$ radius, else -1: of the state before the action, as OGBench has it.

        Raises `ValueError` if the observations are too short to be of this environment.
        """
        del action, next_obs
        place = np.asarray(obs)[..., first : first + len(goal)]
        if place.shape[-1] != len(goal):
            raise ValueError(f"{name}: observations of {np.shape(obs)[-1]} numbers are of another environment.")
        return np.where(np.linalg.norm(place - np.asarray(goal), axis=-1) <= radius, 0.0, -1.0)

    reward.__name__ = name
    return reward


class OGBenchEnv(gym.Env[np.ndarray, np.ndarray], EzPickle):
    """An environment of OGBench; see the module.

    **Arguments:**

    - `env_id`: OGBench's id, such as `cube-single-singletask-task3-v0`.
    - `collecting`: for an oracle that goes from goal to goal: reaching one ends nothing.

    **Raises:** `ConfigError` if OGBench is not installed or has no such environment.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, env_id: str, collecting: bool = False, render_mode: str | None = None) -> None:
        EzPickle.__init__(self, env_id, collecting, render_mode)
        spec = gym.registry.get(env_id) if re.fullmatch(r"[a-z0-9-]+-v0", env_id) and _load() else None
        if spec is None or _family(spec) not in _COLLECTING:
            raise ConfigError(f"OGBench has no environment {env_id!r}; name one such as pointmaze-medium-v0.")
        # Without gym.make and its wrappers: the limit of steps is that of this environment.
        self.inner: Any = _creator(spec)(**spec.kwargs, **(_COLLECTING[_family(spec)] if collecting else {}))
        if _family(spec) == "locomaze":
            Path(self.inner.fullpath).unlink(missing_ok=True)  # the model that it has loaded, left behind
        self.render_mode = render_mode
        self._numbers = np.random.RandomState().get_state()
        with self.own_numbers():
            self.observation_space = self.inner.observation_space
        self.action_space = copy.deepcopy(self.inner.action_space)

    @contextmanager
    def own_numbers(self) -> Iterator[None]:
        """NumPy's global random numbers are this environment's meanwhile."""
        before = np.random.get_state()
        np.random.set_state(self._numbers)
        try:
            yield
        finally:
            self._numbers = np.random.get_state()
            np.random.set_state(before)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Begin an episode.

        `options` as in OGBench; of a maze also `reset_cell` and `goal_cell`, both (row, col), as in PointMaze.
        """
        if options is not None and "goal_cell" in options:
            cells = {"init_ij": tuple(options["reset_cell"]), "goal_ij": tuple(options["goal_cell"])}
            options = {"task_info": cells}
        if seed is not None:
            self._numbers = np.random.RandomState(seed).get_state()
            self.inner.action_space.seed(seed)  # OGBench takes random steps when it resets
        with self.own_numbers():
            obs, info = self.inner.reset(seed=seed, options=options or {})
        return obs, info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step, of 0.1 s for points and 0.05 s for arms."""
        with self.own_numbers():
            obs, reward, terminated, truncated, info = self.inner.step(action)
        return obs, float(reward), bool(terminated), bool(truncated), {"success": bool(info.get("success", False))}

    def render(self) -> Any:
        """Render as OGBench does."""
        return self.inner.render()

    def close(self) -> None:
        """Close the simulator's windows."""
        self.inner.close()


def register_ogbench() -> None:
    """Give the environments their ids; nothing of OGBench is imported."""
    entry_point = "owma.envs.ogbench:OGBenchEnv"
    if OGBENCH_ID in gym.registry:
        return
    gym.register(id=OGBENCH_ID, entry_point=entry_point)
    for name, steps in EPISODE_STEPS.items():
        for task in ("", *(f"-task{number}" for number in range(1, 6))):
            gym.register(
                id=f"owma/ogbench-{name}{task}-v0",
                entry_point=entry_point,
                max_episode_steps=steps,
                kwargs={"env_id": f"{name}-singletask{task}-v0"},
            )


_COLLECTING: Mapping[str, Mapping[str, Any]] = {
    "locomaze": {"terminate_at_goal": False},
    "manipspace": {"terminate_at_goal": False, "mode": "data_collection", "visualize_info": False},
}


def _family(spec: EnvSpec) -> str:
    """`locomaze`, `manipspace`, ..., for the environments of OGBench; its package's name is in front of it."""
    package, _, family = str(spec.entry_point).partition(".")
    return family.partition(".")[0] if package == "ogbench" else ""


def _creator(spec: EnvSpec) -> Callable[..., Any]:
    with warnings.catch_warnings():
        # dm_control looks for a display as it is imported, and does without.
        warnings.filterwarnings("ignore", message=r"\(65550\) b'X11: The DISPLAY")
        creator: Any = load_env_creator(str(spec.entry_point))
    if _family(spec) != "manipspace":
        return creator
    # Those make another space, with a warning and a seed of its own, whenever they are asked for theirs.
    return type(creator.__name__, (creator,), {"action_space": gym.spaces.Box(-1.0, 1.0, (5,), np.float32)})


def _load() -> bool:
    try:
        import ogbench
    except ImportError as error:
        raise ConfigError(
            f"OGBench's environments need an extra package: pip install 'owma[ogbench]' ({error})."
        ) from error
    del ogbench
    return True
