"""The interface of planners, and what they all are given and give back."""

import abc
import enum

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.tree import all_finite, strongly_typed
from owma._internal.types import Array, Bool, Float, Int, Obs, PRNGKeyArray, Psi, PyTree, Scalar
from owma.adaptation import AdaptationCurves, DecisionProblem
from owma.outcomes.policy import ReadoutPolicy
from owma.outcomes.value import AbstractValue
from owma.outcomes.world import WorldModel


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
        """**Returns:** ψ*, the next state, and what there is to say of the decision.

        They need not be finite: `Agent.decide` replaces a plan that is not (`guarded_plan`), whatever the planner.
        """


def not_below(objective: Scalar, at_start: Scalar) -> Bool[Array, ""]:
    """Whether J ended where it started from, or above; two ways of computing one number differ by rounding."""
    return objective >= at_start - 1e-5 * (1 + jnp.abs(at_start))


def guarded_plan(
    planner: AbstractPlanner,
    model: AgentModel,
    obs: Obs,
    found: tuple[Psi, PyTree, PlanInfo],
    *,
    key: PRNGKeyArray,
) -> tuple[Psi, PyTree, PlanInfo]:
    """`found`, what a planner has returned, if that is finite; else a plain draw of the trained model, flagged.

    The planner then starts anew: what it remembered may be what went wrong. Where the trained model has no finite draw
    either (its parameters are spoilt, or the state is far outside of all data), the plan is the mean outcome, zero.
    """
    psi, state, info = found = jax.tree.map(jnp.asarray, found)
    if psi.shape != (model.world.whitening.dims,):
        raise ValueError(
            f"{type(planner).__name__}.plan returned ψ* of shape {psi.shape}; the model's outcomes have "
            f"{model.world.whitening.dims} components."
        )

    def drawn() -> tuple[Psi, PyTree, PlanInfo]:
        problem = model.problem(obs, jnp.asarray(1.0))
        samples, values = problem.draw(None, problem.noise(1, key=key), with_reference=False)
        plan = jnp.nan_to_num(samples.psi[0], nan=0.0, posinf=0.0, neginf=0.0)
        instead = eqx.tree_at(
            lambda i: (i.denoised, i.value, i.kl, i.nfe, i.result, i.ess),
            info,
            jax.tree.map(
                lambda new, old: jnp.asarray(new, old.dtype),
                (
                    samples.mean[0],
                    values[0],
                    0.0,
                    info.nfe + problem.chain.num_transitions,
                    int(PlanResult.NOT_FINITE),
                    1.0,
                ),
                (info.denoised, info.value, info.kl, info.nfe, info.result, info.ess),
            ),
        )
        return jnp.asarray(plan, psi.dtype), planner.init(model), instead

    return strongly_typed(jax.lax.cond(all_finite((psi, info.value, info.kl)), lambda: found, drawn))


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
