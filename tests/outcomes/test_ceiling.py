"""What a chain can attain at most, by dynamic programming, where it is known otherwise."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.diffusion import Chain
from owma.outcomes.testbeds import GaussianDenoiser, GaussianMixtureDenoiser, chain_ceiling
from owma.outcomes.value import LinearValue

_SMALL = {"num_states": 301, "num_shifts": 121}


def test_a_gaussian_chain_can_attain_its_optimum() -> None:
    # A linear V shifts every transition by a constant, which is optimal: ceiling and optimum are J* = 0.5 + 2/(2·1).
    denoiser = GaussianDenoiser(jnp.full(1, 0.5), jnp.full(1, 2.0))
    chain = Chain.calibrated(denoiser.errors(), num_steps=10, min_ratio=0.05)
    ceiling = chain_ceiling(chain, denoiser, LinearValue(jnp.ones(1), jnp.asarray(0.0)), 1.0, **_SMALL)
    assert ceiling.prior == pytest.approx(0.5, abs=0.005)
    assert ceiling.optimum == pytest.approx(1.5, abs=0.005)
    assert ceiling.ceiling == pytest.approx(ceiling.optimum, abs=0.005)


def test_a_mixtures_ceiling_lies_between_prior_and_optimum(getkey) -> None:
    kl_coef = 1.0
    mixture = GaussianMixtureDenoiser.two_modes(1, 4.0, 0.05, scale=0.5)
    chain = Chain.calibrated(mixture.errors(), num_steps=10, min_ratio=0.05)
    value = LinearValue(jnp.ones(1), jnp.asarray(0.0))
    ceiling = chain_ceiling(chain, mixture, value, kl_coef, **_SMALL)
    assert ceiling.prior < ceiling.ceiling < ceiling.optimum - 0.02

    # The chain's own draws agree with prior and optimum, and the exact tilt, put in the trained model's place, is a
    # chain of the same widths: it cannot be above the ceiling.
    noise = jax.vmap(lambda k: chain.noise(key=k))(jax.random.split(getkey(), 100_000))

    @eqx.filter_jit
    def draw(denoiser):
        simulate = lambda e: chain.simulate(denoiser, jnp.zeros(1), e, reference=mixture)  # noqa: E731
        return jax.vmap(simulate)(noise)

    prior = np.asarray(draw(mixture).psi[:, 0], np.float64)
    assert prior.mean() == pytest.approx(ceiling.prior, abs=4 * prior.std() / np.sqrt(len(prior)) + 0.003)
    tilts = np.exp(prior / kl_coef)
    error = tilts.std() / np.sqrt(len(tilts)) / tilts.mean()
    assert kl_coef * np.log(tilts.mean()) == pytest.approx(ceiling.optimum, abs=4 * error + 0.003)
    tilted = draw(mixture.tilted(jnp.ones(1), kl_coef))
    attained = np.asarray(tilted.psi[:, 0] - kl_coef * tilted.kl, np.float64)
    assert ceiling.prior < attained.mean() < ceiling.ceiling + 4 * attained.std() / np.sqrt(len(attained))


def test_one_dimension_only() -> None:
    denoiser = GaussianDenoiser(jnp.zeros(2), jnp.ones(2))
    chain = Chain.calibrated(denoiser.errors(), num_steps=4, min_ratio=0.05)
    with pytest.raises(ValueError, match="works in one dimension; this chain has 2"):
        chain_ceiling(chain, denoiser, LinearValue(jnp.ones(2), jnp.asarray(0.0)), 1.0)
