"""Dataset containers: `DatasetSource` (opened, rows read on demand) and `OfflineDataset` (rows read)."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import DatasetError
from owma._internal.moved import OldMember, accept_old_keyword
from owma._internal.types import Float
from owma.outcomes.transitions import Transitions

PIECE_BYTES = 2**24
"""Approximate bytes of rows that a reader holds in memory at once (16 MiB)."""


@dataclass(frozen=True)
class Origin:
    """Identity of a dataset, kept with a run for normalised scores (see `owma.results.scores`)."""

    dataset_id: str
    env_id: str | None
    """The environment that the dataset names; `None` if it names none that is known here."""
    env_settings: str | None
    """`env_settings` of that environment."""
    references: tuple[float, float] | None
    """Minari's `ref_min_score` and `ref_max_score`, where the dataset has them."""


@dataclass(frozen=True)
class OfflineDataset:
    """Transitions, and the metadata that acting and evaluation need."""

    dataset_id: str
    """The Minari id, or the name of the file or folder."""
    transitions: Transitions
    """Host arrays: float32, flags bool; memory-mapped if they come from a cache."""
    obs_keys: tuple[str, ...] | None
    """For observations of the goal form, the entries that make up the flat observation (see `flatten_obs`)."""
    action_low: Float[np.ndarray, " act"]
    """The smallest action of each coordinate: the action space's bound or, where it has none, the data's."""
    action_high: Float[np.ndarray, " act"]
    """The largest action of each coordinate, likewise."""
    env_spec: EnvSpec | None
    """The environment to evaluate in: the one that the dataset names for it, else the one it was collected in."""
    env_refusal: str | None = None
    """Why `env_spec` is `None` although the dataset names an environment; see `owma.envs.read_env`."""
    references: tuple[float, float] | None = None
    """See `Origin`."""
    notes: tuple[str, ...] = ()
    """Sentences for the user: what was left out, and how ambiguities were resolved."""

    @property
    def origin(self) -> Origin:
        """The part that a run stores."""
        env = self.env_spec
        name, settings = (None, None) if env is None else (env.id, env_settings(env))
        return Origin(self.dataset_id, name, settings, self.references)

    @property
    def num_bytes(self) -> int:
        """Of its transitions."""
        return len(self.transitions) * row_bytes(self.transitions.obs.shape[1], self.transitions.action.shape[1])


