"""Divergences against one another: equal to second order, ordered otherwise."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.adaptation import (
    AllParameters,
    DecisionProblem,
    FiLMParameters,
    FisherKL,
    LevelParameters,
    LikelihoodKL,
    LowRankParameters,
    PathKL,
)
from owma.diffusion import Chain, ErrorCurve, ExactTrace, FiLMDenoiser, ODELikelihood
from owma.outcomes.value import LinearValue


@pytest.fixture
def network_problem(getkey) -> DecisionProblem:
    """An untrained network that is not zero, conditioned on two numbers, with outcomes of three."""
    denoiser = FiLMDenoiser(3, 2, width=16, depth=2, embed_width=8, key=getkey())
    leaves, structure = jax.tree.flatten(eqx.filter(denoiser, eqx.is_inexact_array))
    keys = jax.random.split(getkey(), len(leaves))
    noise = [0.2 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves)]
    denoiser = eqx.apply_updates(denoiser, jax.tree.unflatten(structure, noise))
    log_ratios = jnp.linspace(np.log(1e-3), np.log(200.0), 32)
    squared = jnp.exp(2 * log_ratios)[:, None] * jnp.ones((1, 3))
    errors = ErrorCurve(log_ratios, jnp.log(squared / (1 + squared)))
    return DecisionProblem(
        denoiser=denoiser,
        chain=Chain.calibrated(errors, num_steps=6, min_ratio=0.05),
        context=jnp.asarray([0.3, -0.7]),
        value=LinearValue(jnp.ones(3), jnp.asarray(0.0)),
        value_scale=jnp.asarray(1.0),
        kl_coef=jnp.asarray(1.0),
    )


@pytest.mark.parametrize(
    "delta_filter",
    [AllParameters(), FiLMParameters(), LevelParameters(), LowRankParameters(rank=2)],
    ids=lambda f: type(f).__name__,
)
def test_path_and_fisher_agree_to_second_order(getkey, network_problem, delta_filter) -> None:
    problem = delta_filter.prepare(network_problem)
    zeros = delta_filter.zeros(problem.denoiser)
    leaves, structure = jax.tree.flatten(zeros)
    direction = [jax.random.normal(getkey(), leaf.shape) for leaf in leaves]
    noise = problem.noise(64, key=getkey())

    @eqx.filter_jit
    def both(size):
        delta = jax.tree.unflatten(structure, [size * leaf for leaf in direction])
        samples, values = problem.draw(delta, noise, with_reference=True)
        path = PathKL()(problem, delta, samples, values, noise, key=jax.random.key(0))
        return path, FisherKL()(problem, delta, samples, values, noise, key=jax.random.key(0))

    # The path KL is ½ Δφᵀ F Δφ + O(Δφ³): relative differences fall in proportion to Δφ.
    ratios = []
    for size in (8e-3, 1e-3):
        path, fisher = (float(kl) for kl in both(jnp.asarray(size)))
        assert fisher > 0
        ratios.append(abs(path / fisher - 1))
    assert ratios[1] < 0.02
    assert ratios[1] < 0.4 * ratios[0] + 1e-3


def test_fisher_of_a_gaussians_mean(getkey, gaussian_problem) -> None:
    # A move of the mean by m costs mᵀS⁻¹m/2, exactly quadratic: (0.3²/2 + 0.2²/0.5)/2 = 0.0625.
    problem = gaussian_problem([1.0, 0.0], [2.0, 0.5], [0.5, 1.0])
    delta = eqx.tree_at(lambda d: d.mean, AllParameters().zeros(problem.denoiser), jnp.asarray([0.3, 0.2]))
    noise = problem.noise(8, key=getkey())
    samples, values = problem.draw(delta, noise, with_reference=False)
    kl = FisherKL()(problem, delta, samples, values, noise, key=getkey())
    assert float(kl) == pytest.approx(0.0625, rel=5e-3)


@pytest.mark.parametrize(
    "shift, stretch", [([2.0, 1.0], [0.0, 0.0]), ([0.0, 0.0], [1.0, -0.25]), ([0.5, 0.0], [2.0, 0.0])]
)
def test_the_path_bounds_the_marginal(getkey, gaussian_problem, shift, stretch) -> None:
    # Chains of Gaussians are Gaussian: the marginal's divergence is known from its moments.
    problem = gaussian_problem([1.0, 0.0], [2.0, 0.5], [0.5, 1.0])
    delta = eqx.tree_at(
        lambda d: (d.mean, d.variance),
        AllParameters().zeros(problem.denoiser),
        (jnp.asarray(shift), jnp.asarray(stretch)),
    )
    noise = problem.noise(40_000, key=getkey())

    @eqx.filter_jit
    def draw(delta):
        return problem.draw(delta, noise, with_reference=True)[0]

    after, before = draw(delta), draw(AllParameters().zeros(problem.denoiser))
    a, b = np.asarray(after.psi, np.float64), np.asarray(before.psi, np.float64)
    ratio = a.var(axis=0) / b.var(axis=0)
    marginal = 0.5 * np.sum(ratio - 1 - np.log(ratio) + (a.mean(axis=0) - b.mean(axis=0)) ** 2 / b.var(axis=0))
    path = np.asarray(after.kl, np.float64)
    # Moments of 40,000 draws: 2 % of the larger divergences.
    assert path.mean() > marginal - 4 * path.std() / np.sqrt(len(path)) - 0.02 * marginal
    if stretch == [0.0, 0.0]:
        assert path.mean() == pytest.approx(marginal, rel=0.02)  # shifts waste nothing


def test_likelihood_divergence_of_gaussians(getkey, gaussian_problem) -> None:
    # N((2, 0), (2, 0.5)) from N((1, 0), (2, 0.5)): 1/(2·2) = 0.25, and as much for its law smeared by r = 0.05.
    problem = gaussian_problem([1.0, 0.0], [2.0, 0.5], [0.5, 1.0])
    delta = eqx.tree_at(lambda d: d.mean, AllParameters().zeros(problem.denoiser), jnp.asarray([1.0, 0.0]))
    noise = problem.noise(2000, key=getkey())

    @eqx.filter_jit
    def divergence(delta):
        samples, values = problem.draw(delta, noise, with_reference=False)
        kl = LikelihoodKL(ODELikelihood(ExactTrace(), num_steps=32))
        return kl(problem, delta, samples, values, noise, key=jax.random.key(0))

    # The log-ratio has variance 2·0.25: standard error 0.016.
    assert float(divergence(delta)) == pytest.approx(0.25, abs=0.06)
    assert float(divergence(AllParameters().zeros(problem.denoiser))) == pytest.approx(0.0, abs=1e-5)
