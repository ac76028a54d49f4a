"""Gradient ascent on Δφ inside one decision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from owma._types import Array, Float, PRNGKeyArray, PyTree, Scalar
from owma.adaptation.delta import AbstractDeltaFilter
from owma.adaptation.divergence import AbstractDivergence
from owma.adaptation.objective import DecisionProblem


class AdaptationState(eqx.Module):
    """What ascent carries from step to step, and with a warm start from decision to decision."""

    delta: PyTree
    """Δφ."""
    opt_state: PyTree


class AdaptationCurves(eqx.Module):
    """The course of one adaptation, each entry at the Δφ *before* that step."""

    objective: Float[Array, "*steps"]
    """J, in units of `value_scale`."""
    value: Float[Array, "*steps"]
    """E[V], in return units."""
    kl: Float[Array, "*steps"]
    """The divergence that the objective charged."""


class Adaptation(eqx.Module):
    """Adam on J(Δφ) with reparameterised gradients: samples are functions of noise, and J is differentiated through
    the whole solve.
    """

    learning_rate: Scalar
    divergence: AbstractDivergence
    delta_filter: AbstractDeltaFilter
    num_steps: int = eqx.field(static=True)
    num_samples: int = eqx.field(static=True)
    fresh_noise: bool = eqx.field(static=True)
    """Whether every step draws new noise, or all of them ascend the same sample average."""

    def init(self, problem_denoiser: PyTree) -> AdaptationState:
        """Δφ = 0 and a fresh optimiser."""
        delta = self.delta_filter.zeros(problem_denoiser)
        return AdaptationState(delta, _ADAM.init(delta))

    def run(
        self, problem: DecisionProblem, state: AdaptationState, *, key: PRNGKeyArray
    ) -> tuple[AdaptationState, AdaptationCurves]:
        """`num_steps` steps from `state`."""
        noise_key, divergence_key = jax.random.split(key)
        step_keys = jax.random.split(divergence_key, self.num_steps)
        noise_keys = jax.random.split(noise_key, self.num_steps)
        common = None if self.fresh_noise else problem.noise(self.num_samples, key=noise_key)

        def loss(delta: PyTree, noise: Float[Array, "n draws x"], key: PRNGKeyArray) -> tuple[Scalar, tuple]:
            samples, values = problem.draw(delta, noise, with_reference=self.divergence.needs_paths)
            kl = self.divergence(problem, delta, samples, values, noise, key=key)
            objective = problem.objective(values, kl)
            return -objective, (objective, jnp.mean(values), kl)

        def step(
            state: AdaptationState, keys: tuple[PRNGKeyArray, PRNGKeyArray]
        ) -> tuple[AdaptationState, AdaptationCurves]:
            step_noise_key, step_key = keys
            noise = problem.noise(self.num_samples, key=step_noise_key) if common is None else common
            grads, (objective, value, kl) = jax.grad(loss, has_aux=True)(state.delta, noise, step_key)
            directions, opt_state = _ADAM.update(grads, state.opt_state)
            # The rate multiplies here, not inside optax: as an array it can change without recompiling.
            delta = jax.tree.map(lambda d, u: d - self.learning_rate * u, state.delta, directions)
            return AdaptationState(delta, opt_state), AdaptationCurves(objective, value, kl)

        return jax.lax.scan(step, state, (noise_keys, step_keys))


# Ten steps are too few for the usual memories of ten and a thousand: with them the first gradients, and the scale of
# the first step, would last to the end. On the two-route model J at equal steps is higher, and stays above its start.
_ADAM = optax.scale_by_adam(b1=0.5, b2=0.9)
