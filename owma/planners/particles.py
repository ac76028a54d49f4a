"""What planners of weighted draws share: the choice by weights, and sequential Monte Carlo along the chain."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, Int, PRNGKeyArray, Psi, Scalar
from owma.adaptation import DecisionProblem, effective_sample_size, log_mean_exp
from owma.diffusion import Means, unrolled
from owma.planners.base import PlanInfo, PlanResult


class Weighted(eqx.Module):
    """Draws with unnormalised weights, whose mean estimates $E_{p_\\phi}e^{V/\\lambda}$ without bias."""

    psi: Float[Array, "n x"]
    denoised: Float[Array, "n x"]
    """ψ without the noise of the chain's last draw."""
    values: Float[Array, " n"]
    """V, in return units."""
    log_weights: Float[Array, " n"]
    log_normaliser: Scalar
    """The logarithm of the estimate of $E_{p_\\phi}e^{V/\\lambda}$."""


def plan_by_weight(problem: DecisionProblem, draws: Weighted, *, nfe: int, key: PRNGKeyArray) -> tuple[Psi, PlanInfo]:
    r"""One of `draws` by its weight.

    The law of a plan chosen so has at most the divergence $E[V/\lambda] - E\log\hat Z$ from p_φ, $\hat Z$ being the
    unbiased estimate of the normaliser (Cremer et al., arXiv 1704.02916; Naesseth et al., arXiv 1705.11140), and this
    is what `info.kl` averages to: V/scale − λ KL is λ log Ẑ in every decision.
    """
    index = jax.random.categorical(key, draws.log_weights)
    value = draws.values[index]
    info = PlanInfo(
        denoised=draws.denoised[index],
        value=value,
        kl=problem.scaled(value) / problem.kl_coef - draws.log_normaliser,
        nfe=jnp.asarray(nfe),
        result=jnp.asarray(PlanResult.PLANNED),
        prior_values=draws.values[:0],
        values=draws.values,
        ess=effective_sample_size(draws.log_weights),
        curves=None,
    )
    return draws.psi[index], info


def systematic(log_weights: Float[Array, " n"], *, key: PRNGKeyArray) -> Int[Array, " n"]:
    """Systematic resampling: n ancestors, each index within one of n times its weight (Carpenter et al. 1999)."""
    num = log_weights.shape[0]
    points = (jnp.arange(num) + jax.random.uniform(key)) / num
    ancestors = jnp.searchsorted(jnp.cumsum(jax.nn.softmax(log_weights)), points)
    # Rounding may leave the last sum short of one.
    return jnp.minimum(ancestors, num - 1)


class Twist(eqx.Module):
    r"""$\log h_k(y) = V(\hat x_0(y, r_k))/\lambda$: what a state on the way promises."""

    problem: DecisionProblem
    means: Means

    @classmethod
    def of(cls, problem: DecisionProblem) -> "Twist":
        return cls(problem, Means.prepare(problem.chain, problem.denoiser, problem.context))

    def log_end(self, psi: Float[Array, " x"]) -> Scalar:
        r"""$V(\psi)/\lambda$."""
        return self.problem.scaled(self.problem.value(psi)) / self.problem.kl_coef

    def __call__(self, y: Float[Array, " x"], k: Int[Array, ""] | int) -> tuple[Scalar, Float[Array, " x"]]:
        r"""$\log h_k(y)$ and $\hat x_0(y, r_k)$."""
        mean = self.means(y, k).mean
        return self.log_end(mean), mean

    def guided(
        self, y: Float[Array, " x"], k: Int[Array, ""] | int
    ) -> tuple[Scalar, Float[Array, " x"], Float[Array, " x"]]:
        r"""The same, and $\nabla_y\log h_k$."""
        (log_h, mean), gradient = jax.value_and_grad(self.__call__, has_aux=True)(y, k)
        return log_h, mean, gradient


_Shift = Callable[[Float[Array, " x"], Float[Array, " x"]], Float[Array, " x"]]


def sequential(
    problem: DecisionProblem,
    num_particles: int,
    min_ess: Scalar,
    *,
    shift: _Shift | None,
    key: PRNGKeyArray,
) -> Weighted:
    r"""Sequential Monte Carlo over the K + 1 transitions, its targets $p_\phi(y_{0:k})\,h_k(y_k)$.

    Weights telescope to $e^{V(\psi)/\lambda}$ times the ratio of p_φ to the proposals; particles are resampled where
    their effective sample size falls below `min_ess` of their number. `shift(∇log h, width)` moves each proposal's
    mean, in widths; `None` proposes from the trained chain.
    """
    chain, twist = problem.chain, Twist.of(problem)
    widths = chain.widths
    noise_key, scan_key, last_key = jax.random.split(key, 3)
    noise = problem.noise(num_particles, key=noise_key)

    def look(y: Float[Array, " x"], k: Int[Array, ""]) -> tuple[Scalar, Float[Array, " x"], Float[Array, " x"]]:
        if shift is None:
            return *twist(y, k), jnp.zeros_like(y)
        return twist.guided(y, k)

    looks = jax.vmap(look, in_axes=(0, None))

    def moved(
        carry: tuple, k: Int[Array, ""], e: Float[Array, "n x"], key: PRNGKeyArray
    ) -> tuple[Float[Array, "n x"], Float[Array, "n x"], Float[Array, " n"], Scalar]:
        """States after transition k, the means they were drawn around, their weights without the next target, log Ẑ."""
        y, mean, gradient, log_h, log_weights, log_normaliser = carry
        crowded = effective_sample_size(log_weights) < min_ess * num_particles
        ancestors = jnp.where(crowded, systematic(log_weights, key=key), jnp.arange(num_particles))
        log_normaliser = jnp.where(crowded, log_normaliser + log_mean_exp(log_weights), log_normaliser)
        log_weights = jnp.where(crowded, 0.0, log_weights)
        y, mean, gradient, log_h = jax.tree.map(lambda leaf: leaf[ancestors], (y, mean, gradient, log_h))
        u = jax.vmap(lambda g: jnp.zeros_like(g) if shift is None else shift(g, widths[k]))(gradient)
        drift, spread = jax.vmap(lambda y, mean, e: chain.move(y, mean, e, k))(y, mean, e + u)
        y = y + drift + spread
        log_ratio = -jnp.sum(u * e + 0.5 * jnp.square(u), axis=1)
        return y, mean, log_weights + log_ratio - log_h, log_normaliser

    def transition(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        k, e, step_key = inputs
        y, _, log_weights, log_normaliser = moved(carry, k, e, step_key)
        log_h, mean, gradient = looks(y, k + 1)
        return (y, mean, gradient, log_h, log_weights + log_h, log_normaliser), None

    y = jax.vmap(chain.start)(noise[:, 0])
    log_h, mean, gradient = looks(y, jnp.asarray(0))
    steps = (
        jnp.arange(chain.num_steps),
        jnp.swapaxes(noise[:, 1:-1], 0, 1),
        jax.random.split(scan_key, chain.num_steps),
    )
    start = (y, mean, gradient, log_h, log_h, jnp.asarray(0.0))
    carry, _ = jax.lax.scan(transition, start, steps, unroll=unrolled(chain.num_steps, compact=chain.compact))
    # After the last transition y is ψ, and no mean is asked for any more.
    psi, denoised, log_weights, log_normaliser = moved(carry, jnp.asarray(chain.num_steps), noise[:, -1], last_key)
    log_weights = log_weights + jax.vmap(twist.log_end)(psi)
    return Weighted(
        psi, denoised, jax.vmap(problem.value)(psi), log_weights, log_normaliser + log_mean_exp(log_weights)
    )
