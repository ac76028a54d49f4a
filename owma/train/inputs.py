"""The inputs of a training run: a dataset, the rewards of a task on it, and the environment to evaluate in.

They are checked before training begins and before anything is written.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError
from owma._internal.moved import renamed
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
class Inputs:
    """A dataset, the rewards of a task on it, and an environment, checked against them if it is needed."""

    dataset: OfflineDataset
    rewards: Float[np.ndarray, " n"]
    """The task's reward of every transition."""
    env: EnvSpec | None
    """Where to evaluate; `None` if the dataset names none."""
    notes: tuple[str, ...] = ()
    """Sentences for the user, in addition to the `OfflineDataset.notes` of the dataset."""
    success_reward: float | None = None
    """An episode succeeds if the task's reward of any step is at least this; `None` if success is not defined."""


def prepare_inputs(
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
) -> Inputs:
    """Load and check the inputs of a training run. The dataset of a collector is collected if it does not exist.

    **Arguments:** `data`: a dataset, or its configuration. `env`: an environment, or a Gymnasium id; by default that of
    an OGBench task, or else the one that the dataset names. `built`: the task that `task` describes, if it is built
    already. `needs_env`: whether an environment is required. `most_steps`: of an episode, if the environment has no
    limit of its own. `memory_gib`: as in `load_dataset`. `check`: called with the dataset before it is used; may raise.

    **Raises:** `DatasetError` or `ConfigError` if the dataset is missing or unfit, the task cannot be built or has a
    constant reward, or the environment cannot be made, stored or stepped, or does not fit the dataset.
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
    # An environment that is not needed is stored unchecked: `owma.eval` and `owma.transfer` check it before they act.
    spec = spec or own or dataset.env_spec
    note = None
    if spec is not None:
        env_json(spec)  # raises now rather than when the run is written
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
    return Inputs(dataset, rewards, spec, notes, success)


def prepare_experiment(
    config: ExperimentConfig,
    progress: Progress,
    *,
    dataset: OfflineDataset | None = None,
    task: AbstractTask | None = None,
    env: EnvSpec | None = None,
    needs_env: bool | None = None,
    memory_gib: float = MEMORY_GIB,
    check: Callable[[OfflineDataset], None] | None = None,
) -> Inputs:
    """Dataset, task rewards and environment of a whole experiment; see `prepare_inputs`. Writes a dataset at most.

    **Arguments:** `dataset`, `task`, `env`: those that the configuration describes, if they exist already.
    `needs_env`: whether an environment is required; by default, if there are episodes to evaluate.

    Raises as that does, and `ConfigError` where the features do not fit the observations.
    """
    evaluation = config.evaluation
    inputs = prepare_inputs(
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
    config.world.features.check(inputs.dataset.transitions.obs.shape[1])
    return inputs


def _rewards(task: AbstractTask, transitions: Transitions) -> Float[np.ndarray, " n"]:
    """The task's rewards, of memory-mapped transitions block by block, so that memory is bounded."""
    if not transitions.is_mapped:
        return task.rewards(transitions)
    step = rows_in_piece(transitions.obs.shape[1], transitions.action.shape[1])
    rewards, refusal = np.zeros(len(transitions), np.float32), None
    for start in range(0, len(transitions), step):
        block = slice(start, start + step)
        try:
            rewards[block] = task.rewards(transitions.rows(block))
        except ConstantRewardError as error:  # Allowed within a block.
            rewards[block], refusal = error.reward, error
    if refusal is not None and np.ptp(rewards) == 0:
        raise refusal
    return rewards


if not TYPE_CHECKING:
    __getattr__ = renamed(
        "owma.train.inputs", {"gather": "prepare_inputs", "gather_for": "prepare_experiment", "Material": "Inputs"}
    )
