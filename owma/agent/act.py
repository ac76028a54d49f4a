"""`Agent`: the trained models and a planner, acting step by step."""

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.cores import usable_cores
from owma._internal.errors import ConfigError, OwmaError
from owma._internal.tree import select, stack_rows, strongly_typed, unstack_rows
from owma._internal.types import Action, Array, Bool, Float, HostArray, Key, Obs, PRNGKeyArray, Psi, PyTree
from owma.agent.anytime import measure_paces, plan_in_time
from owma.agent.state import AgentState as AgentState, Decision as Decision, StepInfo as StepInfo
from owma.outcomes.observations import read_batch, read_obs, sized_obs
from owma.outcomes.world import WorldModel
from owma.planners.base import AbstractAnytimePlanner, AbstractPlanner, AgentModel, PlanInfo, guarded_plan

StepKey: TypeAlias = PRNGKeyArray | tuple[PRNGKeyArray, PRNGKeyArray]
"""The key of one step, which is split into (decision key, action key); or that pair."""

BatchKey: TypeAlias = PRNGKeyArray | tuple[Key[Array, " n"], Key[Array, " n"]]
"""The key of a step in n environments, which is split into n; or n keys of decisions and n of actions."""


class Agent(eqx.Module):
    """Acts in an environment. Immutable: the caller keeps `state`.

    ```python
    state = agent.init()
    action, state, info = agent.act(obs, state, key=key)
    ```

    In many environments at once:

    ```python
    states = agent.init_batch(n)
    actions, states, info = agent.act_batch(obs, states, key=key)
    ```

    `act` is `decide`, where a new plan is due, and `read_out`.
    """

    model: AgentModel
    planner: AbstractPlanner
    obs_keys: tuple[str, ...] | None = eqx.field(static=True, default=None)
    """The parts of a Dict observation that make up the state; `None` for plain arrays."""
    replan_every: int = eqx.field(static=True, default=1)
    """A plan is followed for this many steps, what is asked for at each being what is left of it."""
    deadline_ms: float | None = eqx.field(static=True, default=None)
    """Milliseconds that `act` may take. Anytime planners stop in time and return their current plan; the steps made are
    the entries of `info.plan.curves` that are not NaN. Enforced on the host only: a traced or exported agent makes all
    steps.
    """

    def __check_init__(self) -> None:
        if self.replan_every < 1:
            raise ValueError(f"Agent(replan_every={self.replan_every}): must be at least 1.")
        if self.deadline_ms is not None and not self.deadline_ms > 0:
            raise ValueError(f"Agent(deadline_ms={self.deadline_ms}): must be positive.")
        if self.deadline_ms is not None and not isinstance(self.planner, AbstractAnytimePlanner):
            raise ConfigError(
                f"Agent(deadline_ms={self.deadline_ms}): {type(self.planner).__name__} does not work in steps and "
                "cannot be stopped; use online adaptation, or fewer samples and no deadline."
            )

    def init(self) -> AgentState:
        """The state at the start of an episode; with a deadline, compiles all that `act` runs and times its parts."""
        state = initial_state(self)
        if self.deadline_ms is None:
            return state
        assert isinstance(self.planner, AbstractAnytimePlanner)
        obs = example_obs(self)
        paces = measure_paces(self.planner, self.model, obs, state.planner)
        state = eqx.tree_at(lambda s: s.paces, state, paces, is_leaf=lambda leaf: leaf is None)
        reached = state
        for _ in range(2):  # as `act` does it: from the state of `init`, and from what `act` returns
            reached = eqx.tree_at(lambda s: s.steps_left, reached, state.steps_left)
            _, reached, _ = self._act_in_time(obs, reached, time.perf_counter(), jax.random.key(0))
        return state

    def act(
        self, obs: Mapping[str, HostArray] | HostArray, state: AgentState, *, key: StepKey
    ) -> tuple[Float[np.ndarray, " act"], AgentState, StepInfo]:
        """One step of control.

        **Arguments:** `obs`: as the environment returned it (a goal environment's dictionary, or one flat array);
        `state`: from `init` or the last `act`; `key`: a new one for each step, or a pair of them, for the decision and
        for the action. An episode of an evaluation is repeated bit by bit on a CPU with the pairs that
        `owma.eval.rollout.episode_keys` gives.

        **Returns:** the action in the environment's units and inside its bounds, the next state, and a `StepInfo`. The
        action is finite whatever the planner and the networks do (see `decide` and `ReadoutPolicy.act`), and an array
        of the caller's own, which may be written to.

        **Raises:** `OwmaError` if the observation is not finite or not of the size that the model was trained on: what
        is safe then is for the caller to know. Nothing is changed by it; `state` may be used again.
        """
        began = time.perf_counter()
        flat = jnp.asarray(read_obs(obs, self.obs_keys, self.obs_size))
        if self.deadline_ms is None:
            action, state, info = step(self, flat, state, key)
            return np.array(action), state, info  # a copy: what JAX holds cannot be written to
        return self._act_in_time(flat, state, began, key)

    def init_batch(self, n: int) -> AgentState:
        """The states at the start of an episode in each of n environments: every array has n as its first axis.

        Raises `ConfigError` for an agent with a deadline: `act` keeps it in one environment.
        """
        if self.deadline_ms is not None:
            raise ConfigError(
                f"Agent.init_batch: the agent has deadline_ms={self.deadline_ms:g}, which one decision is given at a "
                "time; act in one environment, or make an agent without a deadline."
            )
        if n < 1:
            raise ConfigError(f"Agent.init_batch({n}): there must be at least one environment.")
        if decides_each():
            compile_decide(self)
        return _initial_states(self, n)

    def act_batch(
        self,
        obs: Mapping[str, HostArray] | HostArray,
        states: AgentState,
        *,
        key: BatchKey,
        first: Bool[HostArray, " n"] | None = None,
    ) -> tuple[Float[np.ndarray, "n act"], AgentState, StepInfo]:
        """One step of control in each of n environments.

        Row i is what `act` does with `obs[i]`, the state of that environment and `jax.random.split(key, n)[i]`. On a
        CPU, where each decision is one of `act`, as many at a time as there are cores, plans are the same bit by bit;
        elsewhere one program makes all of them. Actions are the same but for rounding.

        **Arguments:** `obs`: as a vector environment returned it: an array of shape (n, obs), or a goal environment's
        dictionary of such arrays; `states`: from `init_batch` or the last `act_batch`; `key`: a new one for each step,
        or a pair of n keys each, for the decisions and for the actions, as `owma.eval.rollout.episode_keys` gives them;
        `first`: where an observation is the first of an episode, so that what was remembered of the one before is
        forgotten; by default none but those of `init_batch`.

        **Returns:** actions of shape (n, act), the next states, and a `StepInfo` whose arrays have n as their first
        axis; otherwise as `act`.

        **Raises:** `OwmaError` if an observation is not finite, or the shapes are none of these.
        """
        flat = jnp.asarray(read_batch(obs, self.obs_keys, self.obs_size))
        n = len(flat)
        if self.deadline_ms is not None or states.steps_left.shape != (n,):
            raise OwmaError(
                f"Agent.act_batch: there are {n} observations, and the states are of "
                f"{f'{len(states.steps_left)} environments' if states.steps_left.ndim else 'one environment'}; begin "
                f"with agent.init_batch({n})."
            )
        if first is not None:
            if np.shape(first) != (n,):
                raise OwmaError(f"Agent.act_batch(first=...) is of shape {np.shape(first)}; give one for each of {n}.")
            states = _select(jnp.asarray(first), _initial_states(self, n), states)
        decision_keys, action_keys = _split_keys(key, n)
        due = np.asarray(states.steps_left) <= 0
        if due.any():
            states = decide_batch(self, flat, states, decision_keys, due)
        actions, clipped = read_out_batch(without_planner(self), flat, states.decision.psi, action_keys)
        info = StepInfo(states.decision, jnp.asarray(due), clipped, jnp.zeros(n, bool))
        return np.array(actions), _stepped_batch(without_planner(self), flat, states), info

    def _act_in_time(
        self, obs: Obs, state: AgentState, began: float, key: StepKey
    ) -> tuple[Float[np.ndarray, " act"], AgentState, StepInfo]:
        """`step` under a deadline: on the host, because it needs a clock."""
        assert self.deadline_ms is not None
        decision_key, action_key = _split_key(key)
        due = int(state.steps_left) <= 0
        if due:
            state = self.decide(obs, state, key=decision_key, began=began)
        action, clipped = _read_out(self, obs, state.psi, key=action_key)
        action, decision = np.array(action), state.decision
        state = eqx.tree_at(lambda s: s.steps_left, state, jnp.asarray(int(state.steps_left) - 1))
        if self.replan_every > 1:
            state = eqx.tree_at(lambda s: s.decision.psi, state, _remaining(self.model.world, state.psi, obs))
        overrun = jnp.asarray(1e3 * (time.perf_counter() - began) > self.deadline_ms)
        return action, state, StepInfo(decision, jnp.asarray(due), clipped, overrun)

    def decide(self, obs: Obs, state: AgentState, *, key: PRNGKeyArray, began: float | None = None) -> AgentState:
        """The first half of `act`: the state with a new plan for a flat observation, whether or not one is due.

        A plan that is not finite, whatever the planner, is replaced by a draw of the trained model, and its
        `info.result` says so (`PlanResult.NOT_FINITE`).

        **Arguments:** `began`: the `time.perf_counter()` from which an agent's deadline counts; the decision is then
        made on the host. By default there is none, all steps are made, and this is traceable: batch it with `jax.vmap`.

        **Raises:** `ValueError` where `began` is given to an agent without a deadline, or without a state of its
        `init`.
        """
        paces = state.paces
        if began is None:
            proposed = _compiled_plan(type(self.planner))(self.planner, self.model, obs, state.planner, key=key)
        else:
            if self.deadline_ms is None or paces is None or not isinstance(self.planner, AbstractAnytimePlanner):
                raise ValueError("Agent.decide(began=...) needs an agent with a deadline, and a state of its `init`.")
            clock = {"began": began, "deadline_ms": self.deadline_ms, "reserve_ms": _READ_OUT_MS}
            *proposed, paces = plan_in_time(self.planner, self.model, obs, state.planner, paces, **clock, key=key)
        # A separate key, so that the planner's keys do not change.
        replacement_key = jax.random.fold_in(key, _REPLACEMENT)
        psi, planner, info = _guarded_plan(self.planner, self.model, obs, tuple(proposed), key=replacement_key)
        return AgentState(planner, Decision(psi, info), jnp.asarray(self.replan_every, jnp.int32), paces)

    def read_out(self, obs: Obs, psi: Psi, *, key: PRNGKeyArray) -> tuple[Action, Bool[Array, ""]]:
        """The second half of `act`: the policy's action for outcome ψ, and whether it was clipped to its bounds.

        Traceable; batch it with `jax.vmap`.
        """
        return self.model.policy.act(obs, psi, key)

    def stepped(self, obs: Obs, state: AgentState) -> AgentState:
        """The state after an action for a flat observation: one step less of the plan, and what is left of it to be
        brought about. Traceable.
        """
        state = eqx.tree_at(lambda s: s.steps_left, state, state.steps_left - 1)
        if self.replan_every == 1:  # the next plan is another one
            return state
        return eqx.tree_at(lambda s: s.decision.psi, state, self.model.world.remaining(state.psi, obs))

    def plan(self, obs: Obs, state: PyTree, *, key: PRNGKeyArray) -> tuple[Psi, PyTree, PlanInfo]:
        """`decide` as it was up to 0.1: from the planner's own state to ψ*, that state and a `PlanInfo`."""
        warnings.warn(
            "Agent.plan goes with the next minor version; use Agent.decide.", DeprecationWarning, stacklevel=2
        )
        decided = self.decide(obs, dataclasses.replace(initial_state(self), planner=state), key=key)
        return decided.psi, decided.planner, decided.info

    def flatten(self, obs: Mapping[str, HostArray] | HostArray) -> Float[np.ndarray, "*batch obs"]:
        """The flat state that the model was trained on. Raises `OwmaError` on another size."""
        return sized_obs(obs, self.obs_keys, self.obs_size)

    @property
    def obs_size(self) -> int:
        """Components of the flat state."""
        return self.model.world.observation.mean.shape[0]


