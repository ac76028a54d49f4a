"""Rivals of adaptation: none reads more than the optimum, and those that are exact in the limit are so."""

import dataclasses
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma._internal.errors import ConfigError
from owma._internal.types import Psi, Scalar
from owma.config.json import from_json, to_json
from owma.outcomes.testbeds import GaussianMixtureDenoiser, testbed_policy, testbed_world
from owma.outcomes.value import AbstractValue, LinearValue
from owma.planners import (
    CEM,
    PUBLISHED,
    SVDD,
    AbstractPlanner,
    AbstractPlannerConfig,
    AgentModel,
    FKSteering,
    GuidedDiffusion,
    NoiseOptimization,
    OnlineAdaptation,
    PlanInfo,
    PlanResult,
    RandomShooting,
    Static,
    TiltedResampling,
    TwistedSMC,
)
from owma.planners.base import guarded_plan
from owma.planners.particles import systematic

# wᵀm = 0.5 and wᵀSw = 1: J₀ = 0.5, and with λ = 0.5 J* = 0.5 + 1/(2·0.5) = 1.5 at m + Sw/λ = (3, 1).
_MEAN, _VARIANCE, _WEIGHT, _KL_COEF = [1.0, 0.0], [2.0, 0.5], [0.5, 1.0], 0.5
_START, _OPTIMUM, _TILT = 0.5, 1.5, [3.0, 1.0]

_RIVALS: tuple[tuple[AbstractPlannerConfig, int], ...] = (
    # with the passes of one decision, counted by hand for K = 10: 11 transitions
    (TiltedResampling(num_samples=64, kl_coef=_KL_COEF), 64 * 11),
    (FKSteering(num_particles=64, kl_coef=_KL_COEF), 64 * 11),
    (TwistedSMC(num_particles=64, kl_coef=_KL_COEF), 2 * 64 * 11),
    (SVDD(num_candidates=64, kl_coef=_KL_COEF), 1 + 64 * 10),
    (NoiseOptimization(num_steps=6, num_samples=32, kl_coef=_KL_COEF), 32 * (2 * 6 + 1) * 11),
    (CEM(num_iterations=3, num_samples=64, num_elites=16, kl_coef=_KL_COEF), 64 * 4 * 11),
)
_WEIGHTED = tuple(config for config, _ in _RIVALS if not isinstance(config, SVDD))


def _name(config: object) -> str:
    return type(config).__name__


def _decisions(
    config: AbstractPlannerConfig, model: AgentModel, num: int, key: jax.Array
) -> tuple[np.ndarray, PlanInfo]:
    psi, info = _decide(config.build(), model, jax.random.split(key, num))
    return np.asarray(psi), info


@eqx.filter_jit
def _decide(planner: AbstractPlanner, model: AgentModel, keys: jax.Array) -> tuple[jax.Array, PlanInfo]:
    """One program for all decisions of the same shapes."""

    def one(key: jax.Array) -> tuple[Psi, PlanInfo]:
        obs = jnp.zeros_like(model.world.terminal_outcome)
        psi, _, info = planner.plan(model, obs, planner.init(model), key=key)
        return psi, info

    return jax.vmap(one)(keys)


def _objective(model: AgentModel, info: PlanInfo, kl_coef: float) -> np.ndarray:
    return np.asarray(info.value) / float(model.value_scale) - kl_coef * np.asarray(info.kl)


@pytest.mark.parametrize("config, passes", _RIVALS, ids=_name)
def test_no_rival_reads_more_than_the_optimum(getkey, gaussian_model, config, passes: int) -> None:
    # In units of a value scale of 2: the same problem as with V/2.
    model = gaussian_model(_MEAN, _VARIANCE, [2 * w for w in _WEIGHT], value_scale=2.0)
    psi, info = _decisions(config, model, 300, getkey())
    objective = _objective(model, info, _KL_COEF)
    error = objective.std() / np.sqrt(len(objective))
    assert _START + 3 * error < objective.mean() < _OPTIMUM + 3 * error
    assert np.unique(info.nfe) == [passes]
    assert set(np.asarray(info.result)) == {PlanResult.PLANNED}
    # What is left of the last draw is its noise, √v_K < 0.05, and of the guided proposal a shift of as much again.
    assert np.abs(psi - info.denoised).max() < 8 * 0.05
    # The law of plans is about Gaussian here; its divergence from N(m, S) is at most what the planner charges.
    ratio, offset = psi.var(axis=0) / _VARIANCE, psi.mean(axis=0) - _MEAN
    fitted = 0.5 * np.sum(ratio - 1 - np.log(ratio) + offset**2 / _VARIANCE)
    assert fitted < np.mean(info.kl) + 4 * np.sqrt(4 / 300) + 0.05


