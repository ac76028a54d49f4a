"""Error curves against posterior variances that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.diffusion import ErrorCurve, measure_errors
from owma.outcomes.testbeds import GaussianDenoiser


def test_untrained_curve_is_that_of_a_unit_gaussian() -> None:
    ratios = jnp.asarray([0.01, 0.1, 1.0, 10.0, 100.0])
    errors = ErrorCurve.untrained(2)(ratios)
    # Between its 32 levels the curve is interpolated log-log; off by 1.1 % at most, where it bends.
    expected = np.square(ratios) / (1 + np.square(ratios))
    np.testing.assert_allclose(errors, np.stack([expected, expected], axis=1), rtol=1.5e-2)


def test_log_log_interpolation_and_constant_ends() -> None:
    curve = ErrorCurve(jnp.log(jnp.asarray([1.0, 4.0])), jnp.log(jnp.asarray([[1.0], [16.0]])))
    # r² on [1, 4], flat outside.
    np.testing.assert_allclose(
        curve(jnp.asarray([0.1, 1.0, 2.0, 3.0, 4.0, 9.0]))[:, 0], [1, 1, 4, 9, 16, 16], rtol=1e-5
    )


def test_measured_errors_are_posterior_variances(getkey) -> None:
    denoiser = GaussianDenoiser(jnp.asarray([0.5, -1.0]), jnp.asarray([0.1, 2.0]))
    x0 = denoiser.mean[None] + jnp.sqrt(denoiser.variance)[None] * jax.random.normal(getkey(), (20_000, 2))
    curve = measure_errors(denoiser, x0, jnp.zeros((20_000, 1)), num_levels=8, key=getkey())
    squared = np.exp(2 * np.asarray(curve.log_ratios))[:, None]
    variance = np.asarray(denoiser.variance)
    # 20,000 squared errors at each level: standard error 1 %.
    np.testing.assert_allclose(np.exp(curve.log_errors), variance * squared / (variance + squared), rtol=0.05)
    exact = denoiser.errors()
    np.testing.assert_allclose(
        exact(jnp.asarray([0.05, 3.0])), variance * [[0.0025], [9]] / (variance + [[0.0025], [9]]), rtol=1e-3
    )


def test_an_error_of_nothing_stays_finite(getkey) -> None:
    denoiser = GaussianDenoiser(jnp.ones(1), jnp.zeros(1))
    curve = measure_errors(denoiser, jnp.ones((10, 1)), jnp.zeros((10, 1)), num_levels=4, key=getkey())
    np.testing.assert_allclose(np.exp(curve.log_errors), 1e-10, rtol=1e-4)


def test_no_gradient_reaches_the_curve() -> None:
    curve = ErrorCurve.untrained(1)
    gradient = jax.grad(lambda c: jnp.sum(c(jnp.asarray([0.3, 3.0]))))(curve)
    assert float(jnp.abs(gradient.log_errors).max()) == 0


def test_untrained_curve_takes_its_levels() -> None:
    curve = ErrorCurve.untrained(3, num_levels=5, min_ratio=0.1)
    assert curve.log_errors.shape == (5, 3)
    assert float(jnp.exp(curve.log_ratios[0])) == pytest.approx(0.1)
