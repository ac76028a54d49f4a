"""95 % intervals of rows that come in seeds: a bootstrap that resamples seeds, then the episodes within them.

Episodes of one training share its models, so they are not independent: three seeds that succeed in 0, 94 and 94 % are
three observations more than they are 48. Field and Welsh (2007, J. R. Stat. Soc. B 69) on the two-level bootstrap.

Percentiles of S seeds are too narrow where S is small: the variance of resamples is (S − 1)/S of what it should be, and
their tails are normal in place of Student's. They are expanded for that, after Hesterberg (arXiv 1411.5279).
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from owma._internal.types import Float, Int, Shaped

Weights: TypeAlias = Float[np.ndarray, "resamples n"]
"""How often each episode is in each resample."""

LEAST_SEEDS, LEAST_PAIRS = 5, 10
"""With fewer of either no verdict is pronounced: a bootstrap over three seeds knows three numbers."""

_CONFIDENCE = 0.95
_RESAMPLES, _OF_FEW, _FEW = 5000, 10_000, 10
"""How many, and how many of fewer than `_FEW` seeds: of five, nine are then beyond either end of the interval."""
_CHUNK = 2_000_000
"""Weights that are held at once, 16 MB."""


def weighted_mean(values: Float[np.ndarray, " n"], weights: Weights) -> Float[np.ndarray, " resamples"]:
    """The mean of each resample."""
    return weights @ values / weights.sum(axis=1)


def interval(
    values: Float[np.ndarray, " n"],
    seeds: Sequence[Any] | Shaped[np.ndarray, " n"],
    statistic: Callable[[Float[np.ndarray, " n"], Weights], Float[np.ndarray, " resamples"]] = weighted_mean,
    *,
    bounds: tuple[float, float] | None = None,
) -> list[float] | None:
    """The 95 % interval of a statistic, by default the mean over all episodes: expanded percentiles of a bootstrap that
    resamples seeds, then episodes within them, widened for few seeds.

    **Arguments:**

    - `values`: a number an episode.
    - `seeds`: the seed (of training) of each. Seeds are resampled first, then as many episodes within each as it has.
        With one seed it is episodes only, and the interval says nothing of other trainings.
    - `statistic`: of `values`, and of how often each is in each resample.
    - `bounds`: the least and the greatest value that there can be, where the statistic is a mean of such.

    **Returns:** `[low, high]`, the same for the same numbers in any order; `None` of a single value without bounds.

    Of S seeds it leaves out Φ(−t √(S/(S − 1))) of the resamples on either side, t being the quantile of Student's
    distribution of S − 1 degrees of freedom (of one seed, with its episodes in place of S): 1 in 1000 of five seeds,
    25 of very many, and none of two or three seeds, so that it is all that 10,000 resamples came to.

    Where all values agree there is no spread to resample. With `bounds` the interval is then no point: what was never
    seen has at most the share z²/(m + z²), Wilson's limit at 0 of m, and may be anything within the bounds. m is the
    effective number of episodes (Korn and Graubard 1998, Survey Methodology 24): of n episodes of S > 1 seeds
    n (z/t)², with t the quantile of Student's distribution of S − 1 degrees of freedom, and n of one seed. Of 48
    episodes of three seeds, all failures, it is [0, 0.28]. Without bounds it is that point.
    """
    values, seeds = np.asarray(values, np.float64), np.asarray(seeds)
    if len(values) == 0 or (len(values) == 1 and bounds is None):
        return None
    _, index, counts = np.unique(seeds, return_inverse=True, return_counts=True)
    if np.ptp(values) == 0:
        return [float(values[0])] * 2 if bounds is None else _of_one_value(float(values[0]), counts, bounds)
    order = np.lexsort((values, index))
    values = values[order]
    return _ends(counts, lambda weights: statistic(values, weights))


def indexed_interval(
    seeds: Sequence[Any] | Shaped[np.ndarray, " n"], statistic: Callable[[Weights], Float[np.ndarray, " resamples"]]
) -> list[float]:
    """The same of a statistic that knows its episodes by their place; they are in the order of their seeds."""
    _, counts = np.unique(np.asarray(seeds), return_counts=True)
    return _ends(counts, statistic)


def resamples(counts: tuple[int, ...]) -> Iterator[Weights]:
    """Weights of 5000 resamples, or of 10,000 where seeds are few, in parts that bound the memory.

    `counts`: how many episodes each seed has, in order. Of a fixed random state: the same rows give the same
    table, and two planners are resampled alike.
    """
    size = max(1, _CHUNK // sum(counts))
    number = _OF_FEW if _observations(counts) < _FEW else _RESAMPLES
    if size >= number:
        yield _kept(counts, number)
        return
    rng = np.random.default_rng(0)
    for start in range(0, number, size):
        yield _drawn(counts, min(size, number - start), rng)


def widened_quantiles(statistics: Float[np.ndarray, " resamples"], observations: int) -> list[float]:
    """The 95 % interval of resamples of so many independent observations, expanded as `interval` says."""
    beyond = _share_beyond(observations)
    low, high = np.quantile(statistics, (beyond, 1 - beyond))
    return [float(low), float(high)]


def verdict(ends: Sequence[float] | None, *, seeds: int, pairs: int) -> str:
    """`"wins"`, `"loses"` or `"open"` by the interval of a difference; `"none"` with too few `seeds` or `pairs`."""
    if ends is None or lacking(seeds=seeds, pairs=pairs):
        return "none"
    return "loses" if ends[1] < 0 else "wins" if ends[0] > 0 else "open"


def lacking(*, seeds: int, pairs: int | None = None) -> str:
    """What is missing for a verdict, in words such as `no verdict: 3 seeds, 5 are needed`; empty where nothing is."""
    said = []
    if seeds < LEAST_SEEDS:
        said.append(f"{counted(seeds, 'seed')}, {LEAST_SEEDS} are needed")
    if pairs is not None and pairs < LEAST_PAIRS:
        said.append(f"{counted(pairs, 'pair')}, {LEAST_PAIRS} are needed")
    return f"no verdict: {'; '.join(said)}" if said else ""


def wilson(share: float, trials: float) -> list[float]:
    """Wilson's 95 % interval of a share of `trials`, which need not be a whole number."""
    squared = _z() ** 2
    middle = (share + squared / (2 * trials)) / (1 + squared / trials)
    half = np.sqrt(squared * (share * (1 - share) / trials + squared / (4 * trials**2))) / (1 + squared / trials)
    return [max(0.0, float(middle - half)), min(1.0, float(middle + half))]


