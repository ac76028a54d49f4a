"""Importance-sampling estimate of a decision's optimum J*, with its standard error."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, PRNGKeyArray, PyTree, Scalar
from owma.adaptation.correction import pooled
from owma.adaptation.objective import DecisionProblem
from owma.adaptation.weights import effective_sample_size, log_mean_exp


class Optimum(eqx.Module):
    """An estimate of the optimum of one decision; J in units of `value_scale`."""

    start: Scalar
    """J(0) = E[V] of the trained model."""
    value: Scalar
    r"""$J^* = \lambda\log E_{p_\phi}e^{V/\lambda}$."""
    error: Scalar
    """Standard error of `value`, by the delta method; reliable only if `ess` is large."""
    divergence: Scalar
    """KL(q*‖p_φ), in nats."""
    ess: Scalar
    """Effective sample size of the importance weights for q*."""


def estimate_optimum(
    problem: DecisionProblem, delta: PyTree, num_batches: int, batch_size: int = 512, *, key: PRNGKeyArray
) -> Optimum:
    r"""Estimate J* from `num_batches` times `batch_size` draws of φ and as many of φ + Δφ, weighted against their
    mixture.

    Unbiased for $e^{J^*/\lambda}$ for any Δφ, but too low in practice if neither model samples the best outcomes of
    p_φ. With a Δφ close to q*, as long adaptation finds it, the error is small where draws of p_φ alone would need
    millions.

    **Arguments:** `problem`: prepared for `delta` (`Adaptation.prepare`).

    **Raises:** `ValueError` if `num_batches` is less than 2.
    """
    if num_batches < 2:
        raise ValueError(f"num_batches={num_batches}: the standard error needs at least 2.")

    def batch(key: PRNGKeyArray) -> tuple[Float[Array, " n"], Float[Array, " n"], Scalar]:
        draws = problem.draw_both(delta, problem.noise(batch_size, key=key))
        both, values = pooled(draws)
        return problem.log_weights(both, values), problem.scaled(values), problem.scaled(jnp.mean(draws.prior_values))

    logits, values, starts = jax.lax.map(batch, jax.random.split(key, num_batches))
    log_normaliser = log_mean_exp(logits)
    weights = jnp.exp(logits - log_normaliser)
    # Draws of φ and φ + Δφ share their noise; only whole batches are independent.
    error = jnp.std(jnp.mean(weights, axis=1), ddof=1) / jnp.sqrt(num_batches)
    return Optimum(
        start=jnp.mean(starts),
        value=problem.kl_coef * log_normaliser,
        error=problem.kl_coef * error,
        divergence=jnp.mean(weights * values) / problem.kl_coef - log_normaliser,
        ess=effective_sample_size(logits),
    )
