"""The twisted diffusion sampler: guided proposals, corrected by importance weights."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, Obs, PRNGKeyArray, Psi, Scalar
from owma.planners.base import AbstractPlanner, AgentModel, PlanInfo
from owma.planners.particles import plan_by_weight, sequential


class TwistedSMCPlanner(AbstractPlanner):
    r"""Sequential Monte Carlo whose proposals are the trained chain's transitions with the mean moved by
    $\tilde s_k^2\nabla_y V(\hat x_0(y))/\lambda$, at most `max_shift` widths, and whose weights correct for that
    (Wu et al., arXiv 2306.17775, algorithm 1); ψ* is drawn by the last weights.
    """

    kl_coef: Scalar
    min_ess: Scalar
    max_shift: Scalar
    num_particles: int = eqx.field(static=True)

    def init(self, model: AgentModel) -> None:
        del model

    def plan(self, model: AgentModel, obs: Obs, state: None, *, key: PRNGKeyArray) -> tuple[Psi, None, PlanInfo]:
        # The third key is unused: it is kept so that the others, and with them the plans, do not change.
        particles_key, choice_key, _ = jax.random.split(key, 3)
        problem = model.problem(obs, self.kl_coef)

        def clipped_shift(gradient: Float[Array, " x"], width: Float[Array, " x"]) -> Float[Array, " x"]:
            shift = width * gradient
            return shift * jnp.minimum(1.0, self.max_shift / (jnp.linalg.norm(shift) + 1e-12))

        draws = sequential(problem, self.num_particles, self.min_ess, shift=clipped_shift, key=particles_key)
        nfe = 2 * self.num_particles * problem.chain.num_transitions
        psi, info = plan_by_weight(problem, draws, nfe=nfe, key=choice_key)
        return psi, state, info
