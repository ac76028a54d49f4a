"""Between an agent and an environment that may be anybody's: what passes is finite and inside its bounds."""

import contextlib
import traceback
from collections.abc import Iterator

import gymnasium as gym
import numpy as np

from owma._errors import OwmaError
from owma._types import Bool, Float


def actions_inside(
    action: Float[np.ndarray, "n act"], space: gym.Space
) -> tuple[Float[np.ndarray, "n act"], Bool[np.ndarray, " n"]]:
    """Actions that the environment takes, and which had to be moved: its bounds may be narrower than the data's."""
    if not isinstance(space, gym.spaces.Box):
        return action, np.zeros(len(action), bool)
    taken = np.clip(action, space.low, space.high)
    moved = np.any(taken != action, axis=1)
    return (taken if moved.any() else action), moved


@contextlib.contextmanager
def mistakes_of_the_environment(when: str) -> Iterator[None]:
    """What an environment raises is its own mistake: an `OwmaError` that says where it made it."""
    try:
        yield
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise OwmaError(
            f"The environment raised {type(error).__name__} {when} ({error}; {frame.filename}, line {frame.lineno}); "
            "mend the environment, and run it again: planners that are done are not repeated."
        ) from error


def check_rewards(rewards: Float[np.ndarray, " n"], step: int) -> None:
    """Raises `OwmaError` unless the rewards of all episodes are finite."""
    bad = np.flatnonzero(~np.isfinite(rewards))
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
