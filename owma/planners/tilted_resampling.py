"""Tilted resampling: draws of the trained model, resampled by exp(V/λ)."""

import equinox as eqx
import jax

from owma._internal.types import Obs, PRNGKeyArray, Psi, Scalar
from owma.adaptation import log_mean_exp
from owma.planners.base import AbstractPlanner, AgentModel, PlanInfo
from owma.planners.particles import Weighted, plan_by_weight


class TiltedResamplingPlanner(AbstractPlanner):
    r"""ψ* is one of `num_samples` draws of p_φ(·|s), chosen with probability $\propto e^{V/\lambda}$: a draw of q* in
    the limit of many. If the trained model gives valuable outcomes a very small probability, no feasible number
    suffices.
    """

    kl_coef: Scalar
    num_samples: int = eqx.field(static=True)

    def init(self, model: AgentModel) -> None:
        del model

    def plan(self, model: AgentModel, obs: Obs, state: None, *, key: PRNGKeyArray) -> tuple[Psi, None, PlanInfo]:
        noise_key, choice_key = jax.random.split(key)
        problem = model.problem(obs, self.kl_coef)
        samples, values = problem.draw(None, problem.noise(self.num_samples, key=noise_key), with_reference=False)
        logits = problem.log_weights(samples, values)
        draws = Weighted(samples.psi, samples.mean, values, logits, log_mean_exp(logits))
        nfe = self.num_samples * problem.chain.num_transitions
        psi, info = plan_by_weight(problem, draws, nfe=nfe, key=choice_key)
        return psi, state, eqx.tree_at(lambda i: i.prior_values, info, values)
