"""Adaptation reaches the optimum that is known, and never reads more than it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.adaptation import (
    AbstractDeltaFilter,
    AbstractGradient,
    AdamAscent,
    Adaptation,
    AdjointMatching,
    AllParameters,
    FisherKL,
    HybridKL,
    NaturalAscent,
    PathKL,
    PredicateParameters,
    ReadoutParameters,
    Reparameterised,
    RewardWeighted,
    Truncated,
)

# wᵀm = 0.5 and wᵀSw = 0.5 + 0.5 = 1, so J₀ = 0.5 and J* = 0.5 + 1/(2·0.5) = 1.5, at m + Sw/λ = (3, 1).
_MEAN, _VARIANCE, _WEIGHT, _KL_COEF = [1.0, 0.0], [2.0, 0.5], [0.5, 1.0], 0.5
_START, _OPTIMUM = 0.5, 1.5


# Only the mean: the Gaussian tilt moves nothing else.
_MEAN_ONLY = PredicateParameters(lambda path, leaf: path == ".mean")


def _adaptation(delta_filter: AbstractDeltaFilter, *, learning_rate: float = 0.1, **changes: Any) -> Adaptation:
    settings: dict[str, Any] = dict(
        gradient=Reparameterised(),
        ascent=AdamAscent(jnp.asarray(learning_rate)),
        divergence=PathKL(),
        anneal=jnp.asarray(1.0),
        num_steps=60,
        num_samples=512,
        fresh_noise=True,
    )
    return Adaptation(delta_filter=delta_filter, **(settings | changes))


def _run(adaptation: Adaptation, problem, key):
    return eqx.filter_jit(adaptation.run)(problem, adaptation.init(problem), key=key)


@pytest.mark.parametrize("fresh_noise", [True, False])
def test_adaptation_reaches_the_tilt(getkey, gaussian_problem, fresh_noise: bool) -> None:
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT, kl_coef=_KL_COEF)
    state, curves = _run(_adaptation(_MEAN_ONLY, fresh_noise=fresh_noise), problem, getkey())
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
    state, curves = _run(_adaptation(AllParameters(), learning_rate=0.05), problem, getkey())
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
    state, curves = _run(_adaptation(_MEAN_ONLY, num_steps=1), problem, getkey())
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
    settings = {"learning_rate": 0.0, "num_steps": 4, "num_samples": 8}
    _, common = _run(_adaptation(_MEAN_ONLY, fresh_noise=False, **settings), problem, getkey())
    _, fresh = _run(_adaptation(_MEAN_ONLY, fresh_noise=True, **settings), problem, getkey())
    assert np.ptp(np.asarray(common.objective)) == 0
    assert len(np.unique(np.asarray(fresh.objective))) == 4


def _attained(mean_delta) -> float:
    """(J − J₀)/(J* − J₀) of a moved mean, exactly: J(Δm) = wᵀ(m + Δm) − λ Σ Δm²/(2S)."""
    moved = np.asarray(mean_delta, np.float64)
    gain = np.dot(_WEIGHT, moved) - _KL_COEF * np.sum(moved**2 / (2 * np.asarray(_VARIANCE)))
    return gain / (_OPTIMUM - _START)


def test_one_natural_step_is_the_tilt(getkey, gaussian_problem) -> None:
    # J is quadratic in the mean with the metric as its curvature: an undamped step within the trust region ends at J*.
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT, kl_coef=_KL_COEF)
    ascent = NaturalAscent(max_kl=10.0, damping=1e-6, cg_steps=3)
    state, _ = _run(_adaptation(_MEAN_ONLY, ascent=ascent, num_steps=1, num_samples=4), problem, getkey())
    np.testing.assert_allclose(state.delta.mean, [2.0, 1.0], rtol=1e-3)
    assert _attained(state.delta.mean) > 0.999


@pytest.mark.parametrize("cg_steps", [0, 3])
def test_a_natural_step_stays_in_its_trust_region(getkey, gaussian_problem, cg_steps: int) -> None:
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT, kl_coef=_KL_COEF)
    adaptation = _adaptation(_MEAN_ONLY, ascent=NaturalAscent(max_kl=0.1, cg_steps=cg_steps), num_steps=2)
    _, curves = _run(adaptation, problem, getkey())
    # KL of a moved mean is quadratic: exactly max_kl after one step.
    assert float(curves.kl[1]) == pytest.approx(0.1, rel=0.02)


def test_the_trust_region_falls_over_a_decision(getkey, gaussian_problem) -> None:
    # V is linear and λ tiny, so each step goes as far as it may and in one direction. Of a moved mean sqrt(KL) is
    # additive: bounds of 0.1 and 0.05 nats (half the steps done, nothing to be left) give (0.1^½ + 0.05^½)² after two.
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT, kl_coef=1e-3)
    ascent = NaturalAscent(max_kl=0.1, final_kl=0.0)
    adaptation = _adaptation(_MEAN_ONLY, ascent=ascent, num_steps=2, num_samples=64)
    state, _ = _run(adaptation, problem, getkey())
    kl = np.sum(np.asarray(state.delta.mean) ** 2 / (2 * np.asarray(_VARIANCE)))
    assert kl == pytest.approx((0.1**0.5 + 0.05**0.5) ** 2, rel=0.02)


def test_a_state_goes_on_with_the_schedules_where_it_says(getkey, gaussian_problem) -> None:
    # As above from three quarters on: 0.025 nats, then 0.0125.
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT, kl_coef=1e-3)
    ascent = NaturalAscent(max_kl=0.1, final_kl=0.0)
    adaptation = _adaptation(_MEAN_ONLY, ascent=ascent, num_steps=2, num_samples=64)
    resumed = eqx.tree_at(lambda state: state.schedule_offset, adaptation.init(problem), jnp.asarray(0.75))
    state, _ = eqx.filter_jit(adaptation.run)(problem, resumed, key=getkey())
    kl = np.sum(np.asarray(state.delta.mean) ** 2 / (2 * np.asarray(_VARIANCE)))
    assert kl == pytest.approx((0.025**0.5 + 0.0125**0.5) ** 2, rel=0.02)


@pytest.mark.parametrize(
    "gradient", [Reparameterised(), AdjointMatching(), RewardWeighted()], ids=lambda g: type(g).__name__
)
def test_gradients_lead_to_the_tilt(getkey, gaussian_problem, gradient: AbstractGradient) -> None:
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT, kl_coef=_KL_COEF)
    adaptation = _adaptation(_MEAN_ONLY, gradient=gradient, ascent=NaturalAscent(), num_steps=10, num_samples=256)
    state, _ = _run(adaptation, problem, getkey())
    assert _attained(state.delta.mean) > 0.95


@pytest.mark.parametrize(
    "gradient", [AdjointMatching(), RewardWeighted(), Truncated(100)], ids=lambda g: type(g).__name__
)
def test_gradients_agree_at_the_start(getkey, gaussian_problem, gradient: AbstractGradient) -> None:
    # ∂J/∂m = w at Δφ = 0. Adjoints and derivatives say so on every draw; weights by V, cov(V, ψ)/λ S⁻¹ = w/λ times λ,
    # for a small tilt only (λ = 20) and up to Monte Carlo: 100,000 draws, standard error 20·√(1/S)/√100,000 = 0.09.
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT, kl_coef=20.0)
    delta = _MEAN_ONLY.zeros(problem.denoiser)
    num = 100_000 if isinstance(gradient, RewardWeighted) else 8
    estimate = eqx.filter_jit(gradient)(problem, delta, PathKL(), problem.noise(num, key=getkey()), key=getkey())
    tolerance = 0.4 if isinstance(gradient, RewardWeighted) else 5e-3
    np.testing.assert_allclose(estimate.gradient.mean, _WEIGHT, atol=tolerance)


def test_a_truncated_gradient_sees_the_last_transitions_only(getkey, gaussian_problem) -> None:
    # Only the last draw, ψ = x̂₀(y_K) + noise, with y_K held: ∂ψ/∂m = 1 − S/(S + r²) = r²/(S + r²).
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT)
    delta = _MEAN_ONLY.zeros(problem.denoiser)
    estimate = Truncated(1)(problem, delta, PathKL(), problem.noise(8, key=getkey()), key=getkey())
    variance = np.asarray(_VARIANCE)
    np.testing.assert_allclose(estimate.gradient.mean, np.asarray(_WEIGHT) * 0.05**2 / (variance + 0.05**2), rtol=1e-3)


def test_the_price_rises_to_its_own(getkey, gaussian_problem) -> None:
    # A low price at first, the true one at the end: the same fixed point.
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT, kl_coef=_KL_COEF)
    for anneal in (0.1, 1.0):
        adaptation = _adaptation(
            _MEAN_ONLY, ascent=NaturalAscent(), anneal=jnp.asarray(anneal), num_steps=12, num_samples=256
        )
        state, _ = _run(adaptation, problem, getkey())
        assert _attained(state.delta.mean) > 0.95


def test_adam_clips_and_decays(getkey, gaussian_problem) -> None:
    problem = gaussian_problem(_MEAN, _VARIANCE, _WEIGHT)
    ascent = AdamAscent(jnp.asarray(0.1), final_rate=0.0)
    state, _ = _run(_adaptation(_MEAN_ONLY, ascent=ascent, num_steps=2), problem, getkey())
    # Steps of 0.1 and, half way, 0.05, in the direction of the sign of a gradient that hardly changes.
    np.testing.assert_allclose(state.delta.mean, [0.15, 0.15], rtol=0.05)


@pytest.mark.parametrize("divergence", [HybridKL(), FisherKL()])
def test_gradients_with_a_divergence_of_their_own_refuse_another(divergence) -> None:
    with pytest.raises(
        ValueError, match="AdjointMatching has the path KL built in and cannot charge another divergence"
    ):
        _adaptation(AllParameters(), gradient=AdjointMatching(), divergence=divergence)


def test_passes_are_counted_by_hand() -> None:
    # 3 draws of a chain of 5 transitions. Path KL: adapted and reference, each forward and back, 4 passes a transition,
    # and for a natural step 3: the metric, forward and back, and the length of the step.
    adaptation = _adaptation(AllParameters(), ascent=NaturalAscent(), num_steps=2, num_samples=3)
    assert adaptation.nfe_per_step(5) == 3 * 5 * (4 + 3)
    # Last layers: one network for both models, forward and back, and the metric from what was recorded.
    readout = _adaptation(ReadoutParameters(), ascent=NaturalAscent(), num_steps=2, num_samples=3)
    assert readout.nfe_per_step(5) == 3 * 5 * 2
    # The published surrogate draws from the trained model besides, and does not differentiate that.
    hybrid = _adaptation(AllParameters(), divergence=HybridKL(), num_steps=1, num_samples=1)
    assert hybrid.nfe_per_step(5) == 5 * 3
    # Truncated to 2 of 5: forward 5, back 2, twice.
    assert _adaptation(AllParameters(), gradient=Truncated(2), num_steps=1, num_samples=1).nfe_per_step(5) == 2 * 7
