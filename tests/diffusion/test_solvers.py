"""The deterministic sampler against the exact flow, and the adjoint against diffrax's own and a bare scan."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.diffusion import Chain, ErrorCurve, FiLMDenoiser, ODESampler, solvers
from owma.diffusion.calibration import MAX_RATIO
from owma.diffusion.schedule import karras_grid
from owma.outcomes.testbeds import GaussianDenoiser

_NOWHERE = jnp.zeros(1)
_GAUSSIAN = GaussianDenoiser(jnp.asarray([0.5, -1.0, 0.0]), jnp.asarray([0.3, 1.0, 3.0]))
_FLOOR = 0.05


def _exact(start: jax.Array) -> np.ndarray:
    """The flow keeps (y − m)/√(S + r²); the sampler then reads x̂₀ = m + S/(S + r²)(y − m) at the floor."""
    mean, variance = np.asarray(_GAUSSIAN.mean, np.float64), np.asarray(_GAUSSIAN.variance, np.float64)
    y = np.sqrt(1 + MAX_RATIO**2) * np.asarray(start, np.float64)
    end = (y - mean) * np.sqrt((variance + _FLOOR**2) / (variance + MAX_RATIO**2))
    return mean + variance / (variance + _FLOOR**2) * end


def _error(solver: diffrax.AbstractSolver, num_steps: int) -> float:
    start = jnp.asarray([1.0, -0.7, 0.4])
    psi = ODESampler(solver, num_steps, _FLOOR).transport(_GAUSSIAN, _NOWHERE, start)
    return float(np.linalg.norm(np.asarray(psi) - _exact(start)))


@pytest.mark.parametrize(
    "solver, order, steps",
    # float32 leaves errors of 1e-5 below, so that the higher the order, the fewer steps can be told apart.
    [
        (diffrax.Euler(), 1, (64, 128, 256)),
        (diffrax.Heun(), 2, (16, 32, 64)),
        (diffrax.Ralston(), 2, (32, 64, 128)),
        (diffrax.Bosh3(), 3, (8, 16, 32)),
    ],
)
def test_order_of_convergence(solver: diffrax.AbstractSolver, order: int, steps: tuple[int, ...]) -> None:
    errors = [_error(solver, n) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.3)


def test_euler_is_ddim_on_the_same_grid(getkey) -> None:
    start = jax.random.normal(getkey(), (3,))
    psi = ODESampler(diffrax.Euler(), 6, _FLOOR).transport(_GAUSSIAN, _NOWHERE, start)
    grid = karras_grid(6, MAX_RATIO, _FLOOR)
    alpha, sigma = 1 / np.hypot(1, grid), np.asarray(grid) / np.hypot(1, grid)
    mean, variance = np.asarray(_GAUSSIAN.mean), np.asarray(_GAUSSIAN.variance)

    def predict(x: np.ndarray, k: int) -> np.ndarray:
        return mean + variance / (variance + grid[k] ** 2) * (x / alpha[k] - mean)

    x = np.asarray(start)
    for k in range(6):
        x0 = predict(x, k)
        x = alpha[k + 1] * x0 + sigma[k + 1] * (x - alpha[k] * x0) / sigma[k]
    np.testing.assert_allclose(psi, predict(x, 6), rtol=1e-4, atol=1e-4)


def test_heun_is_the_step_of_edm(getkey) -> None:
    """arXiv 2206.00364, algorithm 1, without its last Euler step to zero: the sampler reads x̂₀ instead."""
    start = jax.random.normal(getkey(), (3,))
    psi = ODESampler(diffrax.Heun(), 5, _FLOOR).transport(_GAUSSIAN, _NOWHERE, start)
    grid = karras_grid(5, MAX_RATIO, _FLOOR)
    mean, variance = np.asarray(_GAUSSIAN.mean), np.asarray(_GAUSSIAN.variance)

    def slope(y: np.ndarray, r: float) -> np.ndarray:
        return (y - mean - variance / (variance + r**2) * (y - mean)) / r

    y = np.sqrt(1 + grid[0] ** 2) * np.asarray(start)
    for now, after in zip(grid[:-1], grid[1:]):
        first = slope(y, now)
        y = y + (after - now) * 0.5 * (first + slope(y + (after - now) * first, after))
    np.testing.assert_allclose(psi, mean + variance / (variance + _FLOOR**2) * (y - mean), rtol=1e-4, atol=1e-4)


def _network(key: jax.Array) -> FiLMDenoiser:
    build_key, out_key = jax.random.split(key)
    denoiser = FiLMDenoiser(2, 1, width=16, depth=2, embed_width=8, key=build_key)
    return eqx.tree_at(lambda d: d.net.trunk_out.weight, denoiser, 0.3 * jax.random.normal(out_key, (2, 16)))


def _gradients(loss: Callable[[FiLMDenoiser], jax.Array], denoiser: FiLMDenoiser) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter_jit(eqx.filter_grad(loss))(denoiser))]


def _assert_close(left: list[np.ndarray], right: list[np.ndarray]) -> None:
    scale = max(np.abs(leaf).max() for leaf in right)
    assert scale > 1e-3
    for a, b in zip(left, right, strict=True):
        # Sums in another order, in float32.
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("adjoint", [diffrax.DirectAdjoint, diffrax.RecursiveCheckpointAdjoint])
def test_gradients_equal_those_of_diffrax_adjoints(getkey, monkeypatch, adjoint) -> None:
    denoiser, reference, context = _network(getkey()), _network(getkey()), jnp.ones(1)
    chain = Chain.calibrated(ErrorCurve.untrained(2), num_steps=5, min_ratio=_FLOOR)
    noise = chain.noise(key=getkey())
    sampler = ODESampler(diffrax.Heun(), 5, _FLOOR)

    def loss(d: FiLMDenoiser) -> jax.Array:
        sample = chain.simulate(d, context, noise, reference=reference)
        flow = sampler.transport(d, context, noise[0])
        return jnp.sum(jnp.square(sample.psi)) + 0.1 * sample.kl + 0.1 * sample.log_weight + jnp.sum(flow)

    ours = _gradients(loss, denoiser)
    monkeypatch.setattr(solvers, "ScanAdjoint", lambda unroll: adjoint())
    _assert_close(ours, _gradients(loss, denoiser))


@pytest.mark.unrolled
def test_a_loop_that_is_written_out_is_the_loop(getkey, monkeypatch) -> None:
    denoiser, context = _network(getkey()), jnp.ones(1)
    chain = Chain.calibrated(ErrorCurve.untrained(2), num_steps=4, min_ratio=_FLOOR)
    noise = chain.noise(key=getkey())
    written_out = []

    def loss(d: FiLMDenoiser) -> jax.Array:
        written_out.append(solvers.unrolled(chain.num_transitions))
        sample = chain.simulate(d, context, noise, reference=denoiser)
        return jnp.sum(jnp.square(sample.psi)) + 0.1 * sample.kl

    shipped = _gradients(loss, denoiser)
    monkeypatch.setattr(solvers, "MOST_UNROLLED", 0)
    jax.clear_caches()
    _assert_close(shipped, _gradients(loss, denoiser))
    assert written_out[0] and not written_out[-1]


def test_gradients_equal_those_of_a_bare_scan(getkey) -> None:
    denoiser, context = _network(getkey()), jnp.ones(1)
    chain = Chain.calibrated(ErrorCurve.untrained(2), num_steps=7, min_ratio=_FLOOR)
    noise = chain.noise(key=getkey())

    def bare(d: FiLMDenoiser) -> jax.Array:
        def step(y, row):
            ratio, gain, width, e = row
            return y + gain * (d(y, ratio, d.condition(ratio, context)) - y) + width * e, None

        start = jnp.sqrt(1 + jnp.square(chain.ratios[0])) * noise[0]
        y, _ = jax.lax.scan(step, start, (chain.ratios[:-1], chain.gain, chain.width, noise[1:-1]))
        last = chain.ratios[-1]
        return jnp.sum(jnp.square(d(y, last, d.condition(last, context)) + chain.last_width * noise[-1]))

    def ours(d: FiLMDenoiser) -> jax.Array:
        return jnp.sum(jnp.square(chain.simulate(d, context, noise).psi))

    assert float(ours(denoiser)) == pytest.approx(float(bare(denoiser)), rel=1e-4)
    _assert_close(_gradients(ours, denoiser), _gradients(bare, denoiser))


def test_samples_end_in_the_data(getkey) -> None:
    sampler = ODESampler(diffrax.Heun(), 60, 0.01)
    keys = jax.random.split(getkey(), 20_000)
    psi = np.asarray(jax.vmap(lambda key: sampler(_GAUSSIAN, _NOWHERE, key=key, dims=3))(keys))
    # 20,000 draws: standard error of a variance 1 %, of a mean 0.012.
    np.testing.assert_allclose(psi.var(axis=0), _GAUSSIAN.variance, rtol=0.05)
    np.testing.assert_allclose(psi.mean(axis=0), _GAUSSIAN.mean, atol=0.05)


def test_the_scan_needs_a_number_of_steps() -> None:
    term = diffrax.ODETerm(lambda t, y, args: -y)
    with pytest.raises(ValueError, match="needs `max_steps`"):
        diffrax.diffeqsolve(
            term, diffrax.Euler(), 0.0, 1.0, 0.5, jnp.ones(1), max_steps=None, adjoint=solvers.ScanAdjoint()
        )
