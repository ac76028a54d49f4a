"""Rows of episodes, worked out by hand in an environment made for it."""

import jax.numpy as jnp
import numpy as np
import pytest
from line_world import line_world

from owma._errors import ConfigError, OwmaError
from owma.agent import Agent
from owma.planners import AbstractPlanner, PlanInfo, PlanResult, RandomShooting, Static
from owma.rollout import check_env, find_env, run_episodes, vector_env
from owma.tasks import GoalTask


class _CountingPlanner(AbstractPlanner):
    """Says that its n-th decision costs n nats, and that every one but the first failed."""

    def init(self, model):
        return jnp.asarray(0.0)

    def plan(self, model, obs, state, *, key):
        psi = model.world.sample(obs, key=key)
        value = 10.0 + state
        result = jnp.where(state == 0, PlanResult.PLANNED, PlanResult.NOT_FINITE)
        one = jnp.asarray(1.0)
        return psi, state + 1, PlanInfo(psi, value, state, jnp.asarray(7), result, psi[:0], value[None], one, None)


@pytest.fixture
def model(gaussian_model):
    return gaussian_model([0.0, 1.0], [1.0, 1.0], [1.0, 0.0])


def _run(agent: Agent, seed: int = 0, episodes: int = 4, timed_decisions: int = 0, **env):
    with vector_env(line_world(**env), episodes) as envs:
        return run_episodes(agent, envs, planner_name="mine", seed=seed, timed_decisions=timed_decisions)


def test_rows_by_hand(model) -> None:
    """Episodes of 3, 4, 5 and 6 steps side by side, a decision at every second one, γ = 0.9."""
    episodes = _run(Agent(model, _CountingPlanner(), replan_every=2), terminates=True)
    rows = episodes.rows
    assert [row["episode"] for row in rows] == [0, 1, 2, 3] and {row["planner"] for row in rows} == {"mine"}
    assert [row["steps"] for row in rows] == [3, 4, 5, 6]
    assert [row["success"] for row in rows] == [True, False, True, False]
    assert [row["return"] for row in rows] == [6, 10, 15, 21]  # not a million of the episodes that follow by themselves
    realised = [sum(0.9**k * (k + 1) for k in range(steps)) for steps in (3, 4, 5, 6)]
    assert [row["value"] for row in rows] == [10] * 4
    np.testing.assert_allclose([row["promise_gap"] for row in rows], 10 - np.array(realised), rtol=1e-5)
    # Decisions at steps 0, 2 and 4 as far as the episode goes, of 0, 1 and 2 nats; all but the first failed.
    assert [row["kl"] for row in rows] == [0.5, 0.5, 1.0, 1.0]
    assert [row["fallbacks"] for row in rows] == [1, 1, 2, 2]
    assert [(row["nfe"], row["ms_p50"], row["overruns"]) for row in rows] == [(7, None, 0)] * 4
    # States visited, the last repeated after the end.
    np.testing.assert_array_equal(episodes.observations[0, :, 1], [0, 1, 2, 3, 3, 3, 3])
    np.testing.assert_array_equal(episodes.observations[3, :, 1], np.arange(7))
    assert float(episodes.decision.value) == 10.0


def test_a_truncated_episode_goes_on_with_its_last_reward(model) -> None:
    rows = _run(Agent(model, _CountingPlanner()), terminates=False).rows
    # 1 + 0.9·2 + 0.81·3, then 3 for ever: 0.729·3/0.1.
    assert rows[0]["promise_gap"] == pytest.approx(10 - (5.23 + 21.87), rel=1e-5)
    assert rows[0]["return"] == 6


