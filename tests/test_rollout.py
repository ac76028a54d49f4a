"""Rows of episodes, worked out by hand in an environment made for it."""

import jax.numpy as jnp
import numpy as np
import pytest
from line_world import line_world

from owma._internal.errors import ConfigError, OwmaError
from owma.agent.act import Agent
from owma.envs.make import check_env, vector_env
from owma.envs.registered import find_env
from owma.eval.judge import Judge
from owma.eval.rollout import run_episodes
from owma.eval.trajectories import random_trajectories
from owma.outcomes.tasks import GoalTask, RewardTask
from owma.planners import AbstractPlanner, PlanInfo, PlanResult, RandomShooting, Static


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


def _run(agent: Agent | list[Agent], seed: int = 0, episodes: int = 4, timed_decisions: int = 0, **env):
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
    assert {row["value_kind"] for row in rows} == {"linear"}
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


_SLOPE = np.exp(-0.5 * np.square([2.0, 1.0, 0.0, 1.0]))
"""What a goal at step 3 with a slope before it pays for steps 1 to 4."""


def _goal(step: float, **kwargs: float) -> GoalTask:
    """A goal that is reached at a step, in the second coordinate of the line world."""
    return GoalTask(np.array([step]), radius=0.0, first_coordinate=1, **kwargs)


def _judged_by(judge: Judge, model, episodes: int = 2, **env) -> list[dict]:
    agent = Agent(model, _CountingPlanner())
    with vector_env(line_world(**env), episodes) as envs:
        return run_episodes(agent, envs, planner_name="mine", seed=0, timed_decisions=0, judge=judge).rows


@pytest.mark.cases
def test_a_promise_is_held_against_the_task_that_it_is_of(model) -> None:
    """A goal at step 3 with a slope before it, in an environment that pays something else and judges; γ = 0.9."""
    rows = _judged_by(Judge(promised=_goal(3.0, falloff=1.0)), model)
    gaps = [10 - _SLOPE[:steps] @ 0.9 ** np.arange(steps) for steps in (3, 4)]
    np.testing.assert_allclose([row["promise_gap"] for row in rows], gaps, rtol=1e-6)
    # All else is the environment's.
    assert [(row["return"], row["success"], row["value"]) for row in rows] == [(6, True, 10), (10, False, 10)]
    assert not {"env_return", "env_success"} & set(rows[0])


@pytest.mark.cases
def test_a_task_judges_and_the_environments_word_stands_beside(model) -> None:
    """Episodes of 3 and 4 steps, which the environment pays with 1, 2, 3, ..., a success of the first; γ = 0.9."""
    rows = _judged_by(Judge(_goal(4.0, falloff=1.0)), model)
    slope = np.exp(-0.5 * np.square([3.0, 2.0, 1.0, 0.0]))
    assert [row["return"] for row in rows] == pytest.approx([slope[:3].sum(), slope.sum()])
    assert [row["success"] for row in rows] == [False, True]
    assert [(row["env_return"], row["env_success"]) for row in rows] == [(6, True), (10, False)]
    gaps = [10 - slope[:steps] @ 0.9 ** np.arange(steps) for steps in (3, 4)]
    np.testing.assert_allclose([row["promise_gap"] for row in rows], gaps, rtol=1e-6)


def test_a_task_that_knows_no_success_leaves_it_to_nobody(model) -> None:
    """A reward of the state before, of the action and of the one after, each where it belongs."""

    def reward(obs, action, next_obs):
        assert np.all(np.abs(action) <= 1) and action.shape == (len(obs), 2)
        return 10 * obs[:, 1] + next_obs[:, 1]

    rows = _judged_by(Judge(RewardTask(reward)), model)
    assert [(row["return"], row["success"]) for row in rows] == [(36, None), (70, None)]  # 1 + 12 + 23 (+ 34)
    assert [(row["env_return"], row["env_success"]) for row in rows] == [(6, True), (10, False)]


def test_where_the_promise_is_of_an_unknown_task_there_is_no_gap(model) -> None:
    rows = _judged_by(Judge(knows_promise=False), model)
    assert [(row["return"], row["promise_gap"]) for row in rows] == [(6, None), (10, None)]


