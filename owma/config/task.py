"""Configurations of a task, and of the dataset that it is told on."""

import dataclasses
from pathlib import Path
from typing import TypeAlias

from owma._internal.errors import ConfigError
from owma.config.data import CollectConfig, FileConfig
from owma.config.json import later_field


@dataclasses.dataclass(frozen=True)
class MinariDataset:
    """A dataset that exists: by Minari id, or the folder that holds it."""

    dataset: str
    """Minari id or folder."""
    download: bool = False
    """Fetch the id from the hub if it is not there."""
    obs_keys: tuple[str, ...] = later_field(())
    """Entries of Dict observations that make up the state, in this order; none: those that tell something of it."""
    goal_in_state: bool = later_field(True, before=False)
    """Whether `desired_goal` is part of the state where it is not the same throughout the data."""


@dataclasses.dataclass(frozen=True)
class RewardTaskConfig:
    """A reward function r(obs, action, next_obs) over arrays."""

    reward: str = "owma.envs:preferred_route_reward"
    """`module:function`, imported from your own Python path."""


@dataclasses.dataclass(frozen=True)
class RecordedTaskConfig:
    """The rewards recorded with the dataset."""


@dataclasses.dataclass(frozen=True)
class GoalTaskConfig:
    """A position to reach and stay at."""

    goal: tuple[float, ...]
    """In coordinates of the observation that stand together, the leading ones unless `first_coordinate` says so."""
    radius: float = 0.5
    """Within which it is reached, and the reward 1."""
    falloff: float = later_field(0.0)
    """Beyond, the reward falls like a Gaussian of this standard deviation; 0: at once. Outcomes of smooth cumulants
    tell of a slope what they do not tell of an edge, for which see R^2."""
    first_coordinate: int = later_field(0)
    """The first of the goal's coordinates, counted from 0."""

    def __post_init__(self) -> None:
        if not (self.radius >= 0 and self.falloff >= 0 and self.first_coordinate >= 0):
            raise ConfigError(
                f"radius={self.radius}, falloff={self.falloff}, first_coordinate={self.first_coordinate}: of a goal "
                "none may be negative."
            )


@dataclasses.dataclass(frozen=True)
class LabelledTaskConfig:
    """A few labelled samples."""

    file: Path
    """An .npz file with `obs` (k, obs) and `reward` (k,)."""


@dataclasses.dataclass(frozen=True)
class PreferenceTaskConfig:
    """What passing through each of several rectangles is worth: a preference between ways through a maze."""

    regions: tuple[tuple[float, float, float, float, float], ...]
    """(weight, smallest x, smallest y, largest x, largest y) of each; where two overlap their weights add up."""


TaskConfig: TypeAlias = (
    RewardTaskConfig | RecordedTaskConfig | GoalTaskConfig | LabelledTaskConfig | PreferenceTaskConfig
)
DataConfig: TypeAlias = CollectConfig | MinariDataset | FileConfig

SESSION = "__main__"
"""The module in the name of a reward function that a Python user gave and no module holds: no file can name it."""


def is_of_session(task: TaskConfig) -> bool:
    """Whether a task is such a function, so that whoever loads the run must give it again."""
    return isinstance(task, RewardTaskConfig) and task.reward.startswith(f"{SESSION}:")


_HOPPER_TASKS = ("hopper-forward", "hopper-backward", "hopper-stand", "hopper-jump")


def parse_task(spec: str) -> TaskConfig:
    """A task written as one word, for commands that take several.

    `recorded`; `goal:X,Y` or `goal:X,Y,...@RADIUS,FALLOFF,FIRST`, of which the last ones may be left out;
    `regions:WEIGHT,X0,Y0,X1,Y1;...`; `FILE.npz` with labelled samples; `hopper-forward`, `-backward`, `-stand` and
    `-jump` (`owma.envs.hopper`); anything else is `module:function`.

    Raises `ConfigError` if it is none of these, or the numbers of a goal or of regions cannot be read.
    """
    kind, _, rest = spec.partition(":")
    if spec == "recorded":
        return RecordedTaskConfig()
    if kind == "goal":
        position, at, rest = rest.partition("@")
        goal, shape = _numbers(position, spec), _numbers(rest, spec) if at else ()
        radius, falloff, first, *more = *shape, *(GoalTaskConfig.radius, 0.0, 0.0)[len(shape) :]
        if more or not first.is_integer():
            raise ConfigError(f"Task {spec!r}: after @ come a radius, a falloff and the number of a coordinate.")
        return GoalTaskConfig(goal, radius, falloff, int(first))
    if kind == "regions":
        regions = [_numbers(part, spec) for part in rest.split(";")]
        if any(len(region) != 5 for region in regions):
            raise ConfigError(f"Task {spec!r}: a region is WEIGHT,X0,Y0,X1,Y1, and `;` stands between two of them.")
        return PreferenceTaskConfig(tuple((w, x0, y0, x1, y1) for w, x0, y0, x1, y1 in regions))
    if spec in _HOPPER_TASKS:
        return RewardTaskConfig(f"owma.envs.hopper:{spec.removeprefix('hopper-')}")
    if spec.endswith(".npz"):
        return LabelledTaskConfig(Path(spec))
    if not rest:
        raise ConfigError(
            f"Task {spec!r}: there is none of that name; choose recorded, goal:X,Y, regions:WEIGHT,X0,Y0,X1,Y1, "
            f"FILE.npz, {', '.join(_HOPPER_TASKS)} or module:function."
        )
    return RewardTaskConfig(spec)


def _numbers(text: str, spec: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"Task {spec!r}: {text!r} is not a list of numbers; write goal:1.5,-2 or regions:1,0,0,2,1."
        ) from None


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
    return f"the reward function {task.reward.removeprefix(f'{SESSION}:')}"
