"""Whitening: unit variance, a round trip, dropped directions, and a Bellman equation that keeps its form."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.outcomes.whitening import Standardisation, Whitening


def _data(n: int = 500, *, seed: int = 0) -> np.ndarray:
    """Correlated, with a mean, and with variances from 0.04 to 9."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    return rng.normal(size=(n, 4)) * np.array([3.0, 1.0, 0.5, 0.2]) @ rotation + np.array([5.0, -2.0, 0.0, 1.0])


def test_whitened_data_have_zero_mean_and_unit_covariance() -> None:
    data = _data()
    whitening = Whitening.fit(data)
    whitened = np.asarray(jax.vmap(whitening.whiten)(jnp.asarray(data, jnp.float32)))
    assert whitening.dims == 4
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-4)
    # float32, and the smallest direction is divided by 0.2.
    np.testing.assert_allclose(np.cov(whitened, rowvar=False), np.eye(4), atol=1e-3)


def test_round_trip_where_nothing_is_dropped() -> None:
    data = jnp.asarray(_data(), jnp.float32)
    whitening = Whitening.fit(data)
    back = jax.vmap(lambda raw: whitening.unwhiten(whitening.whiten(raw)))(data)
    np.testing.assert_allclose(back, data, atol=2e-5)


def test_directions_of_little_variance_are_dropped() -> None:
    data = _data(5000)
    # Variances 9, 1, 0.25, 0.04 over the largest: 1, 0.11, 0.028, 0.0044.
    assert Whitening.fit(data, min_variance=0.01).dims == 3
    assert Whitening.fit(data, min_variance=0.05).dims == 2
    assert Whitening.fit(data, max_dims=1).dims == 1
    whitening = Whitening.fit(data, min_variance=0.01)
    # The way back is then a projection: idempotent, and what it loses is the variance of the dropped direction.
    rows = jnp.asarray(data, jnp.float32)
    once = jax.vmap(lambda raw: whitening.unwhiten(whitening.whiten(raw)))(rows)
    twice = jax.vmap(lambda raw: whitening.unwhiten(whitening.whiten(raw)))(once)
    np.testing.assert_allclose(twice, once, atol=1e-4)
    assert np.mean(np.sum(np.square(once - rows), axis=1)) == pytest.approx(0.04, rel=0.1)


def test_signs_do_not_depend_on_the_solver() -> None:
    # The largest component of every direction is positive, so that the same data give the same coordinates.
    backward = np.asarray(Whitening.fit(_data()).backward)
    assert (backward[np.abs(backward).argmax(axis=0), np.arange(4)] > 0).all()


@pytest.mark.parametrize("discount", [0.5, 0.99])
def test_bellman_equation_keeps_its_form(discount: float) -> None:
    whitening = Whitening.fit(_data(), min_variance=0.01)
    rng = np.random.default_rng(1)
    cumulant, outcome = (jnp.asarray(rng.normal(size=4), jnp.float32) for _ in range(2))
    raw = cumulant + discount * outcome
    whitened = whitening.whiten_cumulant(cumulant, discount) + discount * whitening.whiten(outcome)
    np.testing.assert_allclose(whitened, whitening.whiten(raw), atol=1e-4)


def test_data_that_do_not_vary_are_refused() -> None:
    with pytest.raises(ValueError, match="constant in every direction"):
        Whitening.fit(np.full((10, 3), 2.0))


def test_one_raw_dimension() -> None:
    data = np.array([[1.0], [3.0]])  # variance 2 (n - 1), mean 2
    whitening = Whitening.fit(data)
    np.testing.assert_allclose(whitening.whiten(jnp.asarray([3.0])), [1 / np.sqrt(2)], rtol=1e-6)


def test_no_gradient_reaches_the_statistics() -> None:
    whitening = Whitening.fit(_data())
    gradient = jax.grad(lambda w: jnp.sum(w.whiten(jnp.ones(4)) + w.whiten_cumulant(jnp.ones(4), 0.9)))(whitening)
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(gradient))


def test_standardisation_shifts_constant_coordinates_only() -> None:
    data = np.array([[0.0, 7.0, 1e6], [2.0, 7.0, 1e6 + 1e-3]])
    standardisation = Standardisation.fit(data)
    np.testing.assert_allclose(standardisation.std, [1.0, 1.0, 1.0])
    np.testing.assert_allclose(standardisation(jnp.asarray([2.0, 7.0, 1e6])), [1.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(standardisation.invert(jnp.asarray([1.0, 0.0, 0.0])), [2.0, 7.0, 1e6])
    # std of (0, 4) is 2.
    np.testing.assert_allclose(Standardisation.fit(np.array([[0.0], [4.0]]))(jnp.asarray([4.0])), [1.0])


def test_directions_of_a_part_stay_though_they_vary_little() -> None:
    """An event that moves few of the data, along directions that their variance says nothing of."""
    data, along = _data(), np.array([[0.05, 0, 0, 0.02], [0, 0.04, -0.02, 0]])
    rng = np.random.default_rng(1)
    part = rng.normal(size=(60, 2)) @ along
    data[:60] += part
    plain = Whitening.fit(data, min_variance=0.2)
    whitening = Whitening.fit(data, min_variance=0.2, part=part, part_dims=2)
    assert (plain.dims, whitening.dims) == (1, 3)
    np.testing.assert_allclose(whitening.forward[:1], plain.forward, rtol=1e-5)
    whitened = np.asarray(jax.vmap(whitening.whiten)(jnp.asarray(data, jnp.float32)))
    np.testing.assert_allclose(np.cov(whitened, rowvar=False), np.eye(3), atol=1e-3)
    # What the part adds is got back from the coordinates.
    shift = jnp.asarray(part, jnp.float32) @ whitening.forward.T @ whitening.backward.T
    np.testing.assert_allclose(shift, part, atol=1e-5)
    # They count among the coordinates, and a part of the kept directions asks for no more.
    assert Whitening.fit(data, min_variance=0.2, max_dims=2, part=part, part_dims=2).dims == 2
    inside = data @ np.asarray(plain.forward).T @ np.asarray(plain.backward).T
    assert Whitening.fit(data, min_variance=0.2, part=inside, part_dims=2).dims == 1


def test_a_large_part_is_not_copied() -> None:
    """Terminal states may be as many as the transitions: no other array of their size fits beside them."""
    rng = np.random.default_rng(0)
    part = (rng.normal(size=(500_000, 1)) * np.array([[0.0, 0.3, 0.0, 0.1]]) + 2.0).astype(np.float32)
    tracemalloc.start()
    whitening = Whitening.fit(_data(), min_variance=0.2, part=part, part_dims=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert whitening.dims == 2 and peak < part.nbytes
