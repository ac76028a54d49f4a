"""Targets against hand-computed chains, and against a naive double loop."""

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

from owma.targets import Segments, monte_carlo, outcome_target
from owma.transitions import Transitions


def _transitions(lengths: list[int], terminated: list[bool]) -> Transitions:
    n = sum(lengths)
    last = np.cumsum(lengths) - 1
    is_terminal, is_truncated = np.zeros(n, bool), np.zeros(n, bool)
    is_terminal[last], is_truncated[last] = terminated, np.logical_not(terminated)
    empty = np.zeros((n, 1), np.float32)
    return Transitions(empty, empty, np.zeros(n, np.float32), empty, is_terminal, is_truncated)


# Three episodes at γ = 1/2: cumulants 1, 2, 4 then a termination; 8 alone, truncated; 1, 1, truncated.
_CHAIN = _transitions([3, 1, 2], [True, False, False])
_VALUES = np.array([[1.0], [2.0], [4.0], [8.0], [1.0], [1.0]])


@pytest.mark.parametrize(
    "horizon, sums, discount, last",
    [
        (1, [1, 2, 4, 8, 1, 1], [0.5] * 6, [0, 1, 2, 3, 4, 5]),
        # 1 + 2/2 = 2; 2 + 4/2 = 4; the rest is cut by the ends.
        (2, [2, 4, 4, 8, 1.5, 1], [0.25, 0.25, 0.5, 0.5, 0.25, 0.5], [1, 2, 2, 3, 5, 5]),
        # 1 + 2/2 + 4/4 = 3.
        (3, [3, 4, 4, 8, 1.5, 1], [0.125, 0.25, 0.5, 0.5, 0.25, 0.5], [2, 2, 2, 3, 5, 5]),
        (None, [3, 4, 4, 8, 1.5, 1], [0.125, 0.25, 0.5, 0.5, 0.25, 0.5], [2, 2, 2, 3, 5, 5]),
    ],
)
def test_segments_of_a_hand_computed_chain(horizon, sums, discount, last) -> None:
    segments = Segments.build(_VALUES, _CHAIN, discount=0.5, horizon=horizon)
    np.testing.assert_array_equal(segments.sums[:, 0], sums)
    np.testing.assert_array_equal(segments.discount, discount)
    np.testing.assert_array_equal(segments.last, last)


def test_monte_carlo_has_a_tail_at_truncations_only() -> None:
    tail = np.array([[9.0], [9.0], [100.0], [3.0], [9.0], [5.0]])
    # No tail for the first episode. Then γ^j·tail/(1 − γ): 8 + 3; 1.5 + 5/2; 1 + 5.
    outcome = monte_carlo(_VALUES, _CHAIN, discount=0.5, tail=tail)
    np.testing.assert_allclose(outcome[:, 0], [3, 4, 4, 11, 4, 6])


def test_staying_for_ever_is_a_geometric_series() -> None:
    # An episode that stays at c = 2 and is truncated is worth 2/(1 − γ) from every step.
    outcome = monte_carlo(np.full((5, 1), 2.0), _transitions([5], [False]), discount=0.9, tail=np.full((5, 1), 2.0))
    np.testing.assert_allclose(outcome, 20.0, rtol=1e-6)


def test_what_stays_as_it_is_needs_no_bootstrap() -> None:
    tail = np.array([[9.0], [9.0], [100.0], [3.0], [9.0], [5.0]])
    segments = Segments.build(_VALUES, _CHAIN, discount=0.5, horizon=1).staying(_CHAIN, discount=0.5, tail=tail)
    # Only the truncated ends have a tail, γ·tail/(1 − γ), and no bootstrap: 8 + 3 and 1 + 5.
    np.testing.assert_allclose(segments.sums[:, 0], [1, 2, 4, 11, 1, 6])
    np.testing.assert_array_equal(segments.discount, [0.5, 0.5, 0.5, 0, 0.5, 0])


def test_outcome_target_masks_terminations_and_bootstraps_truncations() -> None:
    sums, nothing, bootstrap = jnp.asarray([1.0, 2.0]), jnp.asarray([-1.0, 0.0]), jnp.asarray([10.0, 20.0])
    discount = jnp.asarray(0.5)
    ended = outcome_target(sums, discount, jnp.asarray(True), bootstrap, nothing)
    np.testing.assert_allclose(ended, [0.5, 2.0])
    goes_on = outcome_target(sums, discount, jnp.asarray(False), bootstrap, nothing)
    np.testing.assert_allclose(goes_on, [6.0, 12.0])


def test_a_bootstrap_that_is_not_finite_does_not_leak_through_a_termination() -> None:
    target = outcome_target(
        jnp.asarray([1.0]), jnp.asarray(0.5), jnp.asarray(True), jnp.asarray([jnp.nan]), jnp.asarray([0.0])
    )
    np.testing.assert_allclose(target, [1.0])


@hypothesis.settings(deadline=None, max_examples=60, derandomize=True)
@hypothesis.given(
    episodes=st.lists(st.tuples(st.integers(1, 7), st.booleans()), min_size=1, max_size=6),
    horizon=st.one_of(st.none(), st.integers(1, 9)),
    discount=st.floats(0.1, 0.999),
    seed=st.integers(0, 2**16),
)
def test_segments_equal_a_double_loop(
    episodes: list[tuple[int, bool]], horizon: int | None, discount: float, seed: int
) -> None:
    lengths, terminated = [e[0] for e in episodes], [e[1] for e in episodes]
    transitions = _transitions(lengths, terminated)
    values = np.random.default_rng(seed).normal(size=(len(transitions), 2))
    segments = Segments.build(values, transitions, discount=discount, horizon=horizon)
    start = 0
    for length in lengths:
        for t in range(start, start + length):
            stop = start + length if horizon is None else min(t + horizon, start + length)
            expected = sum(discount ** (u - t) * values[u] for u in range(t, stop))
            np.testing.assert_allclose(segments.sums[t], expected, atol=1e-5)
            assert segments.discount[t] == pytest.approx(discount ** (stop - t), rel=1e-5)
            assert segments.last[t] == stop - 1
        start += length
