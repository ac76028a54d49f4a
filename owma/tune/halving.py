"""Successive halving over settings of a planner, on start states that all of them share.

Karnin, Koren and Somekh (2013, ICML), Jamieson and Talwalkar (arXiv 1502.07943): all settings play a few episodes, the
better half plays as many again, and so on, so that most episodes are spent on what is hard to tell apart.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]

Play = Callable[[str, int, int, str], Rows]
"""`play(candidate, seed, episodes, round)`: a row an episode."""


@dataclasses.dataclass(frozen=True)
class Halved:
    """What came of it."""

    rows: Mapping[str, Rows]
    """By candidate: the rows of all rounds that it played."""
    last_round: Mapping[str, int]
    """By candidate: the last of the rounds that it was in, from 1 on."""
    best: str
    """The best of those that were left."""
    winner: str
    """`best`, or the first of the candidates where it is not better by a standard error."""


def rounds(first: int, most: int) -> list[int]:
    """Episodes of each round: as many as all before it, `most` in all."""
    totals = [first]
    while totals[-1] < most:
        totals.append(min(2 * totals[-1], most))
    return np.diff([0, *totals]).tolist()


def halve(candidates: Sequence[str], play: Play, *, seed: int, first: int, most: int) -> Halved:
    """The candidate that plays best.

    The first candidate is what is there already. Another replaces it if its score on all start states is higher by more
    than a standard error of their paired difference: of noise alone, nothing is changed.

    **Arguments:** `seed`: of the first round's start states; those of round r are of `seed + r − 1`.
    """
    sizes, alive = rounds(first, most), list(candidates)
    rows: dict[str, Rows] = {name: [] for name in candidates}
    last_round = dict.fromkeys(candidates, 1)
    for number, episodes in enumerate(sizes, 1):
        for name in alive:
            rows[name] += play(name, seed + number - 1, episodes, str(number))
            last_round[name] = number
        # Sorting is stable: of equals the earlier one stays.
        alive = sorted(alive, key=lambda name: score(rows[name]), reverse=True)[: math.ceil(len(alive) / 2)]
    best, incumbent = alive[0], candidates[0]
    for number in range(last_round[incumbent] + 1, len(sizes) + 1):
        rows[incumbent] += play(incumbent, seed + number - 1, sizes[number - 1], str(number))
    return Halved(rows, last_round, best, best if is_better(rows[best], rows[incumbent]) else incumbent)


def score(rows: Rows) -> tuple[float, float]:
    """Mean success (0 where the environment does not say) and, of equals in that, the mean return."""
    return float(np.mean([bool(row["success"]) for row in rows])), float(np.mean([row["return"] for row in rows]))


def is_better(rows: Rows, others: Rows) -> bool:
    """Whether the mean score is higher by more than a standard error of the paired difference: in success or, where
    that is the same in every episode, in return.
    """
    pairs = list(zip(rows, others, strict=True))
    assert all(a["seed"] == b["seed"] and a["episode"] == b["episode"] for a, b in pairs)
    difference = np.array([float(bool(a["success"])) - float(bool(b["success"])) for a, b in pairs])
    if not difference.any():
        difference = np.array([float(a["return"]) - float(b["return"]) for a, b in pairs])
    error = np.std(difference, ddof=1) / math.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return bool(np.mean(difference) > error)
