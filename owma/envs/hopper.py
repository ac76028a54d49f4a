r"""Four tasks of Gymnasium's Hopper (v4 and v5), as reward functions r(obs, action, next_obs) over whole arrays.

An observation is $(z, \theta, \theta_{thigh}, \theta_{leg}, \theta_{foot}, \dot x, \dot z, \dot\theta, \ldots)$ in
metres, radians and seconds: the height z of the torso is about 1.25 m where the hopper stands upright, and the position
x along the track is no part of it. Each function reads `next_obs` only, pays no control cost and no bonus for being
alive, and works on any leading axes. They are functions of the state, so that one set of outcomes tells all of them.

`python -m owma.collect hopper` makes data in which all four are done, and one run on them (`python -m owma.train
hopper`) serves all: `python -m owma.transfer RUN --task hopper-forward hopper-backward hopper-stand hopper-jump`.
"""

from typing import TypeAlias

import numpy as np

from owma._internal.types import Float, HostArray

_Obs: TypeAlias = Float[HostArray, "*batch obs"]
_Action: TypeAlias = Float[HostArray, "*batch act"]
_Reward: TypeAlias = Float[np.ndarray, "*batch"]

STANDING_HEIGHT = 1.25
"""Metres of the torso above the ground in Hopper's initial state."""

_HEIGHT, _ANGLE, _SPEED, _RISE = 0, 1, 5, 6


def forward(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
) -> Float[np.ndarray, "*batch"]:
    r"""$r = \dot x$: metres a second to the right."""
    del obs, action
    return np.asarray(next_obs[..., _SPEED])


def backward(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
) -> Float[np.ndarray, "*batch"]:
    r"""$r = -\dot x$: metres a second to the left."""
    del obs, action
    return np.asarray(-next_obs[..., _SPEED])


def stand(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
) -> Float[np.ndarray, "*batch"]:
    r"""$r = \min(z/1.25, 1)\cos\theta\; e^{-\dot x^2}$: 1 when upright at full height and still, less when bent, tilted
    or moving along.
    """
    del obs, action
    state = np.asarray(next_obs)
    height = np.minimum(state[..., _HEIGHT] / STANDING_HEIGHT, 1.0)
    return np.asarray(height * np.cos(state[..., _ANGLE]) * np.exp(-np.square(state[..., _SPEED])))


def jump(
    obs: Float[HostArray, "*batch obs"],
    action: Float[HostArray, "*batch act"],
    next_obs: Float[HostArray, "*batch obs"],
) -> Float[np.ndarray, "*batch"]:
    r"""$r = \max(\dot z, 0)$: metres a second upwards. What goes up comes down, and the fall costs nothing: the sum
    over an episode is the height jumped, all jumps together, over the time step.
    """
    del obs, action
    return np.asarray(np.maximum(next_obs[..., _RISE], 0.0))
