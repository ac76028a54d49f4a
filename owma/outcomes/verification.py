r"""How well draws of a distribution fit what was observed: scores, rank histograms, spread, and nearest neighbours.

The figures are those of forecast verification: the energy score (Gneiting and Raftery 2007, JASA 102, equation 22),
rank histograms (Hamill 2001, Monthly Weather Review 129), and the spread of an ensemble against the error of its mean
(Fortin et al. 2014, Journal of Hydrometeorology 15).
"""

import numpy as np

from owma._internal.types import Float, HostArray, Int

_AT_ONCE = 32
"""Rows whose distances are held in memory at once, at most."""

_MOST_DISTANCES = 2**25
"""Distances that are: 128 MiB."""

_MOST_NEIGHBOURS = 4_096
"""Episodes in the surroundings of one state, at most."""


def energy_score(draws: Float[np.ndarray, "n m psi"], observed: Float[np.ndarray, "n psi"]) -> Float[np.ndarray, " n"]:
    r"""$E\|X-y\| - \tfrac12E\|X-X'\|$ of each row, X and X' independent draws; small is good.

    It is proper: no law has a smaller expected score than the one that the observations are drawn from. The second
    mean is over pairs of different draws, so that the estimate has no bias. Raises `ValueError` for fewer than 2 draws.
    """
    n, m, _ = draws.shape
    if m < 2:
        raise ValueError(f"energy_score: got {m} draws a row; it needs 2 and more.")
    found = np.empty(n)
    for start in range(0, n, _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        x = np.asarray(draws[rows], np.float64)
        error = np.linalg.norm(x - observed[rows, None], axis=2).mean(axis=1)
        norms = np.sum(np.square(x), axis=2)
        squared = norms[:, :, None] + norms[:, None, :] - 2 * np.einsum("nid,njd->nij", x, x)
        found[rows] = error - np.sqrt(np.maximum(squared, 0.0)).sum(axis=(1, 2)) / (2 * m * (m - 1))
    return found


def marginal_energy_score(
    observed: Float[np.ndarray, "n psi"], episodes: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """The energy score of a law that knows nothing of the state: all observations of *other* episodes.

    NaN where there is no other episode.
    """
    x = np.asarray(observed, np.float64)
    distances = np.sqrt(np.maximum(_squared_distances(x, x), 0.0))
    found = np.full(len(x), np.nan)
    for episode in np.unique(episodes):
        here = episodes == episode
        others = ~here
        count = int(others.sum())
        if count > 1:
            pairs = distances[np.ix_(others, others)].sum() / (count * (count - 1))
            found[here] = distances[np.ix_(here, others)].mean(axis=1) - pairs / 2
    return found


def rank_histogram_places(
    draws: Float[np.ndarray, "n m psi"], observed: Float[np.ndarray, "n psi"], *, seed: int
) -> Float[np.ndarray, "n psi"]:
    """Where each observation lies among the draws, per coordinate, from 0 to 1: uniform if the law is right.

    The rank among m draws, of m + 1 places, and a uniform number within the place (the randomised probability integral
    transform), so that a finite number of draws, and draws that are equal, leave it uniform.
    """
    rng = np.random.default_rng(seed)
    below = np.sum(draws < observed[:, None], axis=1)
    equal = np.sum(draws == observed[:, None], axis=1)
    rank = below + rng.integers(0, equal + 1)
    return (rank + rng.uniform(size=rank.shape)) / (draws.shape[1] + 1)


def central_coverage(
    places: Float[np.ndarray, "n psi"], levels: Float[np.ndarray, " levels"]
) -> Float[np.ndarray, "levels psi"]:
    """The share of observations in the central interval of each level: the level itself if the law is right."""
    return np.stack([np.mean(np.abs(places - 0.5) <= level / 2, axis=0) for level in levels])


def spread_and_error(
    draws: Float[np.ndarray, "n m psi"], observed: Float[np.ndarray, "n psi"]
) -> tuple[Float[np.ndarray, "n psi"], Float[np.ndarray, "n psi"]]:
    r"""Per row and coordinate, the variance of the draws, and the squared error of their mean.

    The error is multiplied by $m/(m+1)$: its expectation is then the variance if the law is right, with m draws as with
    infinitely many.
    """
    m = draws.shape[1]
    error = np.square(observed - draws.mean(axis=1)) * (m / (m + 1))
    return draws.var(axis=1, ddof=1), error


def ratio_interval(
    above: Float[np.ndarray, " n"],
    below: Float[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    seed: int = 0,
    resamples: int = 1_000,
) -> tuple[float, float]:
    """The 95 % interval of sum(above)/sum(below) by a bootstrap of the groups: rows of an episode are not independent.

    (-inf, inf) of a single group, of which nothing is known.
    """
    _, group = np.unique(groups, return_inverse=True)
    count = int(group.max()) + 1
    if count < 2:
        return -np.inf, np.inf
    sums = np.stack([np.bincount(group, weights, count) for weights in (above, below)])
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    numerators, denominators = sums[:, drawn].sum(axis=2)
    known = denominators != 0
    if not known.any():
        return -np.inf, np.inf
    low, high = np.quantile(numerators[known] / denominators[known], [0.025, 0.975])
    return float(low), float(high)


def neighbours(
    queries: Float[np.ndarray, "n obs"],
    points: Float[HostArray, "rows obs"],
    starts: Int[np.ndarray, " episodes"],
    count: int,
    *,
    radius: float = 0.0,
) -> list[tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]]:
    """Of each query the nearest points, no two of one episode, by rising distance: `count` of them, and all others
    within `radius` (4,096 at most).

    Successive states of an episode are alike, and what follows them is the same: several of one episode would seem to
    agree.

    **Arguments:** `starts`: the index of each episode's first point. **Returns:** for each query the rows and their
    distances.
    """
    points = np.asarray(points, np.float32)
    stops = np.append(starts[1:], len(points))
    found, chunk = [], max(1, min(_AT_ONCE, _MOST_DISTANCES // len(points)))
    for start in range(0, len(queries), chunk):
        squared = _squared_distances(np.asarray(queries[start : start + chunk], np.float32), points)
        nearest = np.sqrt(np.maximum(np.minimum.reduceat(squared, starts, axis=1), 0.0))
        for of_query, distances in zip(squared, nearest):
            order = np.argsort(distances, kind="stable")
            kept = max(count, int(np.searchsorted(distances[order], radius, side="right")))
            chosen = order[: min(kept, _MOST_NEIGHBOURS)]
            rows = np.array([starts[e] + np.argmin(of_query[starts[e] : stops[e]]) for e in chosen], np.int64)
            found.append((rows, distances[chosen].astype(np.float64)))
    return found


def _squared_distances(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "n k"]:
    return np.sum(np.square(a), axis=1)[:, None] + np.sum(np.square(b), axis=1) - 2 * a @ b.T
