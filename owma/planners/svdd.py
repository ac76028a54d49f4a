"""Soft value-based decoding: each transition keeps one of several candidates, by a softmax of their values."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, Int, Obs, PRNGKeyArray, Psi, Scalar
from owma.planners.base import AbstractPlanner, AgentModel, PlanInfo, PlanResult
from owma.planners.particles import Twist


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
        # The fourth key is unused: it is kept so that the others, and with them the plans, do not change.
        start_key, scan_key, last_key, _ = jax.random.split(key, 4)
        problem = model.problem(obs, self.kl_coef)
        chain, twist, num = problem.chain, Twist.of(problem), self.num_candidates
        y = chain.start(jax.random.normal(start_key, chain.low.shape))
        _, mean = twist(y, 0)

        def candidates(
            y: Float[Array, " x"], mean: Float[Array, " x"], k: Int[Array, ""], key: PRNGKeyArray
        ) -> Float[Array, "m x"]:
            noise = jax.random.normal(key, (num, y.shape[0]))
            drift, scaled_noise = jax.vmap(lambda e: chain.move(y, mean, e, k))(noise)
            return y[None] + drift + scaled_noise

        def choose(logits: Float[Array, " m"], key: PRNGKeyArray) -> tuple[Int[Array, ""], Scalar]:
            index = jax.random.categorical(key, logits)
            return index, jnp.log(num) + jax.nn.log_softmax(logits)[index]

        def transition(
            carry: tuple[Float[Array, " x"], Float[Array, " x"], Scalar], inputs: tuple[Int[Array, ""], PRNGKeyArray]
        ) -> tuple[tuple[Float[Array, " x"], Float[Array, " x"], Scalar], None]:
            (y, mean, kl), (k, step_key) = carry, inputs
            noise_key, choice_key = jax.random.split(step_key)
            ys = candidates(y, mean, k, noise_key)
            logits, means = jax.vmap(lambda c: twist(c, k + 1))(ys)
            index, cost = choose(logits, choice_key)
            return (ys[index], means[index], kl + cost), None

        steps = (jnp.arange(chain.num_steps), jax.random.split(scan_key, chain.num_steps))
        (y, denoised, kl), _ = jax.lax.scan(transition, (y, mean, jnp.asarray(0.0)), steps)
        # Candidates of the last transition are outcomes, whose values are known: the network is not evaluated again.
        noise_key, choice_key = jax.random.split(last_key)
        outcomes = candidates(y, denoised, jnp.asarray(chain.num_steps), noise_key)
        index, cost = choose(jax.vmap(twist.log_end)(outcomes), choice_key)
        psi, kl = outcomes[index], kl + cost
        value = model.value(psi)
        info = PlanInfo(
            denoised=denoised,
            value=value,
            kl=kl,
            nfe=jnp.asarray(1 + num * chain.num_steps),
            result=jnp.asarray(PlanResult.PLANNED),
            prior_values=value[None][:0],
            values=value[None],
            ess=jnp.asarray(1.0),
            curves=None,
        )
        return psi, state, info
