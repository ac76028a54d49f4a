"""What an agent remembers from step to step, and what it says of one; of many environments, with a leading axis."""

import equinox as eqx

from owma._internal.types import Array, Bool, Float, Int, PyTree
from owma.agent.anytime import Paces
from owma.planners.base import PlanInfo


class Decision(eqx.Module):
    """A plan, and what the planner says of it."""

    psi: Float[Array, "*batch psi"]
    """ψ*, the outcome to bring about."""
    info: PlanInfo


class AgentState(eqx.Module):
    """What an agent remembers between steps of one episode; of `init_batch`, of one in each environment."""

    planner: PyTree
    """The planner's own state."""
    decision: Decision
    """The decision in force."""
    steps_left: Int[Array, "*batch"]
    """Steps until the next decision."""
    paces: Paces | None = None
    """What the parts of a decision have taken so far; `None` without a deadline."""

    @property
    def psi(self) -> Float[Array, "*batch psi"]:
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
    planned: Bool[Array, "*batch"]
    clipped: Bool[Array, "*batch"]
    """Whether the policy's action left the action space and was moved to its boundary."""
    overrun: Bool[Array, "*batch"]
    """Whether the action came after the deadline."""

    @property
    def psi(self) -> Float[Array, "*batch psi"]:
        """The outcome that the action is meant to bring about."""
        return self.decision.psi

    @property
    def plan(self) -> PlanInfo:
        """What the planner says of the decision in force."""
        return self.decision.info
