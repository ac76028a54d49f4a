"""Draws led to recorded outcomes, against laws that are known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma._internal.types import Array, Float, Psi
from owma.adaptation import DecisionProblem, Resample, joined, recorded_proposals
from owma.config.planners import OnlineAdaptation
from owma.diffusion import Chain
from owma.outcomes.kernel import KernelValue
from owma.outcomes.pessimism import recorded_outcomes
from owma.outcomes.testbeds import GaussianDenoiser, GaussianMixtureDenoiser, testbed_policy, testbed_world
from owma.outcomes.value import LinearValue
from owma.planners import AgentModel


def _bump(kept: Float[Array, "m psi"], best: Psi) -> KernelValue:
    """5 near one of the outcomes that it keeps, with a slope that leads away from it."""
    linear = LinearValue(jnp.asarray([-0.05, 0.0]), jnp.asarray(0.0))
    weights = 5.0 * jnp.all(kept == best[None], axis=1)
    return KernelValue(linear, kept, weights, jnp.asarray(2**0.5))


@pytest.mark.parametrize("num", [1, 2])
def test_weights_of_led_draws_estimate_what_the_models_own_would(num: int, getkey) -> None:
    # E[exp(V/λ)] of N(0, 1) with V = ψ and λ = 2 is exp(1/8), whatever outcome draws are led to.
    denoiser = GaussianDenoiser(jnp.zeros(1), jnp.ones(1))
    linear = LinearValue(jnp.ones(1), jnp.asarray(0.0))
    value = KernelValue(linear, jnp.asarray([[0.5], [1.0]]), jnp.zeros(2), jnp.asarray(1.0))
    chain = Chain.calibrated(denoiser.errors(), num_steps=10, min_ratio=0.05)
    problem = DecisionProblem(denoiser, chain, jnp.zeros(1), value, jnp.asarray(1.0), jnp.asarray(2.0))

    @eqx.filter_jit
    def weights(key):
        def once(key):
            proposals = recorded_proposals(problem, num, key=key)
            assert proposals is not None
            samples, values = proposals
            return jnp.exp(problem.log_weights(samples, values))

        return jax.vmap(once)(jax.random.split(key, 100_000))

    means = np.asarray(weights(getkey()).mean(axis=0))
    np.testing.assert_allclose(means, np.exp(0.125), rtol=0.1)  # the weights have heavy tails


def _rare_model(getkey) -> AgentModel:
    """One outcome in 3,000 is near (8, 0), where V is 5; V slopes the other way at all others, of which 32 are kept."""
    logits = jnp.log(jnp.asarray([1 - 1 / 3000, 1 / 3000]))
    means = jnp.asarray([[0.0, 0.0], [8.0, 0.0]])
    factors = jnp.stack([jnp.eye(2), 0.3 * jnp.eye(2)])
    world = testbed_world(GaussianMixtureDenoiser(logits, means, factors))
    # (0, 9) was recorded elsewhere, and never from here.
    kept = jnp.concatenate([jax.random.normal(getkey(), (30, 2)), jnp.asarray([[8.0, 0.0], [0.0, 9.0]])])
    return AgentModel(world, testbed_policy(2, 1, 2), _bump(kept, jnp.asarray([8.0, 0.0])), jnp.asarray(1.0))


@pytest.mark.parametrize("proposals", [0, 2, 32])
def test_a_way_that_no_draw_goes_is_found_by_what_was_recorded(proposals: int, getkey) -> None:
    model = _rare_model(getkey)
    planner = OnlineAdaptation(adaptation_steps=0, adapt="all", proposals=proposals).build()

    @eqx.filter_jit
    def plans(key):
        psi, _, info = jax.vmap(lambda k: planner.plan(model, jnp.zeros(2), None, key=k))(jax.random.split(key, 40))
        return psi, info

    psi, info = plans(getkey())
    found = np.linalg.norm(np.asarray(psi) - np.array([8.0, 0.0]), axis=1) < 2
    # 64 draws have one of 3,000 with a probability of 0.02.
    share = float(found.mean())
    # Of the led draws four of five are cheap enough, however few of the outcomes are drawn.
    assert share > 0.6 if proposals else share < 0.15
    if proposals:
        # It is as rare as log 3,000 = 8 nats; one draw of one proposal estimates that from above.
        assert 5 < float(np.median(np.asarray(info.kl)[found])) < 16


def test_outcomes_of_other_states_cost_too_much(getkey) -> None:
    model = _rare_model(getkey)
    kept = recorded_outcomes(model.value)
    assert kept is not None
    elsewhere = eqx.tree_at(lambda m: m.value, model, _bump(kept, jnp.asarray([0.0, 9.0])))
    planner = OnlineAdaptation(adaptation_steps=0, adapt="all", proposals=32, kl_coef=1.0).build()
    plans = eqx.filter_jit(
        lambda key: jax.vmap(lambda k: planner.plan(elsewhere, jnp.zeros(2), None, key=k)[0])(jax.random.split(key, 40))
    )
    assert np.all(np.linalg.norm(np.asarray(plans(getkey())) - np.array([0.0, 9.0]), axis=1) > 3)


def test_a_value_that_keeps_no_outcomes_has_no_proposals(gaussian_model) -> None:
    problem = gaussian_model([0.0], [1.0], [1.0]).problem(jnp.zeros(1), jnp.asarray(1.0))
    assert recorded_outcomes(problem.value) is None
    assert recorded_proposals(problem, 8, key=jax.random.key(0)) is None
    samples, values = problem.draw(None, problem.noise(4, key=jax.random.key(1)), with_reference=False)
    candidates, theirs = joined(samples, values, None)
    assert candidates.psi is samples.psi and theirs is values


def test_proposals_need_resampling() -> None:
    planner = OnlineAdaptation(choice="best").build()
    assert planner.proposals == 0
    with pytest.raises(ValueError, match=r"proposals=8.*Resample"):
        type(planner)(planner.kl_coef, planner.adaptation, planner.correction, planner.min_ess, False, 8, False)
    assert isinstance(OnlineAdaptation().build().correction, Resample)
