"""Log-densities of the probability-flow equation, where the density is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.diffusion import ExactTrace, HutchinsonTrace, ODELikelihood
from owma.outcomes.testbeds import GaussianDenoiser, GaussianMixtureDenoiser


@pytest.mark.parametrize("dims", [1, 3])
def test_of_a_gaussian(getkey, dims: int) -> None:
    mean, variance = np.linspace(-1, 1, dims), np.linspace(0.3, 2.0, dims)
    denoiser = GaussianDenoiser(jnp.asarray(mean, jnp.float32), jnp.asarray(variance, jnp.float32))
    psi = np.asarray(denoiser.sample(16, key=getkey()), np.float64)
    # The flow scales offsets from the mean by g, and starts at r = 100 from N(0, 1 + r²): its law is Gaussian too.
    scale = np.sqrt((variance + 0.05**2) / (variance + 100.0**2))
    law_mean, law_variance = mean * (1 - scale), scale**2 * (1 + 100.0**2)
    expected = -0.5 * np.sum((psi - law_mean) ** 2 / law_variance + np.log(2 * np.pi * law_variance), axis=1)

    def error(num_steps: int) -> float:
        likelihood = ODELikelihood(ExactTrace(), num_steps=num_steps)
        log_prob = jax.vmap(lambda x: likelihood(denoiser, jnp.zeros(1), x, key=jax.random.key(0)))
        return float(np.abs(np.asarray(log_prob(jnp.asarray(psi, jnp.float32))) - expected).max())

    # Heun's method: four times the steps are about a sixteenth of the error.
    coarse, fine = error(64), error(256)
    assert coarse < 0.05 * dims
    assert fine < coarse / 8 + 5e-4


def test_of_a_mixture(getkey) -> None:
    mixture = GaussianMixtureDenoiser.two_modes(2, 4.0, 0.1, scale=0.5)
    psi = mixture.sample(32, key=getkey())
    likelihood = ODELikelihood(ExactTrace(), num_steps=128, min_ratio=0.02)
    log_probs = jax.jit(jax.vmap(lambda x: likelihood(mixture, jnp.zeros(1), x, key=jax.random.key(0))))(psi)
    np.testing.assert_allclose(log_probs, jax.vmap(mixture.log_prob)(psi), atol=0.06)


def test_random_probes_are_unbiased(getkey) -> None:
    mixture = GaussianMixtureDenoiser.two_modes(3, 2.0, 0.3, scale=0.5)
    # Correlated coordinates: with a diagonal Jacobian random signs would be exact.
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0], jnp.float32)
    mixture = GaussianMixtureDenoiser(mixture.logits, mixture.means @ turn.T, turn[None] @ mixture.factors)
    psi = mixture.sample(1, key=getkey())[0]
    exact = ODELikelihood(ExactTrace(), num_steps=32)(mixture, jnp.zeros(1), psi, key=getkey())
    estimate = ODELikelihood(HutchinsonTrace(num_probes=2), num_steps=32)
    keys = jax.random.split(getkey(), 400)
    estimates = np.asarray(jax.jit(jax.vmap(lambda k: estimate(mixture, jnp.zeros(1), psi, key=k)))(keys))
    assert estimates.std() > 0.01  # it is an estimate
    assert estimates.mean() == pytest.approx(float(exact), abs=4 * estimates.std() / np.sqrt(400))
