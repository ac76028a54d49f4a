"""Random shooting: the best of many draws of the trained model."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Obs, PRNGKeyArray, Psi
from owma.planners.base import AbstractPlanner, AgentModel, PlanInfo, PlanResult


class RandomShootingPlanner(AbstractPlanner):
    """ψ* is chosen uniformly among the `num_elites` most valuable of `num_samples` draws of p_φ(·|s)."""

    num_samples: int = eqx.field(static=True)
    num_elites: int = eqx.field(static=True)

    def init(self, model: AgentModel) -> None:
        del model

    def plan(self, model: AgentModel, obs: Obs, state: None, *, key: PRNGKeyArray) -> tuple[Psi, None, PlanInfo]:
        problem = model.problem(obs, jnp.asarray(1.0))
        noise_key, choice_key = jax.random.split(key)
        samples, values = problem.draw(None, problem.noise(self.num_samples, key=noise_key), with_reference=False)
        _, elites = jax.lax.top_k(values, self.num_elites)
        index = jax.random.choice(choice_key, elites)
        n, m = self.num_samples, self.num_elites
        info = PlanInfo(
            denoised=samples.mean[index],
            value=values[index],
            # The best of n draws costs log n − (n−1)/n nats. Choosing among the best m multiplies the probability of a
            # draw by at most n/m.
            kl=jnp.log(n / m) - (0.0 if m > 1 else (n - 1) / n),
            nfe=jnp.asarray(n * problem.chain.num_transitions),
            result=jnp.asarray(PlanResult.PLANNED),
            prior_values=values,
            values=values[elites],
            ess=jnp.asarray(1.0 * n),
            curves=None,
        )
        return samples.psi[index], state, info
