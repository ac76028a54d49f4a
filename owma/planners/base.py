"""The interface of planners: what they receive and what they return."""

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
    """The trained models of an agent, and its value for one task: what every planner needs."""

    world: WorldModel
    policy: ReadoutPolicy
    value: AbstractValue
    value_scale: Scalar
    """The unit of λ: the root mean square, over dataset states, of the standard deviation of V under p_φ(·|s)."""

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
    """The result code of a plan, held in `PlanInfo.result`."""

    PLANNED = 0
    """Success: the plan is the planner's own."""
    NOT_IMPROVED = 1
    """Fallback: adaptation lowered the objective; the plan is a tilted draw of the unadapted model."""
    NOT_FINITE = 2
    """Fallback: a NaN or an infinity; the plan is a draw of the unadapted model, tilted if the values are finite."""
    LOW_ESS = 3
    """Fallback: the effective sample size was too small; the plan is a tilted draw of the unadapted model."""


class PlanInfo(eqx.Module):
    """Diagnostics of one decision."""

    denoised: Psi
    """ψ* without the noise of the last transition: x̂₀ at the last level."""
    value: Scalar
    """V(ψ*): the predicted return, in return units."""
    kl: Scalar
    """Divergence of the law of ψ* from p_φ, in nats: that of its path, plus that of choosing among draws."""
    nfe: Int[Array, ""]
    """Network passes: forward evaluations and products with the Jacobian or its transpose, each counted as one."""
    result: Int[Array, ""]
    """A `PlanResult`."""
    prior_values: Float[Array, " n"]
    """V of draws of the unadapted model; empty if the planner made none."""
    values: Float[Array, " m"]
    """V of the draws that ψ* was chosen from; of online adaptation, those of the adapted model."""
    ess: Scalar
    """Effective sample size of the importance weights; the number of draws, if ψ* was not chosen by weights."""
    curves: AdaptationCurves | None
    """The learning curves of adaptation; `None` for planners that do not adapt."""


class AbstractPlanner(eqx.Module):
    """A planner chooses the outcome ψ* to bring about. Immutable: what persists between decisions is `state`."""

    @abc.abstractmethod
    def init(self, model: AgentModel) -> PyTree:
        """The state before the first decision."""

    @abc.abstractmethod
    def plan(self, model: AgentModel, obs: Obs, state: PyTree, *, key: PRNGKeyArray) -> tuple[Psi, PyTree, PlanInfo]:
        """**Returns:** ψ*, the next state, and diagnostics.

        They need not be finite: `Agent.decide` replaces a plan that is not (`guarded_plan`).
        """


def not_below(objective: Scalar, at_start: Scalar) -> Bool[Array, ""]:
    """Whether `objective` is at least `at_start`, up to rounding."""
    return objective >= at_start - 1e-5 * (1 + jnp.abs(at_start))


def guarded_plan(
    planner: AbstractPlanner,
    model: AgentModel,
    obs: Obs,
    proposed: tuple[Psi, PyTree, PlanInfo],
    *,
    key: PRNGKeyArray,
) -> tuple[Psi, PyTree, PlanInfo]:
    """`proposed`, the return value of `planner.plan`, if it is finite; else a draw of the trained model, with the
    result `NOT_FINITE` and the planner's initial state, because the current one may have caused the failure.

    If the draw is not finite either (its parameters are not, or the observation is far from the data), the plan is the
    mean outcome, zero.

    Raises `ValueError` if ψ* has another shape than the model's outcomes.
    """
    psi, state, info = proposed = jax.tree.map(jnp.asarray, proposed)
    if psi.shape != (model.world.whitening.dims,):
        raise ValueError(
            f"{type(planner).__name__}.plan returned ψ* of shape {psi.shape}; the model's outcomes have "
            f"{model.world.whitening.dims} components."
        )

    def prior_draw() -> tuple[Psi, PyTree, PlanInfo]:
        problem = model.problem(obs, jnp.asarray(1.0))
        samples, values = problem.draw(None, problem.noise(1, key=key), with_reference=False)
        plan = jnp.nan_to_num(samples.psi[0], nan=0.0, posinf=0.0, neginf=0.0)
        prior_info = eqx.tree_at(
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
        return jnp.asarray(plan, psi.dtype), planner.init(model), prior_info

    return strongly_typed(jax.lax.cond(all_finite((psi, info.value, info.kl)), lambda: proposed, prior_draw))


class AbstractAnytimePlanner(AbstractPlanner):
    """A planner that works in steps and has a plan after any number of them, as a deadline requires."""

    @property
    @abc.abstractmethod
    def num_steps(self) -> int:
        """The largest number of steps of a decision."""

    @abc.abstractmethod
    def begin(self, model: AgentModel, obs: Obs, state: PyTree, *, key: PRNGKeyArray) -> tuple[PyTree, PyTree]:
        """**Returns:** `decision`, which is constant during the decision, and `reached`, the state of its steps."""

    @abc.abstractmethod
    def advance(self, decision: PyTree, reached: PyTree, progress: Scalar) -> PyTree:
        """One step: the next `reached`. `progress`: the elapsed fraction of the decision, in [0, 1)."""

    @abc.abstractmethod
    def finish(self, model: AgentModel, decision: PyTree, reached: PyTree) -> tuple[Psi, PyTree, PlanInfo]:
        """What `plan` returns, from the last `reached`; `nfe` counts the steps that were made."""
