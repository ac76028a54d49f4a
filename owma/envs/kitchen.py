r"""The subtasks of Franka Kitchen, as reward functions r(obs, action, next_obs) over whole arrays.

An object is done while its joint positions q are within 0.3 of their goal, $\|q - g\|_2 < 0.3$, the joints, goals and
threshold being those of Gupta et al. 2019 (*Relay Policy Learning*, arXiv 1910.11956), D4RL and gymnasium-robotics'
`FrankaKitchen-v1` alike. An observation has one of two forms, told apart by its width:

- 59 numbers, of `FrankaKitchen-v1` and of Minari's `D4RL/kitchen/...`: 9 joint positions of the robot, 9 velocities, 21
  joint positions of the objects, 20 velocities;
- 60 numbers, of D4RL's own HDF5 files: 9 and 21 positions, then 30 goals, which are not read (`d4rl/kitchen` of
  Fu et al., arXiv 2004.07219). Gymnasium has no environment that gives these: a run on such a file is trained, not
  evaluated.

Unlike the environment's reward, which pays each subtask once, these are functions of the state: an object that is done
pays 1 at every step, as successor features need it.
`python -m owma.transfer RUN --task owma.envs.kitchen:microwave ...` evaluates one run on any of them.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from owma._internal.types import Float, HostArray

_Obs: TypeAlias = Float[HostArray, "*batch obs"]
_Action: TypeAlias = Float[HostArray, "*batch act"]
_Reward: TypeAlias = Float[np.ndarray, "*batch"]

THRESHOLD = 0.3
"""Distance of joint positions (radians, metres) within which an object is done."""

OBJECTS: dict[str, tuple[tuple[int, ...], tuple[float, ...]]] = {
    "bottom burner": ((11, 12), (-0.88, -0.01)),
    "top burner": ((15, 16), (-0.92, -0.01)),
    "light switch": ((17, 18), (-0.69, -0.05)),
    "slide cabinet": ((19,), (0.37,)),
    "hinge cabinet": ((20, 21), (0.0, 1.45)),
    "microwave": ((22,), (-0.75,)),
    "kettle": ((23, 24, 25, 26, 27, 28, 29), (-0.23, 0.75, 1.62, 0.99, 0.0, 0.0, -0.06)),
}
"""Of each object: which of the 30 joint positions (9 of the robot, then 21) are its own, and where they are to be."""

_NOT_POSITIONS = {59: 9, 60: 0}
"""Of observations of a width, the numbers that stand between the robot's positions and the objects'."""


def completed(next_obs: _Obs, objects: Sequence[str]) -> _Reward:
    """How many of `objects` (names of `OBJECTS`) are done.

    Raises `ValueError` if the observations are not of 59 or 60 numbers, or an object is not one of them.
    """
    state = np.asarray(next_obs)
    between = _NOT_POSITIONS.get(state.shape[-1])
    if between is None:
        raise ValueError(
            f"completed: observations of {state.shape[-1]} numbers; FrankaKitchen-v1 has 59, D4RL's own files have 60."
        )
    unknown = [name for name in objects if name not in OBJECTS]
    if unknown:
        raise ValueError(f"completed: there is no {unknown[0]!r}; choose from {', '.join(OBJECTS)}.")
    count = np.zeros(state.shape[:-1], state.dtype)
    for name in objects:
        joints, goal = OBJECTS[name]
        positions = state[..., [joint + between for joint in joints]]
        count += np.linalg.norm(positions - np.asarray(goal), axis=-1) < THRESHOLD
    return count


def microwave(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
) -> Float[np.ndarray, "*batch"]:
    """1 while the microwave is open."""
    del obs, action
    return completed(next_obs, ("microwave",))


def kettle(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
) -> Float[np.ndarray, "*batch"]:
    """1 while the kettle stands on the top left burner."""
    del obs, action
    return completed(next_obs, ("kettle",))


def bottom_burner(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
) -> Float[np.ndarray, "*batch"]:
    """1 while the bottom burner is on."""
    del obs, action
    return completed(next_obs, ("bottom burner",))


def top_burner(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
) -> Float[np.ndarray, "*batch"]:
    """1 while the top burner is on."""
    del obs, action
    return completed(next_obs, ("top burner",))


def light_switch(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
) -> Float[np.ndarray, "*batch"]:
    """1 while the light is on."""
    del obs, action
    return completed(next_obs, ("light switch",))


def slide_cabinet(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
) -> Float[np.ndarray, "*batch"]:
    """1 while the slide cabinet is open."""
    del obs, action
    return completed(next_obs, ("slide cabinet",))


def hinge_cabinet(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
) -> Float[np.ndarray, "*batch"]:
    """1 while the hinge cabinet is open."""
    del obs, action
    return completed(next_obs, ("hinge cabinet",))


def four_of_partial(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
) -> Float[np.ndarray, "*batch"]:
    """How many are done of the four that D4RL's kitchen-complete and kitchen-partial ask for: microwave, kettle, light
    switch and slide cabinet.
    """
    del obs, action
    return completed(next_obs, ("microwave", "kettle", "light switch", "slide cabinet"))


def four_of_mixed(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
) -> Float[np.ndarray, "*batch"]:
    """How many are done of the four that D4RL's kitchen-mixed asks for: microwave, kettle, bottom burner and light
    switch.
    """
    del obs, action
    return completed(next_obs, ("microwave", "kettle", "bottom burner", "light switch"))
