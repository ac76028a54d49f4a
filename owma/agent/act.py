"""An agent: what was learnt, and a planner that uses it."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Action, Array, Bool, Float, HostArray, Int, Obs, PRNGKeyArray, Psi, PyTree
from owma.agent.anytime import Paces, decide_in_time, measure_paces
from owma.outcomes.observations import read_obs, sized_obs
from owma.planners.base import AbstractAnytimePlanner, AbstractPlanner, AgentModel, PlanInfo, guarded_plan


class AgentState(eqx.Module):
    """What an agent remembers between steps of one episode."""

    planner: PyTree
    psi: Psi
    """The plan being followed."""
    info: PlanInfo
    """Of the decision that made it."""
    steps_left: Int[Array, ""]
    """Steps until the next decision."""
    paces: Paces | None = None
    """What the parts of a decision have taken so far; `None` without a deadline."""


class StepInfo(eqx.Module):
    """What the agent says of one step."""

    psi: Psi
    """The outcome that the action is meant to bring about."""
    plan: PlanInfo
    """Of the decision in force; made at this step if `planned`."""
    planned: Bool[Array, ""]
    clipped: Bool[Array, ""]
    """Whether the policy's action left the action space and was moved to its boundary."""
    overrun: Bool[Array, ""]
    """Whether the action came after the deadline."""


class Agent(eqx.Module):
    """Acts in an environment; immutable, `state` is the caller's to keep.

    ```python
    state = agent.init()
    action, state, info = agent.act(obs, state, key=key)
    ```
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
        state = _init(self)
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
        self, obs: Mapping[str, HostArray] | HostArray, state: AgentState, *, key: PRNGKeyArray
    ) -> tuple[Float[np.ndarray, " act"], AgentState, StepInfo]:
        """One step of control.

        **Arguments:** `obs`: as the environment returned it (a goal environment's dictionary, or one flat array);
        `state`: from `init` or the last `act`.

        **Returns:** the action in the environment's units and inside its bounds, the next state, and a `StepInfo`. The
        action is finite whatever the planner and the networks do (see `plan` and `ReadoutPolicy.act`), and an array of
        the caller's own, which may be written to.

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
        self, obs: Obs, state: AgentState, began: float, key: PRNGKeyArray
    ) -> tuple[Float[np.ndarray, " act"], AgentState, StepInfo]:
        assert self.deadline_ms is not None
        plan_key, action_key = jax.random.split(key)
        steps_left = int(state.steps_left)
        due = steps_left <= 0
        if due:
            state = self.decide_in_time(obs, state, began, key=plan_key)
            steps_left = self.replan_every
        action, clipped = _read_out(self, obs, state.psi, action_key)
        action = np.array(action)
        overrun = 1e3 * (time.perf_counter() - began) > self.deadline_ms
        state = eqx.tree_at(lambda s: s.steps_left, state, jnp.asarray(steps_left - 1))
        return action, state, StepInfo(state.psi, state.info, jnp.asarray(due), clipped, jnp.asarray(overrun))

    def decide_in_time(self, obs: Obs, state: AgentState, began: float, *, key: PRNGKeyArray) -> AgentState:
        """The state with a new plan, decided within the deadline that began at `time.perf_counter() == began`."""
        if self.deadline_ms is None or state.paces is None or not isinstance(self.planner, AbstractAnytimePlanner):
            raise ValueError("decide_in_time needs an agent with a deadline, and a state from its own `init`.")
        psi, planner_state, info, paces = decide_in_time(
            self.planner,
            self.model,
            obs,
            state.planner,
            state.paces,
            began=began,
            deadline_ms=self.deadline_ms,
            reserve_ms=_READ_OUT_MS,
            key=key,
        )
        found = (psi, planner_state, info)
        psi, planner_state, info = _guard(self, obs, found, jax.random.fold_in(key, _INSTEAD))
        return AgentState(planner_state, psi, info, state.steps_left, paces)

    def flatten(self, obs: Mapping[str, HostArray] | HostArray) -> Float[np.ndarray, "*batch obs"]:
        """The flat state that the model was trained on. Raises `OwmaError` on another size."""
        return sized_obs(obs, self.obs_keys, self.obs_size)

    @property
    def obs_size(self) -> int:
        """Components of the flat state."""
        return self.model.world.observation.mean.shape[0]

    def plan(self, obs: Obs, state: PyTree, *, key: PRNGKeyArray) -> tuple[Psi, PyTree, PlanInfo]:
        """One decision for a flat observation; `state` is the planner's. Traceable; batch it with `jax.vmap`.

        A plan that is not finite, whatever the planner, is replaced by a draw of the trained model, and
        `info.result` says so (`PlanResult.NOT_FINITE`).
        """
        found = self.planner.plan(self.model, obs, state, key=key)
        # A key of its own, which leaves those of the planner as they were.
        return guarded_plan(self.planner, self.model, obs, found, key=jax.random.fold_in(key, _INSTEAD))


@eqx.filter_jit
def _plan(agent: Agent, obs: Obs, state: PyTree, key: PRNGKeyArray) -> tuple[Psi, PyTree, PlanInfo]:
    """`Agent.plan`, traced once for the two that ask for it: `_init`, for its shapes, and `step`."""
    return agent.plan(obs, state, key=key)


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


@_jit_of_all_arguments
def planner_state(agent: Agent) -> PyTree:
    """The planner's state at the start of an episode."""
    return agent.planner.init(agent.model)


@_jit_of_all_arguments
def _init(agent: Agent) -> AgentState:
    planner_state = agent.planner.init(agent.model)
    obs = agent.model.world.observation.mean
    # The first step plans, whatever stands here; this only gives the plan its shapes.
    shapes = eqx.filter_eval_shape(_plan, agent, obs, planner_state, jax.random.key(0))
    psi, _, info = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return AgentState(planner_state, psi, info, jnp.asarray(0))


@eqx.filter_jit
def step(agent: Agent, obs: Obs, state: AgentState, key: PRNGKeyArray) -> tuple[Action, AgentState, StepInfo]:
    """`Agent.act` for a flat observation that is known to be good; traceable."""
    plan_key, action_key = jax.random.split(key)
    due = state.steps_left <= 0

    def decide() -> tuple[Psi, PyTree, PlanInfo]:
        return _plan(agent, obs, state.planner, plan_key)

    def follow() -> tuple[Psi, PyTree, PlanInfo]:
        return state.psi, state.planner, state.info

    psi, planner_state, info = jax.lax.cond(due, decide, follow)
    action, clipped = agent.model.policy.act(obs, psi, action_key)
    steps_left = jnp.where(due, agent.replan_every, state.steps_left) - 1
    state = AgentState(planner_state, psi, info, steps_left, state.paces)
    return action, state, StepInfo(psi, info, due, clipped, jnp.asarray(False))


_INSTEAD = 1
"""What is folded into a decision's key for the draw that replaces a plan which is not finite."""


@eqx.filter_jit
def _guard(
    agent: Agent, obs: Obs, found: tuple[Psi, PyTree, PlanInfo], key: PRNGKeyArray
) -> tuple[Psi, PyTree, PlanInfo]:
    return guarded_plan(agent.planner, agent.model, obs, found, key=key)


_READ_OUT_MS = 1.0
"""Kept for the readout policy, which takes a third of that."""


@eqx.filter_jit
def _read_out(agent: Agent, obs: Obs, psi: Psi, key: PRNGKeyArray) -> tuple[Action, Bool[Array, ""]]:
    return agent.model.policy.act(obs, psi, key)
