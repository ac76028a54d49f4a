"""One control loop: an evaluation does what a loop of `Agent.act` does, and `act` is close to the solver."""

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from line_world import LineWorld, line_world

import owma
from owma.agent.act import Agent, AgentState
from owma.envs import vector_env
from owma.eval import rollout
from owma.planners import OnlineAdaptation, PlanInfo, PlanResult, RandomShooting

pytestmark = pytest.mark.cases

_CENTURY = 3e12
"""A deadline in milliseconds. Its share that passes during a test is no number beside 1 in float32, so that schedules,
which go by time too, are those of steps alone."""

_ADAPTATION = OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=4, adapt="all", warm_start=True, kl_coef=0.5)


class _Recorded(gym.vector.VectorWrapper):
    """Keeps the actions."""

    def __init__(self, env: gym.vector.VectorEnv) -> None:
        super().__init__(env)
        self.taken: list[np.ndarray] = []

    def step(self, actions: Any) -> Any:
        self.taken.append(np.array(actions[0]))
        return super().step(actions)


def _acted(agent: Agent, seed: int) -> tuple[list[np.ndarray], list[np.ndarray], list[PlanInfo], dict[str, Any]]:
    """Actions, plans and decisions of an episode, and what its row says of the agent."""
    made = LineWorld(terminates=True)
    obs, _ = made.reset(seed=1000 * seed)
    state, ended = agent.init(), False
    actions, plans, decisions, clipped, overruns = [], [], [], 0, 0
    keys = rollout.episode_keys(seed, 1, replan_every=agent.replan_every)
    while not ended:
        decision_key, action_key = (key[0] for key in next(keys))
        action, state, info = agent.act(obs, state, key=(decision_key, action_key))
        clipped, overruns = clipped + bool(info.clipped), overruns + bool(info.overrun)
        actions.append(action)
        plans.append(np.asarray(info.psi))
        if bool(info.planned):
            decisions.append(info.plan)
        obs, _, ended, _, _ = made.step(action)
    row = {
        "value": float(decisions[0].value),
        "kl": float(np.mean([np.asarray(info.kl) for info in decisions])),
        "nfe": int(decisions[0].nfe),
        "fallbacks": sum(int(info.result) != PlanResult.PLANNED for info in decisions),
        "overruns": overruns,
        "clipped": clipped,
        "steps": len(actions),
    }
    return actions, plans, decisions, row


@pytest.mark.parametrize(
    ("config", "deadline_ms", "replan_every"),
    [
        (RandomShooting(num_samples=4), None, 1),
        (_ADAPTATION, None, 3),
        (_ADAPTATION, _CENTURY, 1),
        (_ADAPTATION, _CENTURY, 3),
    ],
)
def test_an_evaluation_is_a_loop_of_act(gaussian_model, monkeypatch, config, deadline_ms, replan_every: int) -> None:
    """Bit by bit, in an episode of 5 steps that draws the actions that it takes from a diffusion model."""
    model = gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0])
    agent = Agent(model, config.build(), replan_every=replan_every, deadline_ms=deadline_ms)
    actions, plans, decisions, expected = _acted(agent, seed=2)
    assert len(decisions) == len(range(0, len(actions), replan_every))

    read_out, followed = rollout.read_out_batch, []

    def recorded(bare: Agent, obs: jax.Array, psi: jax.Array, keys: jax.Array) -> Any:
        followed.append(np.asarray(psi[0]))
        return read_out(bare, obs, psi, keys)

    monkeypatch.setattr(rollout, "read_out_batch", recorded)
    with vector_env(line_world(), 1) as envs:
        seen = _Recorded(envs)
        episodes = rollout.run_episodes(agent, seen, planner_name="mine", seed=2, timed_decisions=0)
    np.testing.assert_array_equal(seen.taken, actions)
    np.testing.assert_array_equal(followed, plans)
    assert {key: episodes.rows[0][key] for key in expected} == expected
    for name in ("kl", "value"):
        np.testing.assert_array_equal(episodes.decisions[name][0], [getattr(info, name) for info in decisions])
    for ours, theirs in zip(jax.tree.leaves(episodes.decision), jax.tree.leaves(decisions[0]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_key_is_split_into_that_of_the_decision_and_that_of_the_action(gaussian_model) -> None:
    agent = Agent(gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0]), RandomShooting(num_samples=4).build())
    obs, key = np.zeros(2, np.float32), jax.random.key(3)
    one, _, _ = agent.act(obs, agent.init(), key=key)
    decision_key, action_key = jax.random.split(key)
    both, _, _ = agent.act(obs, agent.init(), key=(decision_key, action_key))
    np.testing.assert_array_equal(one, both)
    # By hand: the halves are what `act` is made of.
    state = agent.decide(jnp.asarray(obs), agent.init(), key=decision_key)
    action, _ = eqx.filter_jit(agent.read_out)(jnp.asarray(obs), state.psi, key=action_key)
    np.testing.assert_allclose(one, action, rtol=1e-5)
    with pytest.raises(ValueError, match="needs an agent with a deadline"):
        agent.decide(jnp.asarray(obs), agent.init(), key=key, began=0.0)


def test_a_plan_and_what_is_said_of_it_are_packed_once(gaussian_model) -> None:
    agent = Agent(gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0]), RandomShooting(num_samples=4).build())
    _, state, info = agent.act(np.zeros(2, np.float32), agent.init(), key=jax.random.key(0))
    assert isinstance(state, AgentState) and {field.name for field in dataclasses.fields(info)} >= {"decision"}
    assert state.info is state.decision.info and info.plan is info.decision.info
    np.testing.assert_array_equal(state.psi, info.psi)


def test_few_functions_lie_between_acting_and_the_solver(gaussian_model, monkeypatch) -> None:
    """Functions of ours on the stack where diffrax is called; one inside another counts as a part of it."""
    package, found = Path(owma.__file__).parent, []
    solve = diffrax.diffeqsolve

    @functools.wraps(solve)
    def counted(*args: Any, **kwargs: Any) -> Any:
        frame, names = sys._getframe(1), []
        while frame is not None:
            if Path(frame.f_code.co_filename).is_relative_to(package):
                names.append(f"{frame.f_globals['__name__']}.{frame.f_code.co_qualname.partition('.<locals>')[0]}")
            frame = frame.f_back
        found.append(list(dict.fromkeys(reversed(names))))
        return solve(*args, **kwargs)

    model = gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0])
    agent = Agent(model, _ADAPTATION.build())
    state = agent.init()
    jax.clear_caches()  # `init` has traced the plan, for its shapes
    monkeypatch.setattr(diffrax, "diffeqsolve", counted)
    agent.act(np.zeros(2, np.float32), state, key=jax.random.key(0))
    ascents = [names for names in found if "owma.adaptation.loop.Adaptation.step" in names]
    assert ascents and all(names[0] == "owma.agent.act.Agent.act" for names in ascents)
    assert max(map(len, ascents)) <= 9, "\n".join(max(ascents, key=len))
