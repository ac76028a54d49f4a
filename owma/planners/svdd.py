"""Soft value-based decoding: at each transition the best of several candidates, softly."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._errors import ConfigError
from owma._types import Array, Float, Int, Obs, PRNGKeyArray, Psi, Scalar
from owma.planners.base import AbstractPlanner, AbstractPlannerConfig, AgentModel, PlanInfo, PlanResult
from owma.planners.particles import Twist, guarded


class SVDDPlanner(AbstractPlanner):
    r"""One chain; each transition is drawn `num_candidates` times and one of them kept by
    $\mathrm{softmax}\,V(\hat x_0)/\lambda$ (Li et al., arXiv 2408.08252, algorithm 1, posterior-mean approximation).

    Keeping candidate i of M costs at most $E\log(M\,\mathrm{softmax}_i)$ nats; the plan's divergence is their sum.
    """

    kl_coef: Scalar
    num_candidates: int = eqx.field(static=True)

    def init(self, model: AgentModel) -> None:
        del model

    def plan(self, model: AgentModel, obs: Obs, state: None, *, key: PRNGKeyArray) -> tuple[Psi, None, PlanInfo]:
        start_key, scan_key, guard_key = jax.random.split(key, 3)
        problem = model.problem(obs, self.kl_coef)
        chain, twist, num = problem.chain, Twist.of(problem), self.num_candidates
        gains, widths = chain.gains, chain.widths
        y = chain.start(jax.random.normal(start_key, (widths.shape[1],)))
        _, mean = twist(y, 0)

        def transition(
            carry: tuple[Float[Array, " x"], Float[Array, " x"], Scalar], inputs: tuple[Int[Array, ""], PRNGKeyArray]
        ) -> tuple[tuple[Float[Array, " x"], Float[Array, " x"], Scalar], Float[Array, " x"]]:
            (y, mean, kl), (k, step_key) = carry, inputs
            noise_key, choice_key = jax.random.split(step_key)
            noise = jax.random.normal(noise_key, (num, y.shape[0]))
            candidates = (y + gains[k] * (mean - y))[None] + widths[k][None] * noise
            logits, means = jax.vmap(lambda c: twist(c, jnp.minimum(k + 1, chain.num_steps)))(candidates)
            logits = jnp.where(k == chain.num_steps, jax.vmap(twist.log_end)(candidates), logits)
            index = jax.random.categorical(choice_key, logits)
            kl = kl + jnp.log(num) + jax.nn.log_softmax(logits)[index]
            return (candidates[index], means[index], kl), mean

        steps = (jnp.arange(chain.num_evaluations), jax.random.split(scan_key, chain.num_evaluations))
        (psi, _, kl), means = jax.lax.scan(transition, (y, mean, jnp.asarray(0.0)), steps)
        value = model.value(psi)
        info = PlanInfo(
            denoised=means[-1],
            value=value,
            kl=kl,
            evaluations=jnp.asarray(1 + num * chain.num_evaluations),
            result=jnp.asarray(PlanResult.PLANNED),
            prior_values=value[None][:0],
            values=value[None],
            ess=jnp.asarray(1.0),
            curves=None,
        )
        psi, info = guarded(problem, psi, info, key=guard_key)
        return psi, state, info


@dataclasses.dataclass(frozen=True)
class SVDD(AbstractPlannerConfig):
    """One chain, each of its transitions chosen among candidates by the value of their denoised outcome."""

    num_candidates: int = 256
    """Draws of each transition."""
    kl_coef: float = 0.25
    """lambda, the price of one nat, in units of the value's standard deviation within a state."""

    def __post_init__(self) -> None:
        if self.num_candidates < 1 or not self.kl_coef > 0:
            raise ConfigError(
                f"num_candidates={self.num_candidates}, kl_coef={self.kl_coef}: needs a candidate and kl_coef > 0."
            )

    def build(self) -> SVDDPlanner:
        return SVDDPlanner(jnp.asarray(self.kl_coef), self.num_candidates)
