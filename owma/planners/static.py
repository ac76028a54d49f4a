"""No planning: ψ* is one draw of the trained model."""

import jax.numpy as jnp

from owma._internal.types import Obs, PRNGKeyArray, Psi
from owma.planners.base import AbstractPlanner, AgentModel, PlanInfo, PlanResult


class StaticPlanner(AbstractPlanner):
    """ψ* is one draw of p_φ(·|s)."""

    def init(self, model: AgentModel) -> None:
        del model

    def plan(self, model: AgentModel, obs: Obs, state: None, *, key: PRNGKeyArray) -> tuple[Psi, None, PlanInfo]:
        problem = model.problem(obs, jnp.asarray(1.0))
        samples, values = problem.draw(None, problem.noise(1, key=key), with_reference=False)
        info = PlanInfo(
            denoised=samples.mean[0],
            value=values[0],
            kl=jnp.asarray(0.0),
            nfe=jnp.asarray(problem.chain.num_transitions),
            result=jnp.asarray(PlanResult.PLANNED),
            prior_values=values,
            values=values,
            ess=jnp.asarray(1.0),
            curves=None,
        )
        return samples.psi[0], state, info
