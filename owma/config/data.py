"""Configurations of datasets: collected ones, and the names that they give them; and files of your own."""

import abc
import re
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

from owma._internal.errors import ConfigError
from owma.config.flags import command_line, flags_of

MEMORY_GIB = 4.0
"""GiB of transitions that are held in memory, unless something else is asked for."""

ACTION_NOISE = 0.5
ANT_NOISE = 0.2
HOPPER_NOISE = 0.1
PLAN_NOISE = 0.1
MARKOV_NOISE = 0.1
MARKOV_RANDOM_SHARE = 0.1
FALLEN_STEPS = 50
RANDOM_SHARE = 0.05
SEARCH_STEPS = 400_000


@dataclass(frozen=True, kw_only=True)
class AbstractCollect(abc.ABC):
    """What all collected datasets are told."""

    command_name: ClassVar[str]
    """What follows `python -m owma.collect`."""
    id_pattern: ClassVar[str]
    """Matches what `settings_id` gives; its groups are fields, whose values are written as `_code` does."""

    seed: int = 0
    """Seed of everything random."""
    dataset_id: str | None = None
    """Minari id to write; by default one that names the settings."""
    overwrite: bool = False
    """Replace a dataset of the same id instead of reusing it."""

    @property
    @abc.abstractmethod
    def settings_id(self) -> str:
        """A Minari id that encodes whatever determines the data."""

    @property
    def name(self) -> str:
        """The Minari id: `dataset_id`, or that of the settings."""
        return self.dataset_id or self.settings_id


@dataclass(frozen=True)
class TwoRoutesCollect(AbstractCollect):
    """A dataset of the two-route maze in which one route is rare, or absent."""

    skew: float = 0.02
    """The share of episodes that take the lower route, the one that the task prefers; 0 for none."""
    episodes: int = 1000
    """The number of episodes."""
    steps: int = 200
    """Steps in each episode; the goal is reached after 150 to 195, and the rest is spent there."""
    action_noise: float = ACTION_NOISE
    """Standard deviation σ of the noise on actions, whose range is [-1, 1]."""

    command_name = "two-routes"
    id_pattern = (
        r"owma/two-routes-skew(?P<skew>.+?)-(?P<episodes>\d+)x(?P<steps>\d+)"
        r"(?:-noise(?P<action_noise>.+?))?-seed(?P<seed>\d+)-v0"
    )

    @property
    def settings_id(self) -> str:
        size = f"{self.episodes}x{self.steps}"
        return f"owma/two-routes-skew{_code(self.skew)}-{size}{_noise(self.action_noise)}-seed{self.seed}-v0"


@dataclass(frozen=True)
class PointMazeCollect(AbstractCollect):
    """A dataset of a PointMaze, going from one random goal to the next."""

    maze: Literal["umaze", "medium", "large"] = "umaze"
    """The map."""
    steps: int = 1_000_000
    """Steps in all; episodes are as long as the environment's own (300, 600 and 800 steps), the last is cut."""
    action_noise: float = ACTION_NOISE
    """Standard deviation σ of the noise on actions, whose range is [-1, 1]."""

    command_name = "pointmaze"
    id_pattern = (
        r"owma/pointmaze-(?P<maze>[a-z]+)-(?P<steps>\d+)"
        r"(?:-noise(?P<action_noise>.+?))?-seed(?P<seed>\d+)-v0"
    )

    @property
    def settings_id(self) -> str:
        return f"owma/pointmaze-{self.maze}-{self.steps}{_noise(self.action_noise)}-seed{self.seed}-v0"


@dataclass(frozen=True)
class StitchCollect(AbstractCollect):
    """Short pieces of ways through a PointMaze, none of which leads from the start of the task to its goal."""

    maze: Literal["umaze", "medium", "large"] = "umaze"
    """The map; the task leads from its first free cell to the one farthest away."""
    episodes: int = 4000
    """The number of episodes, each from one random cell towards another."""
    steps: int = 60
    """Steps in each episode; the whole way takes some 130, 270 and 330."""
    action_noise: float = ACTION_NOISE
    """Standard deviation σ of the noise on actions, whose range is [-1, 1]."""

    command_name = "stitch"
    id_pattern = (
        r"owma/stitch-(?P<maze>[a-z]+)-(?P<episodes>\d+)x(?P<steps>\d+)"
        r"(?:-noise(?P<action_noise>.+?))?-seed(?P<seed>\d+)-v0"
    )

    @property
    def settings_id(self) -> str:
        size = f"{self.episodes}x{self.steps}"
        return f"owma/stitch-{self.maze}-{size}{_noise(self.action_noise)}-seed{self.seed}-v0"


