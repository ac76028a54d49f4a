"""Configurations of what an experiment works on: a dataset and a task on it."""

import dataclasses
from pathlib import Path
from typing import TypeAlias

from owma.data_config import (
    ArrayFolder as ArrayFolder,
    D4rlFile as D4rlFile,
    OgbenchFile as OgbenchFile,
    PointMazeCollect,
    StitchCollect,
    TwoRoutesCollect,
)


@dataclasses.dataclass(frozen=True)
class MinariDataset:
    """A dataset that exists: by Minari id, or the folder that holds it."""

    dataset: str
    """Minari id or folder."""
    download: bool = False
    """Fetch the id from the hub if it is not there."""


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
    """In the leading coordinates of the observation."""
    radius: float = 0.5


@dataclasses.dataclass(frozen=True)
class LabelledTaskConfig:
    """A few labelled samples."""

    file: Path
    """An .npz file with `obs` (k, obs) and `reward` (k,)."""


TaskConfig: TypeAlias = RewardTaskConfig | RecordedTaskConfig | GoalTaskConfig | LabelledTaskConfig
DataConfig: TypeAlias = (
    TwoRoutesCollect | PointMazeCollect | StitchCollect | MinariDataset | D4rlFile | OgbenchFile | ArrayFolder
)
