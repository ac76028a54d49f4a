"""The v-parameterisation, the untrained network, and the sampling of noise levels."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.diffusion import (
    Chain,
    ErrorCurve,
    FiLMDenoiser,
    InlineDenoiser,
    low_discrepancy_uniform,
    velocity_loss,
    velocity_target,
)


def _denoiser(key: jax.Array, *, trained: bool) -> FiLMDenoiser:
    build_key, out_key = jax.random.split(key)
    denoiser = FiLMDenoiser(3, 2, width=16, depth=2, embed_width=8, key=build_key)
    if not trained:
        return denoiser
    # The last layer starts at zero; give it something to say.
    weight = 0.3 * jax.random.normal(out_key, (3, 16))
    return eqx.tree_at(lambda d: d.net.trunk_out.weight, denoiser, weight)


@pytest.mark.parametrize("ratio", [0.05, 1.0, 100.0])
def test_prediction_follows_from_the_velocity(getkey, ratio: float) -> None:
    denoiser = _denoiser(getkey(), trained=True)
    y, context, r = ratio * jax.random.normal(getkey(), (3,)), jax.random.normal(getkey(), (2,)), jnp.asarray(ratio)
    conditioning = denoiser.condition(r, context)
    v = denoiser.velocity(y, r, conditioning)
    alpha, sigma = 1 / np.hypot(1, ratio), ratio / np.hypot(1, ratio)
    x = alpha * y
    prediction = denoiser(y, r, conditioning)
    np.testing.assert_allclose(prediction, alpha * x - sigma * v, rtol=1e-5, atol=1e-6)
    # x = α x̂₀ + σ ε̂ with ε̂ = σ x + α v.
    np.testing.assert_allclose(alpha * prediction + sigma * (sigma * x + alpha * v), x, rtol=1e-5, atol=1e-6)


def test_a_network_that_outputs_the_target_predicts_the_data(getkey) -> None:
    x0, noise = jax.random.normal(getkey(), (3,)), jax.random.normal(getkey(), (3,))
    for ratio in (0.05, 1.0, 10.0):
        alpha, sigma = 1 / np.hypot(1, ratio), ratio / np.hypot(1, ratio)
        v = velocity_target(x0, noise, jnp.asarray(ratio))
        x = alpha * x0 + sigma * noise
        np.testing.assert_allclose(alpha * x - sigma * v, x0, atol=1e-5)
        np.testing.assert_allclose(sigma * x + alpha * v, noise, atol=1e-5)


def test_the_untrained_network_knows_a_unit_gaussian(getkey) -> None:
    # v = 0 gives x̂₀ = α² y, the posterior mean of N(0, 1); its v-loss has expectation E v² = 1.
    denoiser = _denoiser(getkey(), trained=False)
    y, context, ratio = jax.random.normal(getkey(), (3,)), jnp.ones(2), jnp.asarray(2.0)
    np.testing.assert_allclose(denoiser(y, ratio, denoiser.condition(ratio, context)), y / 5, rtol=1e-6)
    x0, noise = jax.random.normal(getkey(), (2, 10_000, 3))
    losses = jax.vmap(lambda a, b: velocity_loss(denoiser, a, context, ratio, b))(x0, noise)
    # 30,000 squares of unit normals: standard error √(2/30000) = 0.8 %.
    assert float(jnp.mean(losses)) == pytest.approx(1.0, abs=0.03)


def test_loss_against_its_formula(getkey) -> None:
    denoiser = _denoiser(getkey(), trained=True)
    x0, noise, context = jax.random.normal(getkey(), (3,)), jax.random.normal(getkey(), (3,)), jnp.ones(2)
    ratio = jnp.asarray(0.7)
    predicted = denoiser.velocity(x0 + ratio * noise, ratio, denoiser.condition(ratio, context))
    alpha, sigma = 1 / np.hypot(1, 0.7), 0.7 / np.hypot(1, 0.7)
    expected = np.mean(np.square(np.asarray(predicted - (alpha * noise - sigma * x0))))
    assert float(velocity_loss(denoiser, x0, context, ratio, noise)) == pytest.approx(float(expected), rel=1e-5)


def test_conditioned_inline_is_the_same_function(getkey) -> None:
    denoiser = _denoiser(getkey(), trained=True)
    inline, context = InlineDenoiser(denoiser), jax.random.normal(getkey(), (2,))
    np.testing.assert_array_equal(inline.condition(jnp.asarray(3.0), context), context)
    chain = Chain.calibrated(ErrorCurve.untrained(3), num_steps=4, min_ratio=0.05)
    noise = chain.noise(key=getkey())
    expected, actual = (chain.simulate(d, context, noise) for d in (denoiser, inline))
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(actual), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num", [1, 7, 256])
def test_low_discrepancy_numbers_are_one_to_a_cell(getkey, num: int) -> None:
    for _ in range(5):
        numbers = np.asarray(low_discrepancy_uniform(num, key=getkey()))
        assert ((numbers >= 0) & (numbers < 1)).all()
        # They are the cells' left ends plus one common offset; sorted, they lie 1/num apart.
        np.testing.assert_allclose(np.diff(np.sort(numbers)), 1 / num, atol=1e-6)
        assert np.sort(numbers)[0] < 1 / num + 1e-6


def test_each_low_discrepancy_number_is_uniform(getkey) -> None:
    keys = jax.random.split(getkey(), 4000)
    first = np.asarray(jax.vmap(lambda key: low_discrepancy_uniform(8, key=key)[0])(keys))
    # Standard errors of the mean and of the variance of 4000 uniforms: 0.0046 and 0.0012.
    assert first.mean() == pytest.approx(0.5, abs=0.018)
    assert first.var() == pytest.approx(1 / 12, abs=0.005)