def example_obs(agent: Agent) -> Obs:
    """The mean state of the data as a device array, like the observations in `act`; an example to compile with."""
    return jnp.asarray(np.asarray(agent.model.world.observation.mean))


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _jit_keep_unused(function: _Function) -> _Function:
    """`eqx.filter_jit`, where arguments that the function does not use count too.

    JAX compiles anew for arrays that are committed to a device where those before were not. What a function returns is
    committed if any of its arguments is, of those that it uses: here all of them count, as they do in `step`, so that
    the state of `init` is like the states that follow it.
    """
    filter_jit: Any = eqx.filter_jit  # its overloads do not name the options of `jax.jit`
    return filter_jit(function, keep_unused=True)


@functools.lru_cache(maxsize=32)
def _compiled_plan(kind: type[AbstractPlanner]) -> Callable[..., tuple[Psi, PyTree, PlanInfo]]:
    """`plan` of a class of planners, traced once for all that ask for it: `initial_state`, and `Agent.decide`.

    Cached: wrapping it again takes longer than running a small program.
    """
    return eqx.filter_jit(kind.plan)


_guarded_plan: Any = eqx.filter_jit(guarded_plan)
_read_out: Any = eqx.filter_jit(Agent.read_out)
_remaining: Any = eqx.filter_jit(WorldModel.remaining)


