"""The chain: its law on Gaussians, its transitions as the design writes them, its path divergence and weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.diffusion import AbstractDenoiser, Chain, ErrorCurve, FiLMDenoiser
from owma.outcomes.testbeds import GaussianDenoiser

_VARIANCES = jnp.asarray([0.01, 0.1, 0.5, 1.0, 2.0, 4.0])
_MEANS = jnp.asarray([0.5, -0.5, 1.0, 0.0, -1.0, 2.0])
_NOWHERE = jnp.zeros(1)


def _gaussian() -> GaussianDenoiser:
    return GaussianDenoiser(_MEANS, _VARIANCES)


def _no_errors(dims: int) -> ErrorCurve:
    """A denoiser that claims to be right: the v_k term vanishes."""
    return ErrorCurve(jnp.asarray([0.0]), jnp.full((1, dims), -60.0))


def _network(key: jax.Array, dims: int = 2) -> FiLMDenoiser:
    build_key, out_key = jax.random.split(key)
    denoiser = FiLMDenoiser(dims, 1, width=16, depth=2, embed_width=8, key=build_key)
    return eqx.tree_at(lambda d: d.net.trunk_out.weight, denoiser, 0.5 * jax.random.normal(out_key, (dims, 16)))


def _exact_law(denoiser: AbstractDenoiser, chain: Chain) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of ψ without Monte Carlo: for an affine denoiser ψ is affine in the noise."""
    zero = jnp.zeros((chain.num_steps + 2, chain.width.shape[1]))

    def psi(noise: jax.Array) -> jax.Array:
        return chain.simulate(denoiser, _NOWHERE, noise).psi

    return np.asarray(psi(zero)), np.sum(np.square(np.asarray(jax.jacrev(psi)(zero))), axis=(1, 2))


@pytest.mark.parametrize("num_steps", [2, 5, 10, 20])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_gaussian_is_sampled_exactly_at_any_number_of_steps(num_steps: int, eta: float) -> None:
    chain = Chain.calibrated(_gaussian().errors(), num_steps=num_steps, min_ratio=0.05, eta=eta)
    mean, variance = _exact_law(_gaussian(), chain)
    np.testing.assert_allclose(variance, _VARIANCES, rtol=2e-3)
    # The chain starts from N(0, 1 + r₀²) rather than N(m, S + r₀²). The flow (η = 0) carries the difference of the
    # means to ψ as m√S/r₀, 2 % of m at S = 4; with full noise it fades as mS/r₀², 0.04 %.
    left = np.abs(np.asarray(_MEANS)) * np.sqrt(_VARIANCES) / 100 if eta < 1 else 0.0
    np.testing.assert_array_less(np.abs(mean - _MEANS), left + 1e-3)


@pytest.mark.parametrize("num_steps", [5, 10])
def test_moments_of_samples(getkey, num_steps: int) -> None:
    chain = Chain.calibrated(_gaussian().errors(), num_steps=num_steps, min_ratio=0.05)
    noise = jax.random.normal(getkey(), (50_000, num_steps + 2, 6))
    psi = np.asarray(jax.jit(jax.vmap(lambda e: chain.simulate(_gaussian(), _NOWHERE, e).psi))(noise))
    # Standard error of a variance from 50,000 draws: 0.6 %.
    np.testing.assert_allclose(psi.var(axis=0), _VARIANCES, rtol=0.03)
    np.testing.assert_allclose(psi.mean(axis=0), _MEANS, atol=4 * 2 / np.sqrt(50_000))
    # Coordinates are independent.
    assert np.abs(np.corrcoef(psi, rowvar=False) - np.eye(6)).max() < 5 / np.sqrt(50_000)