def counted(number: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def interval_text(middle: float | None, ends: Sequence[float] | None, form: str = ".3g", scale: float = 1.0) -> str:
    """A mean and its interval as text, `0.5 [0.4, 0.6]`; without an interval the mean alone, without a mean a dash."""
    if middle is None:
        return "–"
    text = f"{scale * middle:{form}}"
    return text if ends is None else f"{text} [{scale * ends[0]:{form}}, {scale * ends[1]:{form}}]"


def _of_one_value(value: float, counts: Int[np.ndarray, " seeds"], bounds: tuple[float, float]) -> list[float]:
    trials = float(counts.sum())
    if len(counts) > 1:
        trials *= (_z() / _t(len(counts) - 1)) ** 2
    _, unseen = wilson(0.0, trials)
    return [(1 - unseen) * value + unseen * bound for bound in bounds]


def _ends(
    counts: Int[np.ndarray, " seeds"], statistic: Callable[[Weights], Float[np.ndarray, " resamples"]]
) -> list[float]:
    sizes = tuple(counts.tolist())
    statistics = np.concatenate([statistic(weights) for weights in resamples(sizes)])
    return widened_quantiles(statistics, _observations(sizes))


def _observations(counts: tuple[int, ...]) -> int:
    """What is resampled first: seeds, or the episodes of one."""
    return len(counts) if len(counts) > 1 else sum(counts)


def _share_beyond(observations: int) -> float:
    """Hesterberg's share of resamples on either side of the interval."""
    from scipy.stats import norm

    freedom = max(1, observations - 1)
    return float(norm.cdf(-_t(freedom) * np.sqrt((freedom + 1) / freedom)))


@functools.lru_cache(maxsize=4)
def _kept(counts: tuple[int, ...], number: int) -> Weights:
    """All planners of a table have the same numbers of episodes."""
    return _drawn(counts, number, np.random.default_rng(0))


def _drawn(counts: tuple[int, ...], number: int, rng: np.random.Generator) -> Weights:
    seeds = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=number)
    # A seed that is there m times is m independent samples of its episodes, which add up to one of m times as many.
    episodes = [rng.multinomial(times * n, np.full(n, 1 / n)) for times, n in zip(seeds.T, counts)]
    return np.concatenate(episodes, axis=1).astype(np.float64)


@functools.cache
def _t(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + _CONFIDENCE / 2, freedom))


@functools.cache
def _z() -> float:
    from scipy.stats import norm

    return float(norm.ppf(0.5 + _CONFIDENCE / 2))
