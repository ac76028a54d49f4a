"""What an experiment works on: a dataset, a task on it and the environment to evaluate in, checked before any training.

A mistake in any of the three is found here, when nothing has been written yet.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError
from owma._internal.progress import Progress
from owma._internal.types import Float
from owma.config.experiment import ExperimentConfig
from owma.config.task import DataConfig, RewardTaskConfig, TaskConfig
from owma.data import MEMORY_GIB, OfflineDataset, rows_in_piece
from owma.data.load import load_dataset
from owma.envs import MOST_STEPS, check_env, env_json, env_of_reward, find_env, foreign_reward, limit_note, ogbench_name
from owma.outcomes.tasks import AbstractRewardTask, AbstractTask, ConstantRewardError, build_task
from owma.outcomes.transitions import Transitions


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
    data: DataConfig | OfflineDataset,
    task: TaskConfig,
    progress: Progress,
    *,
    env: str | EnvSpec | None = None,
    built: AbstractTask | None = None,
    needs_env: bool = True,
    most_steps: int = MOST_STEPS,
    memory_gib: float = MEMORY_GIB,
    check: Callable[[OfflineDataset], None] | None = None,
) -> Material:
    """The material of an experiment; a collector's dataset is collected if it is not there.

    **Arguments:** `data`: read already, or its configuration. `env`: an environment, or a Gymnasium id; by default that
    of a task of OGBench, or else the one that the dataset names. `built`: what `task` describes, where that is there.
    `needs_env`: whether there must be one. `most_steps`: of an episode, where the environment has no limit of its own.
    `memory_gib`: of `load_dataset`. `check`: is shown the dataset before anything is made of it, and may raise.

    **Raises:** `DatasetError` or `ConfigError` if the dataset is missing or unfit, the task cannot be built or prefers
    nothing in the data, or the environment cannot be made, kept or stepped, or is of another form than the data.
    """
    built = build_task(task) if built is None else built
    spec = find_env(env) if isinstance(env, str) else env
    own = env_of_reward(task.reward) if isinstance(task, RewardTaskConfig) else None
    dataset = data if isinstance(data, OfflineDataset) else load_dataset(data, progress, memory_gib=memory_gib)
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


def gather_for(
    config: ExperimentConfig,
    progress: Progress,
    *,
    dataset: OfflineDataset | None = None,
    task: AbstractTask | None = None,
    env: EnvSpec | None = None,
    needs_env: bool | None = None,
    memory_gib: float = MEMORY_GIB,
    check: Callable[[OfflineDataset], None] | None = None,
) -> Material:
    """Dataset, task rewards and environment of a whole experiment; see `gather`. Writes a dataset at most.

    **Arguments:** `dataset`, `task`, `env`: what the configuration describes, of each that is there already.
    `needs_env`: whether there must be an environment; by default, if there are episodes to evaluate.

    Raises as that does, and `ConfigError` where the features do not fit the observations.
    """
    evaluation = config.evaluation
    material = gather(
        config.data if dataset is None else dataset,
        config.task,
        progress,
        env=evaluation.env if env is None else env,
        built=task,
        needs_env=evaluation.episodes > 0 if needs_env is None else needs_env,
        most_steps=evaluation.max_steps,
        memory_gib=memory_gib,
        check=check,
    )
    config.world.features.check(material.dataset.transitions.obs.shape[1])
    return material


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
