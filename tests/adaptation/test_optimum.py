"""J* by importance sampling against closed forms."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from owma.adaptation import AllParameters, PredicateParameters, estimate_optimum

# wᵀm = 0.5 and wᵀSw = 1, so J* = 0.5 + 1/(2λ) and KL(q*‖p) = 1/(2λ²).
_MEAN, _VARIANCE, _WEIGHT = [1.0, 0.0], [2.0, 0.5], [0.5, 1.0]


@pytest.mark.parametrize("kl_coef", [0.8, 2.0])
def test_the_optimum_of_a_gaussian_within_its_error(getkey, gaussian_problem, kl_coef: float) -> None:
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT, kl_coef=kl_coef)
    delta = AllParameters().zeros(problem.denoiser)
    optimum = eqx.filter_jit(estimate_optimum)(problem, delta, 32, key=getkey())
    assert float(optimum.error) < 0.05
    assert float(optimum.value) == pytest.approx(0.5 + 1 / (2 * kl_coef), abs=4 * float(optimum.error))
    # 16,384 draws of unit standard deviation.
    assert float(optimum.start) == pytest.approx(0.5, abs=4 / np.sqrt(32 * 512))
    assert float(optimum.divergence) == pytest.approx(1 / (2 * kl_coef**2), abs=0.15)


def test_a_good_proposal_is_worth_many_draws(getkey, gaussian_problem) -> None:
    # KL* = 8 nats: one in exp(8) draws of p is one of q*, and with Δφ at the tilt every second draw of the mixture is.
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT, kl_coef=0.25)
    zeros = PredicateParameters(lambda path, leaf: path == ".mean").zeros(problem.denoiser)
    tilt = eqx.tree_at(lambda d: d.mean, zeros, jnp.asarray([4.0, 2.0]))  # Sw/λ
    poor, good = (eqx.filter_jit(estimate_optimum)(problem, delta, 16, key=getkey()) for delta in (zeros, tilt))
    assert float(good.ess) > 0.4 * 2 * 16 * 512 > 20 * float(poor.ess)
    assert float(good.value) == pytest.approx(2.5, abs=4 * float(good.error) + 1e-3)
    assert float(good.error) < 0.02
