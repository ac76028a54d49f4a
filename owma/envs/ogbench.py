r"""OGBench's environments (Park et al. 2024, arXiv 2410.20092) with seeds that count, and the rewards of their tasks.

They need the extra: `pip install 'owma[ogbench]'`. OGBench draws from NumPy's global random numbers, whatever seed it
is reset with; here each copy has numbers of its own. `owma/ogbench-NAME-v0` is the single-task variant of NAME with
OGBench's default task, `owma/ogbench-NAME-task3-v0` the one with its third. The rewards are OGBench's, minus the number
of things that are not where they should be; when there is none the episode ends, and is a success.

`owma/ogbench-NAME-goal3-v0` is NAME as OGBench evaluates goals in it, with its third task: observations have two parts,
`observation` and `desired_goal`, which is the observation of a state where the task is done. In mazes both ends of the
way are moved by up to a metre along either axis, anew in every episode, and the reward is 1 at the goal and 0 before.

Rewards of the tasks as functions r(obs, action, next_obs), for `--task.reward` and `python -m owma.transfer`, are
`owma.envs.ogbench:pointmaze_medium_task1` and so on, of `TASKS`. `python -m owma.transfer RUN --ogbench-tasks`
evaluates all five of an environment.
"""

import copy
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.utils import EzPickle

from owma._internal.errors import ConfigError
from owma._internal.types import Float, HostArray

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


class Condition(NamedTuple):
    """Something is where it should be: numbers of an observation that stand together are near to given ones."""

    first: int
    """The first of the numbers, counted from 0."""
    values: tuple[float, ...]
    tolerance: float
    """The distance up to which it is there; 0 of a state, which holds or does not."""


# What follows is from OGBench 1.2: `set_tasks`, `_compute_successes` and `compute_observation` of
# ogbench/locomaze/maze.py and of cube_env.py, scene_env.py and puzzle_env.py in ogbench/manipspace/envs.
_MAZE_UNIT = 4.0  # Metres of a cell's side; the centre of cell (1, 1) is the origin.
_MAZE_GOALS = {
    "medium": ((6, 6), (1, 6), (4, 2), (6, 1), (1, 1)),
    "large": ((7, 10), (7, 1), (1, 10), (5, 4), (5, 4)),
    "giant": ((10, 14), (10, 1), (1, 1), (5, 12), (3, 8)),
}
_CUBE_GOALS = ((0.425, -0.1, 0.02), (0.5, 0.0, 0.02), (0.35, 0.0, 0.02), (0.5, 0.2, 0.02), (0.5, -0.2, 0.02))
_IN_DRAWER = (0.33, -0.356, 0.065986)  # of the drawer when it is shut
# The cube, the buttons that lock drawer and window, the drawer and the window.
_SCENE_GOALS = (
    ((0.35, 0.05, 0.02), (1, 1), -0.16, 0.2),
    ((0.35, -0.05, 0.02), (0, 0), 0.0, 0.0),
    ((0.4, 0.15, 0.02), (1, 1), -0.16, 0.0),
    (_IN_DRAWER, (1, 0), 0.0, 0.0),
    (_IN_DRAWER, (0, 0), 0.0, 0.2),
)
# Rows of buttons, one row after the other.
_PUZZLE_GOALS = ("110101011", "011111111", "101010101", "111111111", "101101101")

# An arm's observation begins with 19 numbers of the arm; then come 9 of a cube, 4 of each button, 2 of the drawer and 2
# of the window.
_ARM, _CUBE, _BUTTON = 19, 9, 4
_NEAR = 0.04  # Metres; also of drawer and window.
_CUBE_CENTRE, _CUBE_SCALE = (0.425, 0.0, 0.0), 10.0  # A cube's place is about the table's centre, in decimetres.
_DRAWER_SCALE, _WINDOW_SCALE = 18.0, 15.0


def _cube(place: tuple[float, float, float]) -> Condition:
    return Condition(_ARM, tuple(_CUBE_SCALE * (p - c) for p, c in zip(place, _CUBE_CENTRE)), _CUBE_SCALE * _NEAR)


def _buttons(first: int, states: Iterable[int]) -> tuple[Condition, ...]:
    # The first number of a button is whether its state is 0, the second whether it is 1.
    return tuple(Condition(first + _BUTTON * i + 1, (float(state),), 0.0) for i, state in enumerate(states))


