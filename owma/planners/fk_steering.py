"""Feynman-Kac steering: particles of the trained chain, resampled at intermediate levels by their expected value."""

import equinox as eqx
import jax

from owma._internal.types import Obs, PRNGKeyArray, Psi, Scalar
from owma.planners.base import AbstractPlanner, AgentModel, PlanInfo
from owma.planners.particles import plan_by_weight, sequential


class FKSteeringPlanner(AbstractPlanner):
    r"""Sequential Monte Carlo with the difference potential $\exp((V(\hat x_0(y_{k+1})) - V(\hat x_0(y_k)))/\lambda)$
    and proposals from p_φ (Singhal et al., arXiv 2501.06848, §4); ψ* is drawn by the last weights.
    """

    kl_coef: Scalar
    min_ess: Scalar
    num_particles: int = eqx.field(static=True)

    def init(self, model: AgentModel) -> None:
        del model

    def plan(self, model: AgentModel, obs: Obs, state: None, *, key: PRNGKeyArray) -> tuple[Psi, None, PlanInfo]:
        # The third key is unused: it is kept so that the others, and with them the plans, do not change.
        particles_key, choice_key, _ = jax.random.split(key, 3)
        problem = model.problem(obs, self.kl_coef)
        draws = sequential(problem, self.num_particles, self.min_ess, shift=None, key=particles_key)
        nfe = self.num_particles * problem.chain.num_transitions
        psi, info = plan_by_weight(problem, draws, nfe=nfe, key=choice_key)
        return psi, state, info