# By the recursion Var ← (1 − C(1 − a))² Var + S² with a = 1/(1 + r²), in NumPy, on the grid uniform in arctan(r). (The
# grid uniform in log(r) loses more: it keeps 51 %, 83 % and 68 %.)
@pytest.mark.parametrize("num_steps, eta, kept", [(10, 1.0, 0.688), (40, 1.0, 0.898), (10, 0.0, 0.793)])
def test_without_the_error_term_variance_is_lost(num_steps: int, eta: float, kept: float) -> None:
    unit = GaussianDenoiser(jnp.zeros(1), jnp.ones(1))
    _, variance = _exact_law(unit, Chain.calibrated(_no_errors(1), num_steps=num_steps, min_ratio=0.05, eta=eta))
    assert float(variance[0]) == pytest.approx(kept, abs=2e-3)
    _, variance = _exact_law(unit, Chain.calibrated(unit.errors(), num_steps=num_steps, min_ratio=0.05, eta=eta))
    assert float(variance[0]) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_transitions_as_the_design_writes_them(getkey, eta: float) -> None:
    """The chain in x = αy, with its path divergence and weight: design §2, term by term."""
    denoiser, reference, context = _network(getkey()), _network(getkey()), jnp.ones(1)
    chain = Chain.calibrated(ErrorCurve.untrained(2), num_steps=6, min_ratio=0.05, eta=eta)
    noise = np.asarray(chain.noise(key=getkey()))
    sample = chain.simulate(denoiser, context, jnp.asarray(noise), reference=reference)

    ratios = np.asarray(chain.ratios, np.float64)
    alpha, sigma = 1 / np.hypot(1, ratios), ratios / np.hypot(1, ratios)
    v = np.asarray(ErrorCurve.untrained(2)(chain.ratios))

    def predict(model: FiLMDenoiser, x: np.ndarray, k: int) -> np.ndarray:
        return np.asarray(
            model(jnp.asarray(x / alpha[k], jnp.float32), chain.ratios[k], model.condition(chain.ratios[k], context))
        )

    x, kl, log_weight = noise[0].astype(np.float64), 0.0, 0.0
    for k in range(6):
        s = eta * sigma[k + 1] / sigma[k] * np.sqrt(1 - alpha[k] ** 2 / alpha[k + 1] ** 2)
        c = alpha[k + 1] - alpha[k] * np.sqrt(sigma[k + 1] ** 2 - s**2) / sigma[k]
        width = np.sqrt(s**2 + c**2 * v[k])
        means = []
        for model in (denoiser, reference):
            x0 = predict(model, x, k)
            eps = (x - alpha[k] * x0) / sigma[k]
            means.append(alpha[k + 1] * x0 + np.sqrt(sigma[k + 1] ** 2 - s**2) * eps)
        shift = (means[0] - means[1]) / width
        kl += 0.5 * np.sum(shift**2)
        log_weight -= np.sum(shift * noise[k + 1]) + 0.5 * np.sum(shift**2)
        x = means[0] + width * noise[k + 1]
    mean = predict(denoiser, x, 6)
    shift = (mean - predict(reference, x, 6)) / np.sqrt(v[6])
    kl += 0.5 * np.sum(shift**2)
    log_weight -= np.sum(shift * noise[7]) + 0.5 * np.sum(shift**2)

    np.testing.assert_allclose(sample.mean, mean, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(sample.psi, mean + np.sqrt(v[6]) * noise[7], rtol=1e-3, atol=1e-4)
    assert float(sample.kl) == pytest.approx(kl, rel=2e-3)
    assert float(sample.log_weight) == pytest.approx(log_weight, rel=2e-3, abs=1e-2)


def test_no_noise_is_ddim(getkey) -> None:
    """η = 0 and v = 0: x_{k+1} = α_{k+1} x̂₀ + σ_{k+1} ε̂ (arXiv 2010.02502, eq. 12), Euler's method on dy/dr."""
    denoiser, context = _network(getkey()), jnp.ones(1)
    chain = Chain.calibrated(_no_errors(2), num_steps=8, min_ratio=0.05, eta=0.0)
    noise = chain.noise(key=getkey())
    y = jnp.sqrt(1 + jnp.square(chain.ratios[0])) * noise[0]
    for now, after in zip(chain.ratios[:-1], chain.ratios[1:]):
        y = y + (after - now) * (y - denoiser(y, now, denoiser.condition(now, context))) / now
    expected = denoiser(y, chain.ratios[-1], denoiser.condition(chain.ratios[-1], context))
    np.testing.assert_allclose(chain.simulate(denoiser, context, noise).psi, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("num_steps", [5, 10])
def test_path_divergence_of_a_tilt_is_that_of_the_ends(getkey, num_steps: int) -> None:
    # The tilt of a Gaussian only reweights ψ, so the exact chains' paths given ψ agree, and
    # KL(path) = KL(ψ) = wᵀSw/(2λ²) = (0.25·4 + 2·1)/(2·0.25) = 6 nats.
    prior = GaussianDenoiser(jnp.asarray([0.3, -1.0]), jnp.asarray([0.25, 2.0]))
    tilted = prior.tilted(jnp.asarray([2.0, 1.0]), 0.5)
    chain = Chain.calibrated(prior.errors(), num_steps=num_steps, min_ratio=0.05)
    noise = jax.vmap(lambda key: chain.noise(key=key))(jax.random.split(getkey(), 8))
    kl = jax.vmap(lambda e: chain.simulate(tilted, _NOWHERE, e, reference=prior).kl)(noise)
    # The means differ by a constant, so every path reads the same.
    np.testing.assert_allclose(kl, 6.0, rtol=5e-3)


def test_path_divergence_bounds_that_of_the_ends(getkey) -> None:
    # Another variance: the two chains share their widths, and their paths differ by more than their ends.
    prior, other = GaussianDenoiser(jnp.zeros(1), jnp.ones(1)), GaussianDenoiser(jnp.full(1, 0.5), jnp.full(1, 0.3))
    chain = Chain.calibrated(prior.errors(), num_steps=10, min_ratio=0.05)
    (m, s), (m_other, s_other) = (_exact_law(d, chain) for d in (prior, other))
    marginal = 0.5 * (s_other / s + (m_other - m) ** 2 / s - 1 - np.log(s_other / s))[0]
    noise = jax.vmap(lambda key: chain.noise(key=key))(jax.random.split(getkey(), 20_000))
    samples = jax.vmap(lambda e: chain.simulate(other, _NOWHERE, e, reference=prior))(noise)
    path, error = float(jnp.mean(samples.kl)), float(jnp.std(samples.kl)) / np.sqrt(20_000)
    assert path > marginal + 4 * error
    # The log-weight's mean is minus the divergence.
    spread = float(jnp.std(samples.log_weight + samples.kl)) / np.sqrt(20_000)
    assert float(jnp.mean(samples.log_weight + samples.kl)) == pytest.approx(0.0, abs=4 * spread)


def test_path_weights_are_unbiased(getkey) -> None:
    prior = GaussianDenoiser(jnp.zeros(2), jnp.asarray([1.0, 0.5]))
    other = GaussianDenoiser(jnp.asarray([0.4, -0.2]), jnp.asarray([0.8, 0.5]))
    chain = Chain.calibrated(prior.errors(), num_steps=10, min_ratio=0.05)
    n = 40_000
    noise = jax.vmap(lambda key: chain.noise(key=key))(jax.random.split(getkey(), n))
    samples = jax.jit(jax.vmap(lambda e: chain.simulate(other, _NOWHERE, e, reference=prior)))(noise)
    weights, psi = np.exp(np.asarray(samples.log_weight, np.float64)), np.asarray(samples.psi, np.float64)
    assert weights.mean() == pytest.approx(1.0, abs=4 * weights.std() / np.sqrt(n))
    # E_P'[w ψ] = E_P[ψ] = 0 and E_P'[w ψ²] = S.
    for moment, expected in ((psi, [0.0, 0.0]), (psi**2, [1.0, 0.5])):
        weighted = weights[:, None] * moment
        np.testing.assert_array_less(np.abs(weighted.mean(0) - expected), 4 * weighted.std(0) / np.sqrt(n))


def test_outcomes_stay_in_the_range_of_the_data(getkey) -> None:
    # Uniform on {−1, 1}, x̂₀ = tanh(y/r²): in the hull of the data, so that its range changes nothing.
    data_range = (jnp.full(1, -1.0), jnp.full(1, 1.0))
    free = Chain.calibrated(_no_errors(1), num_steps=8, min_ratio=0.05)
    bounded = Chain.calibrated(_no_errors(1), num_steps=8, min_ratio=0.05, data_range=data_range)
    noise = bounded.noise(key=getkey())
    coin = _Coin()
    np.testing.assert_array_equal(bounded.simulate(coin, _NOWHERE, noise).psi, free.simulate(coin, _NOWHERE, noise).psi)
    # What is beyond it cannot be reached by any denoiser, whatever it says; and counts as no further away.
    beyond = _ShiftBelow(coin, 200.0, 5.0)
    sample = bounded.simulate(beyond, _NOWHERE, noise, reference=coin)
    assert float(free.simulate(beyond, _NOWHERE, noise).mean[0]) > 3
    assert float(sample.mean[0]) == pytest.approx(1.0, abs=1e-5)
    assert float(sample.kl) < float(free.simulate(beyond, _NOWHERE, noise, reference=coin).kl)


class _Coin(AbstractDenoiser):
    def condition(self, ratio, context):
        return 1 / jnp.square(ratio)

    def __call__(self, y, ratio, conditioning):
        return jnp.tanh(y * conditioning)


class _ShiftBelow(AbstractDenoiser):
    """Differs from `denoiser` only at levels below `ratio`."""

    denoiser: AbstractDenoiser
    ratio: float
    shift: float

    def condition(self, ratio, context):
        return self.denoiser.condition(ratio, context)

    def __call__(self, y, ratio, conditioning):
        return self.denoiser(y, ratio, conditioning) + jnp.where(ratio < self.ratio, self.shift, 0.0)


def test_every_use_of_the_adapted_network_is_charged(getkey) -> None:
    prior = GaussianDenoiser(jnp.zeros(1), jnp.ones(1))
    chain = Chain.calibrated(prior.errors(), num_steps=5, min_ratio=0.05)
    noise = chain.noise(key=getkey())
    last = _ShiftBelow(prior, 0.051, 1.0)
    moved, stayed = (chain.simulate(d, _NOWHERE, noise, reference=prior) for d in (last, prior))
    # Only the last draw moved, by 1, and its width is √v_K, v = r²/(1 + r²).
    np.testing.assert_allclose(moved.psi - stayed.psi, 1.0, rtol=1e-5)
    assert float(moved.kl) == pytest.approx(0.5 * (1 + 0.05**2) / 0.05**2, rel=2e-3)
    assert float(stayed.kl) == 0 and float(stayed.log_weight) == 0
    # One level up, the last step is charged too.
    assert float(chain.simulate(_ShiftBelow(prior, 0.5, 1.0), _NOWHERE, noise, reference=prior).kl) > float(moved.kl)


def test_without_a_reference_nothing_is_measured(getkey) -> None:
    chain = Chain.calibrated(_gaussian().errors(), num_steps=3, min_ratio=0.05)
    noise = chain.noise(key=getkey())
    bare = chain.simulate(_gaussian(), _NOWHERE, noise)
    assert float(bare.kl) == 0 and float(bare.log_weight) == 0
    measured = chain.simulate(_gaussian(), _NOWHERE, noise, reference=_gaussian())
    np.testing.assert_allclose(bare.psi, measured.psi, rtol=1e-5, atol=1e-6)


def test_shapes_and_the_number_of_evaluations() -> None:
    chain = Chain.calibrated(ErrorCurve.untrained(3), num_steps=4, min_ratio=0.05)
    assert (chain.num_steps, chain.num_transitions) == (4, 5)
    assert chain.noise(key=jax.random.key(0)).shape == (6, 3)
    assert chain.ratios.shape == (5,) and chain.width.shape == (4, 3)


def test_no_gradient_reaches_the_widths(getkey) -> None:
    chain = Chain.calibrated(_gaussian().errors(), num_steps=3, min_ratio=0.05)
    noise = chain.noise(key=getkey())
    gradient = eqx.filter_grad(lambda c: jnp.sum(c.simulate(_gaussian(), _NOWHERE, noise).psi))(chain)
    assert all(float(jnp.abs(leaf).max()) == 0 for leaf in jax.tree.leaves(gradient))
