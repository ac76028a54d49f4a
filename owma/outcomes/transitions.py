"""Transitions of an offline dataset, with terminations and truncations kept apart."""

import dataclasses
import mmap
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import numpy as np

from owma._internal.types import Bool, Float, HostArray, Int


class Transitions(eqx.Module):
    """A flat run of transitions, episode after episode, in recorded order.

    `terminated` and `truncated` mark the *last* transition of an episode: after a termination there is no future
    (s_{t+1} is the last state in the outcome's sum), after a truncation there is one that was not recorded (the outcome
    is bootstrapped). The last transition of the whole array must have one of the two marks.

    Arrays live in host memory (`numpy`); training moves them to the device once, unless they are memory-mapped, when
    it reads batches of them.
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
    """Whether the recording stopped at s_{t+1} although the episode was not over."""

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

    @property
    def is_mapped(self) -> bool:
        """Whether the arrays are memory-mapped: rows are read from files on access."""
        return _mapping(self.obs) is not None

    def rows(self, rows: slice | Int[np.ndarray, " k"]) -> "Transitions":
        """Some rows, copied into memory; the last of them need not be the end of an episode."""
        return Transitions(*(_copied(getattr(self, field.name), rows) for field in dataclasses.fields(self)))

    def ended_rows(self, rows: Int[np.ndarray, " k"]) -> "Transitions":
        """`rows`, the last of which is marked as truncated unless it ends an episode already."""
        copied = self.rows(rows)
        truncated = np.asarray(copied.truncated)
        truncated[-1] |= not copied.terminated[-1]
        return dataclasses.replace(copied, truncated=truncated)

    def episode_blocks(self, most_rows: int) -> Iterator[slice]:
        """Slices of whole episodes, of at most `most_rows` rows each; a longer episode has a slice of its own."""
        stops = np.flatnonzero(self.ends) + 1
        start = 0
        while start < len(self):
            fitting = int(np.searchsorted(stops, start + most_rows, side="right"))
            first = int(np.searchsorted(stops, start, side="right"))
            stop = int(stops[max(first, fitting - 1)])
            yield slice(start, stop)
            start = stop


def _copied(array: HostArray, rows: slice | Int[np.ndarray, " k"]) -> np.ndarray:
    """Some rows of a field, copied; a few at a time if memory-mapped, since the system maps sixteen pages per row."""
    values = np.asarray(array)
    if isinstance(rows, slice):
        copied = values[rows].copy()
        release(array)
        return copied
    copied = np.empty((len(rows), *values.shape[1:]), values.dtype)
    for start in range(0, len(rows), 1024):
        part = slice(start, start + 1024)
        copied[part] = values[rows[part]]
        release(array)
    return copied


def release(array: HostArray) -> None:
    """Take the pages of a memory-mapped array out of this process's memory; they are read again when needed."""
    mapping = _mapping(array)
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)


def _mapping(array: Any) -> mmap.mmap | None:
    """The memory map that `array` is a view of, or `None`."""
    while isinstance(array, np.ndarray | memoryview):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return array if isinstance(array, mmap.mmap) else None
