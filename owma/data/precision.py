"""Whether float32, in which all is computed, holds what a column records."""

from typing import Any

import numpy as np

from owma._internal.types import Float, Shaped

_MOST_LOST = 0.01
"""The error of rounding, as a share of a step, above which a column is named."""
_DISTINCT_ROWS = 200_000
"""By which distinct values are counted, at most."""
_DISTINCT_BYTES = 2**26
"""That these rows may take: 64 MiB."""


class Precision:
    """What rounding to float32 does to columns of one kind, a piece at a time."""

    def __init__(self, kind: str) -> None:
        """`kind`: what to call a column: `Observation`."""
        self.kind = kind
        self.too_large = 0
        """Rows that hold a finite number beyond float32's largest."""
        self._count = 0
        self._error: Any = 0.0
        self._step: Any = 0.0
        self._steps = 0
        self._low: Any = np.inf
        self._high: Any = -np.inf
        self._rows: list[np.ndarray] = []
        self._kept = 0

    def see(self, values: Shaped[np.ndarray, "n d"], steps: Float[np.ndarray, "m d"] | None = None) -> None:
        """Rows as recorded, and what they change by from one row to the next of an episode."""
        if values.dtype.itemsize < 4 or values.dtype == np.float32 or not len(values):
            return
        # Integers of 64 bits are more than float64 holds.
        wide = values.astype(np.longdouble if values.dtype.kind in "iu" else np.float64)
        self.too_large += int(((np.abs(wide) > np.finfo(np.float32).max) & np.isfinite(wide)).any(axis=1).sum())
        wide = np.where(np.abs(wide) < 1e38, wide, 0.0)
        self._error = self._error + np.square(wide - wide.astype(np.float32)).sum(axis=0)
        self._count += len(wide)
        self._low, self._high = np.minimum(self._low, wide.min(axis=0)), np.maximum(self._high, wide.max(axis=0))
        if steps is not None and len(steps):
            finite = np.where(np.abs(steps) < 1e38, steps, 0.0).astype(np.float64)
            self._step = self._step + np.square(finite).sum(axis=0)
            self._steps += len(steps)
        most = min(_DISTINCT_ROWS, max(1, _DISTINCT_BYTES // wide[0].nbytes))
        if self._kept < most:
            self._rows.append(wide[: most - self._kept].copy())  # A view would keep the whole piece.
            self._kept += len(self._rows[-1])

    def lost(self) -> list[int]:
        """The columns whose steps are lost to rounding in part."""
        if not self._count:
            return []
        error = np.sqrt(2 * self._error / self._count)
        step = np.sqrt(self._step / max(self._steps, 1)) + np.zeros_like(error)
        # What is constant within episodes has its range instead.
        size = np.where(step > 0, step, self._high - self._low)
        return [int(i) for i in np.flatnonzero((error > _MOST_LOST * size) & (self._high > self._low))]

    def notes(self) -> list[str]:
        """Sentences on numbers that are too large, and on columns whose steps are lost."""
        kind = f"{self.kind.lower()}s"
        large = f"{self.too_large:,} rows of {kind} are too large for float32: training refuses them."
        rounded = self._rounded()
        return ([large] if self.too_large else []) + ([rounded] if rounded else [])

    def _rounded(self) -> str | None:
        columns = self.lost()
        if not columns:
            return None
        sample = np.concatenate(self._rows)[:, columns]
        kept = [(len(np.unique(column)), len(np.unique(column.astype(np.float32)))) for column in sample.T]
        shown = ", ".join(f"{i} ({now:,} of {before:,} values left)" for i, (before, now) in zip(columns, kept))
        return (
            f"{self.kind} coordinates whose steps are rounded away, since owma computes in float32: {shown}; take an "
            "offset off them before they are written, and off goals and what the environment returns alike."
        )
