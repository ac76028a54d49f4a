"""Tasks given from Python: functions, goals, labels, words; and the configuration that a run stores for each."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from owma._internal.errors import ConfigError
from owma.config.task import (
    SESSION,
    GoalTaskConfig,
    LabelledTaskConfig,
    PreferenceTaskConfig,
    RecordedTaskConfig,
    RewardTaskConfig,
    TaskConfig,
    parse_task,
)
from owma.outcomes.tasks import (
    AbstractTask,
    GoalTask,
    LabelledTask,
    PreferenceTask,
    RecordedTask,
    RewardTask,
    build_task,
    labelled_task,
)

TaskLike: TypeAlias = (
    str
    | TaskConfig
    | AbstractTask
    | Callable[[Any, Any, Any], Any]
    | Sequence[float]
    | np.ndarray
    | tuple[Any, Any]
    | Mapping[str, Any]
    | None
)
"""What `read_task` takes."""

LABELS = "labels.npz"
"""Of a run's folder: the labels of its task."""


@dataclass(frozen=True)
class GivenTask:
    """A task, and its configuration in a run."""

    config: TaskConfig
    task: AbstractTask


def read_task(task: TaskLike) -> GivenTask:
    """A task of any form.

    - `None` or `"recorded"`: the rewards recorded with the data.
    - a function r(obs, action, next_obs) over whole arrays, (n, obs), (n, act), (n, obs) to (n,).
    - a goal: numbers to reach in the leading coordinates of the observation, within 0.5; for other radii and
      coordinates give `GoalTask` or `GoalTaskConfig`.
    - labels: a pair (obs, reward) of arrays (k, obs) and (k,), or a mapping with these two names.
    - a word of `owma.config.task.parse_task` (`"goal:1,2@0.3"`, `"module:function"`, `"labels.npz"`, ...).
    - a configuration of a task, or a task.

    Raises `ConfigError` for anything else, and where it cannot be built.
    """
    if task is None:
        return GivenTask(RecordedTaskConfig(), RecordedTask())
    if isinstance(task, str):
        task = parse_task(task)
    if isinstance(task, TaskConfig):
        return GivenTask(task, build_task(task))
    if isinstance(task, AbstractTask):
        return GivenTask(_config_of(task), task)
    if callable(task):
        return read_task(RewardTask(task))
    if isinstance(task, Mapping):
        if set(task) != {"obs", "reward"}:
            raise ConfigError(
                f"Labels are a mapping with `obs` and `reward`, and this one has {sorted(map(str, task))}."
            )
        return _labels(task["obs"], task["reward"])
    if isinstance(task, tuple) and len(task) == 2 and np.ndim(task[0]) > 0:
        return _labels(*task)
    return read_task(_goal(task))


def _labels(obs: Any, reward: Any) -> GivenTask:
    try:
        task = labelled_task(np.asarray(obs), np.asarray(reward))
    except ValueError as error:
        raise ConfigError(f"These labels are no task ({error}); give arrays of shapes (k, obs) and (k,).") from error
    return GivenTask(LabelledTaskConfig(Path(LABELS)), task)


def _goal(task: Any) -> GoalTaskConfig:
    try:
        goal = np.asarray(task, float)
    except (TypeError, ValueError):
        goal = np.zeros(())
    if goal.ndim != 1 or not goal.size or not np.isfinite(goal).all():
        raise ConfigError(
            f"A task cannot be made of a {type(task).__name__}; give a function r(obs, action, next_obs), a goal (a "
            'few numbers), labels (a pair of arrays (k, obs) and (k,)), "recorded", or a task or its configuration.'
        )
    return GoalTaskConfig(tuple(map(float, goal)))


def _config_of(task: AbstractTask) -> TaskConfig:
    if isinstance(task, RecordedTask):
        return RecordedTaskConfig()
    if isinstance(task, GoalTask):
        goal = tuple(map(float, np.asarray(task.goal)))
        return GoalTaskConfig(goal, task.radius, task.falloff, task.first_coordinate)
    if isinstance(task, PreferenceTask):
        regions = np.concatenate([np.asarray(task.weights)[:, None], task.low, task.high], axis=1)
        return PreferenceTaskConfig(tuple((w, x0, y0, x1, y1) for w, x0, y0, x1, y1 in regions.tolist()))
    if isinstance(task, LabelledTask):
        return LabelledTaskConfig(Path(LABELS))
    return RewardTaskConfig(
        _path_of(task.function) if isinstance(task, RewardTask) else f"{SESSION}:{type(task).__name__}"
    )


def _path_of(function: Callable[..., Any]) -> str:
    """`module:function`, where importing that gives the function."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", SESSION)
    is_there = getattr(sys.modules.get(module), name, None) is function
    return f"{module if is_there else SESSION}:{name}"
