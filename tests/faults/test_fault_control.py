"""Whatever a planner does, an action is finite, inside its bounds, and of the trained model's plan where it failed."""

import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from line_world import line_world

from owma._internal.errors import OwmaError
from owma.agent.act import Agent, step
from owma.agent.anytime import Pace, Paces
from owma.config.planners import PLANNERS
from owma.envs.make import vector_env
from owma.eval.rollout import run_episodes
from owma.outcomes.value import AbstractValue
from owma.planners import (
    AbstractPlanner,
    AgentModel,
    GuidedDiffusion,
    OnlineAdaptation,
    PlanInfo,
    PlanResult,
    RandomShooting,
    Static,
)


class _Spoilt(AbstractPlanner):
    """Returns what it is told to, on every decision but the first `good` ones; a good plan is `psi` of ones."""

    psi: jax.Array
    value: jax.Array
    state: jax.Array
    good: int = eqx.field(static=True, default=0)

    def init(self, model: AgentModel):
        return jnp.zeros(()), jnp.zeros(())

    def plan(self, model, obs, state, *, key):
        count, memory = state
        spoilt = count >= self.good
        psi = jnp.where(spoilt, self.psi, 1.0)
        value = jnp.where(spoilt, self.value, 1.0)
        one = jnp.asarray(1.0)
        # What it remembers spoils all that follows.
        next_state = (count + 1, jnp.where(spoilt, self.state, memory))
        result = jnp.asarray(PlanResult.PLANNED)
        return psi, next_state, PlanInfo(psi, value, one, jnp.asarray(1), result, psi[:0], psi[:1], one, None)


class _NaNValue(AbstractValue):
    """V that is not a number where ψ's first component is positive."""

    def __call__(self, psi):
        return jnp.where(psi[0] > 0, jnp.nan, psi[0])


@pytest.fixture
def model(gaussian_model) -> AgentModel:
    return gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0])


def _act(agent: Agent, obs, count: int = 3):
    state, decisions = agent.init(), []
    for key in jax.random.split(jax.random.key(3), count):
        action, state, info = agent.act(np.asarray(obs, np.float32), state, key=key)
        assert np.isfinite(action).all(), action
        assert (action >= np.asarray(agent.model.policy.low)).all()
        assert (action <= np.asarray(agent.model.policy.high)).all()
        decisions.append((action, info))
    return decisions


_SPOILT = {
    "a plan that is NaN": (np.nan, 1.0, 0.0),
    "a plan that is infinite": (np.inf, 1.0, 0.0),
    "a value that is NaN": (1.0, np.nan, 0.0),
    "a value that is infinite": (1.0, -np.inf, 0.0),
    "a memory that is NaN, and a plan with it": (np.nan, 1.0, np.nan),
}


@pytest.mark.parametrize("fault", _SPOILT)
def test_a_planner_that_fails(fault: str, model: AgentModel, outcome) -> None:
    psi, value, memory = (jnp.asarray(number, jnp.float32) for number in _SPOILT[fault])
    agent = Agent(model, _Spoilt(jnp.full(2, psi), value, memory, good=1))
    decisions = _act(agent, [0.0, 0.0])
    results = [int(info.plan.result) for _, info in decisions]
    # The planner starts anew after its failure: one good plan, one that fails, and so on.
    assert results == [PlanResult.PLANNED, PlanResult.NOT_FINITE, PlanResult.PLANNED]
    np.testing.assert_array_equal(decisions[0][1].psi, [1.0, 1.0])
    drawn = decisions[1][1]
    assert np.isfinite(drawn.psi).all() and float(drawn.plan.kl) == 0.0
    assert float(drawn.plan.value) == pytest.approx(float(model.value(drawn.psi)), abs=1e-5)
    # A draw of N((0, 1), (1, 1/2)), and not of anything else: within five standard deviations.
    assert np.all(np.abs(np.asarray(drawn.psi) - [0.0, 1.0]) < 5 * np.sqrt([1.0, 0.5]))
    outcome(f"planner: {fault}", "a draw of the trained model, flagged; the planner starts anew")