@dataclass(frozen=True)
class D4rlFile:
    """A D4RL file: HDF5 (or npz) with observations, actions, rewards, terminals, timeouts."""

    file: Path
    """Ends in .hdf5, .h5 or .npz."""
    episode_steps: int | None = None
    """For a file whose timeouts are missing or never set: steps after which an episode was cut; 0 if all episodes end
    by terminals."""

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
    truncated (or done, episode_starts, episode_ends, ...), one row a step; the end of a file ends an episode. Or a
    cache that owma has written.
    """

    folder: Path
    """Holds the files, which are read in order of name."""


FileConfig: TypeAlias = D4rlFile | OgbenchFile | ArrayFolder
"""A dataset in files."""


@dataclass(frozen=True)
class AntMazeCollect(AbstractCollect):
    """A dataset of an AntMaze: an ant of eight joints walks to one goal an episode, in the form of Minari's D4RL sets.

    Rewards are 1 within 0.45 m of the goal and 0 elsewhere; reaching it ends nothing, and the ant stays about it.
    """

    maze: Literal["umaze", "medium", "large"] = "umaze"
    """The map; cells are squares of 4 m."""
    goals: Literal["play", "diverse"] = "diverse"
    """`diverse`: from any cell to any other; `play`: from hand-picked cells to others (of UMaze one of each)."""
    steps: int = 1_000_000
    """Steps in all; episodes are as long as the environment's own (700 steps in UMaze, else 1000), the last is cut."""
    action_noise: float = ANT_NOISE
    """Standard deviation of the noise on actions, whose range is [-1, 1]."""
    fallen_steps: int = FALLEN_STEPS
    """An episode ends, truncated, when the ant has lain on its back for this long: of 61 that had, none got up in the
    quarter of all steps that were left. 0: it lies there to the end of the episode, as in the published sets."""

    command_name = "antmaze"
    id_pattern = (
        r"owma/antmaze-(?P<maze>[a-z]+)-(?P<goals>play|diverse)-(?P<steps>\d+)"
        r"(?:-noise(?P<action_noise>.+?))?(?:-fallen(?P<fallen_steps>\d+))?-seed(?P<seed>\d+)-v0"
    )

    @property
    def settings_id(self) -> str:
        fallen = "" if self.fallen_steps == FALLEN_STEPS else f"-fallen{self.fallen_steps}"
        made = f"{self.steps}{_noise(self.action_noise, ANT_NOISE)}{fallen}"
        return f"owma/antmaze-{self.maze}-{self.goals}-{made}-seed{self.seed}-v0"


@dataclass(frozen=True)
class OGBenchMazeCollect(AbstractCollect):
    """A dataset of a pointmaze of OGBench, which needs the extra `ogbench`."""

    maze: Literal["medium", "large", "giant"] = "medium"
    """The map; cells are squares of 4 m, and a step is 0.2 m along either axis at most."""
    kind: Literal["navigate", "stitch"] = "navigate"
    """`navigate`: episodes of 1000 steps from one random goal to the next; `stitch`: of 200 steps to one goal, four
    cells away."""
    steps: int = 1_000_000
    """Steps in all; the last episode is cut."""
    action_noise: float = ACTION_NOISE
    """Standard deviation of the noise on actions, whose range is [-1, 1]."""

    command_name = "ogbench-maze"
    id_pattern = (
        r"owma/ogbench-pointmaze-(?P<maze>[a-z]+)-(?P<kind>navigate|stitch)-(?P<steps>\d+)"
        r"(?:-noise(?P<action_noise>.+?))?-seed(?P<seed>\d+)-v0"
    )

    @property
    def settings_id(self) -> str:
        made = f"{self.steps}{_noise(self.action_noise)}-seed{self.seed}"
        return f"owma/ogbench-pointmaze-{self.maze}-{self.kind}-{made}-v0"


@dataclass(frozen=True)
class OGBenchPlayCollect(AbstractCollect):
    """A *play* dataset of a robot arm of OGBench, which needs the extra `ogbench`."""

    scene: Literal["cube-single", "scene", "puzzle-3x3"] = "cube-single"
    """What there is to play with."""
    steps: int = 1_000_000
    """Steps in all; episodes are of 1000 steps, the last is cut."""
    plan_noise: float = PLAN_NOISE
    """Scale of the smoothed noise on plans: times 5 cm, 0.3 rad, and the whole range of the gripper."""

    command_name = "ogbench-play"
    id_pattern = (
        r"owma/ogbench-(?P<scene>[a-z0-9-]+)-play-(?P<steps>\d+)"
        r"(?:-noise(?P<plan_noise>.+?))?-seed(?P<seed>\d+)-v0"
    )

    @property
    def settings_id(self) -> str:
        noise = _noise(self.plan_noise, PLAN_NOISE)
        return f"owma/ogbench-{self.scene}-play-{self.steps}{noise}-seed{self.seed}-v0"