@_jit_keep_unused
def initial_state(agent: Agent) -> AgentState:
    """`Agent.init` without the measurements that a deadline needs."""
    planner, obs = strongly_typed(agent.planner.init(agent.model)), agent.model.world.observation.mean
    # A placeholder with the right shapes: the first step always plans.
    plan = _compiled_plan(type(agent.planner))
    shapes = eqx.filter_eval_shape(plan, agent.planner, agent.model, obs, planner, key=jax.random.key(0))
    psi, _, info = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return AgentState(planner, Decision(psi, info), jnp.asarray(0, jnp.int32))


@eqx.filter_jit
def step(agent: Agent, obs: Obs, state: AgentState, key: StepKey) -> tuple[Action, AgentState, StepInfo]:
    """`Agent.act` for a flat observation that is known to be good; traceable."""
    decision_key, action_key = _split_key(key)
    due = state.steps_left <= 0
    state = jax.lax.cond(due, lambda: agent.decide(obs, state, key=decision_key), lambda: state)
    action, clipped = agent.read_out(obs, state.psi, key=action_key)
    info = StepInfo(state.decision, due, clipped, jnp.asarray(False))
    return action, agent.stepped(obs, state), info


def _split_key(key: StepKey) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """The keys of the decision and of the action."""
    decision_key, action_key = key if isinstance(key, tuple) else jax.random.split(key)
    return decision_key, action_key


