"""The cross-entropy method on the chain's noise."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, Obs, PRNGKeyArray, Psi, Scalar
from owma.planners.base import AbstractPlanner, AgentModel, PlanInfo
from owma.planners.noise import plan_from_noise


class CEMPlanner(AbstractPlanner):
    r"""The noise of the chain follows $N(m, \mathrm{diag}\,s^2)$, refitted in every iteration to the `num_elites` best
    of `num_samples` draws (Rubinstein 1999; de Boer et al. 2005). ψ* is one of the last draws, chosen by its importance
    weight.

    The elites are chosen by V alone; λ enters with the weights of the last draws.
    """

    kl_coef: Scalar
    momentum: Scalar
    min_std: Scalar
    num_iterations: int = eqx.field(static=True)
    num_samples: int = eqx.field(static=True)
    num_elites: int = eqx.field(static=True)

    def init(self, model: AgentModel) -> None:
        del model

    def plan(self, model: AgentModel, obs: Obs, state: None, *, key: PRNGKeyArray) -> tuple[Psi, None, PlanInfo]:
        steps_key, plan_key = jax.random.split(key)
        problem = model.problem(obs, self.kl_coef)

        def iteration(
            law: tuple[Float[Array, "draws x"], Float[Array, "draws x"]], step_key: PRNGKeyArray
        ) -> tuple[tuple[Float[Array, "draws x"], Float[Array, "draws x"]], None]:
            mean, std = law
            noise = mean[None] + std[None] * problem.noise(self.num_samples, key=step_key)
            _, values = problem.draw(None, noise, with_reference=False)
            _, best = jax.lax.top_k(values, self.num_elites)
            elites = noise[best]
            mean = self.momentum * mean + (1 - self.momentum) * jnp.mean(elites, axis=0)
            std = self.momentum * std + (1 - self.momentum) * jnp.std(elites, axis=0)
            return (mean, jnp.maximum(std, self.min_std)), None

        standard = jnp.zeros_like(problem.noise(1, key=plan_key)[0])
        steps = jax.random.split(steps_key, self.num_iterations)
        (mean, std), _ = jax.lax.scan(iteration, (standard, jnp.ones_like(standard)), steps)
        nfe = self.num_samples * (self.num_iterations + 1) * problem.chain.num_transitions
        psi, info = plan_from_noise(problem, mean, std, self.num_samples, nfe=nfe, key=plan_key)
        return psi, state, info
