"""Trajectories: episodes side by side in a vector environment, whoever acts, and what they are worth to a task."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from gymnasium.vector import VectorEnv

from owma._internal.errors import OwmaError
from owma._internal.moved import renamed
from owma._internal.types import Bool, Float, HostArray, Int
from owma.envs import (
    actions_inside,
    check_rewards,
    environment_errors,
    finite_observations,
    reported_success,
)
from owma.eval.judge import Judge
from owma.outcomes.observations import flatten_obs
from owma.outcomes.tasks import AbstractRewardTask
from owma.results.baselines import RANDOM

_MOST_BOUND = 1e6
"""An action bound of larger magnitude counts as no bound."""


@dataclasses.dataclass(frozen=True)
class Trajectories:
    """States, actions and rewards of episodes, padded to the length of the longest."""

    observations: Float[np.ndarray, "episodes states obs"]
    """One step more than there are actions; after an episode ended its last state is repeated."""
    actions: Float[np.ndarray, "episodes steps act"]
    rewards: Float[np.ndarray, "episodes steps"]
    """The environment's; 0 after the end."""
    lengths: Int[np.ndarray, " episodes"]
    terminated: Bool[np.ndarray, " episodes"]
    success: Bool[np.ndarray, " episodes"] | None
    """What the environment says of it; `None` where it says nothing in any of the episodes."""
    goals: Any
    """`desired_goal` of each episode's first observation; `None` where the environment's observations have none."""

    def rewards_by(self, task: AbstractRewardTask | None, episode: int) -> Float[np.ndarray, " steps"]:
        """An episode's rewards by a task, `None`: by the environment. Raises `ConfigError` as `task.judge` does."""
        length = self.lengths[episode]
        if task is None:
            return self.rewards[episode, :length]
        states = self.observations[episode, : length + 1]
        return task.judge(states[:-1], self.actions[episode, :length], states[1:])

    def judged(self, judge: Judge | Sequence[Judge]) -> list[dict[str, Any]]:
        """For each episode `success`, `return` and `steps`, the first two by the judge, which may be one for each.

        Where that is a task, the environment's own are `env_success` and `env_return`. A success that nobody speaks of
        is `None`, and so is a return of the environment's that is not finite.
        """
        judges = [judge] * len(self.lengths) if isinstance(judge, Judge) else judge
        return [self._judged(judges[i].task, i) for i in range(len(self.lengths))]

    def _judged(self, task: AbstractRewardTask | None, i: int) -> dict[str, Any]:
        paid = float(self.rewards_by(None, i).sum())
        own = {
            "success": None if self.success is None else bool(self.success[i]),
            "return": paid if np.isfinite(paid) else None,
        }
        steps = {"steps": int(self.lengths[i])}
        if task is None:
            return own | steps
        rewards = self.rewards_by(task, i)
        reached = None if task.success_reward is None else bool((rewards >= task.success_reward).any())
        return {
            "success": reached,
            "return": float(rewards.sum()),
            "env_success": own["success"],
            "env_return": own["return"],
        } | steps


@runtime_checkable
class Acting(Protocol):
    """Who acts in all episodes at once."""

    def __call__(
        self, obs: Float[HostArray, "n obs"], done: Bool[np.ndarray, " n"], step: int
    ) -> Float[HostArray, "n act"]:
        """Actions that the environment takes; those of episodes that are `done` do not count."""
        ...