def _scene(
    cube: tuple[float, float, float], buttons: tuple[int, int], drawer: float, window: float
) -> tuple[Condition, ...]:
    first = _ARM + _CUBE
    beyond = first + _BUTTON * len(buttons)
    sliding = (
        Condition(beyond, (_DRAWER_SCALE * drawer,), _DRAWER_SCALE * _NEAR),
        Condition(beyond + 2, (_WINDOW_SCALE * window,), _WINDOW_SCALE * _NEAR),
    )
    return _cube(cube), *_buttons(first, buttons), *sliding


_CONDITIONS: Mapping[str, tuple[tuple[Condition, ...], ...]] = {
    f"pointmaze-{maze}": tuple(
        (Condition(0, (_MAZE_UNIT * (col - 1), _MAZE_UNIT * (row - 1)), 1.0),) for row, col in cells
    )
    for maze, cells in _MAZE_GOALS.items()
} | {
    "cube-single": tuple((_cube(place),) for place in _CUBE_GOALS),
    "scene": tuple(_scene(*goal) for goal in _SCENE_GOALS),
    "puzzle-3x3": tuple(_buttons(_ARM, map(int, goal)) for goal in _PUZZLE_GOALS),
}

TASKS: Mapping[str, tuple[Condition, ...]] = {
    f"{name.replace('-', '_')}_task{number}": conditions
    for name, goals in _CONDITIONS.items()
    for number, conditions in enumerate(goals, start=1)
}
"""What there is to be had in each task, by the name of its reward."""


def __getattr__(name: str) -> Callable[[_Obs, _Act, _Obs], _Reward]:
    """The reward of a task of `TASKS`."""
    if name not in TASKS:
        known = ", ".join(name.replace("-", "_") + "_task1" for name in _CONDITIONS)
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; the rewards of tasks are {known}, each up to _task5"
        )
    return task_reward(name)


def task_reward(name: str, falloff: float = 0.0) -> Callable[[_Obs, _Act, _Obs], _Reward]:
    r"""The reward of a task of `TASKS`, with a slope if `falloff` is not 0.

    $r = -\sum_c (1 - m_c(s))$, where $m_c$ is 1 if condition c holds in s, the state *before* the action, as OGBench
    has it, and else 0. With a falloff $\ell$ it is $\exp(-\tfrac12(d - \rho)^2/\ell^2)$ at a distance d beyond the
    tolerance $\rho$, in the observation's own units, except of a button, which has no distance.

    What it returns raises `ValueError` if the observations are too short to be of this environment.
    """
    conditions = TASKS[name]

    def reward(
        obs: Float[HostArray, "*batch obs"],
        action: Float[HostArray, "*batch act"],
        next_obs: Float[HostArray, "*batch obs"],
    ) -> Float[np.ndarray, "*batch"]:
        del action, next_obs
        width = np.shape(obs)[-1]
        if width < max(c.first + len(c.values) for c in conditions):
            raise ValueError(f"{name}: observations of {width} numbers are of another environment.")
        return np.asarray(sum(_met(np.asarray(obs), c, falloff) - 1.0 for c in conditions))

    reward.__name__ = name
    return reward


def _met(obs: Float[np.ndarray, "*batch obs"], condition: Condition, falloff: float) -> Float[np.ndarray, "*batch"]:
    first, values, tolerance = condition
    distance = np.linalg.norm(obs[..., first : first + len(values)] - np.asarray(values), axis=-1)
    beyond = np.maximum(distance - tolerance, 0.0)
    slope = np.exp(-0.5 * np.square(beyond / falloff)) if falloff and tolerance else 0.0
    return np.where(beyond == 0, 1.0, slope)


def ogbench_name(env: EnvSpec) -> str | None:
    """Which of `EPISODE_STEPS` an environment is, whatever its task; `None` of all others."""
    env_id = str(env.kwargs.get("env_id", env.id))
    match = re.fullmatch(r"(.+?)(-singletask)?(-task[1-5])?-v0", env_id)
    return match[1] if match and match[1] in EPISODE_STEPS else None


def env_of_reward(spec: str) -> EnvSpec | None:
    """Where `owma.envs.ogbench:TASK`, a reward as it is named on command lines, is OGBench's; `None` for others."""
    module, _, name = spec.partition(":")
    return task_env(name) if module == __name__ and name in TASKS else None