@pytest.mark.parametrize("config", _WEIGHTED, ids=_name)
def test_normalisers_are_unbiased(getkey, gaussian_model, config) -> None:
    # V/scale − λ KL is λ log Ẑ in each decision, and E Ẑ = E exp(V/λ).
    model = gaussian_model(_MEAN, _VARIANCE, _WEIGHT)
    other = dataclasses.replace(config, kl_coef=1.0)
    _, info = _decisions(other, model, 1000, getkey())
    normalisers = np.exp(_objective(model, info, 1.0))
    expected = np.exp(0.5 + 0.5)  # J* = wᵀm + wᵀSw/2 at λ = 1
    assert normalisers.mean() == pytest.approx(expected, abs=4 * normalisers.std() / np.sqrt(1000))


@pytest.mark.parametrize(
    "config",
    [
        TiltedResampling(num_samples=1024, kl_coef=_KL_COEF),
        FKSteering(num_particles=512, kl_coef=_KL_COEF),
        TwistedSMC(num_particles=128, kl_coef=_KL_COEF),
        NoiseOptimization(num_steps=30, num_samples=128, kl_coef=_KL_COEF),
    ],
    ids=_name,
)
def test_many_draws_follow_the_tilt(getkey, gaussian_model, config) -> None:
    model = gaussian_model(_MEAN, _VARIANCE, _WEIGHT)
    psi, info = _decisions(config, model, 500, getkey())
    # Standard errors √(S/500), and a twentieth for what finitely many draws leave.
    np.testing.assert_array_less(np.abs(psi.mean(axis=0) - _TILT), 4 * np.sqrt(np.array(_VARIANCE) / 500) + 0.1)
    objective = _objective(model, info, _KL_COEF).mean()
    assert (objective - _START) / (_OPTIMUM - _START) > 0.95


def test_noise_optimisation_can_tilt_a_gaussian(getkey, gaussian_model) -> None:
    # The chain of a Gaussian is linear in its noise: a shift of the noise is a shift of ψ, and can be optimal. Without
    # steps the same draws are worth less.
    model = gaussian_model(_MEAN, _VARIANCE, _WEIGHT)
    config = NoiseOptimization(num_steps=30, num_samples=16, kl_coef=0.25)
    optimum = 0.5 + 1 / (2 * 0.25)
    moved, still = (
        _objective(model, _decisions(c, model, 300, getkey())[1], 0.25).mean()
        for c in (config, dataclasses.replace(config, num_steps=0))
    )
    assert (moved - _START) / (optimum - _START) > 0.9 > (still - _START) / (optimum - _START) + 0.1


@pytest.mark.parametrize("config", [TiltedResampling(num_samples=1024), FKSteering(num_particles=1024)], ids=_name)
def test_a_rare_mode_gets_its_share(getkey, config) -> None:
    # Modes 4 apart, the upper one of weight 0.05, and λ such that the tilt makes them about even.
    mixture, kl_coef = GaussianMixtureDenoiser.two_modes(1, 4.0, 0.05, scale=0.5), 4 / np.log(19.0)
    policy = testbed_policy(1, 2, 1)
    value = LinearValue(jnp.ones(1), jnp.asarray(0.0))
    model = AgentModel(testbed_world(mixture), policy, value, jnp.asarray(1.0))
    psi, _ = _decisions(dataclasses.replace(config, kl_coef=kl_coef), model, 400, getkey())
    # The chain's own q*: 100,000 of its draws, weighed.
    problem = model.problem(jnp.zeros(1), jnp.asarray(kl_coef, jnp.float32))
    draws, values = eqx.filter_jit(lambda e: problem.draw(None, e, with_reference=False))(
        problem.noise(100_000, key=getkey())
    )
    weights = np.exp(np.asarray(values, np.float64) / kl_coef)
    between = 1.8  # the mean is zero: modes at −0.2 and 3.8
    share = np.sum(weights * (np.asarray(draws.psi)[:, 0] > between)) / np.sum(weights)
    assert 0.3 < share < 0.7
    # 400 decisions: standard error 0.025; as much again for the few per cent that 1,024 draws are off.
    assert (psi[:, 0] > between).mean() == pytest.approx(share, abs=0.12)