def test_draws_in_place_of_a_failed_plan_follow_the_trained_model(model: AgentModel) -> None:
    agent = Agent(model, _Spoilt(jnp.full(2, jnp.nan), jnp.asarray(0.0), jnp.asarray(0.0)))
    keys = jax.random.split(jax.random.key(0), 2000)
    state = agent.init()
    decided = eqx.filter_jit(jax.vmap(lambda key: agent.decide(jnp.zeros(2), state, key=key).decision))(keys)
    psi = decided.psi
    assert (np.asarray(decided.info.result) == PlanResult.NOT_FINITE).all()
    # Four standard errors.
    np.testing.assert_allclose(np.mean(psi, axis=0), [0.0, 1.0], atol=4 / np.sqrt(2000))
    np.testing.assert_allclose(np.var(psi, axis=0), [1.0, 0.5], rtol=4 * np.sqrt(2 / 2000))


@pytest.mark.parametrize(
    "config",
    [
        Static(),
        RandomShooting(num_samples=8),
        GuidedDiffusion(num_samples=2),
        OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=8, adapt="all", kl_coef=0.1),
        OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=8, adapt="all", kl_coef=0.1, warm_start=True),
    ],
    ids=lambda config: f"{type(config).__name__}{'-warm' if getattr(config, 'warm_start', False) else ''}",
)
def test_a_value_that_is_not_a_number(config, model: AgentModel, outcome) -> None:
    agent = Agent(eqx.tree_at(lambda m: m.value, model, _NaNValue()), config.build())
    decisions = _act(agent, [0.0, 0.0], count=6)
    for _, info in decisions:
        assert np.isfinite(info.psi).all()
        # What was planned has a value; what has none is said to be a plain draw.
        assert np.isfinite(float(info.plan.value)) or int(info.plan.result) == PlanResult.NOT_FINITE
    failed = sum(int(info.plan.result) != PlanResult.PLANNED for _, info in decisions)
    outcome(
        f"V is NaN on half of all outcomes: {type(config).__name__}", f"finite actions, {failed} of 6 plans flagged"
    )


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e38])
def test_networks_that_are_spoilt(number: float, model: AgentModel, outcome) -> None:
    spoilt = jax.tree.map(
        lambda leaf: jnp.full_like(leaf, number) if eqx.is_inexact_array(leaf) else leaf, model.policy.denoiser
    )
    agent = Agent(eqx.tree_at(lambda m: m.policy.denoiser, model, spoilt), Static().build())
    agent = eqx.tree_at(lambda a: a.model.policy.action.mean, agent, jnp.asarray([0.25, -3.0]))
    for action, info in _act(agent, [0.0, 0.0]):
        if not np.isfinite(number) or bool(info.clipped):
            assert bool(info.clipped)
        if np.isnan(number):
            np.testing.assert_array_equal(action, [0.25, -1.0])  # the mean action, inside its bounds
    outcome(f"policy: all parameters {number:g}", "the mean action of the data, counted as clipped")


def test_a_world_model_that_is_spoilt(model: AgentModel, outcome) -> None:
    agent = Agent(model, Static().build())
    agent = eqx.tree_at(lambda a: a.model.world.denoiser.mean, agent, jnp.full(2, jnp.nan))
    for _, info in _act(agent, [0.0, 0.0]):
        assert int(info.plan.result) == PlanResult.NOT_FINITE
        np.testing.assert_array_equal(info.psi, [0.0, 0.0])
    outcome("world model: NaN parameters", "the mean outcome as a plan, flagged; finite actions")


