"""Tasks: reward functions, labelled samples, goals and preferences, which label transitions with rewards."""

import abc
import importlib
import numbers
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import equinox as eqx
import numpy as np

from owma._internal.errors import ConfigError, where_raised
from owma._internal.npz import read_npz
from owma._internal.types import Float, HostArray
from owma.config.task import (
    GoalTaskConfig,
    LabelledTaskConfig,
    PreferenceTaskConfig,
    RecordedTaskConfig,
    TaskConfig,
    is_of_session,
)
from owma.outcomes.transitions import Transitions

RewardFunction: TypeAlias = Callable[
    [Float[HostArray, "n obs"], Float[HostArray, "n act"], Float[HostArray, "n obs"]], Float[HostArray, " n"]
]
"""r(s, a, s'), over whole arrays at once: labelling a dataset is one call."""


class ConstantRewardError(ConfigError):
    """The reward of a task is the same for all transitions of a dataset."""

    def __init__(self, name: str, reward: float) -> None:
        ConfigError.__init__(
            self,
            f"The {name} is {reward:g} for every transition of the dataset, so it prefers nothing. "
            "Choose another task (of train: task:goal-task-config --task.goal X Y, or task:reward-task-config "
            "--task.reward MODULE:FUNCTION; of transfer: --task goal:X,Y or MODULE:FUNCTION), or a dataset in which "
            "this one is sometimes met.",
        )
        self.reward = reward


class AbstractTask(eqx.Module):
    """A task labels every transition of a dataset with a reward; the agent needs nothing else of it."""

    @abc.abstractmethod
    def rewards(self, transitions: Transitions) -> Float[np.ndarray, " n"]:
        """The reward of each transition. Raises `ConfigError` if a reward is not finite."""


class AbstractRewardTask(AbstractTask):
    """A task whose reward is a function of (s, a, s'): it applies to new episodes as well as to a dataset."""

    success_reward: ClassVar[float | None] = None
    """An episode succeeds if the reward of any step is at least this; `None` if success is not defined."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The name of the reward in error messages."""

    @abc.abstractmethod
    def label(
        self, obs: Float[HostArray, "n obs"], action: Float[HostArray, "n act"], next_obs: Float[HostArray, "n obs"]
    ) -> Float[HostArray, "..."]:
        """The reward of each row, unchecked; it should be of shape (n,).

        Raises `ConfigError` if the task does not fit observations or actions of this size.
        """

    def rewards(self, transitions: Transitions) -> Float[np.ndarray, " n"]:
        rewards = self.label(transitions.obs, transitions.action, transitions.next_obs)
        return _checked(rewards, len(transitions), self.name)

    def judge(
        self, obs: Float[HostArray, "n obs"], action: Float[HostArray, "n act"], next_obs: Float[HostArray, "n obs"]
    ) -> Float[np.ndarray, " n"]:
        """The reward of each step of an episode; unlike in `rewards`, all of them may be equal.

        Raises `ConfigError` if a reward is not finite, or the shape is not (n,).
        """
        return _well_formed(self.label(obs, action, next_obs), len(obs), self.name)


class _NotNumbersError(TypeError):
    """A reward function returned something else than real numbers; the message names it."""


def _numbers(returned: Any) -> Float[np.ndarray, "..."]:
    """A copy in float64, or in float32 if `returned` is; `_well_formed` checks that float32 can hold the rewards."""
    if returned is None:
        raise _NotNumbersError("nothing")
    if isinstance(returned, np.ma.MaskedArray):
        raise _NotNumbersError("a masked array, whose masked entries have no reward")
    array = np.asarray(returned)
    names = {"c": "complex numbers", "S": "text", "U": "text", "M": "dates", "m": "durations"}
    if array.dtype.kind in names:
        raise _NotNumbersError(names[array.dtype.kind])
    if array.dtype.kind == "O" and not all(isinstance(value, numbers.Real | np.bool_) for value in array.flat):
        kind = next(type(v).__name__ for v in array.flat if not isinstance(v, numbers.Real | np.bool_))
        raise _NotNumbersError(f"a {kind}" if array.ndim == 0 else f"an array of objects, among them a {kind}")
    with np.errstate(over="ignore"):
        return np.array(array, np.float32 if array.dtype == np.float32 else np.float64)  # a truth value is a reward too


