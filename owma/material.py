"""What an experiment works on: a dataset, a task on it and the environment to evaluate in, checked before any training.

A mistake in any of the three is found here, when nothing has been written yet.
"""

import dataclasses
import importlib
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._errors import ConfigError
from owma._npz import read_npz
from owma._types import Float
from owma.courses import Judge
from owma.data import (
    MEMORY_GIB,
    CollectConfig,
    FileConfig,
    OfflineDataset,
    Recording,
    cache_folder,
    cached,
    collect,
    is_cache,
    is_collected,
    load_minari,
    minari_bytes,
    num_steps,
    open_cache,
    open_files,
    open_minari,
    read_whole,
    rows_in_piece,
)
from owma.envs import (
    MOST_STEPS,
    check_env,
    env_json,
    env_of_reward,
    find_env,
    foreign_reward,
    limit_note,
    ogbench_name,
    pays,
)
from owma.material_config import (
    ArrayFolder as ArrayFolder,
    D4rlFile as D4rlFile,
    DataConfig as DataConfig,
    GoalTaskConfig as GoalTaskConfig,
    LabelledTaskConfig as LabelledTaskConfig,
    MinariDataset as MinariDataset,
    OgbenchFile as OgbenchFile,
    PreferenceTaskConfig as PreferenceTaskConfig,
    RecordedTaskConfig as RecordedTaskConfig,
    RewardTaskConfig as RewardTaskConfig,
    TaskConfig as TaskConfig,
)
from owma.tasks import (
    AbstractRewardTask,
    AbstractTask,
    ConstantRewardError,
    GoalTask,
    LabelledTask,
    PreferenceTask,
    RecordedTask,
    RewardTask,
)
from owma.transitions import Transitions

Progress: TypeAlias = Callable[[str, int, int], AbstractContextManager[Callable[..., None]]]
"""progress(label, total, done) opens a progress display; calling what it gives advances it."""


_LABELS = "labels.npz"
"""Of a run's folder."""


@dataclasses.dataclass(frozen=True)
class Material:
    """A dataset, the rewards that the task gives it, and an environment, which fits them where one was needed."""

    dataset: OfflineDataset
    rewards: Float[np.ndarray, " n"]
    """Of the task, one a transition."""
    env: EnvSpec | None
    """Where to evaluate; `None` if the dataset names none."""
    notes: tuple[str, ...] = ()
    """What the user should know of them beside the `OfflineDataset.notes` of the dataset; a sentence each."""
    success_reward: float | None = None
    """The reward of the task at any step that makes an episode a success; `None` where it knows none."""


def gather(
    data: DataConfig,
    task: TaskConfig,
    progress: Progress,
    *,
    env: str | None = None,
    needs_env: bool = True,
    most_steps: int = MOST_STEPS,
    memory_gib: float = MEMORY_GIB,
    check: Callable[[OfflineDataset], None] | None = None,
) -> Material:
    """The material of an experiment; a collector's dataset is collected if it is not there.

    **Arguments:** `env`: a Gymnasium id; by default that of a task of OGBench, or else the one that the dataset names.
    `needs_env`: whether there must be one. `most_steps`: of an episode, where the environment has no limit of its own.
    `memory_gib`: of `load_dataset`. `check`: is shown the dataset before anything is made of it, and may raise.

    **Raises:** `DatasetError` or `ConfigError` if the dataset is missing or unfit, the task cannot be built or prefers
    nothing in the data, or the environment cannot be made, kept or stepped, or is of another form than the data.
    """
    built = build_task(task)
    spec = find_env(env) if env is not None else None
    own = env_of_reward(task.reward) if isinstance(task, RewardTaskConfig) else None
    dataset = load_dataset(data, progress, memory_gib=memory_gib)
    if check is not None:
        check(dataset)
    known = spec or dataset.env_spec
    if own is not None and known is not None and ogbench_name(known) != ogbench_name(own):
        raise ConfigError(f"The task is of {own.id}, and the environment is {known.id!r}; choose a task of that one.")
    foreign = None if known is None or not isinstance(task, RewardTaskConfig) else foreign_reward(task.reward, known)
    rewards = _rewards(built, dataset.transitions)
    # Where none is needed it is kept all the same, unchecked: `owma.eval` and `owma.transfer` check it before they act.
    spec = spec or own or dataset.env_spec
    note = None
    if spec is not None:
        env_json(spec)  # raises now, and not when the run is kept
    if needs_env:
        if spec is None:
            raise ConfigError(
                dataset.env_refusal
                or f"Dataset {dataset.dataset_id} names no environment to evaluate in; pass --evaluation.env ID, or "
                "--evaluation.episodes 0 to train only."
            )
        transitions = dataset.transitions
        check_env(spec, dataset.obs_keys, obs_dim=transitions.obs.shape[1], action_dim=transitions.action.shape[1])
        note = limit_note(spec, most_steps)
    notes = tuple(said for said in (foreign, note) if said is not None)
    success = built.success_reward if isinstance(built, AbstractRewardTask) else None
    return Material(dataset, rewards, spec, notes, success)


