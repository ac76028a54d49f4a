"""An agent: what was learnt, and a planner that uses it."""

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.tree import strongly_typed
from owma._internal.types import Action, Array, Bool, Float, HostArray, Int, Obs, PRNGKeyArray, Psi, PyTree
from owma.agent.anytime import Paces, measure_paces, plan_in_time
from owma.outcomes.observations import read_obs, sized_obs
from owma.planners.base import AbstractAnytimePlanner, AbstractPlanner, AgentModel, PlanInfo, guarded_plan

StepKey: TypeAlias = PRNGKeyArray | tuple[PRNGKeyArray, PRNGKeyArray]
"""The key of one step, which is split in two; or the two themselves, that of the decision and that of the action."""


class Decision(eqx.Module):
    """A plan, and what the planner says of it."""

    psi: Psi
    """ψ*, the outcome to bring about."""
    info: PlanInfo


class AgentState(eqx.Module):
    """What an agent remembers between steps of one episode."""

    planner: PyTree
    """The planner's own state."""
    decision: Decision
    """The decision in force."""
    steps_left: Int[Array, ""]
    """Steps until the next decision."""
    paces: Paces | None = None
    """What the parts of a decision have taken so far; `None` without a deadline."""

    @property
    def psi(self) -> Psi:
        """The plan being followed."""
        return self.decision.psi

    @property
    def info(self) -> PlanInfo:
        """Of the decision that made it."""
        return self.decision.info


class StepInfo(eqx.Module):
    """What the agent says of one step."""

    decision: Decision
    """The decision in force; made at this step if `planned`."""
    planned: Bool[Array, ""]
    clipped: Bool[Array, ""]
    """Whether the policy's action left the action space and was moved to its boundary."""
    overrun: Bool[Array, ""]
    """Whether the action came after the deadline."""

    @property
    def psi(self) -> Psi:
        """The outcome that the action is meant to bring about."""
        return self.decision.psi

    @property
    def plan(self) -> PlanInfo:
        """What the planner says of the decision in force."""
        return self.decision.info


