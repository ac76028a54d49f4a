"""The exact divergence on a tilt, and the published surrogate by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.adaptation import AbstractDivergence, AbstractGradient, AllParameters, HybridKL, PathKL
from owma.outcomes.testbeds import GaussianDenoiser


def _shift(problem, mean: list[float]) -> GaussianDenoiser:
    """Δφ that moves the mean by `mean`."""
    return eqx.tree_at(lambda d: d.mean, AllParameters().zeros(problem.denoiser), jnp.asarray(mean))


def test_path_divergence_of_the_tilt(getkey, gaussian_problem) -> None:
    # w = (0.5, 1), S = (2, 0.5): Δm = Sw/λ = (1, 0.5)/0.5 = (2, 1); KL = wᵀSw/(2λ²) = (0.5 + 0.5)/0.5 = 2.
    problem = gaussian_problem([1.0, 0.0], [2.0, 0.5], [0.5, 1.0], kl_coef=0.5)
    delta, noise = _shift(problem, [2.0, 1.0]), problem.noise(16, key=getkey())
    samples, values = problem.draw(delta, noise, with_reference=True)
    kl = PathKL()(problem, delta, samples, values, noise, key=getkey())
    assert float(kl) == pytest.approx(2.0, rel=5e-3)


def test_objective_at_the_tilt_is_the_optimum(getkey, gaussian_problem) -> None:
    # J* = wᵀm + wᵀSw/(2λ) = 0.5 + 1/(2·0.5) = 1.5.
    problem = gaussian_problem([1.0, 0.0], [2.0, 0.5], [0.5, 1.0], kl_coef=0.5)
    assert float(problem.denoiser.optimum(problem.value.weight, 0.5)) == pytest.approx(1.5)
    tilted = problem.denoiser.tilted(problem.value.weight, 0.5)
    np.testing.assert_allclose(tilted.mean, [3.0, 1.0])
    delta, noise = _shift(problem, [2.0, 1.0]), problem.noise(50_000, key=getkey())

    @jax.jit
    def attained(scale):
        moved = jax.tree.map(lambda x: scale * x, delta)
        samples, values = problem.draw(moved, noise, with_reference=True)
        return problem.objective(values, jnp.mean(samples.kl))

    # V has standard deviation 1; 4 standard errors of 50,000 draws, and 0.5 % of 2 nats at λ = 0.5.
    tolerance = 4 / np.sqrt(50_000) + 0.005
    at_tilt = float(attained(jnp.asarray(1.0)))
    assert at_tilt == pytest.approx(1.5, abs=tolerance)
    # On the same noise the tilt beats what is short of it and what overshoots: J(t) = 0.5 + 2t − t².
    for scale in (0.5, 1.5):
        assert float(attained(jnp.asarray(scale))) == pytest.approx(at_tilt - 0.25, abs=0.01)


def test_value_scale_is_the_unit_of_lambda(getkey, gaussian_problem) -> None:
    # Ten times the value in ten times the unit is the same problem.
    noise = None
    objectives = []
    for factor in (1.0, 10.0):
        problem = gaussian_problem([1.0], [2.0], [factor], value_scale=factor)
        noise = problem.noise(8, key=jax.random.key(0))
        samples, values = problem.draw(_shift(problem, [0.7]), noise, with_reference=True)
        objectives.append(float(problem.objective(values, jnp.mean(samples.kl))))
    assert objectives[0] == pytest.approx(objectives[1], rel=1e-5)


def test_hybrid_divergence_by_hand(getkey, gaussian_problem) -> None:
    # With common noise a move of the mean by (0.3, −0.4) moves every value by w·Δm = 2·0.3 − 0.4 = 0.2, in units of
    # 0.5: 0.4. So ½‖Δφ‖² + 0.1·0.4² = 0.125 + 0.016.
    problem = gaussian_problem([0.0, 0.0], [1.0, 0.5], [2.0, 1.0], value_scale=0.5)
    delta, noise = _shift(problem, [0.3, -0.4]), problem.noise(32, key=getkey())
    samples, values = problem.draw(delta, noise, with_reference=False)
    kl = HybridKL(common_noise=True)(problem, delta, samples, values, noise, key=getkey())
    assert float(kl) == pytest.approx(0.141, rel=1e-3)


def test_floor_of_the_hybrid_divergence(getkey, gaussian_problem) -> None:
    # At Δφ = 0 independent noise leaves 0.1·E[(V' − V)²] = 0.2 Var V, V in units of `value_scale`: Var V = 4·1 + 1·0.5
    # = 4.5 over 9 is 0.5, so 0.1. Common noise leaves nothing.
    problem = gaussian_problem([0.0, 0.0], [1.0, 0.5], [2.0, 1.0], value_scale=3.0)
    delta, noise = AllParameters().zeros(problem.denoiser), problem.noise(20_000, key=getkey())
    samples, values = problem.draw(delta, noise, with_reference=False)
    common, independent = (
        float(HybridKL(common_noise=c)(problem, delta, samples, values, noise, key=getkey())) for c in (True, False)
    )
    assert common == pytest.approx(0.0, abs=1e-9)
    # 20,000 squares: standard error 1 %.
    assert independent == pytest.approx(0.1, rel=0.05)


def test_draws_without_a_delta_are_the_trained_models(getkey, gaussian_problem) -> None:
    problem = gaussian_problem([0.5], [2.0], [1.0])
    noise = problem.noise(8, key=getkey())
    prior, _ = problem.draw(None, noise, with_reference=False)
    same, _ = problem.draw(AllParameters().zeros(problem.denoiser), noise, with_reference=True)
    np.testing.assert_allclose(same.psi, prior.psi, rtol=1e-5, atol=1e-6)
    assert float(jnp.abs(same.kl).max()) == 0 and float(jnp.abs(same.log_weight).max()) == 0


@pytest.mark.parametrize("interface", [AbstractDivergence, AbstractGradient])
def test_keywords_of_a_class_reach_those_that_it_inherits_from_besides(interface: type) -> None:
    seen = {}

    class Registered:
        def __init_subclass__(cls, **keywords: object) -> None:
            seen.update(keywords)

    type(interface)("Mine", (interface, Registered), {}, named="mine")
    assert seen == {"named": "mine"}
    with pytest.raises(TypeError, match="no keyword"):
        type(interface)("Mine", (interface,), {}, misspelt="mine")
