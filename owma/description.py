"""What a run works on, in words: what every command says before it begins."""

from typing import TYPE_CHECKING

from owma.material_config import (
    GoalTaskConfig,
    LabelledTaskConfig,
    PreferenceTaskConfig,
    RecordedTaskConfig,
    TaskConfig,
)

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

    from owma.data import OfflineDataset


def describe_data(dataset: "OfflineDataset") -> str:
    """Which data they are, how many, how their episodes ended, and what a state and an action are made of."""
    transitions = dataset.transitions
    episodes, terminated = int(transitions.ends.sum()), int(transitions.terminated.sum())
    keys = f" ({' and '.join(dataset.obs_keys)})" if dataset.obs_keys else ""
    return (
        f"{dataset.dataset_id}: {len(transitions):,} transitions in {episodes:,} episodes, {terminated:,} terminated "
        f"and {episodes - terminated:,} cut; observations of {transitions.obs.shape[1]} numbers{keys}, actions of "
        f"{transitions.action.shape[1]}"
    )


def describe_task(task: TaskConfig) -> str:
    """What is paid for, and which numbers of an observation that is read from."""
    if isinstance(task, RecordedTaskConfig):
        return "the rewards recorded with the data"
    if isinstance(task, GoalTaskConfig):
        first, last = task.first_coordinate, task.first_coordinate + len(task.goal) - 1
        read = f"coordinate {first}" if first == last else f"coordinates {first} to {last}"
        slope = f", with a slope of {task.falloff:g} about it" if task.falloff else ""
        return f"the goal ({', '.join(f'{x:g}' for x in task.goal)}) within {task.radius:g}{slope}, in {read}"
    if isinstance(task, LabelledTaskConfig):
        return f"rewards regressed on the labelled samples of {task.file}"
    if isinstance(task, PreferenceTaskConfig):
        regions = (f"{weight:g} in [{x0:g}, {x1:g}] x [{y0:g}, {y1:g}]" for weight, x0, y0, x1, y1 in task.regions)
        return f"a preference between regions of coordinates 0 and 1: {'; '.join(regions)}"
    return f"the reward function {task.reward}"


def describe_env(env: "EnvSpec | None") -> str:
    """Where planners act, and for how long."""
    if env is None:
        return "none; nothing is evaluated"
    limit = env.max_episode_steps
    return f"{env.id}, {'no limit of steps of its own' if limit is None else f'{limit:,} steps'}"
