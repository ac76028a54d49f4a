"""Which entries of a Dict observation make up the state."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from owma._internal.errors import DatasetError

_GOAL_FORM = ("achieved_goal", "observation", "desired_goal")
_AS_VECTORS = "choose another dataset, or write this one again with each observation as one vector"


def entries_to_read(space: spaces.Space, wanted: Sequence[str], name: str, *, goal: bool) -> tuple[str, ...] | None:
    """The entries of an observation that are candidates for the state; `None` if observations are flat vectors.

    Of the goal form `observation` and the goals, unless these are dicts with an entry an object, which name what
    `observation` holds of them (so in FrankaKitchen); of other dicts all.

    **Arguments:** `wanted`: the entries that the user names, if any; `name`: of the dataset, for the messages; `goal`:
    whether the desired one may be part of the state.

    **Raises:** `DatasetError` if what is to be read is not made of vectors of numbers.
    """
    if not isinstance(space, spaces.Dict):
        if wanted:
            raise DatasetError(f"Dataset {name} has observations without entries; leave out --data.obs-keys.")
        _check_vector(space, "observations", name)
        return None
    unknown = [key for key in wanted if key not in space.spaces]
    if unknown or len(set(wanted)) < len(wanted):
        raise DatasetError(
            f"Dataset {name} has observations with the entries {', '.join(space.spaces)}, not {' '.join(wanted)}; name "
            "each of those that you want once, by --data.obs-keys."
        )
    if wanted or not space.spaces.keys() >= set(_GOAL_FORM):
        keys = tuple(wanted or space.spaces)
    elif isinstance(space.spaces["achieved_goal"], spaces.Dict):
        keys = ("observation",)
    else:
        keys = _GOAL_FORM if goal else _GOAL_FORM[:2]
    for key in keys:
        _check_vector(space.spaces[key], f"observations[{key!r}]", name, may_be_single=True, others=not wanted)
    if not any(space.spaces[key].shape for key in keys):
        raise DatasetError(f"Dataset {name} has single numbers only as {', '.join(keys)}: {_AS_VECTORS}.")
    return keys


def _check_vector(
    space: spaces.Space, field: str, name: str, *, may_be_single: bool = False, others: bool = False
) -> None:
    is_numbers = isinstance(space, spaces.Box) and space.dtype != np.uint8
    axes = None if space.shape is None else len(space.shape)
    if is_numbers and (axes == 1 or (may_be_single and axes == 0)):
        return
    what = f"{space.dtype} arrays of shape {space.shape}" if isinstance(space, spaces.Box) else str(space)
    choose = "name the entries to read by --data.obs-keys, " if others else ""
    raise DatasetError(
        f"Dataset {name} has {what} as {field}; owma reads vectors of numbers, not images or symbols: "
        f"{choose}{_AS_VECTORS}."
    )


class Choice:
    """The entries that make up the state, chosen by what all episodes hold of them.

    A `desired_goal` that differs between steps or episodes is part of the state, for what is done depends on it. An
    `achieved_goal` that `observation` holds as well, in columns that stand together, is not repeated.
    """

    def __init__(
        self,
        episodes: Iterable[Mapping[str, Any]],
        entries: tuple[str, ...] | None,
        wanted: Sequence[str] = (),
        *,
        goal: bool,
    ) -> None:
        """`episodes` have `obs`, the `entries` by name. Without `goal` the desired one is left out, and an
        `achieved_goal` too where it is the leading part of `observation`, and only there.
        """
        self.keys, self._entries, self._starts, self._goal_is_fixed, self.is_as_before = entries, (), [], False, False
        if wanted or entries is None:
            return
        self.is_as_before = not goal
        self._entries = entries
        if entries[:2] != _GOAL_FORM[:2]:
            return
        self._look(episodes, leading=not goal)
        keys = entries[1:] if self._starts else entries
        self.keys = tuple(key for key in keys if key != "desired_goal" or not self._goal_is_fixed)

    def _look(self, episodes: Iterable[Mapping[str, Any]], leading: bool) -> None:
        starts, first, is_fixed = None, np.zeros(1), True
        for episode in episodes:
            achieved, observation = (np.asarray(episode["obs"][key]) for key in _GOAL_FORM[:2])
            desired = np.asarray(episode["obs"].get("desired_goal", [0]))
            size = achieved.shape[1]
            if starts is None:
                starts = [0] if leading else list(range(observation.shape[1] - size + 1))
                first = desired[0]
            starts = [
                start
                for start in starts
                if np.array_equal(achieved, observation[:, start : start + size], equal_nan=True)
            ]
            is_fixed &= np.array_equal(desired, np.broadcast_to(first, desired.shape), equal_nan=True)
        self._starts, self._goal_is_fixed = starts or [], is_fixed

    def note(self, space: spaces.Space) -> str | None:
        """A sentence on what is read, and what is not; `None` where observations are flat vectors, or the goals are the
        tasks'."""
        if self.keys is None or self.is_as_before:
            return None
        assert isinstance(space, spaces.Dict)
        ends = itertools.accumulate((_size(space.spaces[key]) for key in self.keys), initial=0)
        starts = dict(zip(self.keys, ends))
        read = " and ".join(f"{key} ({_coordinates(starts[key], _size(space.spaces[key]))})" for key in self.keys)
        unread = [self._why_not(key, space.spaces, starts) for key in self._entries if key not in self.keys]
        left = f"; {'; '.join(unread)}" if unread else ""
        return f"The state is {read}{left}: --data.obs-keys chooses the entries of an observation."

    def _why_not(self, key: str, entries: Mapping[str, spaces.Space], starts: Mapping[str, int]) -> str:
        if key == "achieved_goal" and self._starts and "observation" in starts:
            where = _coordinates(starts["observation"] + self._starts[0], _size(entries[key]))
            return f"achieved_goal is not read again, it is {where}"
        if key == "desired_goal" and self._goal_is_fixed:
            return "desired_goal is not read, it is the same throughout"
        return f"{key} is not read"


def state_size(space: spaces.Space, keys: Sequence[str] | None) -> int:
    """Numbers of a state made of these entries; `None` of the whole observation."""
    if keys is None:
        return _size(space)
    assert isinstance(space, spaces.Dict)
    return sum(_size(space.spaces[key]) for key in keys)


def _size(space: spaces.Space) -> int:
    assert space.shape is not None  # of a Box, as was seen to
    return space.shape[0] if space.shape else 1


def _coordinates(start: int, size: int) -> str:
    return f"coordinate {start}" if size == 1 else f"coordinates {start} to {start + size - 1}"
