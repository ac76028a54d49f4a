"""Scores, rank histograms and spread of draws, against closed forms."""

import numpy as np
import pytest

from owma.outcomes.verification import (
    central_coverage,
    energy_score,
    marginal_energy_score,
    neighbours,
    rank_histogram_places,
    ratio_interval,
    spread_and_error,
)

_RNG = np.random.default_rng(0)
_OBSERVED = _RNG.normal(size=(4000, 1))
_DRAWS = _RNG.normal(size=(4000, 32, 1))
_LEVELS = np.array([0.2, 0.5, 0.8])


def test_the_energy_score_of_a_gaussian_is_that_of_its_closed_form() -> None:
    """In one dimension it is the continuous ranked probability score, of N(0, 1) for its own draws 1/√π."""
    own = energy_score(_DRAWS, _OBSERVED).mean()
    assert own == pytest.approx(1 / np.sqrt(np.pi), abs=0.02)
    # Of N(m, s²), E|X − y| = E|N(m, 1 + s²)| and E|X − X'|/2 = s/√π: no other law scores as well.
    for mean, deviation in ((1.0, 1.0), (0.0, 0.5), (0.0, 2.0)):
        width = np.sqrt(1 + deviation**2)
        from_zero = abs(mean) / width  # of a folded normal
        away = width * np.sqrt(2 / np.pi) * np.exp(-(from_zero**2) / 2) + mean * (1 - 2 * _normal_cdf(-from_zero))
        other = energy_score(mean + deviation * _DRAWS, _OBSERVED).mean()
        assert other == pytest.approx(away - deviation / np.sqrt(np.pi), abs=0.03) and other > own + 0.02


def _normal_cdf(x: float) -> float:
    from scipy.stats import norm

    return float(norm.cdf(x))


def test_the_energy_score_is_a_norm_where_a_law_is_a_point() -> None:
    point = np.zeros((1, 5, 2))
    assert energy_score(point, np.array([[3.0, 4.0]])) == pytest.approx([5.0])
    with pytest.raises(ValueError, match="got 1 draws"):
        energy_score(point[:, :1], np.zeros((1, 2)))


def test_the_marginal_law_leaves_out_the_own_episode() -> None:
    found = marginal_energy_score(np.array([[0.0], [1.0], [4.0], [6.0]]), np.array([0, 0, 1, 1]))
    # Of 0: 4 and 6 are (4 + 6)/2 away, and half of what they are from each other is 1.
    assert found == pytest.approx([4.0, 3.0, 2.5 + 1.0 - 0.5, 5.5 - 0.5])
    assert np.isnan(marginal_energy_score(np.zeros((3, 1)), np.zeros(3, int))).all()


def test_ranks_are_uniform_if_the_law_is_right_and_at_the_ends_if_it_is_narrow() -> None:
    places = rank_histogram_places(_DRAWS, _OBSERVED, seed=0)
    assert np.histogram(places, 10, (0, 1))[0] == pytest.approx(400, abs=80)
    assert central_coverage(places, _LEVELS)[:, 0] == pytest.approx(_LEVELS, abs=0.03)
    # Draws of half the standard deviation: their central 50 % is the data's central P(|N| ≤ 0.674/2).
    narrow = central_coverage(rank_histogram_places(0.5 * _DRAWS, _OBSERVED, seed=0), np.array([0.5]))
    assert narrow[0, 0] == pytest.approx(1 - 2 * _normal_cdf(-0.6745 / 2), abs=0.03)
    # Where draws and data are all alike, no rank is preferred either.
    alike = rank_histogram_places(np.zeros((4000, 3, 1)), np.zeros((4000, 1)), seed=0)
    assert np.histogram(alike, 4, (0, 1))[0] == pytest.approx(1000, abs=120)


def test_the_spread_is_the_variance_over_the_error_that_it_expects() -> None:
    for few in (2, 32):
        variance, error = spread_and_error(np.sqrt(0.5) * _DRAWS[:, :few] + 3, _OBSERVED + 3)
        # The mean of few draws errs by their own variance over their number more: of 0.5 for a variance of 1.
        expected = few / (few + 1) * (1 + 0.5 / few)
        assert variance.mean() == pytest.approx(0.5, rel=0.1) and error.mean() == pytest.approx(expected, rel=0.1)


def test_an_interval_is_of_groups_and_not_of_rows() -> None:
    groups = np.repeat(np.arange(20), 100)
    above = np.repeat(_RNG.normal(1.0, 0.5, 20), 100)  # all rows of a group are the same
    low, high = ratio_interval(above, np.ones(2000), groups)
    assert low < above.mean() < high and high - low == pytest.approx(4 * 0.5 / np.sqrt(20), rel=0.5)
    assert ratio_interval(above, np.ones(2000), np.zeros(2000, int)) == (-np.inf, np.inf)


def test_neighbours_are_the_nearest_of_different_episodes() -> None:
    points = np.array([[0.0], [0.1], [5.0], [0.3], [9.0], [0.2]])
    starts = np.array([0, 3, 5])  # episodes of 3, 2 and 1 rows
    (rows, distances), (far, _) = neighbours(np.array([[0.08], [8.0]]), points, starts, 2)
    assert rows.tolist() == [1, 5] and distances == pytest.approx([0.02, 0.12], abs=1e-3)
    assert far.tolist() == [4, 2]
    ((within, _),) = neighbours(np.array([[0.08]]), points, starts, 1, radius=0.5)
    assert within.tolist() == [1, 5, 3]
