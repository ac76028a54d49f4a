"""Many environments at once: each is acted in as if it were alone."""

from typing import Any

import jax
import numpy as np
import pytest

import owma
from owma.agent import act
from owma.agent.act import Agent
from owma.outcomes.observations import read_batch
from owma.planners import OnlineAdaptation, RandomShooting

_REMEMBERS = OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=4, adapt="all", warm_start=True, kl_coef=0.5)


def _agent(gaussian_model, config: Any = RandomShooting(num_samples=4), **changes: Any) -> Agent:  # noqa: B008
    return Agent(gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0]), config.build(), **changes)


@pytest.mark.parametrize("together", [False, True])
def test_each_row_is_what_act_does(gaussian_model, monkeypatch, together: bool) -> None:
    """Three environments for four steps; the second one's episode ends after two of them.

    By the program of a single decision plans are the same bit by bit; in one program, and for actions, whose sums are
    then taken in another order, to float32's rounding.
    """
    monkeypatch.setattr(act, "decides_each", lambda: not together)
    agent = _agent(gaussian_model, _REMEMBERS, replan_every=2)
    obs = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    states, alone = agent.init_batch(3), [agent.init()] * 3
    for step, key in enumerate(jax.random.split(jax.random.key(5), 4)):
        first = np.array([False, step == 3, False])
        if step == 3:  # in the middle of a plan
            alone[1] = agent.init()
        actions, states, info = agent.act_batch(obs[step], states, key=key, first=first)
        assert actions.shape == (3, 2) and actions.flags.writeable and not info.overrun.any()
        for i, one_key in enumerate(jax.random.split(key, 3)):
            action, alone[i], expected = agent.act(obs[step, i], alone[i], key=one_key)
            assert bool(info.planned[i]) == bool(expected.planned) == (step % 2 == 0 or first[i])
            np.testing.assert_allclose(actions[i], action, rtol=1e-4, atol=1e-5)
            rows = jax.tree.map(lambda leaf: leaf[i], (info.decision, states))  # noqa: B023
            for ours, theirs in zip(*map(jax.tree.leaves, (rows, (expected.decision, alone[i]))), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-3 if together else 0, atol=1e-4 if together else 0)


def test_the_keys_of_decisions_and_of_actions_may_be_given_apart(gaussian_model) -> None:
    agent, obs = _agent(gaussian_model), np.zeros((2, 2), np.float32)
    pairs = jax.vmap(jax.random.split)(jax.random.split(jax.random.key(1), 2))
    one, *_ = agent.act_batch(obs, agent.init_batch(2), key=jax.random.key(1))
    other, *_ = agent.act_batch(obs, agent.init_batch(2), key=(pairs[:, 0], pairs[:, 1]))
    np.testing.assert_array_equal(one, other)


def test_a_goal_environments_dictionary_is_read_in_each_row() -> None:
    obs = {"achieved_goal": np.ones((2, 1)), "observation": np.zeros((2, 1)), "desired_goal": np.ones((2, 1))}
    np.testing.assert_array_equal(read_batch(obs, ("observation", "achieved_goal"), 2), [[0.0, 1.0]] * 2)


def test_what_is_no_batch_is_refused_in_a_sentence(gaussian_model) -> None:
    agent, key = _agent(gaussian_model), jax.random.key(0)
    states = agent.init_batch(2)
    for obs, said in (
        (np.zeros(2), r"shape \(n, 2\), one of each environment; these are of shape \(2,\)"),
        (np.zeros((2, 3)), "has 3 components, the model was trained on 2"),
        (np.array([[0.0, 0.0], [0.0, np.nan]]), "environment 1: observation component 1 is not finite"),
        (np.zeros((3, 2)), r"3 observations, and the states are of 2 environments; begin with agent.init_batch\(3\)"),
    ):
        with pytest.raises(owma.OwmaError, match=said):
            agent.act_batch(obs, states, key=key)
    with pytest.raises(owma.OwmaError, match="the states are of one environment"):
        agent.act_batch(np.zeros((2, 2)), agent.init(), key=key)
    with pytest.raises(owma.OwmaError, match=r"first=\.\.\.\) is of shape \(3,\); give one for each of 2"):
        agent.act_batch(np.zeros((2, 2)), states, key=key, first=np.zeros(3, bool))
    with pytest.raises(owma.OwmaError, match="Several are for Agent.act_batch"):
        agent.act(np.zeros((2, 2)), agent.init(), key=key)
    with pytest.raises(owma.ConfigError, match="deadline_ms=1000, which one decision is given at a time"):
        _agent(gaussian_model, _REMEMBERS, deadline_ms=1000.0).init_batch(2)
    with pytest.raises(owma.ConfigError, match="there must be at least one environment"):
        agent.init_batch(0)
