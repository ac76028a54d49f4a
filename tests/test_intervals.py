"""Intervals of rows in seeds: against a bootstrap written out, a variance in closed form, and data made to disagree."""

from typing import Any

import numpy as np
import pytest

from owma.results import intervals
from owma.results.intervals import interval, lacking, resamples, verdict, weighted_mean


def _two_levels(rng: np.random.Generator, seeds: int, episodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of seeds with spread 1, and episodes about them with spread 2."""
    values = rng.normal(size=(seeds, 1)) + 2 * rng.normal(size=(seeds, episodes))
    return values.ravel(), np.repeat(np.arange(seeds), episodes)


def _ends(*arguments: Any, **options: Any) -> list[float]:
    ends = interval(*arguments, **options)
    assert ends is not None
    return ends


def test_it_is_the_bootstrap_written_out() -> None:
    """Seeds with replacement, and within each that was drawn its episodes with replacement; seeds of unequal sizes."""
    rng = np.random.default_rng(1)
    sizes = [4, 7, 3, 5, 4, 6, 3, 4]
    groups = [rng.exponential(size=n) + shift for n, shift in zip(sizes, (0.0, 1.0, 3.0, 0.5, 2.0, 1.5, 0.0, 1.0))]
    drawn = []
    for _ in range(20_000):
        chosen = [groups[i] for i in rng.integers(len(groups), size=len(groups))]
        drawn.append(np.concatenate([rng.choice(group, size=len(group)) for group in chosen]).mean())
    ends = _ends(np.concatenate(groups), np.repeat([5, 1, 9, 2, 8, 3, 7, 4], sizes))
    # t is 2.3646 with seven degrees of freedom, and times √(8/7) it is 2.5279, beyond which a normal has 0.00574.
    np.testing.assert_allclose(ends, np.quantile(drawn, (0.00574, 1 - 0.00574)), atol=0.06)


def test_the_variance_of_resamples_is_that_of_the_two_level_mean() -> None:
    """Of S seeds of n episodes: (the variance of their means + the mean of their variances / n) / S."""
    values, _ = _two_levels(np.random.default_rng(2), 6, 8)
    means = np.concatenate([weighted_mean(values, weights) for weights in resamples((8,) * 6)])
    groups = values.reshape(6, 8)
    expected = (groups.mean(axis=1).var() + groups.var(axis=1).mean() / 8) / 6
    assert means.var() == pytest.approx(expected, rel=0.06) and means.mean() == pytest.approx(values.mean(), abs=0.03)


def test_it_covers_where_episodes_taken_as_independent_do_not() -> None:
    rng = np.random.default_rng(3)
    by_seeds, by_episodes = 0, 0
    for _ in range(100):
        values, seeds = _two_levels(rng, 10, 40)
        low, high = _ends(values, seeds)
        by_seeds += low <= 0 <= high
        half = 1.96 * values.std() / np.sqrt(len(values))
        by_episodes += abs(values.mean()) <= half
    assert by_seeds >= 92 and by_episodes <= 65


def test_of_five_seeds_without_a_difference_one_verdict_in_twenty_is_false() -> None:
    """Seeds differ as much as episodes. Percentiles that are not expanded pronounce one in seven or eight."""
    rng = np.random.default_rng(6)
    said = []
    for _ in range(300):
        values = rng.normal(size=(5, 1)) + rng.normal(size=(5, 16))
        said.append(verdict(_ends(values.ravel(), np.repeat(np.arange(5), 16)), seeds=5, pairs=80))
    assert 0.02 <= np.mean([each != "open" for each in said]) <= 0.08


def test_of_three_seeds_it_is_all_that_resamples_come_to() -> None:
    values, seeds = np.array([0.0] * 16 + [1.0] * 15 + [0.0] + [1.0] * 15 + [0.0]), np.repeat([1, 2, 3], 16)
    assert _ends(values, seeds, bounds=(0.0, 1.0)) == [0.0, 1.0]
    means = np.concatenate([weighted_mean(np.arange(6.0), weights) for weights in resamples((2, 2, 2))])
    assert _ends(np.arange(6.0), [1, 1, 2, 2, 3, 3]) == [means.min(), means.max()]


def test_one_seed_is_a_bootstrap_over_its_episodes() -> None:
    values = np.random.default_rng(4).normal(size=400)
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose(_ends(values, [3] * 400), values.mean() + half * np.array([-1, 1]), atol=0.01)


def test_order_changes_nothing_and_parts_bound_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    values, seeds = _two_levels(rng, 4, 10)
    ends, order = _ends(values, seeds), rng.permutation(40)
    assert _ends(values[order], seeds[order]) == ends
    monkeypatch.setattr(intervals, "_CHUNK", 40 * 300)
    parts = list(resamples((10,) * 4))
    assert [len(part) for part in parts] == [300] * 33 + [100] and all((part.sum(axis=1) == 40).all() for part in parts)
    np.testing.assert_allclose(_ends(values, seeds), ends, atol=0.25)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_successes_that_all_agree_are_never_a_point(value: float) -> None:
    # Wilson's limit at 0 of m is z²/(m + z²); m is 48 (z/t)², t = 4.3027 with two degrees of freedom.
    z, t = 1.959964, 4.302653
    width = z**2 / (48 * (z / t) ** 2 + z**2)
    expected = [0.0, width] if value == 0 else [1 - width, 1.0]
    ends = _ends(np.full(48, value), np.repeat([1, 2, 3], 16), bounds=(0.0, 1.0))
    assert ends == pytest.approx(expected, abs=1e-5) and width == pytest.approx(0.278, abs=1e-3)
    # More seeds of as many episodes say more; one seed says nothing of others, and counts its episodes.
    widths = [np.ptp(_ends(np.full(48, value), np.arange(48) % n, bounds=(0.0, 1.0))) for n in (2, 3, 6, 24)]
    assert widths == sorted(widths, reverse=True) and widths[-1] < 0.1
    alone = _ends(np.full(16, value), [1] * 16, bounds=(0.0, 1.0))
    assert np.ptp(alone) == pytest.approx(z**2 / (16 + z**2), abs=1e-5)
    assert np.ptp(_ends(np.array([value]), [1], bounds=(0.0, 1.0))) > 0.5


def test_a_single_value_has_none_and_equal_returns_a_point() -> None:
    assert interval(np.array([2.0]), [1]) is None and interval(np.array([]), [], bounds=(0.0, 1.0)) is None
    assert _ends(np.array([2.0, 2.0]), [1, 2]) == [2.0, 2.0]


@pytest.mark.parametrize(
    ("ends", "seeds", "pairs", "expected"),
    [
        ([0.1, 0.2], 5, 10, "wins"),
        ([-0.2, -0.1], 5, 10, "loses"),
        ([-0.1, 0.1], 5, 10, "open"),
        ([0.0, 0.1], 5, 10, "open"),
        ([0.1, 0.2], 4, 400, "none"),
        ([-0.2, -0.1], 5, 9, "none"),
        (None, 5, 10, "none"),
    ],
)
def test_verdicts_need_five_seeds_and_ten_pairs(ends: list | None, seeds: int, pairs: int, expected: str) -> None:
    assert verdict(ends, seeds=seeds, pairs=pairs) == expected


def test_what_is_missing_is_said() -> None:
    assert lacking(seeds=5, pairs=10) == lacking(seeds=5) == ""
    assert lacking(seeds=3, pairs=48) == lacking(seeds=3) == "no verdict: 3 seeds, 5 are needed"
    assert lacking(seeds=1, pairs=2) == "no verdict: 1 seed, 5 are needed; 2 pairs, 10 are needed"
