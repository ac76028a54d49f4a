"""Adaptation reaches the optimum that is known, and never reads more than it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.adaptation import AbstractDeltaFilter, Adaptation, AllParameters, PathKL

# wᵀm = 0.5 and wᵀSw = 0.5 + 0.5 = 1, so J₀ = 0.5 and J* = 0.5 + 1/(2·0.5) = 1.5, at m + Sw/λ = (3, 1).
_MEAN, _VARIANCE, _WEIGHT, _KL_COEF = [1.0, 0.0], [2.0, 0.5], [0.5, 1.0], 0.5
_START, _OPTIMUM = 0.5, 1.5


class _Mean(AbstractDeltaFilter):
    """Only the mean: the Gaussian tilt moves nothing else."""

    def __call__(self, denoiser):
        return eqx.tree_at(lambda d: d.mean, jax.tree.map(lambda _: False, denoiser), True)


def _adaptation(delta_filter: AbstractDeltaFilter, **changes: Any) -> Adaptation:
    settings: dict[str, Any] = (
        dict(learning_rate=jnp.asarray(0.1), num_steps=60, num_samples=512, fresh_noise=True) | changes
    )
    return Adaptation(divergence=PathKL(), delta_filter=delta_filter, **settings)


def _run(adaptation: Adaptation, problem, key):
    return eqx.filter_jit(adaptation.run)(problem, adaptation.init(problem.denoiser), key=key)


@pytest.mark.parametrize("fresh_noise", [True, False])
def test_adaptation_reaches_the_tilt(getkey, gaussian_problem, fresh_noise: bool) -> None:
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT, kl_coef=_KL_COEF)
    state, curves = _run(_adaptation(_Mean(), fresh_noise=fresh_noise), problem, getkey())
    # V has standard deviation √wᵀSw = 1 at every Δφ, and the divergence of a moved mean is the same on every path.
    error = 1 / np.sqrt(512)
    assert float(curves.objective[0]) == pytest.approx(_START, abs=4 * error)
    assert float(curves.kl[0]) == 0
    assert (np.asarray(curves.objective) <= _OPTIMUM + 3 * error).all()
    np.testing.assert_allclose(state.delta.mean, [2.0, 1.0], atol=0.15)
    assert state.delta.variance is None
    # The fraction attained, on new noise: J(Δm) = wᵀ(m + Δm) − λ Σ Δm²/(2S) exactly.
    moved = np.asarray(state.delta.mean)
    final = np.dot(_WEIGHT, moved + _MEAN) - _KL_COEF * np.sum(moved**2 / (2 * np.asarray(_VARIANCE)))
    assert (final - _START) / (_OPTIMUM - _START) > 0.99
    np.testing.assert_allclose(curves.objective, curves.value - _KL_COEF * curves.kl, rtol=1e-4, atol=1e-5)


def test_adapting_all_parameters_improves_and_stays_below_the_optimum(getkey, gaussian_problem) -> None:
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT, kl_coef=_KL_COEF)
    state, curves = _run(_adaptation(AllParameters(), learning_rate=jnp.asarray(0.05)), problem, getkey())
    # The variance moves too, so that V's standard deviation and the paths' divergence are estimated afresh.
    noise = problem.noise(20_000, key=getkey())
    samples, values = eqx.filter_jit(lambda: problem.draw(state.delta, noise, with_reference=True))()
    each = np.asarray(values) - _KL_COEF * np.asarray(samples.kl)
    error = each.std() / np.sqrt(len(each))
    assert each.mean() < _OPTIMUM + 3 * error
    assert (each.mean() - _START) / (_OPTIMUM - _START) > 0.9
    assert np.isfinite(np.asarray(curves.objective)).all()


def test_first_step_of_adam_is_the_learning_rate(getkey, gaussian_problem) -> None:
    # Adam's first step is lr·sign(gradient), and ∂J/∂m = w at Δφ = 0: up in both coordinates.
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT)
    state, curves = _run(_adaptation(_Mean(), num_steps=1), problem, getkey())
    np.testing.assert_allclose(state.delta.mean, [0.1, 0.1], rtol=1e-3)
    assert curves.objective.shape == (1,)


def test_no_steps_change_nothing(getkey, gaussian_problem) -> None:
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT)
    state, curves = _run(_adaptation(AllParameters(), num_steps=0), problem, getkey())
    assert all(float(jnp.abs(leaf).max()) == 0 for leaf in jax.tree.leaves(state.delta))
    assert curves.objective.shape == (0,)


def test_common_noise_ascends_one_sample_average(getkey, gaussian_problem) -> None:
    # With Δφ held (lr = 0) the objective repeats itself under common noise, and does not under fresh noise.
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT)
    settings = {"learning_rate": jnp.asarray(0.0), "num_steps": 4, "num_samples": 8}
    _, common = _run(_adaptation(_Mean(), fresh_noise=False, **settings), problem, getkey())
    _, fresh = _run(_adaptation(_Mean(), fresh_noise=True, **settings), problem, getkey())
    assert np.ptp(np.asarray(common.objective)) == 0
    assert len(np.unique(np.asarray(fresh.objective))) == 4
