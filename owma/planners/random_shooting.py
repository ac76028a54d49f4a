"""Random shooting: the best of many draws of the trained model."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._errors import ConfigError
from owma._types import Obs, PRNGKeyArray, Psi
from owma.planners.base import AbstractPlanner, AbstractPlannerConfig, AgentModel, PlanInfo, PlanResult


class RandomShootingPlanner(AbstractPlanner):
    """ψ* is the mean of the `num_elites` most valuable of `num_samples` draws of p_φ(·|s)."""

    num_samples: int = eqx.field(static=True)
    num_elites: int = eqx.field(static=True)

    def init(self, model: AgentModel) -> None:
        del model

    def plan(self, model: AgentModel, obs: Obs, state: None, *, key: PRNGKeyArray) -> tuple[Psi, None, PlanInfo]:
        problem = model.problem(obs, jnp.asarray(1.0))
        samples, values = problem.draw(None, problem.noise(self.num_samples, key=key), with_reference=False)
        _, elites = jax.lax.top_k(values, self.num_elites)
        psi = jnp.mean(samples.psi[elites], axis=0)
        n, m = self.num_samples, self.num_elites
        info = PlanInfo(
            denoised=jnp.mean(samples.mean[elites], axis=0),
            value=model.value(psi),
            # Best of n: log n − (n−1)/n. A draw among the best m of n is, as n grows, the same with n/m.
            kl=jnp.log(n / m) - (n - m) / n,
            evaluations=jnp.asarray(n * problem.chain.num_evaluations),
            result=jnp.asarray(PlanResult.PLANNED),
            prior_values=values,
            values=values[elites],
            ess=jnp.asarray(1.0),
            curves=None,
        )
        return psi, state, info


@dataclasses.dataclass(frozen=True)
class RandomShooting(AbstractPlannerConfig):
    """The best of many draws of the trained model."""

    num_samples: int = 1000
    num_elites: int = 1
    """The plan is the mean of this many best draws; above 1 it may fall between modes."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_elites <= self.num_samples:
            raise ConfigError(
                f"num_elites={self.num_elites}, num_samples={self.num_samples}: needs 1 <= num_elites <= num_samples."
            )

    def build(self) -> RandomShootingPlanner:
        return RandomShootingPlanner(self.num_samples, self.num_elites)