@dataclass(frozen=True)
class OGBenchNoisyCollect(AbstractCollect):
    """A *noisy* dataset of OGBench's arm with a cube, by an oracle without plans; needs the extra `ogbench`."""

    scene: Literal["cube-single"] = "cube-single"
    """What there is to be moved."""
    steps: int = 1_000_000
    """Steps in all; episodes are of 1000 steps, the last is cut."""
    action_noise: float = MARKOV_NOISE
    """The largest standard deviation σ of the noise on actions, whose range is [-1, 1]: each episode has one of its
    own, uniform from 0 to this; three times that on turns, and ten times on the gripper."""
    random_share: float = MARKOV_RANDOM_SHARE
    """Share of the actions that are drawn uniformly instead."""

    command_name = "ogbench-noisy"
    id_pattern = (
        r"owma/ogbench-(?P<scene>[a-z0-9-]+)-noisy-(?P<steps>\d+)"
        r"(?:-noise(?P<action_noise>[^-]+?))?(?:-random(?P<random_share>[^-]+?))?-seed(?P<seed>\d+)-v0"
    )

    @property
    def settings_id(self) -> str:
        random = "" if self.random_share == MARKOV_RANDOM_SHARE else f"-random{_code(self.random_share)}"
        made = f"{self.steps}{_noise(self.action_noise, MARKOV_NOISE)}{random}"
        return f"owma/ogbench-{self.scene}-noisy-{made}-seed{self.seed}-v0"


@dataclass(frozen=True)
class HopperCollect(AbstractCollect):
    """A dataset of Hopper-v5: a mixture of linear policies for four tasks, good and bad ones, and random actions.

    They are searched for first, which needs the extra `hopper` and some minutes, unless `policies` are given.
    """

    steps: int = 200_000
    """Steps in all, about as many of each policy; episodes are of 1000 steps at most, the last is cut."""
    action_noise: float = HOPPER_NOISE
    """Standard deviation of the noise on actions, whose range is [-1, 1]; in the search too."""
    random_share: float = RANDOM_SHARE
    """The share of steps, roughly, that are of episodes of uniformly random actions, which end in a fall soon."""
    search_steps: int = SEARCH_STEPS
    """Steps simulated in the search for each of the four tasks; of no account with `policies`."""
    policies: Path | None = None
    """Policies that were found before, instead of a search: `policies.npz` in the folder of such a dataset."""

    command_name = "hopper"
    id_pattern = (
        r"owma/hopper-(?P<steps>\d+)"
        r"(?:-noise(?P<action_noise>[^-]+?))?(?:-random(?P<random_share>[^-]+?))?(?:-search(?P<search_steps>\d+))?-seed(?P<seed>\d+)-v0"
    )

    @property
    def settings_id(self) -> str:
        """Of `policies`, their file's name and that of its folder are part of it."""
        random = "" if self.random_share == RANDOM_SHARE else f"-random{_code(self.random_share)}"
        search = "" if self.search_steps == SEARCH_STEPS else f"-search{self.search_steps}"
        if self.policies is not None:
            given = "-".join(self.policies.absolute().with_suffix("").parts[-2:])
            search = f"-by-{re.sub('[^A-Za-z0-9]+', '-', given).strip('-')}"
        made = f"{self.steps}{_noise(self.action_noise, HOPPER_NOISE)}{random}{search}"
        return f"owma/hopper-{made}-seed{self.seed}-v0"


_OGBenchCollect: TypeAlias = OGBenchMazeCollect | OGBenchPlayCollect | OGBenchNoisyCollect

CollectConfig: TypeAlias = (
    TwoRoutesCollect | PointMazeCollect | StitchCollect | AntMazeCollect | HopperCollect | _OGBenchCollect
)
"""A dataset that can be collected."""


def _noise(deviation: float, default: float = ACTION_NOISE) -> str:
    return "" if deviation == default else f"-noise{_code(deviation)}"


def _code(value: float) -> str:
    """A number as Minari ids can hold it: 0.02 is 0p02."""
    return f"{value:.12g}".replace(".", "p").replace("+", "")


def command_for(dataset_id: str) -> str | None:
    """The command that collects a dataset, if its id is one that a configuration here gives."""
    for cls in typing.get_args(CollectConfig):
        if match := re.fullmatch(cls.id_pattern, dataset_id):
            hints = typing.get_type_hints(cls)
            given = {name: text for name, text in match.groupdict().items() if text is not None}
            try:
                config = cls(**{name: _value(text, hints[name]) for name, text in given.items()})
            except ValueError:  # a word where a number is to be
                return None
            return command_line("collect", cls.command_name, *flags_of(config)[1])
    return None


def _value(text: str, hint: Any) -> Any:
    """What a field of this type is where `text` stands in an id: 0p02 is 0.02."""
    return hint(text.replace("p", ".")) if hint in (int, float) else text
