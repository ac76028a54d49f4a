"""The agent: refuses what it cannot read, keeps its plans and its shapes, stays inside the action space."""

import gc
import weakref
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma._internal.errors import OwmaError
from owma.agent.act import Agent, _compiled_plan
from owma.planners import RandomShooting, Static, StaticPlanner


def _agent(gaussian_model, planner=None, **changes) -> Agent:
    model = gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0])
    return Agent(model, (planner or Static()).build(), **changes)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_observation_that_is_not_finite_is_refused(gaussian_model, bad: float) -> None:
    agent = _agent(gaussian_model)
    with pytest.raises(OwmaError, match="component 1 is not finite"):
        agent.act(np.array([0.0, bad], np.float32), agent.init(), key=jax.random.key(0))


def test_an_observation_of_another_size_is_refused(gaussian_model) -> None:
    agent = _agent(gaussian_model)
    with pytest.raises(OwmaError, match="has 3 components, the model was trained on 2"):
        agent.act(np.zeros(3, np.float32), agent.init(), key=jax.random.key(0))


def test_what_is_left_of_a_plan_is_followed_for_as_long_as_asked(getkey, gaussian_model) -> None:
    agent = _agent(gaussian_model, RandomShooting(num_samples=4), replan_every=3)
    state, observations, plans, infos = agent.init(), np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 0, 1, 0]], [], []
    for obs in observations:
        _, state, info = agent.act(obs, state, key=getkey())
        plans.append(np.asarray(info.psi))
        infos.append(info)
    assert [bool(info.planned) for info in infos] == [True, False, False, True, False, False, True]
    world = agent.model.world
    cumulants = [np.asarray(world.cumulant(jnp.asarray(obs))) for obs in observations]
    for first in (0, 3, 6):
        planned = float(infos[first].plan.value)
        assert planned == pytest.approx(float(agent.model.value(jnp.asarray(plans[first]))), rel=1e-4, abs=1e-5)
    for first in (0, 3):
        # ψ of the plan is what the steps since then have brought, and γᵏ times what is asked for now.
        for k in (1, 2):
            brought = sum(world.discount**i * cumulants[first + i] for i in range(k))
            np.testing.assert_allclose(
                brought + world.discount**k * plans[first + k], plans[first], rtol=1e-4, atol=1e-5
            )
    with pytest.raises(ValueError, match="replan_every=0"):
        _agent(gaussian_model, replan_every=0)


def test_actions_stay_inside_the_action_space(getkey, gaussian_model) -> None:
    agent = _agent(gaussian_model)
    low, high = jnp.asarray([-0.2, -5.0]), jnp.asarray([0.1, 5.0])
    agent = eqx.tree_at(lambda a: (a.model.policy.low, a.model.policy.high), agent, (low, high))
    state, clipped = agent.init(), []
    for _ in range(30):
        action, state, info = agent.act(np.zeros(2, np.float32), state, key=getkey())
        assert (action >= np.asarray(low)).all() and (action <= np.asarray(high)).all()
        assert action.flags.writeable  # the caller may go on with it in place
        at_bound = np.isclose(action, low).any() or np.isclose(action, high).any()
        assert bool(info.clipped) == at_bound
        clipped.append(bool(info.clipped))
    # The untrained policy draws unit normals (a little wider): most leave [−0.2, 0.1].
    assert sum(clipped) > 15


def test_actions_are_in_the_units_of_the_environment(getkey, gaussian_model) -> None:
    agent = _agent(gaussian_model)
    scaled = eqx.tree_at(
        lambda a: (a.model.policy.action.std, a.model.policy.low, a.model.policy.high),
        agent,
        (jnp.full(2, 10.0), jnp.full(2, -1e3), jnp.full(2, 1e3)),
    )
    wide = eqx.tree_at(
        lambda a: (a.model.policy.low, a.model.policy.high), agent, (jnp.full(2, -1e3), jnp.full(2, 1e3))
    )
    key, obs = getkey(), np.zeros(2, np.float32)
    one, ten = (a.act(obs, a.init(), key=key)[0] for a in (wide, scaled))
    np.testing.assert_allclose(ten, 10 * one, rtol=1e-4)


def test_a_dictionary_is_flattened_by_its_keys(getkey, gaussian_model) -> None:
    agent = _agent(gaussian_model, obs_keys=("observation", "achieved_goal"))
    obs = {"achieved_goal": np.array([2.0]), "observation": np.array([1.0]), "desired_goal": np.array([9.0])}
    np.testing.assert_array_equal(agent.flatten(obs), [1.0, 2.0])
    key = getkey()
    by_dict, by_array = (agent.act(o, agent.init(), key=key)[0] for o in (obs, np.array([1.0, 2.0], np.float32)))
    np.testing.assert_array_equal(by_dict, by_array)
    with pytest.raises(ValueError, match="`obs_keys` is None"):
        _agent(gaussian_model).flatten(obs)
    with pytest.raises(ValueError, match=r"lacks \['achieved_goal'\]"):
        agent.flatten({"observation": np.array([1.0])})


def test_the_same_key_gives_the_same_action(getkey, gaussian_model) -> None:
    agent, key = _agent(gaussian_model), getkey()
    actions = [agent.act(np.zeros(2, np.float32), agent.init(), key=k)[0] for k in (key, key, getkey())]
    np.testing.assert_array_equal(actions[0], actions[1])
    assert not np.array_equal(actions[0], actions[2])


def test_programs_of_planner_classes_that_come_and_go_are_let_go() -> None:
    """A notebook defines its planner again with every run of a cell."""

    def program() -> weakref.ref[Any]:
        class Passing(StaticPlanner):
            pass

        return weakref.ref(_compiled_plan(Passing))

    first = program()
    for _ in range(_compiled_plan.cache_info().maxsize or 100):
        program()
    gc.collect()
    assert first() is None
