"""The tasks of a transfer, labelled on the run's dataset."""

import dataclasses

import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._errors import ConfigError
from owma._types import Float
from owma.data.waypoints import free_cells
from owma.envs import cell_position, maze_of
from owma.material import build_task
from owma.material_config import parse_task
from owma.tasks import AbstractRewardTask, GoalTask
from owma.transfers_config import TransferConfig
from owma.transitions import Transitions


@dataclasses.dataclass(frozen=True)
class TransferTask:
    """One task, by the name that its rows have."""

    name: str
    """As written on the command line; `cell ROW,COL` of a sweep over goals."""
    rewards: Float[np.ndarray, " n"] | None
    """Of the dataset's transitions; `None` if the task prefers nothing there, so that it cannot be told by labels."""
    judge: AbstractRewardTask | None
    """What judges an episode; `None` leaves that to the environment."""
    cell: tuple[int, int] | None = None
    """(row, col) of the goal, in a sweep over the cells of a maze."""


def transfer_tasks(config: TransferConfig, transitions: Transitions, env: EnvSpec) -> list[TransferTask]:
    """The tasks that `config` names, then the goals of its sweep, labelled on `transitions`.

    Raises `ConfigError` if a named task cannot be built or prefers nothing in the data, or if there is no maze to sweep
    over. A cell of a sweep that the data never visit is a task without rewards instead.
    """
    found = []
    for spec in config.task:
        task = build_task(parse_task(spec))
        judge = task if isinstance(task, AbstractRewardTask) else None
        found.append(TransferTask(spec, task.rewards(transitions), judge))
    if config.goals == "none":
        return found
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
        found.append(TransferTask(f"cell {row},{col}", labels if np.ptp(labels) else None, goal, (row, col)))
    return found
