"""Outcomes as paths: each draw of ψ is shown as the recorded future whose own ψ is nearest to it."""

import base64
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from owma._internal.types import Float, HostArray, Int
from owma.outcomes.transitions import Transitions
from owma.outcomes.world import WorldModel, whitened_outcomes

POINTS = 32
"""Points of a path, evenly spaced along it."""

REMAINS = 0.02
"""A future is drawn as far as its states weigh in ψ: until γᵏ has fallen to this."""

MOST_FUTURES = 50_000
"""Recorded futures that draws are compared with, evenly spaced among the transitions, unless told otherwise."""


@dataclasses.dataclass(frozen=True)
class RecordedFutures:
    """What followed recorded transitions: its ψ, and the way on the map."""

    psi: Float[np.ndarray, "n psi"]
    """Whitened."""
    rows: Int[np.ndarray, " n"]
    """The transition that each begins with."""
    ends: Int[np.ndarray, " n"]
    """The last transition of each."""
    now: Float[np.ndarray, "all 2"]
    """Where each transition of the dataset begins, ..."""
    then: Float[np.ndarray, "all 2"]
    """... and where it ends."""

    @classmethod
    def read(
        cls, world: WorldModel, transitions: Transitions, *, first: int, most: int = MOST_FUTURES
    ) -> "RecordedFutures":
        """Of a dataset. `first`: the coordinate of the observation that is x on the map; the next one is y."""
        stride = max(1, math.ceil(len(transitions) / most))
        rows = np.arange(0, len(transitions), stride)
        last = np.flatnonzero(transitions.ends)[transitions.episode_ids[rows]]
        steps = math.ceil(math.log(REMAINS) / math.log(world.discount)) if 0 < world.discount < 1 else 1
        place = slice(first, first + 2)
        return cls(
            psi=whitened_outcomes(world, transitions)[rows],
            rows=rows,
            ends=np.minimum(last, rows + steps),
            now=np.asarray(transitions.obs[:, place]),
            then=np.asarray(transitions.next_obs[:, place]),
        )

    def nearest(self, psi: Float[HostArray, "m psi"]) -> Int[np.ndarray, " m"]:
        """The number of the future whose ψ is nearest to each of `psi`, in whitened coordinates."""
        lengths = np.sum(self.psi**2, axis=1)
        # |a − b|² but for |b|², which is the same for all futures; in pieces, so that memory stays bounded.
        pieces = np.array_split(np.asarray(psi, np.float32), max(1, len(psi) // 64))
        return np.concatenate([np.argmin(lengths - 2 * piece @ self.psi.T, axis=1) for piece in pieces])

    def way(self, number: int) -> Float[np.ndarray, "steps 2"]:
        """Every position of a future."""
        first, last = self.rows[number], self.ends[number]
        return np.concatenate([self.now[first : last + 1], self.then[last : last + 1]])


def resampled(way: Float[HostArray, "steps 2"], points: int = POINTS) -> Float[np.ndarray, "points 2"]:
    """Points at even distances along a way."""
    way = np.asarray(way, np.float64)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    wanted = np.linspace(0.0, along[-1], points)
    return np.stack([np.interp(wanted, along, way[:, i]) for i in range(2)], axis=1)


def packed(values: HostArray, bits: int = 16) -> dict[str, Any]:
    """Numbers as a page's script unpacks them: a base64 text of unsigned integers from `low` in steps of `step`."""
    array = np.asarray(values, np.float64)
    low, high = float(array.min()), float(array.max())
    step = (high - low) / (2**bits - 1) or 1.0
    codes = np.round((array - low) / step).astype(f"<u{bits // 8}")
    return {"low": low, "step": step, "bits": bits, "codes": base64.b64encode(codes.tobytes()).decode()}


def packed_counts(values: Sequence[int]) -> dict[str, Any]:
    """Whole numbers below 65,536, exactly."""
    codes = np.asarray(values).astype("<u2")
    return {"low": 0, "step": 1, "bits": 16, "codes": base64.b64encode(codes.tobytes()).decode()}
