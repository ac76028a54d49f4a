"""What a dataset holds, in numbers: forms, episodes, ranges, coverage, and what may spoil training on it."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from owma._internal.types import Bool, Float
from owma.data.dataset import ActionBounds, DatasetSource
from owma.outcomes.transitions import Transitions

_SAMPLE = 200_000
"""Transitions that coverage and duplicates are judged by, evenly spaced; the other figures are of all."""

_CELLS = 32
"""To a side of the grid that coverage is counted on."""

_MANY_AT_BOUNDS = 0.25
_MANY_DUPLICATES = 0.01


@dataclasses.dataclass
class _Moments:
    """Range, mean and standard deviation of every column, finite entries only, a piece at a time."""

    low: Float[np.ndarray, " d"]
    high: Float[np.ndarray, " d"]
    mean: Float[np.ndarray, " d"]
    squares: Float[np.ndarray, " d"]
    """Sums of squared deviations from the mean."""
    count: Float[np.ndarray, " d"]
    not_finite: int = 0
    """Rows with an entry that is not."""

    @classmethod
    def nothing(cls, dims: int) -> "_Moments":
        zero = np.zeros(dims)
        return cls(np.full(dims, np.inf), np.full(dims, -np.inf), zero, zero.copy(), zero.copy())

    def see(self, values: Float[np.ndarray, "n d"]) -> None:
        finite = np.isfinite(values)
        self.not_finite += int((~finite.all(axis=1)).sum())
        wide = np.where(finite, values, 0.0).astype(np.float64)
        self.low = np.minimum(self.low, np.where(finite, values, np.inf).min(axis=0))
        self.high = np.maximum(self.high, np.where(finite, values, -np.inf).max(axis=0))
        count = finite.sum(axis=0)
        mean = wide.sum(axis=0) / np.maximum(count, 1)
        squares = (np.square(wide - mean) * finite).sum(axis=0)
        # Chan, Golub and LeVeque: two parts' means and sums of squares make those of the whole.
        total = np.maximum(self.count + count, 1)
        step = mean - self.mean
        self.squares = self.squares + squares + np.square(step) * self.count * count / total
        self.mean = self.mean + step * count / total
        self.count = self.count + count

    @property
    def std(self) -> Float[np.ndarray, " d"]:
        return np.sqrt(self.squares / np.maximum(self.count, 1))

    @property
    def constant(self) -> list[int]:
        """The columns that do not vary."""
        return [int(i) for i in np.flatnonzero(~(self.high > self.low))]

    @property
    def nearly_constant(self) -> list[int]:
        """Other columns that do not vary by what `Standardisation` takes for variation."""
        size = np.maximum(np.maximum(np.abs(self.low), np.abs(self.high)), 1e-6)
        return [int(i) for i in np.flatnonzero(~(self.std > 1e-6 * size) & (self.high > self.low))]

    def as_columns(self) -> list[dict[str, float]]:
        columns = zip(self.low, self.high, self.mean, self.std)
        return [{"low": a, "high": b, "mean": c, "std": d} for a, b, c, d in (map(float, row) for row in columns)]


def summarise_dataset(source: DatasetSource) -> dict[str, Any]:
    """Read a dataset once, a bounded piece at a time, and summarise it.

    **Returns:** plain values: `dataset`, `form`, `files`, `env` (or `None`), `env_refusal` (why, if it names one),
    `obs_keys`, `observations`, `actions` and `rewards` (`shape`, `dtype` as recorded, and `low`, `high`, `mean`, `std`
    of all columns), `transitions`, `episodes`, `terminated`, `truncated`, `lengths` and `returns` (quantiles of the
    episodes', as recorded), `coverage` (the share of the cells of a grid over the range of the leading two observation
    coordinates that were visited), `at_bounds` (the share of action entries at the smallest or largest action),
    `duplicates` (the share of transitions there twice or more), `megabytes` (of all transitions in memory) and
    `warnings`, a sentence each.

    **Raises:** `DatasetError` if a file turns out to be damaged.
    """
    reading = _Reading(source)
    for piece in source.pieces():
        if len(piece):
            reading.see(piece)
    return reading.summary()


class _Reading:
    """What has been seen so far."""

    def __init__(self, source: DatasetSource) -> None:
        self.source = source
        self.obs, self.action = _Moments.nothing(source.obs_dim), _Moments.nothing(source.action_dim)
        self.reward, self.last_obs = _Moments.nothing(1), _Moments.nothing(source.obs_dim)
        self.bounds = ActionBounds()
        self.lengths: list[int] = []
        self.returns: list[float] = []
        self.terminated = self.rows = 0
        self.open_length, self.open_return = 0, 0.0
        self.stride = max(1, -(-source.rows // _SAMPLE))
        self.sample: list[Transitions] = []

    def see(self, piece: Transitions) -> None:
        self.obs.see(np.asarray(piece.obs))
        self.action.see(np.asarray(piece.action))
        self.reward.see(np.asarray(piece.reward)[:, None])
        ends = np.flatnonzero(piece.ends)
        self.last_obs.see(np.asarray(piece.next_obs)[ends]) if len(ends) else None
        self.bounds.see(np.asarray(piece.action))
        self._count_episodes(piece, ends)
        self.sample.append(piece.rows(np.arange(-self.rows % self.stride, len(piece), self.stride)))
        self.rows += len(piece)

    def _count_episodes(self, piece: Transitions, ends: np.ndarray) -> None:
        self.terminated += int(np.asarray(piece.terminated).sum())
        # Sums of each episode by itself: one reward that is not finite spoils no other.
        starts = np.concatenate([[0], ends + 1])
        lengths = np.diff(starts, append=len(piece))
        with np.errstate(invalid="ignore"):
            reward = np.append(np.asarray(piece.reward, np.float64), 0.0)
            returns = np.add.reduceat(reward, starts) * (lengths > 0)
            lengths[0] += self.open_length
            returns[0] += self.open_return
        self.lengths += lengths[:-1].tolist()
        self.returns += returns[:-1].tolist()
        self.open_length, self.open_return = int(lengths[-1]), float(returns[-1])

    def summary(self) -> dict[str, Any]:
        source = self.source
        facts: dict[str, Any] = {
            "dataset": source.dataset_id,
            "form": source.form,
            "files": len(source.files),
            "env": None if source.env_spec is None else source.env_spec.id,
            "env_refusal": source.env_refusal,
            "obs_keys": None if source.obs_keys is None else list(source.obs_keys),
            "transitions": self.rows,
            "episodes": len(self.lengths),
            "terminated": self.terminated,
            "truncated": len(self.lengths) - self.terminated,
            "megabytes": round(source.num_bytes / 1e6, 3),
        }
        row_facts = source.row_facts()
        notes = [*source.notes, *row_facts.notes]
        if source.env_refusal is not None:
            notes.insert(0, source.env_refusal)
        if not self.rows:
            empty = "There is no transition in it: no step leads from one observation to another."
            return facts | {"warnings": [*notes, empty]}
        for name, moments, part in (("observations", self.obs, "obs"), ("actions", self.action, "action")):
            dtype = source.dtypes[part]
            facts[name] = {"shape": [len(moments.mean)], "dtype": dtype, "columns": moments.as_columns()}
        facts["rewards"] = {"shape": [], "columns": self.reward.as_columns()}
        sample = Transitions(
            *(np.concatenate([getattr(part, name) for part in self.sample]) for name in vars(self.sample[0]))
        )
        low, high = self.bounds.within(source.action_low, source.action_high)
        facts |= {
            "lengths": _quantiles(self.lengths if row_facts.lengths is None else row_facts.lengths),
            "returns": _quantiles(self.returns if row_facts.returns is None else row_facts.returns),
            "coverage": _coverage(np.asarray(sample.obs)[:, :2], self.obs),
            "at_bounds": float(_at_bounds(np.asarray(sample.action), low, high).mean()),
            "duplicates": _duplicates(sample),
        }
        return facts | {"warnings": [*notes, *self._warnings(facts, row_facts.rounded, row_facts.too_large)]}

    def _warnings(self, facts: dict[str, Any], rounded: Collection[int], too_large: Mapping[str, int]) -> list[str]:
        warnings = []
        parts = (
            ("observations", self.obs, "obs"),
            ("actions", self.action, "action"),
            ("rewards", self.reward, "reward"),
        )
        for name, moments, part in parts:
            # What is too large for float32 is infinite in it, and named as what it is.
            if (count := moments.not_finite - too_large.get(part, 0)) > 0:
                warnings.append(f"{count:,} {name} are not finite: training refuses them.")
        if self.last_obs.not_finite and not too_large.get("obs"):
            warnings.append(f"{self.last_obs.not_finite:,} last observations of episodes are not finite.")
        for name, moments in (("Observation", self.obs), ("Action", self.action)):
            vary = rounded if moments is self.obs else ()  # as recorded, though not in float32
            if constant := [i for i in moments.constant if i not in vary]:
                warnings.append(f"{name} coordinates that never vary: {', '.join(map(str, constant))}.")
            if nearly := moments.nearly_constant:
                warnings.append(
                    f"{name} coordinates that vary by less than a millionth of their size, and count as constant in "
                    f"training: {', '.join(map(str, nearly))}."
                )
        if self.reward.low[0] == self.reward.high[0]:
            warnings.append(
                f"The recorded reward is {self.reward.low[0]:g} throughout: train with a task of another kind."
            )
        if not self.terminated:
            warnings.append("No episode terminates, all are cut: outcomes go on after every last step.")
        if facts["at_bounds"] > _MANY_AT_BOUNDS:
            warnings.append(f"{facts['at_bounds']:.0%} of all action entries are at their smallest or largest value.")
        if facts["duplicates"] > _MANY_DUPLICATES:
            warnings.append(f"{facts['duplicates']:.1%} of the transitions are there more than once.")
        if len(self.lengths) == 1:
            warnings.append("There is one episode only: none can be held out, so that training judges itself.")
        return warnings


def _quantiles(values: list[Any] | np.ndarray) -> dict[str, float]:
    """Smallest, quartiles, largest and mean; what is not finite is left out."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return {}
    names = ("smallest", "lower_quartile", "median", "upper_quartile", "largest")
    return dict(zip(names, map(float, np.quantile(finite, [0, 0.25, 0.5, 0.75, 1])))) | {"mean": float(finite.mean())}


def _coverage(positions: Float[np.ndarray, "n leading"], range_of: _Moments) -> float:
    positions = positions[np.isfinite(positions).all(axis=1)]
    dims = positions.shape[1]
    width = np.maximum(range_of.high[:dims] - range_of.low[:dims], 1e-12)
    cells = np.clip(((positions - range_of.low[:dims]) / width * _CELLS).astype(int), 0, _CELLS - 1)
    return float(len(np.unique(cells, axis=0)) / _CELLS**dims)


def _at_bounds(
    action: Float[np.ndarray, "n act"], low: Float[np.ndarray, " act"], high: Float[np.ndarray, " act"]
) -> Bool[np.ndarray, "n act"]:
    near = 1e-4 * np.maximum(high - low, 1e-6)
    return (action <= low + near) | (action >= high - near)


def _duplicates(sample: Transitions) -> float:
    rows = np.concatenate([np.asarray(sample.obs), np.asarray(sample.action), np.asarray(sample.next_obs)], axis=1)
    alike = np.unique(np.ascontiguousarray(rows).view(f"V{rows.shape[1] * 4}"), return_counts=True)[1]
    return float(alike[alike > 1].sum() / len(rows))
