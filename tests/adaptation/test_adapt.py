"""`owma.adapt` on a denoiser and a value of one's own reaches the optimum that is known in closed form."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import owma
from owma.adaptation import DecisionProblem, PredicateParameters
from owma.adaptation.optimum import estimate_optimum
from owma.diffusion import Chain
from owma.outcomes.testbeds import GaussianDenoiser

_DENOISER = GaussianDenoiser(jnp.asarray([1.0, 0.0]), jnp.asarray([2.0, 0.5]))
_WEIGHT, _KL_COEF = jnp.asarray([0.5, 1.0]), 0.5


class Mine(owma.AbstractValue):
    """A value of one's own: linear, so that the optimum is known."""

    weight: Float[Array, " psi"]

    def __call__(self, psi: Float[Array, " psi"]) -> Float[Array, ""]:
        return self.weight @ psi


def _problem(kl_coef: float = _KL_COEF, weight: jax.Array = _WEIGHT) -> DecisionProblem:
    chain = Chain.calibrated(_DENOISER.errors(), num_steps=10, min_ratio=0.05)
    one = jnp.asarray(1.0)
    return DecisionProblem(_DENOISER, chain, jnp.zeros(1), Mine(weight), one, jnp.asarray(kl_coef))


_CONFIG = owma.OnlineAdaptation(
    ascent="adam", delta_phi_lr=0.1, adaptation_steps=60, n_adaptation_samples=512, adapt="all", anneal=1.0
)


def test_it_reaches_the_tilt_and_its_objective(getkey) -> None:
    only_mean = PredicateParameters(lambda path, leaf: path == ".mean")
    adapted = owma.adapt(
        _problem(), dataclasses.replace(_CONFIG.build().adaptation, delta_filter=only_mean), key=getkey()
    )
    assert isinstance(adapted, owma.Adapted) and int(adapted.result) == 0
    optimum, start = float(_DENOISER.optimum(_WEIGHT, _KL_COEF)), float(_WEIGHT @ _DENOISER.mean)
    # 512 draws of V, whose standard deviation is 1.
    assert float(adapted.objective) == pytest.approx(optimum, abs=4 / np.sqrt(512))
    assert float(adapted.draws.prior_values.mean()) == pytest.approx(start, abs=4 / np.sqrt(512))
    assert adapted.curves.objective.shape == (60,)
    tilt = _DENOISER.tilted(_WEIGHT, _KL_COEF)
    assert isinstance(adapted.denoiser, GaussianDenoiser) and adapted.delta.variance is None
    np.testing.assert_allclose(adapted.denoiser.mean, tilt.mean, atol=0.15)
    assert float(adapted.kl) == pytest.approx(float(_DENOISER.divergence(_WEIGHT, _KL_COEF)), abs=0.15)
    # Its Δφ also serves as the proposal of an importance-sampling estimate of the optimum.
    estimate = eqx.filter_jit(estimate_optimum)(adapted.problem, adapted.delta, 4, key=getkey())
    assert float(estimate.value) == pytest.approx(optimum, abs=4 * float(estimate.error) + 1e-3)


def test_it_says_what_came_of_it(getkey) -> None:
    far = dataclasses.replace(_CONFIG, delta_phi_lr=50.0, adaptation_steps=1, n_adaptation_samples=64)
    assert int(owma.adapt(_problem(), far, key=getkey()).result) == 1  # NOT_IMPROVED: a step far over the top
    spoilt = owma.adapt(_problem(weight=jnp.asarray([jnp.nan, 1.0])), far, key=getkey())
    assert int(spoilt.result) == 2  # NOT_FINITE


def test_it_is_batched_over_prices(getkey) -> None:
    few = dataclasses.replace(_CONFIG, adaptation_steps=20, n_adaptation_samples=128)
    key = getkey()
    problem = _problem()

    def at(price: jax.Array) -> owma.Adapted:
        return owma.adapt(eqx.tree_at(lambda p: p.kl_coef, problem, price), few, key=key)

    adapted = jax.vmap(at)(jnp.asarray([0.5, 2.0]))
    assert adapted.kl[0] > adapted.kl[1] > 0  # a nat is dearer
    assert (adapted.objective > adapted.draws.prior_values.mean(axis=1)).all()
