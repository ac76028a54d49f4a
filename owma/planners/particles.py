"""Importance-weighted draws: choosing a plan by its weight, and sequential Monte Carlo along the chain."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, Int, PRNGKeyArray, Psi, Scalar
from owma.adaptation import DecisionProblem, effective_sample_size, log_mean_exp
from owma.diffusion import Means, unrolled
from owma.planners.base import PlanInfo, PlanResult


class Weighted(eqx.Module):
    """Draws with unnormalised importance weights, whose mean is an unbiased estimate of $E_{p_\\phi}e^{V/\\lambda}$."""

    psi: Float[Array, "n x"]
    denoised: Float[Array, "n x"]
    """x̂₀ at the last level: ψ without the noise of the last transition."""
    values: Float[Array, " n"]
    """V, in return units."""
    log_weights: Float[Array, " n"]
    log_normaliser: Scalar
    """Logarithm of the estimate of $E_{p_\\phi}e^{V/\\lambda}$."""


def plan_by_weight(problem: DecisionProblem, draws: Weighted, *, nfe: int, key: PRNGKeyArray) -> tuple[Psi, PlanInfo]:
    r"""Choose one of `draws` with probability proportional to its weight.

    The law of such a plan diverges from p_φ by at most $E[V/\lambda] - E\log\hat Z$ nats, $\hat Z$ being the unbiased
    estimate of the normaliser (Cremer et al., arXiv 1704.02916; Naesseth et al., arXiv 1705.11140). `info.kl` is an
    unbiased estimate of this bound: V/scale − λ KL equals λ log Ẑ in every decision.
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
    """Systematic resampling (Carpenter et al. 1999): n ancestor indices, the count of each within one of n times its
    normalised weight.
    """
    num = log_weights.shape[0]
    points = (jnp.arange(num) + jax.random.uniform(key)) / num
    ancestors = jnp.searchsorted(jnp.cumsum(jax.nn.softmax(log_weights)), points)
    # The last cumulative sum may be less than 1 by rounding.
    return jnp.minimum(ancestors, num - 1)


class Twist(eqx.Module):
    r"""The twisting function, $\log h_k(y) = V(\hat x_0(y, r_k))/\lambda$: the value expected from an intermediate
    state.
    """

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
        r"""$\log h_k(y)$, $\hat x_0(y, r_k)$ and $\nabla_y\log h_k(y)$."""
        (log_h, mean), gradient = jax.value_and_grad(self.__call__, has_aux=True)(y, k)
        return log_h, mean, gradient


_Shift = Callable[[Float[Array, " x"], Float[Array, " x"]], Float[Array, " x"]]


class _Particles(eqx.Module):
    """Particles at one level of the chain."""

    y: Float[Array, "n x"]
    mean: Float[Array, "n x"]
    """x̂₀ at y."""
    gradient: Float[Array, "n x"]
    """∇ log h at y; zeros where it is not needed."""
    log_h: Float[Array, " n"]
    log_weights: Float[Array, " n"]
    log_normaliser: Scalar
    """The part of log Ẑ from past resampling steps; the current weights are not included."""


def sequential(
    problem: DecisionProblem,
    num_particles: int,
    min_ess: Scalar,
    *,
    shift: _Shift | None,
    key: PRNGKeyArray,
) -> Weighted:
    r"""Sequential Monte Carlo over the K + 1 transitions, with targets $p_\phi(y_{0:k})\,h_k(y_k)$.

    The weights telescope to $e^{V(\psi)/\lambda}$ times the density ratio of p_φ to the proposals.

    **Arguments:** `min_ess`: particles are resampled where their effective sample size is a smaller fraction of their
    number. `shift(∇log h, width)`: how far each proposal's mean is moved, in units of `width`; `None` proposes from the
    trained chain.
    """
    chain, twist = problem.chain, Twist.of(problem)
    widths = chain.widths
    noise_key, scan_key, last_key = jax.random.split(key, 3)
    noise = problem.noise(num_particles, key=noise_key)

    def evaluate(
        y: Float[Array, "n x"], k: Int[Array, ""]
    ) -> tuple[Float[Array, " n"], Float[Array, "n x"], Float[Array, "n x"]]:
        """log h, x̂₀ and ∇ log h of each particle at level k."""
        return jax.vmap(lambda y: (*twist(y, k), jnp.zeros_like(y)) if shift is None else twist.guided(y, k))(y)

    def resample(particles: _Particles, key: PRNGKeyArray) -> _Particles:
        """Equally weighted ancestors, if the effective sample size is too small; else the same particles."""
        log_weights, log_normaliser = particles.log_weights, particles.log_normaliser
        is_due = effective_sample_size(log_weights) < min_ess * num_particles
        ancestors = jnp.where(is_due, systematic(log_weights, key=key), jnp.arange(num_particles))
        y, mean, gradient, log_h = jax.tree.map(
            lambda leaf: leaf[ancestors], (particles.y, particles.mean, particles.gradient, particles.log_h)
        )
        log_normaliser = jnp.where(is_due, log_normaliser + log_mean_exp(log_weights), log_normaliser)
        return _Particles(y, mean, gradient, log_h, jnp.where(is_due, 0.0, log_weights), log_normaliser)

    def propagate(
        particles: _Particles, k: Int[Array, ""], e: Float[Array, "n x"]
    ) -> tuple[Float[Array, "n x"], Float[Array, " n"]]:
        """States after transition k, and their log-weights before they are multiplied by the next h."""
        u = jax.vmap(lambda g: jnp.zeros_like(g) if shift is None else shift(g, widths[k]))(particles.gradient)
        drift, noise = jax.vmap(lambda y, mean, e: chain.move(y, mean, e, k))(particles.y, particles.mean, e + u)
        log_ratio = -jnp.sum(u * e + 0.5 * jnp.square(u), axis=1)
        return particles.y + drift + noise, particles.log_weights + log_ratio - particles.log_h

    def transition(particles: _Particles, inputs: tuple) -> tuple[_Particles, None]:
        k, e, step_key = inputs
        particles = resample(particles, step_key)
        y, log_weights = propagate(particles, k, e)
        log_h, mean, gradient = evaluate(y, k + 1)
        return _Particles(y, mean, gradient, log_h, log_weights + log_h, particles.log_normaliser), None

    y = jax.vmap(chain.start)(noise[:, 0])
    log_h, mean, gradient = evaluate(y, jnp.asarray(0))
    steps = (
        jnp.arange(chain.num_steps),
        jnp.swapaxes(noise[:, 1:-1], 0, 1),
        jax.random.split(scan_key, chain.num_steps),
    )
    start = _Particles(y, mean, gradient, log_h, log_h, jnp.asarray(0.0))
    particles, _ = jax.lax.scan(transition, start, steps, unroll=unrolled(chain.num_steps, compact=chain.compact))
    # The last transition ends in ψ, whose value is known: the network is not evaluated again.
    particles = resample(particles, last_key)
    psi, log_weights = propagate(particles, jnp.asarray(chain.num_steps), noise[:, -1])
    log_weights = log_weights + jax.vmap(twist.log_end)(psi)
    log_normaliser = particles.log_normaliser + log_mean_exp(log_weights)
    return Weighted(psi, particles.mean, jax.vmap(problem.value)(psi), log_weights, log_normaliser)
