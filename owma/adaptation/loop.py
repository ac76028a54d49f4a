"""Gradient ascent on Δφ inside one decision."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.moved import OldMember, accept_old_keyword
from owma._internal.types import Array, Float, Key, PRNGKeyArray, PyTree, Scalar
from owma.adaptation.ascent import AbstractAscent
from owma.adaptation.delta import AbstractDeltaFilter
from owma.adaptation.divergence import AbstractDivergence, PathKL
from owma.adaptation.gradient import AbstractGradient
from owma.adaptation.objective import DecisionProblem


@accept_old_keyword("begun", "schedule_offset")
class AdaptationState(eqx.Module):
    """The state of the ascent, carried from step to step and, with a warm start, from decision to decision."""

    delta: PyTree
    """Δφ."""
    ascent: PyTree
    """The state of the ascent rule."""
    schedule_offset: Scalar
    """Fraction of the λ and step-size schedules already used by earlier (warm-started) decisions, in [0, 1)."""
    begun = OldMember("schedule_offset")


class AdaptationCurves(eqx.Module):
    """Learning curves of one adaptation, each entry at the Δφ *before* that step; NaN for steps that a deadline cut."""

    objective: Float[Array, "*steps"]
    """J, in units of `value_scale`."""
    value: Float[Array, "*steps"]
    """E[V], in return units."""
    kl: Float[Array, "*steps"]
    """The divergence that the objective charged."""


class Adaptation(eqx.Module):
    """Gradient ascent of J(Δφ): an estimator of the gradient, a step rule, a divergence and the adapted parameters."""

    gradient: AbstractGradient
    ascent: AbstractAscent
    divergence: AbstractDivergence
    delta_filter: AbstractDeltaFilter
    anneal: Scalar
    """λ of the first step, as a fraction of λ. It rises geometrically and equals λ over the last third of the steps, if
    there are three or more. A small λ at first lets the ascent leave a mode in which the value is flat.
    """
    num_steps: int = eqx.field(static=True)
    num_samples: int = eqx.field(static=True)
    fresh_noise: bool = eqx.field(static=True)
    """Whether every step draws new noise, or all of them ascend the same sample average."""

    def __check_init__(self) -> None:
        if self.gradient.path_kl_only and not isinstance(self.divergence, PathKL):
            raise ValueError(
                f"{type(self.gradient).__name__} has the path KL built in and cannot charge another divergence, but "
                f"divergence is {type(self.divergence).__name__}; use PathKL() or the Reparameterised() gradient."
            )

    step_passes = OldMember("nfe_per_step")

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        """`problem` in the coordinates that `delta_filter` adapts, as `init`, `step` and `run` need it."""
        return self.delta_filter.prepare(problem)

    def init(self, problem: DecisionProblem) -> AdaptationState:
        """Δφ = 0, the initial state of the ascent rule, and schedules at their start; for a prepared problem."""
        delta = self.delta_filter.zeros(problem.denoiser)
        return AdaptationState(delta, self.ascent.init(delta), jnp.asarray(0.0))

    def randomness(
        self, problem: DecisionProblem, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "steps n draws x"], Key[Array, " steps"]]:
        """The noise and the key of every step."""
        noise_key, step_key = jax.random.split(key)
        # All steps in one call: a random number generator takes longer to start than to run.
        draws = self.num_steps if self.fresh_noise else 1
        noise = problem.noise(draws * self.num_samples, key=noise_key)
        noise = noise.reshape(draws, self.num_samples, *noise.shape[1:])
        return jnp.broadcast_to(noise, (self.num_steps, *noise.shape[1:])), jax.random.split(step_key, self.num_steps)

    def step(
        self,
        problem: DecisionProblem,
        state: AdaptationState,
        noise: Float[Array, "n draws x"],
        progress: Scalar,
        *,
        key: PRNGKeyArray,
    ) -> tuple[AdaptationState, AdaptationCurves]:
        """One step on a prepared problem.

        **Arguments:** `noise`: of this step's draws, and `key`, as `randomness` returns them; `progress`: the fraction
        of steps already made, in [0, 1).

        **Returns:** the next state; the curves' entry at the Δφ of `state`.
        """
        gradient_key, ascent_key = jax.random.split(key)
        progress = state.schedule_offset + (1 - state.schedule_offset) * progress
        kl_coef = problem.kl_coef * self.anneal ** jnp.maximum(1 - 1.5 * progress, 0.0)
        annealed = eqx.tree_at(lambda p: p.kl_coef, problem, kl_coef)
        estimate = self.gradient(annealed, state.delta, self.divergence, noise, key=gradient_key)
        move, ascent = self.ascent.step(
            annealed,
            state.delta,
            estimate.gradient,
            estimate.samples,
            state.ascent,
            progress,
            metric=self.delta_filter.metric,
            key=ascent_key,
        )
        delta = jax.tree.map(jnp.add, state.delta, move)
        objective = problem.objective(estimate.value, estimate.kl)
        curves = AdaptationCurves(objective, estimate.value, estimate.kl)
        return AdaptationState(delta, ascent, state.schedule_offset), curves

    def run(
        self, problem: DecisionProblem, state: AdaptationState, *, key: PRNGKeyArray
    ) -> tuple[AdaptationState, AdaptationCurves]:
        """`num_steps` steps from `state` on a prepared problem; the last state and the learning curves."""

        def step(
            state: AdaptationState, inputs: tuple[Float[Array, "n draws x"], PRNGKeyArray, Scalar]
        ) -> tuple[AdaptationState, AdaptationCurves]:
            noise, step_key, progress = inputs
            return self.step(problem, state, noise, progress, key=step_key)

        noise, keys = self.randomness(problem, key=key)
        return jax.lax.scan(step, state, (noise, keys, jnp.arange(self.num_steps) / max(self.num_steps, 1)))

    def nfe_per_step(self, num_transitions: int) -> int:
        """Network passes of one step on a chain of `num_transitions` transitions: forward evaluations and products with
        the network's Jacobian or its transpose, each counted as one.
        """
        extra_nfe = (
            (0, 0) if self.delta_filter.shares_hidden and self.divergence.needs_paths else self.divergence.extra_nfe
        )
        per_state = self.ascent.nfe_per_state(self.delta_filter.metric)
        per_draw = self.gradient.nfe_per_draw(extra_nfe, num_transitions) + per_state * num_transitions
        return self.num_samples * per_draw
