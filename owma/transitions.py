"""Transitions of an offline dataset, with episode ends of both kinds kept apart."""

import equinox as eqx
import numpy as np

from owma._types import Bool, Float, HostArray, Int


class Transitions(eqx.Module):
    """A flat run of transitions, episode after episode, in recorded order.

    `terminated` and `truncated` mark the *last* transition of an episode: after a termination there is no future
    (the outcome stops there), after a truncation there is one that was not recorded (the outcome is bootstrapped).
    The last transition of the whole array must carry one of the two marks.

    Arrays live in host memory (`numpy`); training moves them to the device once.
    """

    obs: Float[HostArray, "n obs"]
    """s_t."""
    action: Float[HostArray, "n act"]
    """a_t, in the units of the environment."""
    reward: Float[HostArray, " n"]
    """r_t as recorded; the world model never reads it."""
    next_obs: Float[HostArray, "n obs"]
    """s_{t+1}; at an episode end the true final observation, not the first of the next episode."""
    terminated: Bool[HostArray, " n"]
    """Whether the episode ended at s_{t+1} for good."""
    truncated: Bool[HostArray, " n"]
    """Whether the recording stopped at s_{t+1} although the episode had a future."""

    def __check_init__(self) -> None:
        n = self.obs.shape[0]
        for name in ("action", "reward", "next_obs", "terminated", "truncated"):
            length = getattr(self, name).shape[0]
            if length != n:
                raise ValueError(f"Transitions: `{name}` has {length} rows, `obs` has {n}; they must agree.")

    def __len__(self) -> int:
        return int(self.obs.shape[0])

    @property
    def ends(self) -> Bool[np.ndarray, " n"]:
        """Whether each transition is the last of its episode."""
        return np.asarray(self.terminated) | np.asarray(self.truncated)

    @property
    def episode_ids(self) -> Int[np.ndarray, " n"]:
        """The number of the episode that each transition belongs to, counted from 0."""
        ends = self.ends
        return np.concatenate([[0], np.cumsum(ends[:-1])]).astype(np.int64)

    @property
    def num_episodes(self) -> int:
        return int(self.ends.sum())

    @property
    def episode_starts(self) -> Int[np.ndarray, " episodes"]:
        """The index of the first transition of every episode."""
        return np.concatenate([[0], np.flatnonzero(self.ends)[:-1] + 1]).astype(np.int64)