class Agent(eqx.Module):
    """Acts in an environment; immutable, `state` is the caller's to keep.

    ```python
    state = agent.init()
    action, state, info = agent.act(obs, state, key=key)
    ```

    `act` is `decide`, where a new plan is due, and `read_out`. Whoever acts in many environments at once uses these two
    halves, as `owma.eval.rollout` does.
    """

    model: AgentModel
    planner: AbstractPlanner
    obs_keys: tuple[str, ...] | None = eqx.field(static=True, default=None)
    """The parts of a Dict observation that make up the state; `None` for plain arrays."""
    replan_every: int = eqx.field(static=True, default=1)
    """A plan is followed for this many steps."""
    deadline_ms: float | None = eqx.field(static=True, default=None)
    """Milliseconds that `act` may take. Planners that work in steps stop when the time is gone, with the plan that they
    have; how many steps were made is the number of entries of `info.plan.curves` that are not NaN. Kept on the host: a
    traced or exported agent makes all steps.
    """

    def __check_init__(self) -> None:
        if self.replan_every < 1:
            raise ValueError(f"Agent(replan_every={self.replan_every}): must be at least 1.")
        if self.deadline_ms is not None and not self.deadline_ms > 0:
            raise ValueError(f"Agent(deadline_ms={self.deadline_ms}): must be positive.")
        if self.deadline_ms is not None and not isinstance(self.planner, AbstractAnytimePlanner):
            raise ValueError(
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

    def _act_in_time(
        self, obs: Obs, state: AgentState, began: float, key: StepKey
    ) -> tuple[Float[np.ndarray, " act"], AgentState, StepInfo]:
        """`step` on the host, where there is a clock."""
        assert self.deadline_ms is not None
        decision_key, action_key = _both(key)
        due = int(state.steps_left) <= 0
        if due:
            state = self.decide(obs, state, key=decision_key, began=began)
        action, clipped = _read_out(self, obs, state.psi, key=action_key)
        action = np.array(action)
        overrun = jnp.asarray(1e3 * (time.perf_counter() - began) > self.deadline_ms)
        info = StepInfo(state.decision, jnp.asarray(due), clipped, overrun)
        return action, eqx.tree_at(lambda s: s.steps_left, state, jnp.asarray(int(state.steps_left) - 1)), info

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
            found = _compiled_plan(self.planner)(self.model, obs, state.planner, key=key)
        else:
            if self.deadline_ms is None or paces is None or not isinstance(self.planner, AbstractAnytimePlanner):
                raise ValueError("Agent.decide(began=...) needs an agent with a deadline, and a state of its `init`.")
            clock = {"began": began, "deadline_ms": self.deadline_ms, "reserve_ms": _READ_OUT_MS}
            *found, paces = plan_in_time(self.planner, self.model, obs, state.planner, paces, **clock, key=key)
        # A key of its own, which leaves those of the planner as they were.
        instead = jax.random.fold_in(key, _INSTEAD)
        psi, planner, info = _guarded_plan(self.planner, self.model, obs, tuple(found), key=instead)
        return AgentState(planner, Decision(psi, info), jnp.asarray(self.replan_every, jnp.int32), paces)

    def read_out(self, obs: Obs, psi: Psi, *, key: PRNGKeyArray) -> tuple[Action, Bool[Array, ""]]:
        """The second half of `act`: the action that is to bring ψ about, and whether it was clipped to its bounds.

        Traceable; batch it with `jax.vmap`.
        """
        return self.model.policy.act(obs, psi, key)

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
    """The mean state of the data, on the device as `act` puts an observation there: to compile for what will come."""
    return jnp.asarray(np.asarray(agent.model.world.observation.mean))


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _jit_of_all_arguments(function: _Function) -> _Function:
    """`eqx.filter_jit`, where arguments that the function does not use count too.

    JAX compiles anew for arrays that are committed to a device where those before were not. What a function returns is
    committed if any of its arguments is, of those that it uses: here all of them count, as they do in `step`, so that
    the state of `init` is like the states that follow it.
    """
    filter_jit: Any = eqx.filter_jit  # its overloads do not name the options of `jax.jit`
    return filter_jit(function, keep_unused=True)


def _compiled_plan(planner: AbstractPlanner) -> Callable[..., tuple[Psi, PyTree, PlanInfo]]:
    """`planner.plan`, traced once for all that ask for it: `initial_state`, for its shapes, and `Agent.decide`."""
    return eqx.filter_jit(planner.plan)


_guarded_plan: Any = eqx.filter_jit(guarded_plan)
_read_out: Any = eqx.filter_jit(Agent.read_out)


@_jit_of_all_arguments
def initial_state(agent: Agent) -> AgentState:
    """`Agent.init` without the measurements that a deadline needs."""
    planner, obs = strongly_typed(agent.planner.init(agent.model)), agent.model.world.observation.mean
    # The first step plans, whatever stands here; this only gives the plan its shapes.
    shapes = eqx.filter_eval_shape(_compiled_plan(agent.planner), agent.model, obs, planner, key=jax.random.key(0))
    psi, _, info = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return AgentState(planner, Decision(psi, info), jnp.asarray(0, jnp.int32))


@eqx.filter_jit
def step(agent: Agent, obs: Obs, state: AgentState, key: StepKey) -> tuple[Action, AgentState, StepInfo]:
    """`Agent.act` for a flat observation that is known to be good; traceable."""
    decision_key, action_key = _both(key)
    due = state.steps_left <= 0
    state = jax.lax.cond(due, lambda: agent.decide(obs, state, key=decision_key), lambda: state)
    action, clipped = agent.read_out(obs, state.psi, key=action_key)
    info = StepInfo(state.decision, due, clipped, jnp.asarray(False))
    return action, eqx.tree_at(lambda s: s.steps_left, state, state.steps_left - 1), info


def _both(key: StepKey) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """The keys of the decision and of the action."""
    decision_key, action_key = key if isinstance(key, tuple) else jax.random.split(key)
    return decision_key, action_key


_INSTEAD = 1
"""What is folded into a decision's key for the draw that replaces a plan which is not finite."""

_READ_OUT_MS = 1.0
"""Kept for the readout policy, which takes a third of that."""
