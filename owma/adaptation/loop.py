"""Gradient ascent on Δφ inside one decision."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, Key, PRNGKeyArray, PyTree, Scalar
from owma.adaptation.ascent import AbstractAscent
from owma.adaptation.delta import AbstractDeltaFilter
from owma.adaptation.divergence import AbstractDivergence, PathKL
from owma.adaptation.gradient import AbstractGradient
from owma.adaptation.objective import DecisionProblem


class AdaptationState(eqx.Module):
    """What ascent carries from step to step, and with a warm start from decision to decision."""

    delta: PyTree
    """Δφ."""
    ascent: PyTree
    """The state of the ascent rule."""
    begun: Scalar
    """The share of the schedules of price and step that earlier decisions have gone through, in [0, 1)."""


class AdaptationCurves(eqx.Module):
    """The course of one adaptation, each entry at the Δφ *before* that step; NaN for steps that a deadline cut off."""

    objective: Float[Array, "*steps"]
    """J, in units of `value_scale`."""
    value: Float[Array, "*steps"]
    """E[V], in return units."""
    kl: Float[Array, "*steps"]
    """The divergence that the objective charged."""


class Adaptation(eqx.Module):
    """Ascent of J(Δφ): an estimator of the gradient, a rule for the step, a divergence and a choice of parameters."""

    gradient: AbstractGradient
    ascent: AbstractAscent
    divergence: AbstractDivergence
    delta_filter: AbstractDeltaFilter
    anneal: Scalar
    """λ of the first step, as a share of λ; it rises geometrically and is λ over the last third of three steps or more.
    A low price at first lets ascent leave a mode in which the value is flat.
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

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        """`problem` in the coordinates that `delta_filter` adapts; what `init` and `run` take."""
        return self.delta_filter.prepare(problem)

    def init(self, problem: DecisionProblem) -> AdaptationState:
        """Δφ = 0, a fresh state of the ascent rule and whole schedules, for a prepared problem."""
        delta = self.delta_filter.zeros(problem.denoiser)
        return AdaptationState(delta, self.ascent.init(delta), jnp.asarray(0.0))

    def randomness(
        self, problem: DecisionProblem, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "steps n draws x"], Key[Array, " steps"]]:
        """The noise and the key of every step."""
        noise_key, step_key = jax.random.split(key)
        # All at once: a generator of random numbers takes longer to start than to run.
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
        """One step on a prepared problem, when a share `progress` of them is done; a single entry of the curves."""
        gradient_key, ascent_key = jax.random.split(key)
        progress = state.begun + (1 - state.begun) * progress
        price = problem.kl_coef * self.anneal ** jnp.maximum(1 - 1.5 * progress, 0.0)
        annealed = eqx.tree_at(lambda p: p.kl_coef, problem, price)
        found = self.gradient(annealed, state.delta, self.divergence, noise, key=gradient_key)
        move, ascent = self.ascent.step(
            annealed,
            state.delta,
            found.gradient,
            found.samples,
            state.ascent,
            progress,
            metric=self.delta_filter.metric,
            key=ascent_key,
        )
        delta = jax.tree.map(jnp.add, state.delta, move)
        curves = AdaptationCurves(problem.scaled(found.value) - problem.kl_coef * found.kl, found.value, found.kl)
        return AdaptationState(delta, ascent, state.begun), curves

    def run(
        self, problem: DecisionProblem, state: AdaptationState, *, key: PRNGKeyArray
    ) -> tuple[AdaptationState, AdaptationCurves]:
        """`num_steps` steps from `state`, on a prepared problem."""

        def step(
            state: AdaptationState, inputs: tuple[Float[Array, "n draws x"], PRNGKeyArray, Scalar]
        ) -> tuple[AdaptationState, AdaptationCurves]:
            noise, step_key, progress = inputs
            return self.step(problem, state, noise, progress, key=step_key)

        noise, keys = self.randomness(problem, key=key)
        return jax.lax.scan(step, state, (noise, keys, jnp.arange(self.num_steps) / max(self.num_steps, 1)))

    def step_passes(self, num_transitions: int) -> int:
        """Network passes of a step, on a chain of `num_transitions` transitions: forward evaluations, and products with
        its Jacobian or its transpose, each counted as one.
        """
        beside = (0, 0) if self.delta_filter.shares_hidden and self.divergence.needs_paths else self.divergence.passes
        per_state = self.ascent.passes(self.delta_filter.metric)
        one_draw = self.gradient.passes(beside, num_transitions) + per_state * num_transitions
        return self.num_samples * one_draw
