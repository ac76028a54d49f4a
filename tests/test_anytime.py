"""Decisions under a deadline: the plan of as many steps as were made, and an account of it."""

import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma._internal.errors import ConfigError
from owma.agent.act import Agent
from owma.agent.anytime import Pace, Paces, plan_in_time
from owma.planners import OnlineAdaptation, PlanInfo, Static
from owma.planners.base import AbstractAnytimePlanner

_LONG = 1e9
"""A deadline of days: compilation, in whose time progress is counted too, is nothing beside it."""


def _agent(gaussian_model, config: OnlineAdaptation, **options) -> Agent:
    return Agent(gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0]), config.build(), **options)


def _decide(agent: Agent, obs, state, paces: Paces, deadline_ms: float, key):
    assert isinstance(agent.planner, AbstractAnytimePlanner)
    began = time.perf_counter()
    return plan_in_time(agent.planner, agent.model, obs, state, paces, began=began, deadline_ms=deadline_ms, key=key)


def _steps(info: PlanInfo) -> int:
    assert info.curves is not None
    return int(np.isfinite(info.curves.objective).sum())


_CONFIG = OnlineAdaptation(adaptation_steps=3, n_adaptation_samples=8, adapt="all", kl_coef=0.5)


@pytest.mark.parametrize("config", [_CONFIG, OnlineAdaptation(3, 8, adapt="all", kl_coef=0.5, warm_start=True)])
def test_with_time_enough_the_plan_is_that_without_a_deadline(getkey, gaussian_model, config) -> None:
    agent = _agent(gaussian_model, config)
    obs, key, state = jnp.zeros(2), getkey(), agent.planner.init(agent.model)
    expected = eqx.filter_jit(agent.planner.plan)(agent.model, obs, state, key=key)
    paces = Paces(Pace.first(1.0), Pace.first(1.0))
    psi, next_state, info, paces = _decide(agent, obs, state, paces, _LONG, key)
    for a, b in zip(jax.tree.leaves((psi, next_state, info)), jax.tree.leaves(expected), strict=True):
        # Time passes, and is counted as progress: next to nothing of the deadline.
        np.testing.assert_allclose(a, b, rtol=5e-3, atol=5e-3)
    assert _steps(info) == 3
    assert paces.step.mean > 0 and paces.finish.mean > 0


def test_without_time_for_a_step_none_is_made(getkey, gaussian_model) -> None:
    agent = _agent(gaussian_model, _CONFIG)
    hour = Pace.first(3.6e6)
    psi, _, info, _ = _decide(agent, jnp.zeros(2), None, Paces(hour, hour), 10.0, getkey())
    assert _steps(info) == 0
    assert np.isfinite(psi).all() and np.isfinite(float(info.value))
    # The draws to choose from, of two models, each with the other beside it: 4 passes of 8 draws of 11 transitions.
    assert int(info.nfe) == 4 * 8 * 11


def test_an_agent_keeps_its_plan_and_says_when_it_was_late(getkey, gaussian_model) -> None:
    agent = _agent(gaussian_model, _CONFIG, deadline_ms=1e-6, replan_every=2)
    state, obs = agent.init(), np.zeros(2, np.float32)
    planned, late, plans = [], [], []
    for _ in range(4):
        action, state, info = agent.act(obs, state, key=getkey())
        assert np.isfinite(action).all()
        planned.append(bool(info.planned))
        late.append(bool(info.overrun))
        plans.append(np.asarray(info.psi))
    assert planned == [True, False, True, False] and all(late)
    world = agent.model.world
    for plan, then in ((plans[0], plans[1]), (plans[2], plans[3])):
        np.testing.assert_allclose(then, world.remaining(jnp.asarray(plan), jnp.asarray(obs)), rtol=1e-5)
    assert (plans[0] != plans[2]).any()
    in_time = _agent(gaussian_model, _CONFIG, deadline_ms=_LONG)
    _, _, info = in_time.act(obs, in_time.init(), key=getkey())
    assert not bool(info.overrun) and _steps(info.plan) == 3


def test_a_pace_follows_what_is_measured() -> None:
    # 8 ms, then 16: mean 8 + 8/8 = 9; deviation 4 + (8 − 4)/4 = 5; bound 9 + 20.
    pace = Pace.first(8.0).updated(16.0)
    assert (pace.mean, pace.deviation, pace.bound) == (9.0, 5.0, 29.0)
    steady = Pace.first(1.0)
    for _ in range(200):
        steady = steady.updated(3.0)
    assert steady.bound == pytest.approx(3.0, rel=1e-3)


def test_what_cannot_be_stopped_has_no_deadline(gaussian_model) -> None:
    model = gaussian_model([0.0], [1.0], [1.0])
    with pytest.raises(ConfigError, match="StaticPlanner does not work in steps"):
        Agent(model, Static().build(), deadline_ms=5.0)
    with pytest.raises(ValueError, match="deadline_ms=0.0"):
        Agent(model, _CONFIG.build(), deadline_ms=0.0)
