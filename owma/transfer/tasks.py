"""The tasks of a transfer, labelled on the run's dataset."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError
from owma._internal.types import Float
from owma.collect.waypoints import free_cells
from owma.config.task import GoalTaskConfig, RewardTaskConfig, TaskConfig, parse_task
from owma.config.transfer import TransferConfig
from owma.envs import (
    EPISODE_STEPS,
    cell_position,
    env_of_reward,
    foreign_reward,
    maze_of,
    ogbench_name,
    task_env,
    task_reward,
)
from owma.eval.judge import judge_of
from owma.outcomes.tasks import AbstractRewardTask, ConstantRewardError, GoalTask, RewardTask, build_task
from owma.outcomes.transitions import Transitions
from owma.results.scores import OGBENCH_TASKS


@dataclasses.dataclass(frozen=True)
class TransferTask:
    """One task, by the name that its rows have."""

    name: str
    """As written on the command line; `cell ROW,COL` of a sweep over goals, `NAME task N` of OGBench's five."""
    rewards: Float[np.ndarray, " n"] | None
    """Of the dataset's transitions; `None` if the task prefers nothing there, so that it cannot be told by labels."""
    judge: AbstractRewardTask | None
    """What judges an episode; `None` leaves that to the environment."""
    cell: tuple[int, int] | None = None
    """(row, col) of the goal, in a sweep over the cells of a maze."""
    env: EnvSpec | None = None
    """Where its episodes are, with a start and a goal of its own; `None`: in the run's, whose goal ends nothing."""
    promised: AbstractRewardTask | None = None
    """What V is told of where the environment pays something else."""
    paid: Float[np.ndarray, " n"] | None = None
    """What the environment would pay for the dataset's transitions, where V is told of something else."""
    ogbench_task: int | None = None
    """Its number, where it is one of the five that OGBench's metric is over."""


def transfer_tasks(
    config: TransferConfig, transitions: Transitions, env: EnvSpec, *, trained_for: TaskConfig | None = None
) -> list[TransferTask]:
    """The tasks that `config` names, OGBench's, then the goals of its sweep, labelled on `transitions`.

    `trained_for`: the task of the run, whose falloff is OGBench's tasks' too unless `config` has one.

    Raises `ConfigError` if a named task cannot be built, prefers nothing in the data or is of another environment, or
    if there is no maze to sweep over. A cell of a sweep that the data never visit is a task without rewards instead.
    """
    tasks = [_named(spec, transitions, env) for spec in config.task]
    if config.ogbench_tasks:
        own = trained_for.falloff if isinstance(trained_for, GoalTaskConfig) else 0.0
        tasks += _ogbench_tasks(config.goal_falloff or own, transitions, env)
    return tasks if config.goals == "none" else [*tasks, *_goals(config, transitions, env)]


def _named(spec: str, transitions: Transitions, env: EnvSpec) -> TransferTask:
    config = parse_task(spec)
    task = build_task(config)
    foreign = foreign_reward(config.reward, env) if isinstance(config, RewardTaskConfig) else None
    if foreign is not None:
        raise ConfigError(
            f"Task {spec!r}: {foreign} Choose a task of that one or, if its observations are laid out alike, import "
            "the function into a module of yours and name it by that."
        )
    if (where := env_of_reward(spec)) is not None:
        if ogbench_name(env) != ogbench_name(where):
            raise ConfigError(
                f"Task {spec!r} is of {where.id}, and the run's environment is {env.id!r}; name a task of that one, or "
                "pass --env with the environment that the dataset is of."
            )
        return TransferTask(spec, task.rewards(transitions), None, env=where)
    if isinstance(task, AbstractRewardTask):
        return TransferTask(spec, task.rewards(transitions), judge_of(config, env).task)
    # What OGBench's environments pay themselves is over where they end.
    return TransferTask(spec, task.rewards(transitions), None, env=env if ogbench_name(env) else None)


def _ogbench_tasks(falloff: float, transitions: Transitions, env: EnvSpec) -> Iterator[TransferTask]:
    name = ogbench_name(env)
    if name is None:
        raise ConfigError(
            f"--ogbench-tasks: the environment {env.id!r} is none of {', '.join(EPISODE_STEPS)} of OGBench; take a run "
            "on data of one of these, or pass --env owma/ogbench-NAME-v0 if it is."
        )
    for number in OGBENCH_TASKS:
        key = f"{name.replace('-', '_')}_task{number}"
        task = RewardTask(task_reward(key, falloff))
        try:
            rewards = task.rewards(transitions)
        except ConstantRewardError as error:
            raise ConfigError(
                f"--ogbench-tasks: the data say nothing of task {number} of {name}, whose reward is {error.reward:g} "
                "everywhere; pass --goal-falloff with a length over which it falls off, or take more data."
            ) from error
        paid = RewardTask(task_reward(key)).judge(transitions.obs, transitions.action, transitions.next_obs)
        about = {"env": task_env(key), "promised": task, "paid": paid, "ogbench_task": number}
        yield TransferTask(f"{name} task {number}", rewards, None, **about)


def _goals(config: TransferConfig, transitions: Transitions, env: EnvSpec) -> Iterator[TransferTask]:
    maze = maze_of(env)
    if maze is None:
        raise ConfigError(
            f"The environment {env.id!r} is no maze with a map, so --goals has no cells; name goals by --task goal:X,Y."
        )
    maze_map, cell_size = maze
    for row, col in free_cells(maze_map):
        centre = np.asarray(cell_position(row, col, maze_map, cell_size), np.float32)
        goal = GoalTask(centre, config.goal_radius, config.goal_falloff)
        labels = goal.judge(transitions.obs, transitions.action, transitions.next_obs)
        yield TransferTask(f"cell {row},{col}", labels if np.ptp(labels) else None, goal, (row, col))
