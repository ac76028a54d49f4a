"""What an environment says of an episode's success, by whatever name it says it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from owma._types import Bool

_SUCCESS = ("success", "is_success")
_SUBTASKS = ("tasks_to_complete", "episode_task_completions")
SUCCESS_NAMES = (*_SUCCESS, *_SUBTASKS)
"""The entries of `info` that are read."""


def reported_success(infos: Mapping[str, Any]) -> Bool[np.ndarray, " n"] | None:
    """Whether each episode has succeeded by now, as a vector environment's `infos` have it; `None` if they do not say.

    Read is `success`, or `is_success`, as gymnasium-robotics' Fetch and Hand have it. Its FrankaKitchen has lists of
    subtasks instead: an episode succeeds once none of `tasks_to_complete` is left, those in `episode_task_completions`
    being done whether or not they stay in the former (`remove_task_when_completed=False`).
    """
    for name in _SUCCESS:
        if name in infos:
            return np.asarray(infos[name], bool)
    if all(name in infos for name in _SUBTASKS):
        # Arrays of lists, with `None` for an environment that says nothing.
        pairs = zip(*(infos[name] for name in _SUBTASKS))
        return np.array([asked is not None and set(asked) <= set(done or ()) for asked, done in pairs])
    return None