def roll_out(
    act: Acting,
    envs: VectorEnv,
    *,
    seed: int,
    flatten: Callable[[Any], Float[np.ndarray, "n obs"]],
    pays: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Trajectories:
    """One episode in each of `envs`; episode i starts from environment seed `1000 * seed + i`, whoever acts.

    **Arguments:** `flatten` makes states of the environment's observations. `pays`: whether the episodes' rewards are
    the environment's, which must then be finite.

    Raises `OwmaError` where the environment makes a mistake.
    """
    n = envs.num_envs
    # gymnasium's annotation forgets that a list is accepted; simulators with generators of old take 32 bits.
    seeds: Any = [(1000 * seed + i) % 2**32 for i in range(n)]
    with environment_errors("as it was reset"):
        raw_obs, _ = envs.reset(seed=seeds)
    goals = raw_obs.get("desired_goal") if isinstance(raw_obs, Mapping) else None
    visited, actions, rewards = [finite_observations(flatten(raw_obs), 0)], [], []
    done, lengths, terminated = np.zeros(n, bool), np.zeros(n, int), np.zeros(n, bool)
    success, says = np.zeros(n, bool), False
    step = 0
    while not done.all():
        action = act(visited[-1], done, step)
        actions.append(np.array(action))  # the environment may work in the array that it is given
        # An environment that has ended is reset by the next step and goes on; nothing of that is kept.
        active = ~done
        with environment_errors(f"after {step} steps"):
            raw_obs, reward, termination, truncation, infos = envs.step(action)
        visited.append(np.where(active[:, None], flatten(raw_obs), visited[-1]))
        finite_observations(visited[-1], step + 1)
        rewards.append(np.where(active, reward, 0.0))
        if pays:
            check_rewards(rewards[-1], step)
        reached = reported_success(infos)
        if reached is not None:
            says, success = True, success | (active & reached)
        lengths += active
        terminated |= active & termination
        done |= termination | truncation
        step += 1
        if progress is not None:
            progress(int(active.sum()))
    return Trajectories(
        observations=np.stack(visited, axis=1),
        actions=np.stack(actions, axis=1),
        rewards=np.stack(rewards, axis=1),
        lengths=lengths,
        terminated=terminated,
        success=success if says else None,
        goals=goals,
    )


def is_bounded(space: Any) -> bool:
    """Whether an action space says between what bounds actions are to be drawn."""
    return bool((_bounds(space.low) & _bounds(space.high)).all())


def _bounds(ends: Float[np.ndarray, " act"]) -> Bool[np.ndarray, " act"]:
    """Where an end is a bound: some environments write float32's largest number for none."""
    return np.abs(ends) <= _MOST_BOUND


def random_trajectories(
    envs: VectorEnv,
    *,
    seed: int,
    obs_keys: tuple[str, ...] | None,
    low: Float[HostArray, " act"],
    high: Float[HostArray, " act"],
    progress: Callable[[int], None] | None = None,
) -> Trajectories:
    """An episode in each of `envs` of actions drawn uniformly from the action space, the same for the same `seed`.

    **Arguments:** `low`, `high`: bounds where the action space has none, or has one that stands for none.

    Raises `OwmaError` as `roll_out` does, but not for rewards.
    """
    space: Any = envs.single_action_space
    low = np.where(_bounds(space.low), space.low, low)
    high = np.where(_bounds(space.high), space.high, high)
    rng = np.random.default_rng(seed)

    def act(obs: Float[HostArray, "n obs"], done: Bool[np.ndarray, " n"], step: int) -> Float[np.ndarray, "n act"]:
        del obs, done, step
        drawn = rng.uniform(low, np.maximum(low, high), (envs.num_envs, *space.shape))
        return actions_inside(drawn.astype(np.float32), space)[0]

    flatten = functools.partial(flatten_obs, obs_keys=obs_keys)
    return roll_out(act, envs, seed=seed, flatten=flatten, pays=False, progress=progress)


def random_rows(trajectories: Trajectories, judge: Judge, *, seed: int, planner: str = RANDOM) -> list[dict[str, Any]]:
    """A row an episode, of the form of an evaluation's; what only planners have is `None`.

    **Arguments:** `trajectories`: as `random_trajectories` returns it, or other ones without a planner, by the name
    `planner`.

    Raises `OwmaError` where an episode has no finite return.
    """
    unknown = dict.fromkeys(("value", "promise_gap", "kl", "nfe", "ms_p50", "ms_p95"))
    unknown |= dict.fromkeys(("fallbacks", "overruns", "clipped"), 0)
    judged = trajectories.judged(judge)
    if any(row["return"] is None for row in judged):
        raise OwmaError("The environment gave rewards whose sum is not finite; mend the environment.")
    return [{"planner": planner, "seed": seed, "episode": i, **unknown, **row} for i, row in enumerate(judged)]


if not TYPE_CHECKING:
    __getattr__ = renamed(
        "owma.eval.trajectories",
        {"random_course": "random_trajectories", "drive": "roll_out", "Course": "Trajectories"},
    )
