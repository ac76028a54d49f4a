"""Episodes of an agent in a vector environment, one row each."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector import VectorEnv

from owma._internal.tree import stack_rows
from owma._internal.types import Array, Bool, Float, HostArray, Key
from owma.agent.act import (
    Agent,
    compile_decide,
    decide,
    decide_each,
    decide_together,
    decides_each,
    initial_state,
    read_out_batch,
    without_planner,
)
from owma.envs import actions_inside
from owma.eval.judge import Judge
from owma.eval.trajectories import roll_out
from owma.outcomes.pessimism import value_kind
from owma.outcomes.world import WorldModel
from owma.planners import PlanInfo, PlanResult


@dataclasses.dataclass(frozen=True)
class Episodes:
    """The episodes of one planner."""

    rows: list[dict[str, Any]]
    """One an episode: planner, seed, episode, success, return, value, value_kind, promise_gap, kl, nfe, ms_p50, ms_p95,
    fallbacks, overruns, clipped, steps; where a task judges, env_success and env_return."""
    observations: Float[np.ndarray, "episodes steps obs"]
    """The states visited; after an episode ended its last state is repeated."""
    decision: PlanInfo
    """The first decision of the first episode."""
    first_decisions: PlanInfo
    """The first decision of every episode, batched."""
    decisions: Mapping[str, Float[np.ndarray, "episodes decisions"]]
    """`kl`, `value` and `prior_value` (the mean V of the trained model's draws) of every decision; NaN after the end
    of an episode, and where a planner makes no such draws."""
    goals: Any = None
    """`desired_goal` of each episode's first observation; `None` where the environment's observations have none."""


def run_episodes(
    agent: Agent | Sequence[Agent],
    envs: VectorEnv,
    *,
    planner_name: str,
    seed: int,
    timed_decisions: int = 4,
    progress: Callable[[int], None] | None = None,
    judge: Judge | Sequence[Judge] = Judge(),  # noqa: B008  (frozen)
) -> Episodes:
    """One episode in each of `envs`.

    **Arguments:** `agent`, `judge`: of all episodes, or one for each; agents then differ in nothing but the value that
    they act by, as where each episode has a goal of its own.

    Episode i starts from environment seed `1000 * seed + i`, whatever the planner, so that planners can be compared
    pair by pair. `return` is the plain sum of rewards, `value` the promise V(ψ*) of the first decision, `promise_gap`
    that promise minus the *discounted* return then realised (with the model's γ; what lies beyond a truncation is
    counted as the last reward going on, as when the value was fitted). `kl` and `nfe` are per decision.

    `ms_p50` and `ms_p95` are of single decisions, one at a time, on `timed_decisions` states of each episode, after
    compilation (`None` without any); how fast a batch goes says little about a control loop.

    Return and success are those of the `judge`: of a task, or else of the environment (see `owma.eval.judge.Judge`).
    Success is `None` if neither defines it. If a task scores the episodes, the environment's own are `env_return` and
    `env_success`; the environment still starts and ends episodes. The promise gap uses the rewards that V was fitted
    to (`Judge.promised_by`), and is `None` if these are unknown.
    """
    num_episodes = envs.num_envs
    agents = [agent] * num_episodes if isinstance(agent, Agent) else list(agent)
    judges = [judge] * num_episodes if isinstance(judge, Judge) else list(judge)
    if len(agents) != num_episodes or len(judges) != num_episodes:
        raise ValueError(
            f"run_episodes: there are {num_episodes} episodes, {len(agents)} agents and {len(judges)} judges."
        )
    acting = _RecordingAgent(agents, seed, envs.single_action_space)
    pays = any(judge.task is None for judge in judges)
    trajectories = roll_out(acting, envs, seed=seed, flatten=agents[0].flatten, pays=pays, progress=progress)
    planned = acting.planned()
    times = _time_decisions(agents[0], trajectories.observations, timed_decisions, seed)
    discount = agents[0].model.world.discount
    rows = []
    for i, (judge, judged) in enumerate(zip(judges, trajectories.judged(judges))):
        length, value, gap = judged["steps"], float(planned.first.value[i]), None
        if judge.knows_promise:
            kept = trajectories.rewards_by(judge.promised_by, i)
            tail = 0.0 if trajectories.terminated[i] else discount**length * kept[-1] / (1 - discount)
            gap = value - float(np.sum(discount ** np.arange(length) * kept) + tail)
        row = {
            "planner": planner_name,
            "seed": seed,
            "episode": i,
            **judged,
            "value": value,
            "value_kind": value_kind(agents[i].model.value),
            "promise_gap": gap,
            "kl": float(planned.kl[i]),
            "nfe": int(planned.first.nfe[0]),
            "ms_p50": float(np.percentile(times[i], 50)) if timed_decisions else None,
            "ms_p95": float(np.percentile(times[i], 95)) if timed_decisions else None,
            "fallbacks": int(planned.fallbacks[i]),
            "overruns": int(planned.overruns[i]),
            "clipped": int(planned.clipped[i]),
        }
        rows.append(row | {"steps": row.pop("steps")})
    one = jax.tree.map(lambda leaf: leaf[0], planned.first)
    return Episodes(rows, trajectories.observations, one, planned.first, planned.decisions, trajectories.goals)


@dataclasses.dataclass
class _DecisionRecord:
    """What the planner decided in all episodes: the first decisions, and statistics of every decision."""

    first: PlanInfo
    kl: np.ndarray
    decisions: Mapping[str, np.ndarray]
    fallbacks: np.ndarray
    overruns: np.ndarray
    clipped: np.ndarray


class _RecordingAgent:
    """Adapts agents, one an episode, to `owma.eval.trajectories.Acting`, and records their decisions."""

    def __init__(self, agents: Sequence[Agent], seed: int, space: gym.Space) -> None:
        # Of what follows a plan, all do the same.
        self._agent, self._space, n = agents[0], space, len(agents)
        self._bare = without_planner(self._agent)
        self._keys = episode_keys(seed, n, replan_every=self._agent.replan_every)
        self._decide = _make_decider(agents)
        self._psi: Any = None  # Step 0 plans.
        self._first: Any = None
        self._decisions: list[np.ndarray] = []
        self._fallbacks, self._overruns, self._clipped = np.zeros(n, int), np.zeros(n, int), np.zeros(n, int)

    def __call__(
        self, obs: Float[HostArray, "n obs"], done: Bool[np.ndarray, " n"], step: int
    ) -> Float[HostArray, "n act"]:
        states, (decision_keys, action_keys) = jnp.asarray(obs), next(self._keys)
        if step % self._agent.replan_every == 0:
            self._psi, info, late = self._decide(states, decision_keys, done)
            if self._first is None:
                self._first = info
            self._overruns += ~done & late
            self._fallbacks += ~done & (np.asarray(info.result) != PlanResult.PLANNED)
            self._decisions.append(np.where(done, np.nan, _decision_stats(info)))
        read_out, was_clipped = read_out_batch(self._bare, states, self._psi, action_keys)
        if self._agent.replan_every > 1:
            self._psi = _remaining(self._agent.model.world, self._psi, states)
        action, was_moved = actions_inside(np.asarray(read_out), self._space)
        self._clipped += ~done & (np.asarray(was_clipped) | was_moved)
        return action

    def planned(self) -> _DecisionRecord:
        # From axes (decision, quantity, episode) to (quantity, episode, decision).
        kl, value, prior_value = np.moveaxis(np.stack(self._decisions), (0, 1, 2), (2, 0, 1))
        return _DecisionRecord(
            first=self._first,
            kl=np.nanmean(kl, axis=1),
            decisions={"kl": kl, "value": value, "prior_value": prior_value},
            fallbacks=self._fallbacks,
            overruns=self._overruns,
            clipped=self._clipped,
        )


@eqx.filter_jit
def _remaining(world: WorldModel, psi: Float[Array, "n psi"], obs: Float[Array, "n obs"]) -> Float[Array, "n psi"]:
    """`WorldModel.remaining` in all episodes."""
    return jax.vmap(lambda p, o: world.remaining(p, o))(psi, obs)


def episode_keys(
    seed: int, episodes: int, *, replan_every: int = 1
) -> Iterator[tuple[Key[Array, " episodes"], Key[Array, " episodes"]]]:
    """For each step of `run_episodes`, and each episode, the keys of its decision and of its action.

    With the two of its episode as `key`, `Agent.act` does what `run_episodes` does. From `key = jax.random.key(seed)`
    on, a step at which plans are due splits `key` into the next `key` and that of all decisions; then every step splits
    it into the next one and that of all actions; and both are split into as many as there are episodes. On steps at
    which no plan is due, the keys of decisions are those of the last one.
    """
    key, step, decisions = jax.random.key(seed), 0, None
    while True:
        if decisions is None or step % replan_every == 0:
            key, decision_key = jax.random.split(key)
            decisions = jax.random.split(decision_key, episodes)
        key, action_key = jax.random.split(key)
        yield decisions, jax.random.split(action_key, episodes)
        step += 1


@runtime_checkable
class _BatchDecider(Protocol):
    """`Agent.decide` in all episodes; holds the agent's state of each."""

    def __call__(
        self, obs: Float[Array, "n obs"], keys: Key[Array, " n"], done: Bool[np.ndarray, " n"]
    ) -> tuple[Float[Array, "n psi"], PlanInfo, Bool[np.ndarray, " n"]]:
        """The plans, their diagnostics, and which of them missed the deadline; of no account where `done`."""
        ...


def _make_decider(agents: Sequence[Agent]) -> _BatchDecider:
    agent = agents[0]
    if agent.deadline_ms is not None:
        return _DeadlineDecider(agents, agent.deadline_ms)
    is_one = all(other is agent for other in agents)
    return _JointDecider(agent, len(agents)) if is_one and not decides_each() else _PerEpisodeDecider(agents)


class _PerEpisodeDecider:
    """One compiled single-episode decision per episode, in threads."""

    def __init__(self, agents: Sequence[Agent]) -> None:
        self._agents = agents
        self._states = [initial_state(agents[0])] * len(agents)
        compile_decide(agents[0])

    def __call__(
        self, obs: Float[Array, "n obs"], keys: Key[Array, " n"], done: Bool[np.ndarray, " n"]
    ) -> tuple[Float[Array, "n psi"], PlanInfo, Bool[np.ndarray, " n"]]:
        rows = np.flatnonzero(~done).tolist()
        due = [(self._agents[i], obs[i], self._states[i], keys[i]) for i in rows]
        for i, state in zip(rows, decide_each(due)):
            self._states[i] = state
        return *stack_rows([(state.psi, state.info) for state in self._states]), np.zeros(len(self._states), bool)


class _JointDecider:
    """All decisions in one program."""

    def __init__(self, agent: Agent, n: int) -> None:
        self._agent = agent
        self._states = agent.init_batch(n)

    def __call__(
        self, obs: Float[Array, "n obs"], keys: Key[Array, " n"], done: Bool[np.ndarray, " n"]
    ) -> tuple[Float[Array, "n psi"], PlanInfo, Bool[np.ndarray, " n"]]:
        del done  # as one program, it takes as long for all
        self._states = decide_together(self._agent, obs, self._states, keys)
        decisions = self._states.decision
        return decisions.psi, decisions.info, np.zeros(len(obs), bool)


class _DeadlineDecider:
    """Decisions one after another, each within a deadline."""

    def __init__(self, agents: Sequence[Agent], deadline_ms: float) -> None:
        self._agents, self._deadline_ms = agents, deadline_ms
        self._states = [agents[0].init()] * len(agents)
        self._paces = self._states[0].paces

    def __call__(
        self, obs: Float[Array, "n obs"], keys: Key[Array, " n"], done: Bool[np.ndarray, " n"]
    ) -> tuple[Float[Array, "n psi"], PlanInfo, Bool[np.ndarray, " n"]]:
        late = np.zeros(len(self._states), bool)
        for i in np.flatnonzero(~done).tolist():
            state = self._states[i]
            # Step times depend on the machine, not on the episode: carry the measurements over.
            state = eqx.tree_at(lambda s: s.paces, state, self._paces)
            began = time.perf_counter()
            self._states[i] = self._agents[i].decide(obs[i], state, key=keys[i], began=began)
            late[i] = 1e3 * (time.perf_counter() - began) > self._deadline_ms
            self._paces = self._states[i].paces
        return *stack_rows([(state.psi, state.info) for state in self._states]), late


def _decision_stats(info: PlanInfo) -> Float[np.ndarray, "3 n"]:
    """KL, V(ψ*) and the mean V of the trained model's draws (NaN for planners without such draws)."""
    prior = np.asarray(info.prior_values)
    mean = prior.mean(axis=1) if prior.shape[1] else np.full(len(prior), np.nan)
    return np.stack([np.asarray(info.kl), np.asarray(info.value), mean])


def _time_decisions(
    agent: Agent, observations: Float[np.ndarray, "episodes steps obs"], repeats: int, seed: int
) -> Float[np.ndarray, "episodes repeats"]:
    """Milliseconds of single decisions at evenly spaced states of each episode."""
    times = np.empty((len(observations), repeats))
    if repeats == 0:
        return times
    steps = np.linspace(0, observations.shape[1] - 1, repeats).astype(int)
    state = initial_state(agent)
    keys = jax.random.split(jax.random.key(seed), repeats)
    # Compile first, so that compilation is not timed.
    jax.block_until_ready(decide(agent, jnp.asarray(observations[0, 0]), state, key=keys[0]))
    for i, episode in enumerate(observations):
        for j, step in enumerate(steps):
            obs = jnp.asarray(episode[step])
            start = time.perf_counter()
            jax.block_until_ready(decide(agent, obs, state, key=keys[j]))
            times[i, j] = 1e3 * (time.perf_counter() - start)
    return times