def test_any_observation_gives_a_safe_action_or_is_refused(model: AgentModel, outcome) -> None:
    agent = Agent(model, RandomShooting(num_samples=4).build())
    numbers = st.one_of(
        st.floats(width=32, allow_nan=True, allow_infinity=True),
        st.sampled_from([0.0, -0.0, 3.4e38, -3.4e38, 1e-45, np.nan, np.inf]),
    )
    seen = {True: 0, False: 0}

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.lists(numbers, min_size=2, max_size=2))
    def holds(obs: list[float]) -> None:
        is_finite = bool(np.isfinite(obs).all())
        seen[is_finite] += 1
        if is_finite:
            _act(agent, obs, count=1)
            return
        with pytest.raises(
            OwmaError, match=f"component {np.isfinite(obs).argmin()} is not finite; check the environment"
        ):
            _act(agent, obs, count=1)
        # What is traced or exported cannot refuse; its action is safe all the same.
        action, _, _ = step(agent, jnp.asarray(obs, jnp.float32), agent.init(), jax.random.key(0))
        assert np.isfinite(action).all() and (np.abs(action) <= 1).all()

    holds()
    assert min(seen.values()) > 0  # both were tried
    outcome("observation: NaN or infinite, at acting time", "refused: OwmaError names the component")
    outcome("observation: any finite float32, at acting time", "finite action inside its bounds (hypothesis)")


@pytest.mark.parametrize(
    ("shape", "dtype"), [((3,), np.float32), ((1,), np.float64), ((2,), np.int64), ((2,), np.float64), ((2,), object)]
)
def test_observations_of_other_shapes_and_types(shape, dtype, model: AgentModel, outcome) -> None:
    agent = Agent(model, Static().build())
    obs = np.ones(shape).astype(dtype)
    if shape == (2,):
        action, _, _ = agent.act(obs, agent.init(), key=jax.random.key(0))
        assert action.dtype == np.float32 and np.isfinite(action).all()
        outcome(f"observation: {np.dtype(dtype)}", "read as float32")
    else:
        with pytest.raises(OwmaError, match=f"has {shape[0]} components, the model was trained on 2") as error:
            agent.act(obs, agent.init(), key=jax.random.key(0))
        outcome(f"observation: shape {shape}", error.value)


@pytest.mark.parametrize("obs", [np.array(["a", "b"]), np.array([{}, None], object), np.array(3.0), np.zeros((2, 2))])
def test_observations_that_are_none(obs, model: AgentModel, outcome) -> None:
    agent = Agent(model, Static().build())
    with pytest.raises(OwmaError) as error:
        agent.act(obs, agent.init(), key=jax.random.key(0))
    outcome(f"observation: {np.asarray(obs).dtype} of shape {np.shape(obs)}", error.value)


_DEADLINE = OnlineAdaptation(adaptation_steps=3, n_adaptation_samples=4, adapt="all", kl_coef=0.5)


@pytest.mark.parametrize("jump", [3.6e3, -3.6e3, -1e-3], ids=["an hour ahead", "an hour back", "a millisecond back"])
def test_a_clock_that_jumps(jump: float, model: AgentModel, monkeypatch, outcome, request) -> None:
    """In every decision of five; when it is over, decisions adapt as before."""
    agent = Agent(model, _DEADLINE.build(), deadline_ms=2000.0)
    state, real, calls = agent.init(), time.perf_counter, 0

    def jumping() -> float:
        nonlocal calls
        calls += 1
        # The third look at the clock is after the first step.
        return real() + (jump if calls >= 3 else 0.0)

    for _ in range(5):
        calls = 0
        monkeypatch.setattr(time, "perf_counter", jumping)
        action, state, info = agent.act(np.zeros(2, np.float32), state, key=jax.random.key(0))
        monkeypatch.setattr(time, "perf_counter", real)
        assert np.isfinite(action).all() and np.isfinite(info.psi).all()
        assert bool(info.overrun) == (jump > 0)
    steps = []
    for _ in range(25):
        _, state, info = agent.act(np.zeros(2, np.float32), state, key=jax.random.key(0))
        steps.append(int(np.isfinite(info.plan.curves.objective).sum()))
    assert steps[-1] == 3, steps
    outcome(f"clock: jumps {request.node.callspec.id} in five decisions", "finite actions; adapts as before afterwards")


def test_a_pause_is_not_the_last_thing_measured() -> None:
    pace = Pace(1.0, 0.1).updated(15.0)
    assert pace.bound > 15.0  # no step fits into a deadline of 15 ms,
    for _ in range(5):
        pace = pace.unmeasured()
    assert pace.bound < 15.0  # and after a few decisions one does again
    assert Paces(pace, pace).step.mean == pytest.approx(2.75)


