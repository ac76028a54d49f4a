"""Linear regression on outcomes with the correction of a kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.config.value import ValueConfig
from owma.outcomes.kernel import KernelValue, spread_out
from owma.outcomes.value import LinearValue
from owma.train.task import Labels, fit_kernel, fit_linear


def _rare() -> Labels:
    """Two of a thousand episodes end ten deviations away, where a return is 30 and not what the others' slope says."""
    rng = np.random.default_rng(0)
    episodes = np.repeat(np.arange(1000), 20)
    psi = rng.normal(size=(20_000, 3))
    returns = 4 + psi @ np.array([2.0, -1.0, 0.5]) + 0.1 * rng.normal(size=20_000)
    is_rare = episodes >= 998
    psi[is_rare] = np.array([0.0, 0.0, 10.0]) + 0.3 * psi[is_rare]
    returns[is_rare] = 30.0
    return Labels(psi, returns, episodes)


def test_a_kernel_says_what_a_rare_way_returned_where_a_linear_value_misses_it() -> None:
    labels = _rare()
    linear, linear_left = fit_linear(labels, ValueConfig())
    value, left = fit_kernel(labels, ValueConfig(kernels=256))
    rare = jnp.asarray([0.0, 0.0, 10.0])
    assert float(linear(rare)) < 15
    # Two episodes tell less than many would: a tenth of what is missing stays.
    assert float(value(rare)) == pytest.approx(30.0, abs=4.0)
    # Nothing is lost where the linear value is right, nor in episodes that were not fitted to.
    rows = jnp.asarray(labels.psi[:500], jnp.float32)
    errors = np.asarray(jax.vmap(value)(rows)) - labels.returns[:500]
    assert np.sqrt(np.mean(np.square(errors))) < 0.2
    assert left < linear_left


def test_far_from_all_that_was_recorded_it_is_the_linear_value() -> None:
    value, _ = fit_kernel(_rare(), ValueConfig(kernels=256))
    for psi in jnp.asarray([[60.0, 0.0, 0.0], [0.0, -60.0, 60.0]]):
        assert float(value(psi)) == pytest.approx(float(value.linear(psi)), rel=1e-5)


def test_what_a_linear_value_explains_needs_no_correction() -> None:
    psi = np.random.default_rng(1).normal(size=(2_000, 4))
    linear = LinearValue.fit(psi, 1 + psi @ np.arange(4.0), ridge=0.0)
    value = KernelValue.fit(linear, psi, 1 + psi @ np.arange(4.0), spread_out(psi, 32))
    gap = jax.vmap(lambda p: value(p) - value.linear(p))(jnp.asarray(psi, jnp.float32))
    assert float(jnp.abs(gap).max()) < 1e-3


def test_one_label_at_one_centre_is_shrunk_by_its_noise() -> None:
    # (k² + noise·k)⁻¹ k r with k = 1 and a noise of a quarter: 4/5 of what the linear value leaves.
    linear = LinearValue(jnp.asarray([2.0]), jnp.asarray(1.0))
    value = KernelValue.fit(linear, np.array([[0.5]]), np.array([7.0]), np.array([[0.5]]))
    assert float(value(jnp.asarray([0.5]))) == pytest.approx(2.0 + 0.8 * 5.0, rel=1e-4)
    # The length is twice the distance √2 of two whitened outcomes: at one length, e^(−1/2) of that.
    far = float(value(jnp.asarray([0.5 + 8**0.5])) - linear(jnp.asarray([0.5 + 8**0.5])))
    assert far == pytest.approx(4.0 * np.exp(-0.5), rel=1e-4)


def test_labels_that_repeat_one_another_tell_as_much_as_one() -> None:
    rng = np.random.default_rng(2)
    psi, returns = rng.normal(size=(300, 2)), rng.normal(size=300)
    linear, centres = LinearValue.fit(psi, returns), spread_out(psi, 16)
    once = KernelValue.fit(linear, psi, returns, centres)
    repeated = KernelValue.fit(linear, np.repeat(psi, 7, axis=0), np.repeat(returns, 7), centres, alike=7.0)
    np.testing.assert_allclose(repeated.weights, once.weights, rtol=1e-3, atol=1e-4)


def test_centres_are_spread_over_what_was_recorded_however_rare() -> None:
    labels = _rare()
    centres = spread_out(labels.psi, 64)
    near = np.linalg.norm(centres - np.array([0.0, 0.0, 10.0]), axis=1) < 2
    assert near.any()  # of 64 drawn alike, none would be with a probability of 0.88
    assert not near.all()
    np.testing.assert_array_equal(centres, spread_out(labels.psi, 64))
    few = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert {tuple(row) for row in spread_out(few, 5)} == {(0.0, 1.0), (2.0, 3.0)}


def test_far_from_the_origin_it_is_the_sum_of_its_formula() -> None:
    """Distances are taken by a product, where large squares cancel."""
    rng = np.random.default_rng(2)
    centres, weights = 20 + rng.normal(size=(64, 7)), rng.normal(size=64)
    linear = LinearValue(jnp.zeros(7), jnp.asarray(1.0))
    value = KernelValue(
        linear, jnp.asarray(centres, jnp.float32), jnp.asarray(weights, jnp.float32), jnp.asarray(7.5, jnp.float32)
    )
    psi = 20 + rng.normal(size=7)
    kernel = np.exp(-np.sum(np.square(centres - psi), axis=1) / (2 * 7.5**2))
    assert float(value(jnp.asarray(psi, jnp.float32))) == pytest.approx(1.0 + kernel @ weights, abs=1e-3)