@dataclass(frozen=True)
class RowFacts:
    """Facts about a dataset that are known after its rows have been read."""

    notes: tuple[str, ...] = ()
    """A sentence each."""
    rounded: tuple[int, ...] = ()
    """Coordinates of observations whose steps float32 does not hold."""
    too_large: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Rows by part (`obs`, `action`, `reward`) with numbers that float32 does not hold."""
    lengths: np.ndarray | None = None
    """Steps of each episode as recorded; `None` where they are those of the transitions."""
    returns: np.ndarray | None = None
    """Sums of the rewards recorded, likewise."""


@accept_old_keyword("found", "row_facts")
@dataclass(frozen=True)
class DatasetSource:
    """An opened dataset: its form has been checked, its rows are read on demand."""

    dataset_id: str
    form: str
    """Name of the form for messages, such as `D4RL file`."""
    files: tuple[Path, ...]
    """All files that are read."""
    options: dict[str, Any]
    """Settings of the reader that change what it reads; plain values."""
    rows: int
    """Upper bound on the number of transitions: some forms have rows that are not transitions."""
    obs_dim: int
    action_dim: int
    dtypes: dict[str, str]
    """Recorded dtypes of `obs` and `action`; rows are read as float32."""
    pieces: Callable[[], Iterator[Transitions]]
    """All transitions in order, from the start at every call; a piece may end within an episode, the last does not.

    Numbers that do not fit into float32 are infinite in it; whether all are finite is for `check_finite` to say.
    """
    action_low: Float[np.ndarray, " act"] | None = None
    """The bounds of the action space, infinite where it has none; `None` if the dataset does not say."""
    action_high: Float[np.ndarray, " act"] | None = None
    obs_keys: tuple[str, ...] | None = None
    env_spec: EnvSpec | None = None
    env_refusal: str | None = None
    references: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    """What the reader decided where the dataset leaves it open; a sentence each."""
    row_facts: Callable[[], RowFacts] = RowFacts
    """The facts found while reading rows; call it after `pieces` is exhausted."""
    found = OldMember("row_facts")

    @property
    def num_bytes(self) -> int:
        """Of its transitions in memory."""
        return self.rows * row_bytes(self.obs_dim, self.action_dim)

    def dataset(self, transitions: Transitions, bounds: "ActionBounds") -> OfflineDataset:
        """The dataset, once its rows are read and the range of their actions is known."""
        low, high = bounds.within(self.action_low, self.action_high)
        notes = (*self.notes, *self.row_facts().notes)
        read = {"transitions": transitions, "action_low": low, "action_high": high, "notes": notes}
        return OfflineDataset(**shared_fields(self) | read)


def shared_fields(dataset: DatasetSource | OfflineDataset) -> dict[str, Any]:
    """The fields that both have, by name: what is known of a dataset beside its rows."""
    of_source = {field.name for field in dataclasses.fields(DatasetSource)}
    both = [field.name for field in dataclasses.fields(OfflineDataset) if field.name in of_source]
    return {name: getattr(dataset, name) for name in both}


def env_settings(env: EnvSpec) -> str:
    """The arguments of an environment and its limit of steps, as JSON: what tells it from others of its id."""
    settings = {"kwargs": env.kwargs, "max_episode_steps": env.max_episode_steps}
    return json.dumps(settings, sort_keys=True, default=str)


def are_references(value: Any) -> bool:
    """Whether what a file holds can be the `references` of an `Origin`: two numbers, the first the smaller."""
    is_pair = isinstance(value, list | tuple) and len(value) == 2
    return is_pair and all(type(end) in (int, float) and abs(end) < 1e30 for end in value) and value[0] < value[1]


def read_origin(value: Any) -> Origin | None:
    """The `Origin` in what `dataclasses.asdict` made of it, as a file holds it; `None` if it is anything else."""
    if not isinstance(value, dict) or value.keys() != {field.name for field in dataclasses.fields(Origin)}:
        return None
    name, env, settings, pair = (value[field.name] for field in dataclasses.fields(Origin))
    are_texts = isinstance(name, str) and isinstance(env, str | None) and isinstance(settings, str | None)
    if not (are_texts and (pair is None or are_references(pair))):
        return None
    return Origin(name, env, settings, None if pair is None else (float(pair[0]), float(pair[1])))


def row_bytes(obs_dim: int, action_dim: int) -> int:
    """Bytes of one transition: float32, except two flags of one byte."""
    return 4 * (2 * obs_dim + action_dim + 1) + 2


def rows_in_piece(obs_dim: int, action_dim: int) -> int:
    """The number of transitions that a reader holds in memory at once."""
    return max(1, PIECE_BYTES // row_bytes(obs_dim, action_dim))


@dataclass
class ActionBounds:
    """The range of the actions seen so far."""

    low: Float[np.ndarray, " act"] | None = None
    high: Float[np.ndarray, " act"] | None = None

    def see(self, action: Float[np.ndarray, "n act"]) -> None:
        """Widen the range to all rows of `action`."""
        low, high = action.min(axis=0), action.max(axis=0)
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)

    def within(
        self, low: Float[np.ndarray, " act"] | None, high: Float[np.ndarray, " act"] | None
    ) -> tuple[Float[np.ndarray, " act"], Float[np.ndarray, " act"]]:
        """The bounds given, or those of the data where there are none."""
        assert self.low is not None and self.high is not None
        if low is None or high is None:
            return self.low, self.high
        return np.where(np.isfinite(low), low, self.low), np.where(np.isfinite(high), high, self.high)


def read_whole(source: DatasetSource) -> OfflineDataset:
    """Read a whole dataset into memory.

    **Raises:** `DatasetError` if it is empty or not finite, or where its rows cannot be read.
    """
    bounds, pieces = ActionBounds(), []
    for piece in checked_pieces(source):
        bounds.see(np.asarray(piece.action))
        pieces.append(piece)
    fields = [field.name for field in dataclasses.fields(Transitions)]
    joined = {name: np.concatenate([np.asarray(getattr(piece, name)) for piece in pieces]) for name in fields}
    return source.dataset(Transitions(**joined), bounds)


def checked_pieces(source: DatasetSource) -> Iterator[Transitions]:
    """The pieces of a dataset that have rows. Raises `DatasetError` if there is none, or one is not finite."""
    start = 0
    for piece in source.pieces():
        if len(piece):
            check_finite(piece, source.dataset_id, start)
            start += len(piece)
            yield piece
    if start == 0:
        raise DatasetError(
            f"Dataset {source.dataset_id} is empty: no step of it leads from one observation to another; "
            "collect or choose another one."
        )


def check_finite(piece: Transitions, name: str, start: int) -> None:
    """Raises `DatasetError` naming the first row that is not finite; `start` is the number of the first row."""
    for label, fields in (
        ("observations", (piece.obs, piece.next_obs)),
        ("actions", (piece.action,)),
        ("rewards", (piece.reward,)),
    ):
        bad = np.zeros(len(piece), bool)
        for values in fields:
            bad |= np.logical_not(np.isfinite(np.asarray(values).reshape(len(piece), -1))).any(axis=1)
        if bad.any():
            raise DatasetError(
                f"Dataset {name} has {label} that are not finite, the first in transition {start + int(bad.argmax())}; "
                "drop those episodes and write it again."
            )