class RewardTask(AbstractRewardTask):
    """A reward function over arrays. It receives copies, which it may modify, and its result is copied, too."""

    function: RewardFunction = eqx.field(static=True)

    @property
    def name(self) -> str:
        return f"reward function {self._function_name!r}"

    @property
    def _function_name(self) -> str:
        # A `functools.partial` has no name.
        return getattr(self.function, "__name__", repr(self.function))

    def label(
        self, obs: Float[HostArray, "n obs"], action: Float[HostArray, "n act"], next_obs: Float[HostArray, "n obs"]
    ) -> Float[HostArray, "..."]:
        # A function that works in place would modify the dataset, and the states of other tasks and of the agent.
        # Read-only views would not prevent that: `torch.from_numpy` writes through them.
        copies = [np.array(rows) for rows in (obs, action, next_obs)]
        try:
            return _numbers(self.function(*copies))
        except (Exception, SystemExit) as error:  # whatever the user's function raises is a user error
            reward = f"{getattr(self.function, '__module__', None)}:{self._function_name}"
            if isinstance(error, _NotNumbersError):
                raise ConfigError(
                    f"The reward {reward} returned {error}; it must return an array of one real number a transition."
                ) from error
            raise ConfigError(
                f"The reward {reward} raised {type(error).__name__} ({where_raised(error)}) on "
                f"observations of {np.shape(obs)[-1]} numbers, actions of {np.shape(action)[-1]} and next observations "
                f"of {np.shape(next_obs)[-1]}; choose a task of these data, or mend the function."
            ) from error


class RecordedTask(AbstractTask):
    """The rewards recorded in the dataset."""

    def rewards(self, transitions: Transitions) -> Float[np.ndarray, " n"]:
        return _checked(transitions.reward, len(transitions), "recorded reward")


class GoalTask(AbstractRewardTask):
    r"""$r = 1$ while $d = \|s'_{i:i+g} - \text{goal}\| \le \rho$, else 0 or $\exp(-\tfrac12(d - \rho)^2/\ell^2)$.

    $\rho$ is `radius`, $\ell$ is `falloff` (0 for the indicator), and i is the `first_coordinate` of the goal.
    """

    goal: Float[HostArray, " goal"]
    radius: float = eqx.field(static=True, default=0.5)
    falloff: float = eqx.field(static=True, default=0.0)
    first_coordinate: int = eqx.field(static=True, default=0)
    success_reward: ClassVar[float | None] = 1.0

    @property
    def name(self) -> str:
        return "goal reward"

    def label(
        self, obs: Float[HostArray, "n obs"], action: Float[HostArray, "n act"], next_obs: Float[HostArray, "n obs"]
    ) -> Float[HostArray, "..."]:
        del obs, action
        goal, first = np.asarray(self.goal), self.first_coordinate
        if first + len(goal) > (width := np.shape(next_obs)[1]):
            coordinates = f"{len(goal)} coordinates" + (f" from {first} on" if first else "")
            raise ConfigError(f"The goal has {coordinates}, the observations have {width}: give no more.")
        distance = np.linalg.norm(np.asarray(next_obs)[:, first : first + len(goal)] - goal, axis=-1)
        beyond = np.maximum(distance - self.radius, 0)
        if self.falloff == 0:
            return (beyond == 0).astype(np.float32)
        slope = np.exp(-0.5 * np.square(beyond / self.falloff)).astype(np.float32)
        # Just outside the radius the reward would round to 1, which means that the goal is reached.
        return np.where(beyond == 0, np.float32(1), np.minimum(slope, np.nextafter(np.float32(1), np.float32(0))))


