"""What an environment says of an episode's success, by whatever name it says it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from owma._internal.errors import OwmaError
from owma._internal.types import Bool

_SUCCESS = ("success", "is_success")
_SUBTASKS = ("tasks_to_complete", "episode_task_completions")
SUCCESS_NAMES = (*_SUCCESS, *_SUBTASKS)
"""The entries of `info` that are read."""


def one_success(value: Any, name: str) -> Any:
    """What one environment says under one of `SUCCESS_NAMES`: a truth value, or the subtasks as they are.

    Read is a truth value, 0 or 1, or an array or list of one of these. Raises `TypeError` for anything else: `"False"`
    and NaN are true to Python.
    """
    if name not in _SUCCESS:
        return value
    said = np.asarray(value) if isinstance(value, bool | int | float | np.generic | np.ndarray | list | tuple) else None
    if said is None or said.size != 1 or said.dtype.kind not in "biuf" or said.item() not in (0, 1):
        raise TypeError(f"info[{name!r}] is {' '.join(repr(value)[:80].split())}, not True or False")
    return bool(said.item())


def reported_success(infos: Mapping[str, Any]) -> Bool[np.ndarray, " n"] | None:
    """Whether each episode has succeeded by now, as a vector environment's `infos` have it; `None` if they do not say.

    Read is `success`, or `is_success`, as gymnasium-robotics' Fetch and Hand have it. Its FrankaKitchen has lists of
    subtasks instead: an episode succeeds once none of `tasks_to_complete` is left, those in `episode_task_completions`
    being done whether or not they stay in the former (`remove_task_when_completed=False`).
    """
    for name in _SUCCESS:
        if name in infos:
            try:
                return np.array([said is not None and one_success(said, name) for said in infos[name]], bool)
            except TypeError as error:
                raise OwmaError(f"The environment does not say whether it succeeded: {error}; mend it.") from error
    if all(name in infos for name in _SUBTASKS):
        # Arrays of lists, with `None` for an environment that says nothing.
        pairs = zip(*(infos[name] for name in _SUBTASKS))
        return np.array([asked is not None and set(asked) <= set(done or ()) for asked, done in pairs])
    return None
