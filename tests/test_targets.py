"""Targets against hand-computed chains, and against a naive double loop."""

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

from owma.outcomes.targets import Segments, monte_carlo, outcome_target
from owma.outcomes.transitions import Transitions


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


@pytest.mark.parametrize(
    "horizon, sums, discount",
    [
        # The terminal state adds 16 at its own distance: 4 + 16/2; the other episodes are as above.
        (1, [1, 2, 12, 8, 1, 1], [0.5, 0.5, 0.25, 0.5, 0.5, 0.5]),
        # 2 + 4/2 + 16/4 = 8.
        (2, [2, 8, 12, 8, 1.5, 1], [0.25, 0.125, 0.25, 0.5, 0.25, 0.5]),
        # 1 + 2/2 + 4/4 + 16/8 = 5.
        (None, [5, 8, 12, 8, 1.5, 1], [0.0625, 0.125, 0.25, 0.5, 0.25, 0.5]),
    ],
)
def test_the_terminal_state_counts_once(horizon, sums, discount) -> None:
    reached = np.array([[np.nan], [np.nan], [16.0], [np.nan], [np.nan], [np.nan]])  # the others are not read
    segments = Segments.build(_VALUES, _CHAIN, discount=0.5, horizon=horizon, terminal=reached)
    np.testing.assert_array_equal(segments.sums[:, 0], sums)
    np.testing.assert_array_equal(segments.discount, discount)


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
    segments = Segments.build(_VALUES, _CHAIN, discount=0.5, horizon=1).absorbing(_CHAIN, discount=0.5, tail=tail)
    # Only the truncated ends have a tail, γ·tail/(1 − γ), and no bootstrap: 8 + 3 and 1 + 5.
    np.testing.assert_allclose(segments.sums[:, 0], [1, 2, 4, 11, 1, 6])
    np.testing.assert_array_equal(segments.discount, [0.5, 0.5, 0.5, 0, 0.5, 0])


def test_outcome_target_masks_terminations_and_bootstraps_truncations() -> None:
    sums, terminal_outcome, bootstrap = jnp.asarray([1.0, 2.0]), jnp.asarray([-1.0, 0.0]), jnp.asarray([10.0, 20.0])
    discount = jnp.asarray(0.5)
    ended = outcome_target(sums, discount, jnp.asarray(True), bootstrap, terminal_outcome)
    np.testing.assert_allclose(ended, [0.5, 2.0])
    goes_on = outcome_target(sums, discount, jnp.asarray(False), bootstrap, terminal_outcome)
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
    values, reached = np.random.default_rng(seed).normal(size=(2, len(transitions), 2))
    segments = Segments.build(values, transitions, discount=discount, horizon=horizon)
    counting = Segments.build(values, transitions, discount=discount, horizon=horizon, terminal=reached)
    start = 0
    for length, terminates in zip(lengths, terminated):
        end = start + length
        for t in range(start, end):
            stop = end if horizon is None else min(t + horizon, end)
            expected = sum(discount ** (u - t) * values[u] for u in range(t, stop))
            np.testing.assert_allclose(segments.sums[t], expected, atol=1e-5)
            assert segments.discount[t] == pytest.approx(discount ** (stop - t), rel=1e-5)
            assert segments.last[t] == counting.last[t] == stop - 1
            # One state more: that in which the last step of a terminated episode ended.
            counted = terminates and stop == end
            expected = expected + discount ** (stop - t) * reached[stop - 1] * counted
            np.testing.assert_allclose(counting.sums[t], expected, atol=1e-5)
            assert counting.discount[t] == pytest.approx(discount ** (stop - t + counted), rel=1e-5)
        start = end


@hypothesis.settings(deadline=None, max_examples=40, derandomize=True)
@hypothesis.given(
    episodes=st.lists(st.tuples(st.integers(1, 7), st.booleans()), min_size=1, max_size=6),
    discount=st.floats(0.1, 0.95),
    seed=st.integers(0, 2**16),
)
def test_returns_of_a_reward_of_the_next_state_are_outcomes_at_either_end(
    episodes: list[tuple[int, bool]], discount: float, seed: int
) -> None:
    # With r = f(s'), γ G = ψ_f − f(s), however the episode ends.
    transitions = _transitions([e[0] for e in episodes], [e[1] for e in episodes])
    here, after = np.random.default_rng(seed).normal(size=(2, len(transitions), 1))
    after[:-1] = np.where(transitions.ends[:-1, None], after[:-1], here[1:])
    outcomes = monte_carlo(here, transitions, discount=discount, tail=after, terminal=after)
    returns = monte_carlo(after, transitions, discount=discount, tail=after)
    np.testing.assert_allclose(discount * returns, outcomes - here, atol=1e-4)
