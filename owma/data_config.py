"""Configurations of datasets: collected ones, and the names that they give them; and files of your own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from owma._errors import ConfigError

MEMORY_GIB = 4.0
"""GiB of transitions that are held in memory, unless something else is asked for."""

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


@dataclass(frozen=True)
class D4rlFile:
    """A D4RL file: HDF5 with observations, actions, rewards, terminals, timeouts."""

    file: Path
    """Ends in .hdf5 or .h5."""
    episode_steps: int | None = None
    """For a file without timeouts: steps after which an episode was cut; 0 if all episodes end by terminals."""

    def __post_init__(self) -> None:
        if self.episode_steps is not None and self.episode_steps < 0:
            raise ConfigError(f"episode_steps={self.episode_steps}: must not be negative.")


@dataclass(frozen=True)
class OgbenchFile:
    """An OGBench file: npz with observations, actions, terminals."""

    file: Path
    """Ends in .npz."""


@dataclass(frozen=True)
class ArrayFolder:
    """Arrays of your own in npz or HDF5 files: obs, action and, if there are any, reward, next_obs, terminated and
    truncated, one row a step; the end of a file ends an episode. Or a cache that owma has written.
    """

    folder: Path
    """Holds the files, which are read in order of name."""


FileConfig: TypeAlias = D4rlFile | OgbenchFile | ArrayFolder
"""A dataset in files."""

CollectConfig: TypeAlias = TwoRoutesCollect | PointMazeCollect | StitchCollect
"""A dataset that can be collected."""


def _noise(config: CollectConfig) -> str:
    return "" if config.action_noise == ACTION_NOISE else f"-noise{_code(config.action_noise)}"


def _code(value: float) -> str:
    """A number as Minari ids can hold it: 0.02 is 0p02."""
    return f"{value:.12g}".replace(".", "p").replace("+", "")