def test_a_promise_is_held_against_the_task_that_it_is_of(model) -> None:
    """A goal at step 3 with a slope before it, in an environment that pays something else; γ = 0.9."""
    agent = Agent(model, _CountingPlanner())
    goal = GoalTask(np.array([3.0]), radius=0.0, falloff=1.0, first_coordinate=1)
    with vector_env(line_world(terminates=True), 2) as envs:
        rows = run_episodes(agent, envs, planner_name="mine", seed=0, timed_decisions=0, promised=goal).rows
    slope = np.exp(-0.5 * np.square([2.0, 1.0, 0.0, 1.0]))
    gaps = [10 - slope[:steps] @ 0.9 ** np.arange(steps) for steps in (3, 4)]
    np.testing.assert_allclose([row["promise_gap"] for row in rows], gaps, rtol=1e-6)
    # All else is the environment's.
    assert [(row["return"], row["success"], row["value"]) for row in rows] == [(6, True, 10), (10, False, 10)]


def test_where_the_environment_says_nothing_of_success_it_is_not_known(model) -> None:
    agent = Agent(model, _CountingPlanner())
    rows = _run(agent, says_success=False).rows
    assert [row["success"] for row in rows] == [None] * 4 and [row["return"] for row in rows] == [6, 10, 15, 21]
    # A goal knows it by itself: reached at the first step by all.
    goal = GoalTask(np.array([1.0]), radius=0.0, first_coordinate=1)
    with vector_env(line_world(says_success=False), 2) as envs:
        rows = run_episodes(agent, envs, planner_name="mine", seed=0, timed_decisions=0, task=goal).rows
    assert [row["success"] for row in rows] == [True, True]


def test_seeds_say_where_episodes_start_whatever_the_planner(model) -> None:
    starts = [
        _run(Agent(model, config.build()), seed=2, episodes=3).observations[:, 0, 0]
        for config in (Static(), RandomShooting(num_samples=4))
    ]
    assert [list(row) for row in starts] == [[2000, 2001, 2002]] * 2


def test_the_same_seed_gives_the_same_rows(model) -> None:
    agent = Agent(model, RandomShooting(num_samples=4).build())
    assert _run(agent, seed=3).rows == _run(agent, seed=3).rows
    assert _run(agent, seed=3).rows[0]["value"] != _run(agent, seed=4).rows[0]["value"]


def test_decisions_together_are_those_one_by_one(model, monkeypatch) -> None:
    agent = Agent(model, RandomShooting(num_samples=4).build(), replan_every=2)
    alone = _run(agent).rows
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    together = _run(agent).rows
    for key in ("return", "value", "kl", "nfe"):
        np.testing.assert_allclose([row[key] for row in alone], [row[key] for row in together], rtol=1e-5)


def test_decisions_are_timed_one_by_one(model) -> None:
    rows = _run(Agent(model, Static().build()), timed_decisions=3).rows
    assert all(0 < row["ms_p50"] <= row["ms_p95"] for row in rows)


def test_an_observation_that_is_not_finite_ends_it(model) -> None:
    with pytest.raises(OwmaError, match="episode 0 returned an observation that is not finite after 2 steps; mend"):
        _run(Agent(model, Static().build()), spoilt_after=2)


def test_environments_are_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="no environment 'Nope-v0'.*name a registered"):
        find_env("Nope-v0")
    with pytest.raises(ConfigError, match="no environment 'nowhere:N-v0'.*MODULE:ID"):
        find_env("nowhere:N-v0")
    check_env(line_world(), None, obs_dim=2, action_dim=2)
    for obs_dim, action_dim in ((3, 2), (2, 1)):
        with pytest.raises(ConfigError, match=r"'test/LineWorld-v0' does not fit the dataset: .*\(2,\)"):
            check_env(line_world(), None, obs_dim=obs_dim, action_dim=action_dim)
    with pytest.raises(ConfigError, match="does not fit the dataset: The observation is a mapping"):
        check_env(find_env("owma/TwoRoutes-v0"), None, obs_dim=4, action_dim=2)
    broken = line_world()
    broken.kwargs["colour"] = "red"
    with pytest.raises(ConfigError, match="'test/LineWorld-v0' cannot be made .*colour"):
        check_env(broken, None, obs_dim=2, action_dim=2)
