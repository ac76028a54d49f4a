"""Planners: promises in closed form, fallbacks that say so, and no compilation when a number changes."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from owma._internal.errors import ConfigError
from owma._internal.types import Psi, Scalar
from owma.diffusion import FiLMDenoiser
from owma.outcomes.testbeds import GaussianDenoiser
from owma.outcomes.value import AbstractValue
from owma.planners import AgentModel, GuidedDiffusion, OnlineAdaptation, PlanResult, RandomShooting, Static
from owma.planners.guided_diffusion import ConstantGuidance, GradientGuidance

_CONFIGS = (
    Static(),
    RandomShooting(num_samples=8, num_elites=2),
    GuidedDiffusion(num_samples=2),
    GuidedDiffusion(guidance="constant"),
    OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=4, adapt="all"),
    OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=4, adapt="all", divergence="hybrid", choice="resample"),
    OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=4, adapt="all", warm_start=True, choice="draw"),
)


def _plan(config, model: AgentModel, key: jax.Array, state=None):
    planner = config.build()
    return _decide(planner, model, planner.init(model) if state is None else state, key)


@eqx.filter_jit
def _decide(planner, model: AgentModel, state, key: jax.Array):
    """One program for all decisions of the same shapes."""
    return planner.plan(model, jnp.zeros_like(model.world.terminal_outcome), state, key=key)


def _network_model(model: AgentModel, key: jax.Array) -> AgentModel:
    dims = model.world.whitening.dims
    build_key, out_key = jax.random.split(key)
    network = FiLMDenoiser(dims, dims, width=16, depth=2, embed_width=8, key=build_key)
    network = eqx.tree_at(lambda d: d.net.trunk_out.weight, network, 0.3 * jax.random.normal(out_key, (dims, 16)))
    return eqx.tree_at(lambda m: m.world.denoiser, model, network)


@pytest.mark.parametrize("config", _CONFIGS, ids=lambda c: type(c).__name__)
def test_what_every_planner_says(getkey, gaussian_model, config) -> None:
    model = gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0])
    psi, _, info = _plan(config, model, getkey())
    assert psi.shape == (2,) and np.isfinite(np.asarray(psi)).all()
    assert float(info.value) == pytest.approx(float(model.value(psi)), rel=1e-4, abs=1e-5)
    assert float(info.kl) > -5 and np.isfinite(float(info.kl))
    assert int(info.nfe) > 0 and int(info.result) in list(PlanResult)


def test_static_is_a_draw_of_the_model(getkey, gaussian_model) -> None:
    model, planner = gaussian_model([0.5], [2.0], [1.0]), Static().build()
    plans = eqx.filter_jit(jax.vmap(lambda k: planner.plan(model, jnp.zeros(1), None, key=k)[0]))(
        jax.random.split(getkey(), 20_000)
    )
    # 20,000 draws: standard errors 0.01 and 1 %.
    assert float(jnp.mean(plans)) == pytest.approx(0.5, abs=0.04)
    assert float(jnp.var(plans)) == pytest.approx(2.0, rel=0.05)


def test_divergence_of_the_best_of_n(getkey, gaussian_model) -> None:
    # The best of n has density n F(v)^{n−1} over the model's: KL = E[log n + (n − 1) log F] = log n − (n − 1)/n.
    model, planner = gaussian_model([0.5], [4.0], [2.0]), RandomShooting(num_samples=16).build()
    _, _, info = eqx.filter_jit(jax.vmap(lambda k: planner.plan(model, jnp.zeros(1), None, key=k)))(
        jax.random.split(getkey(), 4000)
    )
    density = np.log(16) + 15 * scipy.stats.norm.logcdf(np.asarray(info.value), loc=1.0, scale=4.0)
    assert density.mean() == pytest.approx(float(info.kl[0]), abs=4 * density.std() / np.sqrt(4000))
    assert float(info.kl[0]) == pytest.approx(np.log(16) - 15 / 16, rel=1e-5)


def test_a_plan_is_one_of_the_elites(getkey, gaussian_model) -> None:
    model, key = gaussian_model([0.0], [1.0], [1.0]), getkey()
    psi, _, info = _plan(RandomShooting(num_samples=32, num_elites=5), model, key)
    best = np.sort(np.asarray(info.prior_values))[-5:]
    np.testing.assert_allclose(np.sort(np.asarray(info.values)), best, rtol=1e-4, atol=1e-5)
    # V(ψ) = ψ here.
    assert np.abs(best - float(psi[0])).min() < 1e-5
    assert float(info.kl) == pytest.approx(np.log(32 / 5), rel=1e-5)
    assert int(info.nfe) == 32 * 11
    # All of n are elites: nothing was chosen.
    _, _, info = _plan(RandomShooting(num_samples=8, num_elites=8), model, key)
    assert float(info.kl) == pytest.approx(0.0, abs=1e-6)


def test_gradient_guidance_is_the_tilt_of_a_gaussian(getkey, gaussian_model) -> None:
    model = gaussian_model([0.5, -1.0], [0.3, 2.0], [1.0, 0.5])
    guided = GradientGuidance(model.world.denoiser, model.value, jnp.asarray(2.0))
    tilted = model.world.denoiser.tilted(model.value.weight, 0.5)
    y = jax.random.normal(getkey(), (2,))
    for ratio in (jnp.asarray(0.05), jnp.asarray(1.0), jnp.asarray(50.0)):
        expected = tilted(y, ratio, tilted.condition(ratio, y))
        np.testing.assert_allclose(guided(y, ratio, guided.condition(ratio, y)), expected, rtol=1e-4, atol=1e-4)


def test_guided_plans_follow_the_tilt_and_report_its_divergence(getkey, gaussian_model) -> None:
    # c = 2 over a value scale of 4 is 1/λ = 1/2: the mean moves by Sw/2 = (0.5, 1), KL = wᵀSw/8 = 0.75.
    model = gaussian_model([0.0, 0.0], [1.0, 1.0], [1.0, 2.0], value_scale=4.0)
    model = eqx.tree_at(lambda m: m.value.bias, model, jnp.asarray(3.0))
    planner = GuidedDiffusion(guidance_coef=2.0).build()
    plans, _, info = eqx.filter_jit(jax.vmap(lambda k: planner.plan(model, jnp.zeros(2), None, key=k)))(
        jax.random.split(getkey(), 10_000)
    )
    np.testing.assert_allclose(np.mean(plans, axis=0), [0.5, 1.0], atol=0.04)
    # wᵀSw/(2·4) = 5/8; the standard deviation of a log-weight is √(2·5/8).
    assert float(jnp.mean(info.kl)) == pytest.approx(5 / 8, abs=4 * np.sqrt(1.25 / 10_000))


def test_constant_guidance_formula(getkey) -> None:
    denoiser = GaussianDenoiser(jnp.zeros(2), jnp.ones(2))
    guided = ConstantGuidance(denoiser, jnp.asarray([1.0, -2.0]), jnp.asarray(0.1))
    y = jax.random.normal(getkey(), (2,))
    for ratio in (0.05, 1.0, 100.0):
        alpha, sigma = 1 / np.hypot(1, ratio), ratio / np.hypot(1, ratio)
        r = jnp.asarray(ratio)
        shift = guided(y, r, guided.condition(r, y)) - denoiser(y, r, denoiser.condition(r, y))
        np.testing.assert_allclose(shift, 0.1 * sigma**2 / alpha * np.array([1.0, -2.0]), rtol=1e-3, atol=1e-5)


def test_no_guidance_is_the_model(getkey, gaussian_model) -> None:
    model, key = gaussian_model([0.0], [1.0], [1.0]), getkey()
    for guidance in ("gradient", "constant"):
        _, _, info = _plan(GuidedDiffusion(guidance_coef=0.0, guidance=guidance), model, key)
        assert float(info.kl) == pytest.approx(0.0, abs=1e-6)


def test_no_adaptation_is_the_best_of_the_models_draws(getkey, gaussian_model) -> None:
    model = _network_model(gaussian_model([0.0, 0.0], [1.0, 1.0], [1.0, 1.0]), getkey())
    for _ in range(4):
        _, _, info = _plan(OnlineAdaptation(adaptation_steps=0, n_adaptation_samples=8, choice="best"), model, getkey())
        np.testing.assert_allclose(info.values, info.prior_values, rtol=1e-4, atol=1e-5)
        assert float(info.value) == pytest.approx(float(jnp.max(info.prior_values)), rel=1e-4)
        assert int(info.result) == PlanResult.PLANNED
        assert float(info.kl) == pytest.approx(np.log(8) - 7 / 8, abs=1e-4)


def test_adapted_draws_share_their_noise_with_the_models(getkey, gaussian_model) -> None:
    # Adapting the mean and the variance of a Gaussian moves every draw up together with its prior twin.
    model = gaussian_model([0.0], [1.0], [1.0])
    config = OnlineAdaptation(
        adaptation_steps=30, n_adaptation_samples=64, adapt="all", ascent="adam", delta_phi_lr=0.05, defensive=False
    )
    _, _, info = _plan(config, model, getkey())
    assert int(info.result) == PlanResult.PLANNED
    assert np.corrcoef(info.values, info.prior_values)[0, 1] > 0.95
    assert float(jnp.mean(info.values - info.prior_values)) > 0.5
    assert info.curves is not None and info.curves.objective.shape == (30,)


class _NeverANumber(AbstractValue):
    def __call__(self, psi: Psi) -> Scalar:
        return jnp.sum(psi) * jnp.nan


def _same_key_prior(config: OnlineAdaptation, model: AgentModel, key: jax.Array) -> np.ndarray:
    """A tilted draw of the model, of the same decision: noise and choice come from the same keys."""
    psi, _, _ = _plan(dataclasses.replace(config, adaptation_steps=0, choice="resample"), model, key)
    return np.asarray(psi)


@pytest.mark.parametrize(
    "rate, result",
    # One step of size 5 overshoots: J = 5 − 25/2 < 0.
    [(float("inf"), PlanResult.NOT_FINITE), (5.0, PlanResult.NOT_IMPROVED)],
)
@pytest.mark.parametrize("choice", ["best", "draw", "resample"])
def test_a_failed_adaptation_gives_the_models_own_plan(getkey, gaussian_model, rate, result, choice) -> None:
    model, key = gaussian_model([0.0], [1.0], [1.0]), getkey()
    config = OnlineAdaptation(
        adaptation_steps=1,
        n_adaptation_samples=16,
        adapt="all",
        ascent="adam",
        delta_phi_lr=rate,
        kl_coef=1.0,
        choice=choice,
        defensive=False,
    )
    psi, _, info = _plan(config, model, key)
    assert int(info.result) == result
    assert np.isfinite(np.asarray(psi)).all() and np.isfinite(float(info.kl))
    np.testing.assert_allclose(info.values, info.prior_values, rtol=1e-5, atol=1e-6)  # Two programs may round apart.
    np.testing.assert_allclose(psi, _same_key_prior(config, model, key), rtol=1e-4, atol=1e-5)


def test_a_value_that_is_no_number_still_gives_a_finite_plan(getkey, gaussian_model) -> None:
    model = eqx.tree_at(lambda m: m.value, gaussian_model([0.0], [1.0], [1.0]), _NeverANumber())
    config = OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=4, adapt="all")
    psi, _, info = _plan(config, model, getkey())
    assert int(info.result) == PlanResult.NOT_FINITE
    assert np.isfinite(np.asarray(psi)).all()


def test_a_warm_start_goes_on_where_the_last_decision_ended(getkey, gaussian_model) -> None:
    model = gaussian_model([0.0], [1.0], [1.0])
    config = OnlineAdaptation(
        adaptation_steps=10,
        n_adaptation_samples=256,
        adapt="all",
        ascent="adam",
        delta_phi_lr=0.05,
        kl_coef=0.5,
        warm_start=True,
    )
    _, state, first = _plan(config, model, getkey())
    _, after, second = _plan(config, model, getkey(), state)
    assert first.curves is not None and second.curves is not None and state is not None and after is not None
    assert float(first.curves.kl[0]) < 1e-6 and float(second.curves.kl[0]) > 0
    # 256 draws of unit standard deviation: the objective at the start differs by more than 4 standard errors.
    assert float(second.curves.objective[0]) > float(first.curves.objective[0]) + 0.25
    assert float(after.delta.mean[0]) > float(state.delta.mean[0]) > 0
    assert int(after.ascent.count) == 20
    # Without a warm start nothing is carried.
    assert OnlineAdaptation(adapt="all").build().init(model) is None


def test_a_warm_start_does_not_leave_the_optimum_that_it_has_reached(getkey, gaussian_model) -> None:
    # ψ ~ N(0, 1), V = ψ, λ = 1/2: the optimum is shifted by Sw/λ = 2, which is 2 nats away. At the low price that a
    # decision begins with it would be ten times as far.
    model = gaussian_model([0.0], [1.0], [1.0])
    config = OnlineAdaptation(
        adaptation_steps=10, n_adaptation_samples=256, adapt="all", kl_coef=0.5, anneal=0.1, warm_start=True
    )
    _, state, _ = _plan(config, model, getkey())
    _, _, info = _plan(dataclasses.replace(config, adaptation_steps=2), model, getkey(), state)
    assert info.curves is not None and state is not None
    np.testing.assert_allclose(info.curves.kl, 2.0, rtol=0.2)


def test_a_failed_decision_resets_a_warm_start(getkey, gaussian_model) -> None:
    model = gaussian_model([0.0], [1.0], [1.0])
    config = OnlineAdaptation(
        adaptation_steps=1,
        n_adaptation_samples=8,
        adapt="all",
        ascent="adam",
        delta_phi_lr=float("inf"),
        warm_start=True,
    )
    planner = config.build()
    _, state, info = _plan(config, model, getkey())
    assert int(info.result) == PlanResult.NOT_FINITE
    for leaf, fresh in zip(jax.tree.leaves(state), jax.tree.leaves(planner.init(model)), strict=True):
        np.testing.assert_array_equal(leaf, fresh)


@pytest.mark.parametrize("adapt", ["film", "all", "trunk", "output"])
def test_each_filter_adapts_its_parameters_of_a_network(getkey, gaussian_model, adapt) -> None:
    model = _network_model(gaussian_model([0.0, 0.0], [1.0, 1.0], [1.0, 1.0]), getkey())
    config = OnlineAdaptation(
        adaptation_steps=3, n_adaptation_samples=32, adapt=adapt, ascent="adam", delta_phi_lr=3e-3, warm_start=True
    )
    _, state, info = _plan(config, model, getkey())
    assert int(info.result) == PlanResult.PLANNED
    assert state is not None
    names = {"film": {"film"}, "trunk": {"trunk_in", "trunk", "trunk_out"}, "output": {"trunk_out"}}.get(adapt)
    for name in ("embed", "film", "trunk_in", "trunk", "trunk_out"):
        moved = sum(float(jnp.sum(jnp.square(leaf))) for leaf in jax.tree.leaves(getattr(state.delta.net, name)))
        assert (moved > 0) == (names is None or name in names), name


@pytest.mark.parametrize(
    "before, after",
    [
        (
            OnlineAdaptation(
                adaptation_steps=1, n_adaptation_samples=2, adapt="all", kl_coef=0.5, ascent="adam", delta_phi_lr=1e-3
            ),
            OnlineAdaptation(
                adaptation_steps=1, n_adaptation_samples=2, adapt="all", kl_coef=0.1, ascent="adam", delta_phi_lr=3e-2
            ),
        ),
        (GuidedDiffusion(guidance_coef=1.0), GuidedDiffusion(guidance_coef=3.0)),
    ],
    ids=["online_adaptation", "guided_diffusion"],
)
def test_changing_a_number_does_not_compile_again(getkey, gaussian_model, before, after) -> None:
    model = gaussian_model([0.0], [1.0], [1.0])

    @eqx.filter_jit
    @eqx.debug.assert_max_traces(max_traces=1)
    def plan(planner, model, key):
        return planner.plan(model, jnp.zeros(1), None, key=key)[0]

    key = getkey()
    plans = [plan(config.build(), model, key) for config in (before, after)]
    assert float(plans[0][0]) != float(plans[1][0])
    # The value and its scale are numbers too.
    plan(before.build(), eqx.tree_at(lambda m: m.value_scale, model, jnp.asarray(3.0)), key)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: OnlineAdaptation(kl_coef=-1.0), "kl_coef=-1.0: must not be negative"),
        (lambda: OnlineAdaptation(kl_coef=0.0, choice="resample"), "choice=resample needs kl_coef > 0"),
        (lambda: OnlineAdaptation(adaptation_steps=-1), "steps must not be negative"),
        (lambda: OnlineAdaptation(n_adaptation_samples=0), "at least one sample"),
        (lambda: OnlineAdaptation(delta_phi_lr=0.0), "delta_phi_lr=0.0: must be positive"),
        (lambda: OnlineAdaptation(delta_phi_lr=float("nan")), "delta_phi_lr=nan: must be positive"),
        (lambda: OnlineAdaptation(kl_coef=float("nan")), "kl_coef=nan"),
        (lambda: GuidedDiffusion(guidance_coef=-0.1), "guidance_coef=-0.1: must not be negative"),
        (lambda: GuidedDiffusion(num_samples=0), "num_samples=0"),
        (lambda: RandomShooting(num_samples=3, num_elites=4), "needs 1 <= num_elites <= num_samples"),
        (lambda: RandomShooting(num_elites=0), "needs 1 <= num_elites"),
    ],
)
def test_configurations_out_of_range(build, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()