class _NeverANumber(AbstractValue):
    def __call__(self, psi: Psi) -> Scalar:
        return jnp.sum(psi) * jnp.nan


@pytest.mark.parametrize(
    "config",
    [RandomShooting(num_samples=8), GuidedDiffusion(num_samples=2), *(config for config, _ in _RIVALS)],
    ids=_name,
)
def test_a_value_that_is_no_number_still_gives_a_finite_plan(getkey, gaussian_model, config) -> None:
    model = eqx.tree_at(lambda m: m.value, gaussian_model([0.0], [1.0], [1.0]), _NeverANumber())
    planner, obs = config.build(), jnp.zeros(1)

    @eqx.filter_jit
    def plan(key: jax.Array) -> tuple[PlanInfo, Psi, PlanInfo]:
        proposed = planner.plan(model, obs, None, key=key)
        psi, _, guarded = guarded_plan(planner, model, obs, proposed, key=key)
        return proposed[2], psi, guarded

    info, psi, guarded = plan(getkey())
    assert not np.isfinite(info.value)
    # What stands in for it is not the planner's own, and takes 11 passes more.
    assert int(guarded.result) == PlanResult.NOT_FINITE and int(guarded.nfe) == int(info.nfe) + 11
    assert np.isfinite(psi).all() and float(guarded.kl) == 0.0


@pytest.mark.parametrize("config", [Static(), OnlineAdaptation(), PUBLISHED, *(c for c, _ in _RIVALS)], ids=_name)
def test_configurations_go_into_a_file_and_come_back(config) -> None:
    assert from_json(type(config), json.loads(json.dumps(to_json(config)))) == config


@pytest.mark.parametrize("config", [config for config, _ in _RIVALS], ids=_name)
def test_another_price_does_not_compile_again(getkey, gaussian_model, config) -> None:
    model = gaussian_model([0.0], [1.0], [1.0])

    @eqx.filter_jit
    @eqx.debug.assert_max_traces(max_traces=1)
    def plan(planner, key):
        return planner.plan(model, jnp.zeros(1), None, key=key)[2].kl

    key = getkey()
    low, high = (plan(dataclasses.replace(config, kl_coef=kl_coef).build(), key) for kl_coef in (0.3, 3.0))
    assert float(low) != float(high)


def test_systematic_resampling_keeps_within_one_of_its_share(getkey) -> None:
    weights = np.array([0.05, 0.5, 0.0, 0.33, 0.12])
    for key in jax.random.split(getkey(), 20):
        counts = np.bincount(
            np.asarray(systematic(jnp.log(jnp.tile(jnp.asarray(weights), 4) / 4), key=key)), minlength=20
        )
        assert counts.sum() == 20
        assert (np.abs(counts - 20 * np.tile(weights, 4) / 4) < 1).all()


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: TiltedResampling(kl_coef=0.0), "kl_coef=0.0: needs at least one sample and kl_coef > 0"),
        (lambda: TiltedResampling(num_samples=0), "num_samples=0"),
        (lambda: FKSteering(num_particles=0), "needs a particle"),
        (lambda: TwistedSMC(kl_coef=float("nan")), "kl_coef=nan"),
        (lambda: TwistedSMC(max_shift=-1.0), "max_shift=-1.0: must not be negative"),
        (lambda: FKSteering(min_ess=64.0), "min_ess=64.0: is a share of the particles"),
        (lambda: SVDD(num_candidates=0), "needs a candidate"),
        (lambda: NoiseOptimization(num_steps=-1), "steps must not be negative"),
        (lambda: NoiseOptimization(learning_rate=0.0), "learning_rate=0.0"),
        (lambda: CEM(num_elites=200), "needs num_iterations >= 0 and 1 <= num_elites <= num_samples"),
        (lambda: CEM(momentum=1.0), r"momentum in \[0, 1\)"),
    ],
)
def test_configurations_out_of_range(build, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()
