"""Configurations of datasets that are collected, and the names that they give them."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

ACTION_NOISE = 0.5


@dataclass(frozen=True)
class TwoRoutesCollect:
    """A dataset of the two-route maze in which one route is rare, or absent."""

    skew: float = 0.02
    """The share of episodes that take the lower route, the one that the task prefers; 0 for none."""
    episodes: int = 1000
    """The number of episodes."""
    steps: int = 200
    """Steps in each episode; the goal is reached after 150 to 195, and the rest is spent there."""
    action_noise: float = ACTION_NOISE
    """Standard deviation σ of the noise on actions, whose range is [-1, 1]."""
    seed: int = 0
    """Seed of everything random."""
    dataset_id: str | None = None
    """Minari id to write; by default one that names the settings."""
    overwrite: bool = False
    """Replace a dataset of the same id instead of reusing it."""

    @property
    def name(self) -> str:
        """The Minari id: `dataset_id`, or one that encodes whatever determines the data."""
        size = f"{self.episodes}x{self.steps}"
        return self.dataset_id or f"owma/two-routes-skew{_code(self.skew)}-{size}{_noise(self)}-seed{self.seed}-v0"


@dataclass(frozen=True)
class PointMazeCollect:
    """A dataset of a PointMaze, going from one random goal to the next."""

    maze: Literal["umaze", "medium", "large"] = "umaze"
    """The map."""
    steps: int = 1_000_000
    """Steps in all; episodes are as long as the environment's own (300, 600 and 800 steps), the last is cut."""
    action_noise: float = ACTION_NOISE
    """Standard deviation σ of the noise on actions, whose range is [-1, 1]."""
    seed: int = 0
    """Seed of everything random."""
    dataset_id: str | None = None
    """Minari id to write; by default one that names the settings."""
    overwrite: bool = False
    """Replace a dataset of the same id instead of reusing it."""

    @property
    def name(self) -> str:
        """The Minari id: `dataset_id`, or one that encodes whatever determines the data."""
        return self.dataset_id or f"owma/pointmaze-{self.maze}-{self.steps}{_noise(self)}-seed{self.seed}-v0"


@dataclass(frozen=True)
class StitchCollect:
    """Short pieces of ways through a PointMaze, none of which leads from the start of the task to its goal."""

    maze: Literal["umaze", "medium", "large"] = "umaze"
    """The map; the task leads from its first free cell to the one farthest away."""
    episodes: int = 4000
    """The number of episodes, each from one random cell towards another."""
    steps: int = 60
    """Steps in each episode; the whole way takes some 130, 270 and 330."""
    action_noise: float = ACTION_NOISE
    """Standard deviation σ of the noise on actions, whose range is [-1, 1]."""
    seed: int = 0
    """Seed of everything random."""
    dataset_id: str | None = None
    """Minari id to write; by default one that names the settings."""
    overwrite: bool = False
    """Replace a dataset of the same id instead of reusing it."""

    @property
    def name(self) -> str:
        """The Minari id: `dataset_id`, or one that encodes whatever determines the data."""
        size = f"{self.episodes}x{self.steps}"
        return self.dataset_id or f"owma/stitch-{self.maze}-{size}{_noise(self)}-seed{self.seed}-v0"


CollectConfig: TypeAlias = TwoRoutesCollect | PointMazeCollect | StitchCollect
"""A dataset that can be collected."""


def _noise(config: CollectConfig) -> str:
    return "" if config.action_noise == ACTION_NOISE else f"-noise{_code(config.action_noise)}"


def _code(value: float) -> str:
    """A number as Minari ids can hold it: 0.02 is 0p02."""
    return f"{value:.12g}".replace(".", "p").replace("+", "")