class PreferenceTask(AbstractRewardTask):
    r"""Weights on regions of the plane, $r = \sum_i w_i\,\mathbb 1[s'_{1:2} \in R_i]$.

    $R_i$ are closed rectangles in the first two coordinates; the weights of overlapping ones add up. In a maze with two
    routes to a goal, a weight on each route is a preference between them.
    """

    weights: Float[HostArray, " regions"]
    low: Float[HostArray, "regions 2"]
    """The minimum x and y of each region."""
    high: Float[HostArray, "regions 2"]
    """The maximum x and y of each region."""

    @property
    def name(self) -> str:
        return "preference reward"

    def label(
        self, obs: Float[HostArray, "n obs"], action: Float[HostArray, "n act"], next_obs: Float[HostArray, "n obs"]
    ) -> Float[HostArray, "..."]:
        del obs, action
        if np.shape(next_obs)[1] < 2:
            raise ConfigError("Regions are places in a plane, and the observations have one number: give another task.")
        position = np.asarray(next_obs)[:, None, :2]
        inside = np.all((position >= np.asarray(self.low)) & (position <= np.asarray(self.high)), axis=-1)
        return (inside @ np.asarray(self.weights)).astype(np.float32)


class LabelledTask(AbstractRewardTask):
    """A few labelled samples (s', r); kernel ridge regression on them gives the reward of every transition.

    Gaussian kernel on coordinates standardised over the samples, `bandwidth` in standard deviations.
    """

    obs: Float[HostArray, "k obs"]
    reward: Float[HostArray, " k"]
    bandwidth: float = eqx.field(static=True, default=0.5)
    ridge: float = eqx.field(static=True, default=1e-3)

    @property
    def name(self) -> str:
        return "regressed reward"

    def label(
        self, obs: Float[HostArray, "n obs"], action: Float[HostArray, "n act"], next_obs: Float[HostArray, "n obs"]
    ) -> Float[HostArray, "..."]:
        del obs, action
        samples, reward = np.asarray(self.obs, np.float64), np.asarray(self.reward, np.float64)
        if samples.shape[1] != (width := np.shape(next_obs)[1]):
            raise ConfigError(
                f"The labelled samples have observations of {samples.shape[1]} numbers, the dataset has {width}: label "
                "observations of the dataset."
            )
        scale = self.bandwidth * np.maximum(samples.std(axis=0), 1e-6)
        mean = reward.mean()
        kernel = _gaussian_kernel(samples / scale, samples / scale)
        weights = np.linalg.solve(kernel + self.ridge * np.eye(len(samples)), reward - mean)
        chunks = np.array_split(np.asarray(next_obs, np.float64), max(1, len(next_obs) // 4096))
        return np.concatenate([_gaussian_kernel(chunk / scale, samples / scale) @ weights for chunk in chunks]) + mean


def _gaussian_kernel(a: Float[np.ndarray, "n obs"], b: Float[np.ndarray, "k obs"]) -> Float[np.ndarray, "n k"]:
    squared = np.square(a).sum(-1)[:, None] + np.square(b).sum(-1) - 2 * a @ b.T
    return np.exp(-0.5 * np.maximum(squared, 0.0))


_LARGEST_REWARD = 1e12
"""Sums of a thousand such rewards can be squared and added in float32."""


_LOST_SHARE = 0.01
"""Rounding to float32 may change a reward by at most this fraction of the range of rewards."""

_ROUNDING = 1e-13
"""Rounding in float64: rewards that differ by a smaller fraction of their magnitude count as equal."""


def _well_formed(rewards: Float[HostArray, "..."], length: int, name: str) -> Float[np.ndarray, " n"]:
    rewards = np.asarray(rewards)
    if rewards.shape != (length,):
        raise ConfigError(
            f"The {name} returned shape {rewards.shape} for {length} transitions; it must return ({length},): "
            "it is called once with whole arrays, not once a step."
        )
    if not np.isfinite(rewards).all():
        raise ConfigError(f"The {name} is not finite at transition {int(np.flatnonzero(~np.isfinite(rewards))[0])}.")
    with np.errstate(over="ignore"):
        rounded = rewards.astype(np.float32)
    if not np.isfinite(rounded).all():
        raise ConfigError(
            f"The {name} is as large as {np.abs(rewards).max():.2g}, which is too large for float32: divide it, so "
            f"that it stays below {_LARGEST_REWARD:g}."
        )
    return rounded


def _checked(rewards: Float[HostArray, "..."], length: int, name: str) -> Float[np.ndarray, " n"]:
    given, rewards = np.asarray(rewards), _well_formed(rewards, length, name)
    largest = float(np.abs(rewards).max())
    if largest > _LARGEST_REWARD:
        raise ConfigError(
            f"The {name} is as large as {largest:.2g}, and squares of returns would leave float32: divide it, so that "
            f"it stays below {_LARGEST_REWARD:g}."
        )
    extent, lost = np.ptp(given.astype(np.float64)), np.abs(given - rewards.astype(np.float64)).max()
    if extent <= _ROUNDING * largest:
        raise ConstantRewardError(name, float(rewards[0]))
    if lost > _LOST_SHARE * extent:
        raise ConfigError(
            f"The {name} runs from {given.min():.12g} to {given.max():.12g}, and rounding it to float32 moves it by up "
            f"to {lost:.2g}, {lost / extent:.0%} of that range: subtract the offset in the function: a reward less a "
            "constant prefers the same."
        )
    return rewards


def build_task(config: TaskConfig) -> AbstractTask:
    """Build the task of a configuration. Raises `ConfigError` if it cannot be imported or read."""
    if isinstance(config, GoalTaskConfig):
        goal = np.asarray(config.goal, np.float32)
        return GoalTask(goal, config.radius, config.falloff, config.first_coordinate)
    if isinstance(config, LabelledTaskConfig):
        return _read_labels(config.file)
    if isinstance(config, RecordedTaskConfig):
        return RecordedTask()
    if isinstance(config, PreferenceTaskConfig):
        regions = np.asarray(config.regions, np.float32).reshape(-1, 5)
        return PreferenceTask(regions[:, 0], regions[:, 1:3], regions[:, 3:5])
    if is_of_session(config):
        raise ConfigError(
            f"The reward function {config.reward.partition(':')[2]!r} was given to a Python session, and no module "
            "holds it; give it again: owma.load(path, task=function)."
        )
    module_name, _, function_name = config.reward.partition(":")
    try:
        return RewardTask(getattr(importlib.import_module(module_name), function_name))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"The reward {config.reward!r} cannot be imported ({error}); write it as module:function, "
            "with the module on your Python path."
        ) from error


def _read_labels(file: Path) -> LabelledTask:
    try:
        arrays = read_npz(file)
        return labelled_task(arrays["obs"], arrays["reward"])
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(
            f"Labelled samples cannot be read from {file} ({error}); it must be an .npz file with `obs` (k, obs) and "
            "`reward` (k,)."
        ) from error


def labelled_task(obs: HostArray, reward: HostArray) -> LabelledTask:
    """A task from labelled samples. Raises `ValueError` unless they are finite and of shapes (k, obs) and (k,)."""
    obs, reward = np.asarray(obs).astype(np.float32), np.asarray(reward).astype(np.float32)
    if obs.ndim != 2 or reward.shape != (len(obs),) or not len(obs):
        raise ValueError(f"`obs` is of shape {obs.shape} and `reward` of {reward.shape}")
    if not (np.isfinite(obs).all() and np.isfinite(reward).all()):
        raise ValueError("it holds numbers that are not finite")
    return LabelledTask(obs, reward)