def _split_keys(key: BatchKey, n: int) -> tuple[Key[Array, " n"], Key[Array, " n"]]:
    """The keys of the decision and of the action of n environments, each as `act` has them."""
    if isinstance(key, tuple):
        return key
    pairs = jax.vmap(jax.random.split)(jax.random.split(key, n))
    return pairs[:, 0], pairs[:, 1]


decide: Any = eqx.filter_jit(Agent.decide)
"""`Agent.decide`, compiled."""


def decide_each(due: Sequence[tuple[Agent, Obs, AgentState, PRNGKeyArray]]) -> list[AgentState]:
    """`Agent.decide` in each environment by one program, as many at a time as there are cores."""

    def one(args: tuple[Agent, Obs, AgentState, PRNGKeyArray]) -> AgentState:
        return jax.block_until_ready(decide(*args[:-1], key=args[-1]))

    # One decision keeps little more than one core busy, and does not hold Python's lock.
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(one, due))


def compile_decide(agent: Agent) -> None:
    """Compile what `decide_each` runs; otherwise each of its threads would compile it."""
    jax.block_until_ready(decide(agent, example_obs(agent), initial_state(agent), key=jax.random.key(0)))


@eqx.filter_jit
def decide_together(agent: Agent, obs: Float[Array, "n obs"], states: AgentState, keys: Key[Array, " n"]) -> AgentState:
    """`Agent.decide` in n environments as one program."""
    return jax.vmap(lambda o, s, k: agent.decide(o, s, key=k))(obs, states, keys)


def decides_each() -> bool:
    """Whether decisions are made by `decide_each`, and not `decide_together`.

    A decision's thousands of draws fill the cache of a CPU: all decisions at once leave it and take twice as long.
    """
    return jax.default_backend() == "cpu"


def decide_batch(
    agent: Agent, obs: Float[Array, "n obs"], states: AgentState, keys: Key[Array, " n"], due: Bool[np.ndarray, " n"]
) -> AgentState:
    """The states, with a new plan in the environments where one is due."""
    if not decides_each():
        return _select(jnp.asarray(due), decide_together(agent, obs, states, keys), states)
    each, rows = unstack_rows(states), np.flatnonzero(due)
    decided = decide_each([(agent, obs[i], each[i], keys[i]) for i in rows])
    for i, state in zip(rows, decided):
        each[i] = state
    return stack_rows(each)


@eqx.filter_jit
def read_out_batch(
    agent: Agent, obs: Float[Array, "n obs"], psi: Float[Array, "n psi"], keys: Key[Array, " n"]
) -> tuple[Float[Array, "n act"], Bool[Array, " n"]]:
    """`Agent.read_out` in n environments."""
    return jax.vmap(lambda o, p, k: agent.read_out(o, p, key=k))(obs, psi, keys)


@eqx.filter_jit
def _stepped_batch(agent: Agent, obs: Float[Array, "n obs"], states: AgentState) -> AgentState:
    return jax.vmap(agent.stepped)(obs, states)


def without_planner(agent: Agent) -> Agent:
    """An agent for what does not read the planner, such as `read_out`: all planners then share its programs."""
    return eqx.tree_at(lambda a: a.planner, agent, None)


@_jit_keep_unused
def _initial_states(agent: Agent, n: int) -> AgentState:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *leaf.shape)), initial_state(agent))


@eqx.filter_jit
def _select(where: Bool[Array, " n"], new: AgentState, old: AgentState) -> AgentState:
    return jax.vmap(lambda w, a, b: select(w, a, b))(where, new, old)


_REPLACEMENT = 1
"""What is folded into a decision's key for the draw that replaces a plan which is not finite."""

_READ_OUT_MS = 1.0
"""Milliseconds of the deadline reserved for the readout policy, which takes about a third of that."""
