"""The interface of planners, and what they all are given and give back."""

import abc
import enum

import equinox as eqx

from owma._types import Array, Float, Int, Obs, PRNGKeyArray, Psi, PyTree, Scalar
from owma.adaptation import AdaptationCurves, DecisionProblem
from owma.policy import ReadoutPolicy
from owma.value import AbstractValue
from owma.world import WorldModel


class AgentModel(eqx.Module):
    """What an agent has learnt, for one task: the parts that every planner works with."""

    world: WorldModel
    policy: ReadoutPolicy
    value: AbstractValue
    value_scale: Scalar
    """Root mean square over dataset states of the standard deviation of V under p_φ(·|s): the unit of λ."""

    def problem(self, obs: Obs, kl_coef: Scalar) -> DecisionProblem:
        """The variational problem of a decision at `obs`."""
        return DecisionProblem(
            denoiser=self.world.denoiser,
            chain=self.world.chain,
            context=self.world.context(obs),
            value=self.value,
            value_scale=self.value_scale,
            kl_coef=kl_coef,
        )


class PlanResult(enum.IntEnum):
    """How a plan came about; `PlanInfo.result` holds the number."""

    PLANNED = 0
    """As the planner is meant to."""
    NOT_IMPROVED = 1
    """Adaptation ended below the objective that it started from; the plan is a tilted draw of the unadapted model."""
    NOT_FINITE = 2
    """The planner met a NaN or an infinity; the plan is a draw of the unadapted model, tilted where values allow."""
    LOW_ESS = 3
    """The importance weights of the adapted draws were too uneven; the plan is a tilted draw of the unadapted model."""


class PlanInfo(eqx.Module):
    """What a planner says of one decision."""

    denoised: Psi
    """ψ* without the noise of the chain's last draw: x̂₀ at the last level."""
    value: Scalar
    """V(ψ*): the return that the plan promises."""
    kl: Scalar
    """Divergence from p_φ of the law of ψ*, in nats: of its path, plus what choosing among draws adds."""
    nfe: Int[Array, ""]
    """Network passes: forward evaluations, and products with its Jacobian or its transpose, each counted as one."""
    result: Int[Array, ""]
    """A `PlanResult`."""
    prior_values: Float[Array, " n"]
    """V of draws of the unadapted model, where the planner made any."""
    values: Float[Array, " m"]
    """V of the draws that ψ* was chosen from. Online adaptation gives the adapted model's here; what it weighed beside
    them is in `prior_values`.
    """
    ess: Scalar
    """Effective sample size of the weights that ψ* was chosen by; their number, where it was not chosen by weights."""
    curves: AdaptationCurves | None
    """The course of adaptation; `None` for planners that do not adapt."""


class AbstractPlanner(eqx.Module):
    """Proposes the outcome to bring about. Immutable: what persists between decisions is `state`."""

    @abc.abstractmethod
    def init(self, model: AgentModel) -> PyTree:
        """The state before the first decision."""

    @abc.abstractmethod
    def plan(self, model: AgentModel, obs: Obs, state: PyTree, *, key: PRNGKeyArray) -> tuple[Psi, PyTree, PlanInfo]:
        """**Returns:** ψ*, the next state, and what there is to say of the decision."""


class AbstractAnytimePlanner(AbstractPlanner):
    """A planner that works in steps, and has a plan after any number of them: what a deadline needs."""

    @property
    @abc.abstractmethod
    def num_steps(self) -> int:
        """The most steps of a decision."""

    @abc.abstractmethod
    def begin(self, model: AgentModel, obs: Obs, state: PyTree, *, key: PRNGKeyArray) -> tuple[PyTree, PyTree]:
        """What stays the same during the decision, and where the steps start from."""

    @abc.abstractmethod
    def advance(self, decision: PyTree, reached: PyTree, progress: Scalar) -> PyTree:
        """One step; `progress`: the share of the decision that is over, in [0, 1)."""

    @abc.abstractmethod
    def finish(self, model: AgentModel, decision: PyTree, reached: PyTree) -> tuple[Psi, PyTree, PlanInfo]:
        """As `plan` returns, from what the steps have reached; passes of steps that were not made are not counted."""
