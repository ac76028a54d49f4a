"""`Run.tell`: another task on the same world model and policy."""

import dataclasses

import jax
import numpy as np

from owma._internal.errors import ConfigError
from owma.config.task import RewardTaskConfig
from owma.envs import foreign_reward
from owma.outcomes.given import TaskLike, read_task
from owma.outcomes.tasks import AbstractRewardTask
from owma.results.baselines import data_row
from owma.runs.load import RunT
from owma.train.rows import sample_rows
from owma.transfer.inference import TaskInference


def tell(run: RunT, task: TaskLike, *, labels: int | None, seed: int) -> RunT:
    """See `owma.Run.tell`."""
    given = read_task(task)
    if run.env_spec is not None and isinstance(given.config, RewardTaskConfig):
        foreign = foreign_reward(given.config.reward, run.env_spec)
        if foreign is not None:
            raise ConfigError(f"{foreign} Tell the run of a task of its own environment.")
    count = run.config.value.num_labels if labels is None else labels
    if count < 1:
        raise ConfigError(f"labels={count}: must be at least 1.")
    dataset = run.read_data()
    transitions = dataset.transitions
    if transitions.is_mapped:
        transitions = transitions.ended_rows(sample_rows(transitions, seed=run.config.seed))
    rewards = given.task.rewards(transitions)
    inference = TaskInference(run.parts, run.config, transitions, seed=seed)
    returns, rows = inference.returns(rewards), inference.draw(count, 0)
    parts = inference.fit_all(returns, rows, key=jax.random.key(seed)).parts(run.parts.world, run.parts.policy)
    success = given.task.success_reward if isinstance(given.task, AbstractRewardTask) else None
    # What was tuned was tuned for the run's own task.
    own = tuple(setting for setting in run.config.evaluation.settings if setting not in run.tuned)
    evaluation = dataclasses.replace(run.config.evaluation, settings=own)
    return dataclasses.replace(
        run,
        config=dataclasses.replace(run.config, task=given.config, evaluation=evaluation),
        parts=parts,
        tuned=(),
        task=given.task,
        data=dataset,
        data_row=data_row(transitions, np.asarray(rewards), returns, success),
    )
