"""Tasks: what is worth having, said as a reward function, as labelled samples or as a goal."""

import abc
from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import numpy as np

from owma._errors import ConfigError
from owma._types import Float, HostArray
from owma.transitions import Transitions

RewardFunction: TypeAlias = Callable[
    [Float[HostArray, "n obs"], Float[HostArray, "n act"], Float[HostArray, "n obs"]], Float[HostArray, " n"]
]
"""r(s, a, s'), over whole arrays at once: labelling a dataset is one call."""


class AbstractTask(eqx.Module):
    """A task can label every transition of a dataset with a reward; the agent needs nothing else of it."""

    @abc.abstractmethod
    def rewards(self, transitions: Transitions) -> Float[np.ndarray, " n"]:
        """The reward of each transition. Raises `ConfigError` if a reward is not finite."""


class RewardTask(AbstractTask):
    """A reward function over arrays."""

    function: RewardFunction = eqx.field(static=True)

    def rewards(self, transitions: Transitions) -> Float[np.ndarray, " n"]:
        rewards = self.function(transitions.obs, transitions.action, transitions.next_obs)
        return _checked(rewards, len(transitions), f"reward function {self.function.__name__!r}")


class RecordedTask(AbstractTask):
    """The rewards that were recorded with the dataset."""

    def rewards(self, transitions: Transitions) -> Float[np.ndarray, " n"]:
        return _checked(transitions.reward, len(transitions), "recorded reward")


class GoalTask(AbstractTask):
    r"""$r = 1$ while $\|s'_{1:g} - \text{goal}\| \le$ `radius`, else 0; the goal being in the leading coordinates."""

    goal: Float[HostArray, " goal"]
    radius: float = eqx.field(static=True, default=0.5)

    def rewards(self, transitions: Transitions) -> Float[np.ndarray, " n"]:
        goal = np.asarray(self.goal)
        width = np.shape(transitions.next_obs)[1]
        if goal.shape[0] > width:
            raise ConfigError(f"The goal has {goal.shape[0]} coordinates, the observations have {width}: give no more.")
        distance = np.linalg.norm(np.asarray(transitions.next_obs)[:, : goal.shape[0]] - goal, axis=-1)
        return _checked((distance <= self.radius).astype(np.float32), len(transitions), "goal reward")


class LabelledTask(AbstractTask):
    """A few (s', r) samples; every other transition gets the reward of kernel ridge regression on them.

    Gaussian kernel on coordinates standardised over the samples, `bandwidth` in standard deviations.
    """

    obs: Float[HostArray, "k obs"]
    reward: Float[HostArray, " k"]
    bandwidth: float = eqx.field(static=True, default=0.5)
    ridge: float = eqx.field(static=True, default=1e-3)

    def rewards(self, transitions: Transitions) -> Float[np.ndarray, " n"]:
        obs, reward = np.asarray(self.obs, np.float64), np.asarray(self.reward, np.float64)
        width = np.shape(transitions.next_obs)[1]
        if obs.shape[1] != width:
            raise ConfigError(
                f"The labelled samples have observations of {obs.shape[1]} numbers, the dataset has {width}: label "
                "observations of the dataset."
            )
        scale = self.bandwidth * np.maximum(obs.std(axis=0), 1e-6)
        mean = reward.mean()
        kernel = _gaussian_kernel(obs / scale, obs / scale)
        weights = np.linalg.solve(kernel + self.ridge * np.eye(len(obs)), reward - mean)
        chunks = np.array_split(np.asarray(transitions.next_obs, np.float64), max(1, len(transitions) // 4096))
        rewards = np.concatenate([_gaussian_kernel(chunk / scale, obs / scale) @ weights for chunk in chunks]) + mean
        return _checked(rewards, len(transitions), "regressed reward")


def _gaussian_kernel(a: Float[np.ndarray, "n obs"], b: Float[np.ndarray, "k obs"]) -> Float[np.ndarray, "n k"]:
    squared = np.square(a).sum(-1)[:, None] + np.square(b).sum(-1) - 2 * a @ b.T
    return np.exp(-0.5 * np.maximum(squared, 0.0))


_LARGEST_REWARD = 1e12
"""Sums of a thousand of them can be squared and added in float32."""


def _checked(rewards: Float[HostArray, "..."], length: int, name: str) -> Float[np.ndarray, " n"]:
    rewards = np.asarray(rewards, np.float32)
    if rewards.shape != (length,):
        raise ConfigError(
            f"The {name} returned shape {rewards.shape} for {length} transitions; it must return ({length},): "
            "it is called once with whole arrays, not once a step."
        )
    if not np.isfinite(rewards).all():
        raise ConfigError(f"The {name} is not finite at transition {int(np.flatnonzero(~np.isfinite(rewards))[0])}.")
    largest = float(np.abs(rewards).max())
    if largest > _LARGEST_REWARD:
        raise ConfigError(
            f"The {name} is as large as {largest:.2g}, and squares of returns would leave float32: divide it, so that "
            f"it stays below {_LARGEST_REWARD:g}."
        )
    if np.ptp(rewards) == 0:
        raise ConfigError(
            f"The {name} is {rewards[0]:g} for every transition of the dataset, so it prefers nothing. "
            "Choose another task (`--task`), or a dataset in which this one is sometimes met."
        )
    return rewards
