"""One look through a file before it is trained on: do its flags and its observations agree on where episodes end?"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from owma._internal.types import Bool, Float
from owma.data.ends import Ends
from owma.data.precision import Precision

_SAMPLE_ROWS = 200_000
"""From the first on, that tell how far a step goes, at most."""
_SAMPLE_BYTES = 2**26
"""That these rows may take in float64: 64 MiB."""
_SAME = 0.1
"""Of a step: what `next_obs` and the next row may differ by. A recording that was cut goes on further away."""
_LARGE = 10.0
"""Times the median step: what may be a reset, where there is no `next_obs` to tell."""

Arrays = Callable[[], Iterator[Mapping[str, np.ndarray]]]
"""The arrays of a file by part, as recorded, a bounded number of rows at a time, from the start at every call."""


@dataclass(frozen=True)
class Survey:
    """What was found in one file."""

    ends: Ends
    """With jumps as truncations."""
    jumps: int
    """Steps within episodes after which the next row begins elsewhere than `next_obs` says."""
    first_jump: int | None
    seamless: int
    """Ends after which the next row begins where the episode ended."""
    inside: int
    """Steps within episodes by the flags."""
    large: int
    """Steps within episodes that may be resets: what follows is as far away."""
    first_large: int | None
    far: int
    """Last steps of episodes whose `next_obs` is as far away."""
    first_far: int | None
    unknown: int
    """Rows whose `next_obs` is not finite."""
    first_unknown: int | None
    lost: int
    """Episodes of a single step that was cut, where no `next_obs` says what followed it."""
    lengths: np.ndarray
    """Steps of each episode, as recorded."""
    returns: np.ndarray
    """Sums of their rewards."""


def survey(arrays: Arrays, ends: Ends, precision: Mapping[str, Precision]) -> Survey:
    """Read a file that has rows once, and say what was found.

    **Arguments:** `precision`: of `obs`, `action` and `reward`, which are shown all rows.
    """
    has_next = False
    typical, tolerance = _steps_of(arrays, ends)
    jumps, large, far, unknown = _RowsFound(), _RowsFound(), _RowsFound(), _RowsFound()
    joints, returns = np.zeros(len(ends.final), bool), np.zeros(int(ends.episodes[-1]) + 1)
    episodes, any_end = ends.episodes, ends.any
    start, held = 0, None
    for piece in arrays():
        obs, count = piece["obs"], len(piece["obs"])
        has_next = "next_obs" in piece
        before = piece["next_obs"] if has_next else obs
        left = before[:-1] if held is None else np.concatenate([held, before[:-1]])
        right = obs[len(obs) - len(left) :]
        rows = np.arange(start + count - 1 - len(left), start + count - 1)
        apart = _beyond(left, right, tolerance)
        ended = any_end[rows]
        if has_next:
            jumps.add(rows[apart & ~ended])
            joints[rows] = ended & ~apart & ~ends.final[rows] & np.isfinite(left).all(axis=1)
            with np.errstate(invalid="ignore"):
                steps = before.astype(np.float64) - obs
            here = np.arange(start, start + count)
            # Rows that hold no step are not looked at.
            is_step = ~ends.final[here]
            far.add(here[is_step & _is_large(steps, typical)])
            unknown.add(here[is_step & ~np.isfinite(before).all(axis=1)])
        else:
            moved = right.astype(np.float64) - left
            large.add(rows[~ended & _is_large(moved, typical)])
            steps = moved[~ended]
        precision["obs"].see(obs, steps)
        for part in ("action", "reward"):
            if part in piece:
                values = piece[part]
                precision[part].see(values if values.ndim == 2 else values[:, None])
        if "reward" in piece:
            reward = piece["reward"].reshape(-1).astype(np.float64)
            here = slice(start, start + len(reward))
            steps_only = np.where(ends.final[here], 0.0, reward)
            returns += np.bincount(episodes[here], steps_only, minlength=len(returns))
        start, held = start + count, before[-1:]
    truncated = ends.truncated.copy()
    truncated[jumps.rows()] = True
    if has_next:
        is_last = truncated | any_end | (np.arange(len(any_end)) == len(any_end) - 1)
        far, large = far.among(is_last), far.among(~is_last)
    # The step before a row of a last observation is not an episode's last row.
    alone = np.append(True, any_end[:-1]) & np.append(any_end[:-1], True) & ~ends.terminated & ~ends.final
    lengths = np.bincount(episodes, ~ends.final, minlength=len(returns)).astype(int)
    return Survey(
        ends=dataclasses.replace(ends, truncated=truncated),
        jumps=jumps.count,
        first_jump=jumps.first,
        seamless=int(joints.sum()),
        inside=int((~any_end[:-1]).sum()),
        large=large.count,
        first_large=large.first,
        far=far.count,
        first_far=far.first,
        unknown=unknown.count,
        first_unknown=unknown.first,
        lost=0 if has_next else int(alone.sum()),
        lengths=lengths[lengths > 0],
        returns=returns[lengths > 0],
    )


class _RowsFound:
    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []

    def add(self, rows: np.ndarray) -> None:
        if len(rows):
            self._parts.append(rows)

    def rows(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, int), *self._parts])

    def among(self, mask: Bool[np.ndarray, " n"]) -> "_RowsFound":
        some = _RowsFound()
        some.add(self.rows()[mask[self.rows()]])
        return some

    @property
    def count(self) -> int:
        return sum(map(len, self._parts))

    @property
    def first(self) -> int | None:
        return int(self._parts[0][0]) if self._parts else None


def _steps_of(arrays: Arrays, ends: Ends) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """By the first rows: the median step of each coordinate, among those that move it, and how far two records of one
    observation may be apart.
    """
    pieces: list[Mapping[str, np.ndarray]] = []
    left = _SAMPLE_ROWS
    for piece in arrays():
        if not pieces:
            left = min(left, max(2, _SAMPLE_BYTES // (8 * piece["obs"].shape[1])))
        pieces.append({part: piece[part][:left] for part in ("obs", "next_obs") if part in piece})
        left -= len(pieces[-1]["obs"])
        if left <= 0:
            break
    obs = np.concatenate([piece["obs"] for piece in pieces])
    recorded = np.concatenate([piece["next_obs"] for piece in pieces]) if "next_obs" in pieces[0] else obs[1:]
    rounding = max(8 * np.finfo(np.float32).eps, *(8 * _eps(array.dtype) for array in (obs, recorded)))
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.nanmax(np.where(np.isfinite(obs), np.abs(obs.astype(np.float64)), 0.0), axis=0, initial=0.0)
        inside = ~ends.any[: len(obs)]
        inside[-1:] = False
        moved = np.abs(recorded[: len(obs) - 1].astype(np.float64) - obs[: len(recorded)][: len(obs) - 1])
        step = _median_of_nonzero(moved[inside[: len(moved)]] if "next_obs" not in pieces[0] else moved)
        if "next_obs" not in pieces[0]:
            return step, rounding * size
        gaps = np.abs(recorded[:-1].astype(np.float64) - obs[1:])[inside[:-1]]
        noise = np.nanmedian(gaps, axis=0) if len(gaps) else 0 * step
    noisy = np.clip(10 * np.nan_to_num(noise), _SAME * step, 0.5 * step)
    return step, np.maximum(rounding * size, noisy)


def _eps(dtype: np.dtype) -> float:
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0


def _median_of_nonzero(moved: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    columns = (column[(column > 0) & np.isfinite(column)] for column in moved.T)
    return np.array([np.median(column) if len(column) else 0.0 for column in columns])


def _beyond(
    left: Float[np.ndarray, "n d"], right: Float[np.ndarray, "n d"], tolerance: Float[np.ndarray, " d"]
) -> Bool[np.ndarray, " n"]:
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = np.abs(left.astype(np.float64) - right)
        return np.any((gaps > tolerance) & np.isfinite(gaps), axis=1)  # what is not finite is somewhere unknown


def _is_large(moved: Float[np.ndarray, "n d"], typical: Float[np.ndarray, " d"]) -> Bool[np.ndarray, " n"]:
    """Whether most coordinates that ever move go much further than they do as a rule: contacts move a few at once."""
    moving = typical > 0
    if not moving.any() or not len(moved):
        return np.zeros(len(moved), bool)
    with np.errstate(invalid="ignore"):
        return np.median(np.where(np.isfinite(moved), np.abs(moved), 0.0)[:, moving] / typical[moving], axis=1) > _LARGE
