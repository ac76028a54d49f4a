"""The twisted diffusion sampler: guided particles, corrected by their weights."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, Obs, PRNGKeyArray, Psi, Scalar
from owma.planners.base import AbstractPlanner, AgentModel, PlanInfo
from owma.planners.particles import plan_by_weight, sequential


class TwistedSMCPlanner(AbstractPlanner):
    r"""Sequential Monte Carlo whose proposals are the trained chain's transitions with the mean moved by
    $\tilde s_k^2\nabla_y V(\hat x_0(y))/\lambda$, at most `max_shift` widths, and whose weights make up for it
    (Wu et al., arXiv 2306.17775, algorithm 1); ψ* is drawn by the last weights.
    """

    kl_coef: Scalar
    min_ess: Scalar
    max_shift: Scalar
    num_particles: int = eqx.field(static=True)

    def init(self, model: AgentModel) -> None:
        del model

    def plan(self, model: AgentModel, obs: Obs, state: None, *, key: PRNGKeyArray) -> tuple[Psi, None, PlanInfo]:
        # The third is not used: it keeps the others, and with them the plans, what they were.
        particles_key, choice_key, _ = jax.random.split(key, 3)
        problem = model.problem(obs, self.kl_coef)

        def shift(gradient: Float[Array, " x"], width: Float[Array, " x"]) -> Float[Array, " x"]:
            moved = width * gradient
            return moved * jnp.minimum(1.0, self.max_shift / (jnp.linalg.norm(moved) + 1e-12))

        draws = sequential(problem, self.num_particles, self.min_ess, shift=shift, key=particles_key)
        nfe = 2 * self.num_particles * problem.chain.num_transitions
        psi, info = plan_by_weight(problem, draws, nfe=nfe, key=choice_key)
        return psi, state, info
