"""Checks between an agent and an environment of the user's: actions are within bounds, observations are finite."""

import contextlib
from collections.abc import Iterator

import gymnasium as gym
import numpy as np

from owma._internal.errors import OwmaError, where_raised
from owma._internal.types import Bool, Float

_ROUNDING = 1e-6
"""Of float32: an action at a bound of an action space of float64 may be beyond it by so much of its size."""


def actions_inside(
    action: Float[np.ndarray, "n act"], space: gym.Space
) -> tuple[Float[np.ndarray, "n act"], Bool[np.ndarray, " n"]]:
    """Actions that the environment takes, a new array, and which had to be moved to its bounds, which may be narrower
    than the data's.
    """
    if not isinstance(space, gym.spaces.Box):
        return np.array(action), np.zeros(len(action), bool)
    taken = np.clip(action, space.low, space.high).astype(space.dtype)
    moved = np.any(np.abs(taken - action) > _ROUNDING * np.maximum(np.abs(action), 1), axis=1)
    return taken, moved


@contextlib.contextmanager
def environment_errors(when: str) -> Iterator[None]:
    """Re-raises what the environment raises as `OwmaError`, with file and line; `when`: for the message."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise OwmaError(
            f"The environment raised {type(error).__name__} {when} ({where_raised(error)}); mend the environment, and "
            "run it again: planners that are done are not repeated."
        ) from error


def check_rewards(rewards: Float[np.ndarray, " n"], step: int) -> None:
    """Raises `OwmaError` unless the rewards of all episodes are finite, in float32 too."""
    bad = np.flatnonzero(~(np.abs(rewards) <= np.finfo(np.float32).max))
    if bad.size and np.isfinite(value := rewards[bad[0]]):
        raise OwmaError(
            f"The environment of episode {bad[0]} gave a reward of {value:.2g} after {step} steps, too large for "
            "float32; divide its rewards, and run it again."
        )
    if bad.size:
        raise OwmaError(
            f"The environment of episode {bad[0]} gave a reward that is not finite after {step} steps; mend the "
            "environment."
        )


def finite_observations(obs: Float[np.ndarray, "n obs"], step: int) -> Float[np.ndarray, "n obs"]:
    """`obs`, one row an episode. Raises `OwmaError` unless all of it is finite."""
    bad = np.flatnonzero(~np.isfinite(obs).all(axis=1))
    if bad.size:
        raise OwmaError(
            f"The environment of episode {bad[0]} returned an observation that is not finite after {step} steps; mend "
            "the environment (the agent does not act on guesses)."
        )
    return obs