class _Raises(Exception):
    pass


@pytest.mark.parametrize("fault", ["raises", "NaN observation", "NaN reward", "wrong shape", "wrong type"])
def test_an_environment_that_fails_mid_episode(fault: str, model: AgentModel, monkeypatch, outcome) -> None:
    from line_world import LineWorld

    good = LineWorld.step

    def bad(self, action):
        obs, reward, *rest = good(self, action)
        if self.step_number == 2:
            if fault == "raises":
                raise _Raises("the simulator has exploded")
            obs = {
                "NaN observation": np.full(2, np.nan, np.float32),
                "wrong shape": np.zeros(3, np.float32),
                "wrong type": "left",
            }.get(fault, obs)
            reward = np.nan if fault == "NaN reward" else reward
        return obs, reward, *rest

    monkeypatch.setattr(LineWorld, "step", bad)
    with vector_env(line_world(), 2) as envs, pytest.raises(OwmaError) as error:
        run_episodes(Agent(model, Static().build()), envs, planner_name="mine", seed=0, timed_decisions=0)
    assert "mend the environment" in str(error.value) and "after" in str(error.value)
    outcome(f"environment, mid-episode: {fault}", error.value)


@pytest.mark.parametrize("fault", ["raises", "NaN observation"])
def test_an_environment_that_fails_as_it_is_reset(fault: str, model: AgentModel, monkeypatch, outcome) -> None:
    from line_world import LineWorld

    def bad(self, *, seed=None, options=None):
        if fault == "raises":
            raise _Raises("no such maze")
        return np.full(2, np.nan, np.float32), {}

    with vector_env(line_world(), 2) as envs:
        monkeypatch.setattr(LineWorld, "reset", bad)
        with pytest.raises(OwmaError, match="mend the environment") as error:
            run_episodes(Agent(model, Static().build()), envs, planner_name="mine", seed=0, timed_decisions=0)
    outcome(f"environment, at its reset: {fault}", error.value)


def test_an_environment_with_narrower_bounds_than_the_data(model: AgentModel, outcome) -> None:
    """The line world asserts that its action space has the action."""
    with vector_env(line_world(most_action=0.125), 2) as envs:
        rows = run_episodes(Agent(model, Static().build()), envs, planner_name="mine", seed=0, timed_decisions=0).rows
    # Draws of the policy that fall into an eighth of its range in both coordinates are rare.
    assert all(0 < row["clipped"] <= row["steps"] for row in rows)
    outcome("environment: an action space narrower than that of the data", "actions inside it, counted as clipped")


def test_counters_are_in_the_table(model: AgentModel, outcome) -> None:
    from owma.results.tables import results_markdown, summarise

    planner = _Spoilt(jnp.full(2, jnp.nan), jnp.asarray(0.0), jnp.asarray(0.0), good=1)
    with vector_env(line_world(), 2) as envs:
        rows = run_episodes(Agent(model, planner), envs, planner_name="spoilt", seed=0, timed_decisions=0).rows
    # Three and four decisions; the first is good, and after each that fails the planner starts anew.
    assert [row["fallbacks"] for row in rows] == [1, 2]
    table = results_markdown(summarise(rows), wide=True)
    clipped = sum(row["clipped"] for row in rows)
    assert f"| 3 | 0 | {clipped} |" in table
    outcome("planner: every other plan NaN, in an evaluation", "counted as fallbacks in the rows and in the table")


def test_every_planner_that_is_compared_is_guarded(model: AgentModel) -> None:
    """With a value that is nowhere a number, none of them plans, and all of them say so."""
    for name in ("static", "random_shooting"):
        agent = Agent(model, PLANNERS[name].build())
        agent = eqx.tree_at(lambda a: a.model.value.weight, agent, jnp.full(2, jnp.nan))
        (_, info), *_ = _act(agent, [0.0, 0.0], count=1)
        assert int(info.plan.result) == PlanResult.NOT_FINITE and np.isfinite(info.psi).all()