def load_dataset(config: DataConfig, progress: Progress, *, memory_gib: float = MEMORY_GIB) -> OfflineDataset:
    """The dataset, collected first where the configuration is a collector's and the dataset is absent.

    **Arguments:** `memory_gib`: GiB that its transitions may take in memory; those of a larger one are copied into a
    memory-mapped cache, and read from there.
    """
    most = memory_gib * 2**30
    if isinstance(config, MinariDataset) and not config.dataset:
        raise ConfigError(
            "There are no data yet: name them by --data.dataset ID (a Minari dataset, or its folder), data:d4rl-file "
            "--data.file FILE.hdf5, data:ogbench-file --data.file FILE.npz or data:array-folder --data.folder FOLDER."
        )
    if isinstance(config, ArrayFolder) and is_cache(config.folder.expanduser()):
        dataset = open_cache(config.folder.expanduser())
        whole = dataset.num_bytes <= most
        return dataclasses.replace(dataset, transitions=dataset.transitions.rows(slice(None))) if whole else dataset
    if isinstance(config, FileConfig):
        recording = open_files(config)
        return read_whole(recording) if recording.num_bytes <= most else _cached(recording, progress)
    if not isinstance(config, MinariDataset):
        if not is_collected(config):
            _collect(config, progress)
        config = MinariDataset(config.name, goal_in_state=False)
    name, keys, goal = config.dataset, config.obs_keys, config.goal_in_state
    if minari_bytes(name, download=config.download, obs_keys=keys) <= most:
        return load_minari(name, obs_keys=keys, goal_in_state=goal)
    return _cached(open_minari(name, obs_keys=keys, goal_in_state=goal), progress)


def _collect(config: CollectConfig, progress: Progress) -> None:
    with progress(f"collecting {config.name}", num_steps(config), 0) as advance:
        so_far = 0

        def report(done: int, _: int) -> None:
            nonlocal so_far
            advance(done - so_far)
            so_far = done

        try:
            collect(config, report)
        except ConfigError as error:
            # A collector names flags as `owma.collect` has them.
            raise ConfigError(re.sub(r"(?<!\S)--(?=[a-z])", "--data.", str(error))) from error


def _cached(recording: Recording, progress: Progress) -> OfflineDataset:
    if is_cache(cache_folder(recording)):
        return cached(recording)
    with progress(f"copying {recording.dataset_id} to {cache_folder(recording)}", recording.rows, 0) as advance:
        dataset = cached(recording, advance)
        # Rows that are no transitions were counted too.
        advance(recording.rows - len(dataset.transitions))
        return dataset


def _rewards(task: AbstractTask, transitions: Transitions) -> Float[np.ndarray, " n"]:
    """The task's rewards; of memory-mapped transitions a block at a time, so that memory stays bounded."""
    if not transitions.is_mapped:
        return task.rewards(transitions)
    step = rows_in_piece(transitions.obs.shape[1], transitions.action.shape[1])
    rewards, refusal = np.zeros(len(transitions), np.float32), None
    for start in range(0, len(transitions), step):
        block = slice(start, start + step)
        try:
            rewards[block] = task.rewards(transitions.rows(block))
        except ConstantRewardError as error:  # Within a block that is no mistake.
            rewards[block], refusal = error.reward, error
    if refusal is not None and np.ptp(rewards) == 0:
        raise refusal
    return rewards


def build_task(config: TaskConfig) -> AbstractTask:
    """The task that a configuration names. Raises `ConfigError` if it cannot be imported or read."""
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
    module_name, _, function_name = config.reward.partition(":")
    try:
        return RewardTask(getattr(importlib.import_module(module_name), function_name))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"The reward {config.reward!r} cannot be imported ({error}); write it as module:function, "
            "with the module on your Python path."
        ) from error


def keep_labels(config: TaskConfig, folder: Path) -> None:
    """Copy the labels of a labelled task into a run's folder, which judges by them from then on."""
    if isinstance(config, LabelledTaskConfig):
        shutil.copyfile(config.file, folder / _LABELS)


def kept_task(config: TaskConfig, folder: Path) -> TaskConfig:
    """The task of a run's folder, by the labels that `keep_labels` left there; of runs from before, as it is."""
    labels = folder / _LABELS
    is_kept = isinstance(config, LabelledTaskConfig) and labels.is_file()
    return dataclasses.replace(config, file=labels) if is_kept else config


def judge_of(config: TaskConfig, env: EnvSpec) -> Judge:
    """Who judges episodes in `env` by a task: the task itself or, where it pays the same, the environment.

    Imports the module of a reward function, as `build_task` does: a configuration of a folder that may be somebody
    else's has to be trusted first (`owma._command.require_trust`). Raises `ConfigError` if the task cannot be built.
    """
    if isinstance(config, RecordedTaskConfig) or (isinstance(config, RewardTaskConfig) and pays(env, config.reward)):
        return Judge()
    task = build_task(config)
    assert isinstance(task, AbstractRewardTask)  # all but the recorded one
    return Judge(task)


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
