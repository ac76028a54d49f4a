"""What an experiment works on: a dataset, a task on it and the environment to evaluate in, checked before any training.

A mistake in any of the three is found here, when nothing has been written yet.
"""

import dataclasses
import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._errors import ConfigError
from owma._npz import read_npz
from owma._types import Float
from owma.data import (
    OfflineDataset,
    collect,
    is_collected,
    load_minari,
    num_steps,
)
from owma.material_config import (
    DataConfig as DataConfig,
    GoalTaskConfig as GoalTaskConfig,
    LabelledTaskConfig as LabelledTaskConfig,
    MinariDataset as MinariDataset,
    PreferenceTaskConfig as PreferenceTaskConfig,
    RecordedTaskConfig as RecordedTaskConfig,
    RewardTaskConfig as RewardTaskConfig,
    TaskConfig as TaskConfig,
)
from owma.rollout import check_env, find_env
from owma.tasks import AbstractTask, GoalTask, LabelledTask, PreferenceTask, RecordedTask, RewardTask

Progress: TypeAlias = Callable[[str, int, int], AbstractContextManager[Callable[..., None]]]
"""progress(label, total, done) opens a progress display; calling what it gives advances it."""


@dataclasses.dataclass(frozen=True)
class Material:
    """A dataset, the rewards that the task gives it, and an environment that fits them."""

    dataset: OfflineDataset
    rewards: Float[np.ndarray, " n"]
    """Of the task, one a transition."""
    env: EnvSpec | None
    """Where to evaluate; `None` if nothing is to be evaluated."""


def gather(
    data: DataConfig, task: TaskConfig, progress: Progress, *, env: str | None = None, needs_env: bool = True
) -> Material:
    """The material of an experiment; a collector's dataset is collected if it is not there.

    **Arguments:** `env`: a Gymnasium id; by default the environment that the dataset names. `needs_env`: whether there
    must be one.

    **Raises:** `DatasetError` or `ConfigError` if the dataset is missing or unfit, the task cannot be built or prefers
    nothing in the data, or the environment cannot be made or is of another form than the data.
    """
    built = build_task(task)
    spec = find_env(env) if env is not None and needs_env else None
    dataset = load_dataset(data, progress)
    rewards = built.rewards(dataset.transitions)
    if needs_env:
        spec = spec or dataset.env_spec
        if spec is None:
            raise ConfigError(
                dataset.env_refusal
                or f"Dataset {dataset.dataset_id} names no environment to evaluate in; pass --evaluation.env ID, or "
                "--evaluation.episodes 0 to train only."
            )
        transitions = dataset.transitions
        check_env(spec, dataset.obs_keys, obs_dim=transitions.obs.shape[1], action_dim=transitions.action.shape[1])
    return Material(dataset, rewards, spec)


def load_dataset(config: DataConfig, progress: Progress) -> OfflineDataset:
    """The dataset, collected first where the configuration is a collector's and the dataset is absent."""
    if isinstance(config, MinariDataset):
        return load_minari(config.dataset, download=config.download)
    if is_collected(config):
        return load_minari(config.name)
    with progress(f"collecting {config.name}", num_steps(config), 0) as advance:
        so_far = 0

        def report(done: int, _: int) -> None:
            nonlocal so_far
            advance(done - so_far)
            so_far = done

        return load_minari(collect(config, report))


def build_task(config: TaskConfig) -> AbstractTask:
    """The task that a configuration names. Raises `ConfigError` if it cannot be imported or read."""
    if isinstance(config, GoalTaskConfig):
        return GoalTask(np.asarray(config.goal, np.float32), config.radius)
    if isinstance(config, LabelledTaskConfig):
        return _read_labels(config.file)
    if isinstance(config, RecordedTaskConfig):
        return RecordedTask()
    if isinstance(config, PreferenceTaskConfig):
        regions = np.asarray(config.regions, np.float32).reshape(-1, 5)
        return PreferenceTask(regions[:, 0], regions[:, 1:3], regions[:, 3:5])
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
        obs, reward = arrays["obs"].astype(np.float32), arrays["reward"].astype(np.float32)
        if obs.ndim != 2 or reward.shape != (len(obs),) or not len(obs):
            raise ValueError(f"`obs` is of shape {obs.shape} and `reward` of {reward.shape}")
        if not (np.isfinite(obs).all() and np.isfinite(reward).all()):
            raise ValueError("it holds numbers that are not finite")
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(
            f"Labelled samples cannot be read from {file} ({error}); it must be an .npz file with `obs` (k, obs) and "
            "`reward` (k,)."
        ) from error
    return LabelledTask(obs, reward)
