"""An agent: what was learnt, and a planner that uses it."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._types import Action, Array, Bool, Float, HostArray, Int, Obs, PRNGKeyArray, Psi, PyTree
from owma.observations import read_obs, sized_obs
from owma.planners.base import AbstractPlanner, AgentModel, PlanInfo


class AgentState(eqx.Module):
    """What an agent remembers between steps of one episode."""

    planner: PyTree
    psi: Psi
    """The plan being followed."""
    info: PlanInfo
    """Of the decision that made it."""
    steps_left: Int[Array, ""]
    """Steps until the next decision."""


class StepInfo(eqx.Module):
    """What the agent says of one step."""

    psi: Psi
    """The outcome that the action is meant to bring about."""
    plan: PlanInfo
    """Of the decision in force; made at this step if `planned`."""
    planned: Bool[Array, ""]
    clipped: Bool[Array, ""]
    """Whether the policy's action left the action space and was moved to its boundary."""


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

    def __check_init__(self) -> None:
        if self.replan_every < 1:
            raise ValueError(f"Agent(replan_every={self.replan_every}): must be at least 1.")

    def init(self) -> AgentState:
        """The state at the start of an episode."""
        return _init(self)

    def act(
        self, obs: Mapping[str, HostArray] | HostArray, state: AgentState, *, key: PRNGKeyArray
    ) -> tuple[Float[np.ndarray, " act"], AgentState, StepInfo]:
        """One step of control.

        **Arguments:** `obs`: as the environment returned it (a goal environment's dictionary, or one flat array);
        `state`: from `init` or the last `act`.

        **Returns:** the action in the environment's units and inside its bounds, the next state, and a `StepInfo`.

        **Raises:** `OwmaError` if the observation is not finite or not of the size that the model was trained on.
        """
        flat = read_obs(obs, self.obs_keys, self.obs_size)
        action, state, info = step(self, jnp.asarray(flat), state, key)
        return np.asarray(action), state, info

    def flatten(self, obs: Mapping[str, HostArray] | HostArray) -> Float[np.ndarray, "*batch obs"]:
        """The flat state that the model was trained on. Raises `OwmaError` on another size."""
        return sized_obs(obs, self.obs_keys, self.obs_size)

    @property
    def obs_size(self) -> int:
        """Components of the flat state."""
        return self.model.world.observation.mean.shape[0]

    def plan(self, obs: Obs, state: PyTree, *, key: PRNGKeyArray) -> tuple[Psi, PyTree, PlanInfo]:
        """One decision for a flat observation; `state` is the planner's. Traceable; batch it with `jax.vmap`."""
        return self.planner.plan(self.model, obs, state, key=key)


@eqx.filter_jit
def _init(agent: Agent) -> AgentState:
    planner_state = agent.planner.init(agent.model)
    obs = agent.model.world.observation.mean
    # The first step plans, whatever stands here; this only gives the plan its shapes.
    shapes = eqx.filter_eval_shape(lambda: agent.plan(obs, planner_state, key=jax.random.key(0)))
    psi, _, info = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return AgentState(planner_state, psi, info, jnp.asarray(0))


@eqx.filter_jit
def step(agent: Agent, obs: Obs, state: AgentState, key: PRNGKeyArray) -> tuple[Action, AgentState, StepInfo]:
    """`Agent.act` for a flat observation that is known to be good; traceable."""
    plan_key, action_key = jax.random.split(key)
    due = state.steps_left <= 0

    def decide() -> tuple[Psi, PyTree, PlanInfo]:
        return agent.plan(obs, state.planner, key=plan_key)

    def follow() -> tuple[Psi, PyTree, PlanInfo]:
        return state.psi, state.planner, state.info

    psi, planner_state, info = jax.lax.cond(due, decide, follow)
    action, clipped = agent.model.policy.act(obs, psi, action_key)
    steps_left = jnp.where(due, agent.replan_every, state.steps_left) - 1
    return action, AgentState(planner_state, psi, info, steps_left), StepInfo(psi, info, due, clipped)
