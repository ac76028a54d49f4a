"""The Gaussian mixture in closed form, against numerical integration and its own draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.adaptation import AllParameters
from owma.outcomes.testbeds import GaussianMixtureDenoiser, testbed_policy
from owma.outcomes.value import LinearValue

# Two skewed components in the plane; the second is rare and correlated.
_WEIGHTS = np.array([0.9, 0.1])
_MEANS = np.array([[-0.5, 0.3], [2.0, -1.0]])
_COVARIANCES = np.array([[[0.8, 0.0], [0.0, 0.3]], [[0.5, 0.2], [0.2, 0.4]]])
_TILT = np.array([0.7, -0.4])
_LAMBDA = 0.6


@pytest.fixture
def mixture() -> GaussianMixtureDenoiser:
    factors = jnp.asarray(np.linalg.cholesky(_COVARIANCES), jnp.float32)
    # Logits are up to a constant.
    return GaussianMixtureDenoiser(
        jnp.asarray(np.log(_WEIGHTS) + 3.0, jnp.float32), jnp.asarray(_MEANS, jnp.float32), factors
    )


def _density(psi: np.ndarray, covariances: np.ndarray = _COVARIANCES) -> np.ndarray:
    """The mixture's density in double precision, at rows of ψ."""
    total = np.zeros(len(psi))
    for weight, mean, covariance in zip(_WEIGHTS, _MEANS, covariances):
        offset = psi - mean
        squared = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(covariance), offset)
        total += weight * np.exp(-0.5 * squared) / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
    return total


def _grid() -> tuple[np.ndarray, float]:
    """A lattice over everything that matters, and the area of a cell."""
    axes = np.linspace(-7.0, 9.0, 641), np.linspace(-7.0, 7.0, 561)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return points, (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])


def test_density(mixture) -> None:
    points = np.array([[-0.5, 0.3], [2.0, -1.0], [0.7, 0.1], [-4.0, 3.0]])
    log_density = jax.vmap(mixture.log_prob)(jnp.asarray(points, jnp.float32))
    np.testing.assert_allclose(log_density, np.log(_density(points)), rtol=1e-4)


@pytest.mark.parametrize("ratio", [0.05, 0.7, 5.0])
def test_the_denoiser_is_tweedies(mixture, ratio: float) -> None:
    # x̂₀(y, r) = y + r² ∇ log p_r(y), p_r being the mixture with covariances S + r².
    points = np.array([[-0.4, 0.2], [1.2, -0.4], [2.5, -1.2]])
    noisy = _COVARIANCES + ratio**2 * np.eye(2)
    step = 1e-4
    score = np.stack(
        [
            (np.log(_density(points + e, noisy)) - np.log(_density(points - e, noisy))) / (2 * step)
            for e in step * np.eye(2)
        ],
        axis=1,
    )
    level = mixture.condition(jnp.asarray(ratio), jnp.zeros(1))
    denoised = jax.vmap(lambda y: mixture(y, jnp.asarray(ratio), level))(jnp.asarray(points, jnp.float32))
    np.testing.assert_allclose(denoised, points + ratio**2 * score, rtol=2e-3, atol=2e-4)


def test_optimum_divergence_and_tilt_by_integration(mixture) -> None:
    points, area = _grid()
    density = _density(points)
    value = points @ _TILT
    tilted = density * np.exp(value / _LAMBDA)
    normaliser = tilted.sum() * area
    weight = jnp.asarray(_TILT, jnp.float32)
    optimum = _LAMBDA * np.log(normaliser)
    assert float(mixture.optimum(weight, _LAMBDA)) == pytest.approx(optimum, rel=1e-4)
    tilted = tilted / normaliser
    divergence = np.sum(tilted * (value / _LAMBDA - np.log(normaliser))) * area
    assert float(mixture.divergence(weight, _LAMBDA)) == pytest.approx(divergence, rel=1e-3)
    some = np.arange(0, len(points), 9973)
    actual = np.exp(jax.vmap(mixture.tilted(weight, _LAMBDA).log_prob)(jnp.asarray(points[some], jnp.float32)))
    np.testing.assert_allclose(actual, tilted[some], rtol=2e-3, atol=1e-6)


def test_draws(getkey, mixture) -> None:
    psi = np.asarray(mixture.sample(100_000, key=getkey()))
    mean = _WEIGHTS @ _MEANS
    offsets = _MEANS - mean
    covariance = np.einsum("c,cij->ij", _WEIGHTS, _COVARIANCES) + np.einsum("c,ci,cj->ij", _WEIGHTS, offsets, offsets)
    # Standard errors of 100,000 draws: 0.003 for the mean, below 1 % for the covariance.
    np.testing.assert_allclose(psi.mean(axis=0), mean, atol=0.015)
    np.testing.assert_allclose(np.cov(psi.T), covariance, atol=0.03)
    # Posterior probabilities average to the weights: standard error 0.001.
    shares = jax.vmap(mixture.responsibilities)(jnp.asarray(psi)).mean(axis=0)
    np.testing.assert_allclose(shares, _WEIGHTS, atol=0.004)


@pytest.mark.parametrize("dims, rare_weight", [(1, 0.1), (3, 1e-4)])
def test_two_modes(dims: int, rare_weight: float) -> None:
    mixture = GaussianMixtureDenoiser.two_modes(dims, 4.0, rare_weight, scale=0.5)
    np.testing.assert_allclose(np.exp(mixture.log_weights), [1 - rare_weight, rare_weight], rtol=1e-4)
    np.testing.assert_allclose(np.exp(mixture.log_weights) @ mixture.means, np.zeros(dims), atol=1e-6)
    np.testing.assert_allclose(mixture.means[1] - mixture.means[0], [4.0] + [0.0] * (dims - 1), rtol=1e-6)
    np.testing.assert_allclose(mixture.covariances, np.broadcast_to(0.25 * np.eye(dims), (2, dims, dims)))


def test_the_chain_draws_the_mixture(getkey) -> None:
    """Every planner accepts it as a world model: shares and spread of the modes, by the sampler that planners use."""
    from owma.outcomes.testbeds import testbed_world
    from owma.planners import AgentModel

    mixture = GaussianMixtureDenoiser.two_modes(2, 4.0, 0.2, scale=0.5)
    policy = testbed_policy(2, 2, 2)
    value = LinearValue(jnp.ones(2), jnp.asarray(0.0))
    model = AgentModel(testbed_world(mixture, num_steps=10), policy, value, jnp.asarray(1.0))
    problem = model.problem(jnp.zeros(2), jnp.asarray(1.0))
    samples, _ = jax.jit(lambda e: problem.draw(None, e, with_reference=False))(problem.noise(20_000, key=getkey()))
    rare = np.asarray(samples.psi[:, 0]) > 1.2
    # Standard errors 0.003 and 0.008; a chain of ten Gaussian transitions is not the mixture itself, and draws the rare
    # mode 0.1 too near to the other.
    assert rare.mean() == pytest.approx(0.2, abs=0.03)
    for share, centre in ((~rare, -0.8), (rare, 3.2)):
        assert np.asarray(samples.psi)[share, 0].mean() == pytest.approx(centre, abs=0.13)
    assert np.asarray(samples.psi)[:, 1].std() == pytest.approx(0.5, rel=0.06)


def test_all_of_a_mixture_can_be_adapted() -> None:
    mixture = GaussianMixtureDenoiser.two_modes(1, 4.0, 0.05, scale=0.5)
    delta = AllParameters().zeros(mixture)
    assert [leaf.shape for leaf in jax.tree.leaves(delta)] == [(2,), (2, 1), (2, 1, 1)]