def goal_env(name: str, task: int) -> EnvSpec:
    """The environment of a task as OGBench evaluates goals: see the module. `name`: one of `EPISODE_STEPS`."""
    return gym.spec(f"owma/ogbench-{name}-goal{task}-v0")


def task_env(task: str) -> EnvSpec:
    """The environment of a task of `TASKS`: with its start, its goal, and an end where that is reached."""
    return gym.spec(f"owma/ogbench-{task.replace('_', '-')}-v0")


class OGBenchEnv(gym.Env[Any, np.ndarray], EzPickle):
    """An environment of OGBench; see the module.

    **Arguments:**

    - `env_id`: OGBench's id, such as `cube-single-singletask-task3-v0`.
    - `collecting`: for an oracle that goes from goal to goal: reaching one ends nothing.
    - `terminate_at_goal`: whether reaching the goal ends the episode, as OGBench has it.
    - `task_id`: the task of every episode, in an environment that has several. Observations are then dictionaries of
        `observation` and `desired_goal`.

    **Raises:** `ConfigError` if OGBench is not installed or has no such environment.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        env_id: str,
        collecting: bool = False,
        render_mode: str | None = None,
        terminate_at_goal: bool = True,
        task_id: int | None = None,
    ) -> None:
        EzPickle.__init__(self, env_id, collecting, render_mode, terminate_at_goal, task_id)
        spec = gym.registry.get(env_id) if re.fullmatch(r"[a-z0-9-]+-v0", env_id) and _load() else None
        if spec is None or _family(spec) not in _COLLECTING:
            raise ConfigError(f"OGBench has no environment {env_id!r}; name one such as pointmaze-medium-v0.")
        # Without gym.make and its wrappers: the limit of steps is that of this environment.
        how = _COLLECTING[_family(spec)] if collecting else {"terminate_at_goal": terminate_at_goal}
        self.inner: Any = _creator(spec)(**{**spec.kwargs, **how})
        if _family(spec) == "locomaze":
            Path(self.inner.fullpath).unlink(missing_ok=True)  # the model that it has loaded, left behind
        self.render_mode = render_mode
        self._numbers = np.random.RandomState().get_state()
        # To swap NumPy's numbers takes as long as a step of a point; of the mazes, only one that teleports draws in it.
        self._family = _family(spec)
        self._steps_draw = self._family != "locomaze" or "teleport" in env_id
        self._task_id, self._goal = task_id, np.zeros(0)
        with self.own_numbers():
            state = self.inner.observation_space
        goals = gym.spaces.Dict({"observation": state, "desired_goal": copy.deepcopy(state)})
        self.observation_space = state if task_id is None else goals
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

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """Begin an episode; `success` of the info is whether it begins where it is to end.

        `options` as in OGBench; of a maze also `reset_cell` and `goal_cell`, both (row, col), as in PointMaze.
        """
        if self._task_id is not None:
            options = {"task_id": self._task_id, **(options or {})}
        if options is not None and "goal_cell" in options:
            cells = {"init_ij": tuple(options["reset_cell"]), "goal_ij": tuple(options["goal_cell"])}
            options = {"task_info": cells}
        if seed is not None:
            self._numbers = np.random.RandomState(seed).get_state()
            self.inner.action_space.seed(seed)  # OGBench takes random steps when it resets
        with self.own_numbers():
            obs, info = self.inner.reset(seed=seed, options=options or {})
        self._goal = info.get("goal", self._goal)
        return self._shown(obs), {**info, "success": self._is_solved()}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step, of 0.1 s for points and 0.05 s for arms."""
        with self.own_numbers() if self._steps_draw else nullcontext():
            obs, reward, terminated, truncated, info = self.inner.step(action)
        said = {"success": bool(info.get("success", False))}
        return self._shown(obs), float(reward), bool(terminated), bool(truncated), said

    def _shown(self, obs: np.ndarray) -> Any:
        return obs if self._task_id is None else {"observation": obs, "desired_goal": np.array(self._goal)}

    def _is_solved(self) -> bool:
        """Whether the state is one where OGBench's `step` would say so, without a step."""
        if self._family == "locomaze":
            return bool(self.inner.compute_success())
        return all(self.inner._compute_successes())

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
        for number in range(1, 6):
            gym.register(
                id=f"owma/ogbench-{name}-goal{number}-v0",
                entry_point=entry_point,
                max_episode_steps=steps,
                kwargs={"env_id": f"{name}-v0", "task_id": number},
            )
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