def test_a_reward_that_the_environment_cannot_say_is_not_known_where_a_task_judges(model) -> None:
    rows = _judged_by(Judge(_goal(3.0)), model, spoilt_reward=True)
    assert [(row["return"], row["success"], row["env_return"]) for row in rows] == [(1, True, None)] * 2
    with pytest.raises(OwmaError, match="episode 0 gave a reward that is not finite after 0 steps"):
        _judged_by(Judge(), model, spoilt_reward=True)


def test_where_the_environment_says_nothing_of_success_it_is_not_known(model) -> None:
    rows = _judged_by(Judge(), model, 4, says_success=False)
    assert [row["success"] for row in rows] == [None] * 4 and [row["return"] for row in rows] == [6, 10, 15, 21]
    # A goal knows it by itself: reached at the first step by all.
    rows = _judged_by(Judge(_goal(1.0)), model, says_success=False)
    assert [(row["success"], row["env_success"]) for row in rows] == [(True, None)] * 2


@pytest.mark.cases
def test_random_actions_are_uniform_in_the_action_space_and_start_where_planners_do(model) -> None:
    def drawn(seed: int = 2, low: float = -0.3, high: float = 0.6, most_action: float = 2.0):
        with vector_env(line_world(most_action=most_action), 64) as envs:
            bounds = np.full(2, low), np.full(2, high)
            return random_trajectories(envs, seed=seed, obs_keys=None, low=bounds[0], high=bounds[1])

    trajectories = drawn()
    np.testing.assert_array_equal(trajectories.observations[:, 0, 0], 2000 + np.arange(64))
    actions = trajectories.actions[:, :3].ravel()
    # Uniform on [-2, 2]: standard deviation 1.15, of which 384 draws miss the mean by 0.06.
    assert abs(actions.mean()) < 0.2 and abs(actions.std() - 4 / np.sqrt(12)) < 0.1 and np.abs(actions).max() <= 2
    np.testing.assert_array_equal(trajectories.actions, drawn().actions)
    assert not np.array_equal(trajectories.actions, drawn(seed=3).actions)
    # Where the space has no bounds, those that are given.
    unbounded = drawn(most_action=np.inf).actions
    assert -0.3 <= unbounded.min() < -0.25 and 0.55 < unbounded.max() <= 0.6
    assert [row["return"] for row in trajectories.judged(Judge())][:4] == [6, 10, 15, 21]


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
    with pytest.raises(ConfigError, match="does not fit the dataset: its observations are entries .*'observation'"):
        check_env(find_env("owma/TwoRoutes-v0"), None, obs_dim=4, action_dim=2)
    broken = line_world()
    broken.kwargs["colour"] = "red"
    with pytest.raises(ConfigError, match="'test/LineWorld-v0' cannot be made .*colour"):
        check_env(broken, None, obs_dim=2, action_dim=2)


def test_each_episode_may_have_a_value_and_a_judge_of_its_own(gaussian_model) -> None:
    """As where each has a goal: what is planned, promised and held against it is that episode's alone."""
    models = [gaussian_model([0.0, 1.0], [1.0, 1.0], [float(sign), 0.0]) for sign in (1, -1, 1, -1)]
    agents = [Agent(model, RandomShooting(num_samples=8).build()) for model in models]
    together, alone = _run(agents).rows, [_run(agents[0]).rows, _run(agents[1]).rows]
    assert [row["value"] for row in together] == [alone[i % 2][i]["value"] for i in range(4)]
    assert together[1]["value"] != alone[0][1]["value"]

    def paid(amount: float) -> Judge:
        return Judge(promised=RewardTask(lambda obs, action, next_obs: np.full(len(obs), amount)))

    with vector_env(line_world(terminates=True), 4) as envs:
        about = {"planner_name": "mine", "seed": 0, "timed_decisions": 0}
        nothing = run_episodes(agents, envs, judge=[paid(0.0)] * 4, **about).rows
        some = run_episodes(agents, envs, judge=[paid(0.0), paid(1.0)] * 2, **about).rows
        with pytest.raises(ValueError, match="4 episodes, 3 agents and 1 judges"):
            run_episodes(agents[:3], envs, judge=[paid(0.0)], **about)
    gaps = [before["promise_gap"] - after["promise_gap"] for before, after in zip(nothing, some)]
    realised = [sum(0.9**k for k in range(row["steps"])) for row in some]
    np.testing.assert_allclose(gaps, [0.0, realised[1], 0.0, realised[3]], rtol=1e-5)
