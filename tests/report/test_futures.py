"""Outcomes as paths: the nearest recorded future, its way, and numbers as a page unpacks them."""

import base64

import jax.numpy as jnp
import numpy as np
import pytest

from owma.outcomes.testbeds import GaussianDenoiser, testbed_world
from owma.outcomes.transitions import Transitions
from owma.outcomes.world import whitened_outcomes
from owma.report.former import as_now
from owma.report.futures import RecordedFutures, packed, resampled


@pytest.fixture
def two_ways() -> Transitions:
    """An episode to the right and one upwards, six steps each from the same place, and both cut."""
    steps = np.arange(7.0, dtype=np.float32)
    ways = [np.stack([steps, 0 * steps], axis=1), np.stack([0 * steps, steps], axis=1)]
    cut = np.tile(np.arange(6) == 5, 2)
    return Transitions(
        obs=np.concatenate([way[:-1] for way in ways]),
        action=np.zeros((12, 1), np.float32),
        reward=np.zeros(12, np.float32),
        next_obs=np.concatenate([way[1:] for way in ways]),
        terminated=np.zeros(12, bool),
        truncated=cut,
    )


def test_a_draw_is_shown_as_the_future_whose_outcome_is_nearest(two_ways: Transitions) -> None:
    world = testbed_world(GaussianDenoiser(jnp.zeros(2), jnp.ones(2)))
    futures = RecordedFutures.read(world, two_ways, first=0)
    outcomes = whitened_outcomes(world, two_ways)
    draws = outcomes[[0, 6, 3]] + np.array([[0.3, -0.2], [-0.2, 0.3], [0.1, 0.1]], np.float32)
    by_distance = np.argmin(np.linalg.norm(draws[:, None] - outcomes[None], axis=2), axis=1)
    assert list(futures.nearest(draws)) == list(by_distance) == [0, 6, 3]
    # As it was recorded, to the end of its episode and not beyond.
    np.testing.assert_array_equal(futures.way(3), [[3, 0], [4, 0], [5, 0], [6, 0]])
    np.testing.assert_array_equal(futures.way(6)[-1], [0, 6])


def test_a_future_is_as_long_as_its_states_weigh(two_ways: Transitions) -> None:
    # γᵏ = 0.9ᵏ falls below 0.02 after 38 steps: of 200 in a row the 60th's future ends with the 98th.
    world = testbed_world(GaussianDenoiser(jnp.zeros(2), jnp.ones(2)))
    long = np.stack([np.arange(201.0), np.zeros(201)], axis=1).astype(np.float32)
    last = np.arange(200) == 199
    none = np.zeros(200, bool)
    zeros = np.zeros((200, 1), np.float32)
    transitions = Transitions(long[:-1], zeros, zeros[:, 0], long[1:], none, last)
    futures = RecordedFutures.read(world, transitions, first=0)
    assert futures.way(60)[0, 0] == 60 and futures.way(60)[-1, 0] == 60 + 38 + 1
    few = RecordedFutures.read(world, transitions, first=0, most=50)
    assert len(few.psi) == 50 and few.way(1)[0, 0] == 4


def test_points_are_evenly_spaced_along_a_way() -> None:
    corner = np.array([[0, 0], [0, 0], [1, 0], [4, 0], [4, 4]], float)  # it stands still, then speeds up
    points = resampled(corner, 9)
    np.testing.assert_allclose(np.linalg.norm(np.diff(points, axis=0), axis=1), 1.0)
    np.testing.assert_allclose(points[[0, 4, 8]], [[0, 0], [4, 0], [4, 4]])
    np.testing.assert_array_equal(resampled(np.ones((3, 2)), 4), np.ones((4, 2)))


@pytest.mark.parametrize("bits", [8, 16])
def test_packed_numbers_are_within_half_a_step(bits: int) -> None:
    values = np.linspace(-3.0, 7.0, 1001)
    kept = packed(values, bits)
    codes = np.frombuffer(base64.b64decode(kept["codes"]), f"<u{bits // 8}")
    assert np.abs(kept["low"] + kept["step"] * codes - values).max() <= kept["step"] / 2 + 1e-12
    assert kept["step"] == pytest.approx(10 / (2**bits - 1))
    assert packed(np.full(3, 2.0))["low"] == 2.0


def test_decisions_of_earlier_versions_are_shown_at_their_lambda() -> None:
    of_one = {"psi": [[[0.0, 1.0], [2.0, 3.0]]] * 2, "values": [[1.0, 2.0], [3.0, 5.0]], "kl": [0.0, 1.0]}
    state = of_one | {"objective": [1.0, 2.0], "plan": {"psi": [0, 1], "value": 5.0}, "step": 0, "position": [0, 0]}
    now = as_now({"kl_coef": 0.3, "value_scale": 2.0, "states": [state | {"optimum": []}], "maze": [[1, 0]]})
    assert now["kl_coefs"] == [0.3] and now["map"]["walls"] == [[1, 0]] and "paths" not in now["map"]
    assert now["states"][0]["plans"][0]["value"] == [1.5, 4.0]
