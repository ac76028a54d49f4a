"""The optimum of a decision's problem on learnt models, by importance sampling with a stated error."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, PRNGKeyArray, PyTree, Scalar
from owma.adaptation.correction import pooled
from owma.adaptation.objective import DecisionProblem
from owma.adaptation.weights import effective_sample_size, log_mean_exp


class Optimum(eqx.Module):
    """What is to be had in one decision; J in units of `value_scale`."""

    start: Scalar
    """J of the trained model, E[V]."""
    value: Scalar
    r"""$J^* = \lambda\log E_{p_\phi}e^{V/\lambda}$."""
    error: Scalar
    """Standard error of `value`, by the delta method; to be believed where `ess` is large."""
    divergence: Scalar
    """KL(q*‖p_φ), in nats."""
    ess: Scalar
    """Effective number of draws of q*."""


def estimate_optimum(
    problem: DecisionProblem, delta: PyTree, num_batches: int, batch_size: int = 512, *, key: PRNGKeyArray
) -> Optimum:
    r"""J* by `num_batches` times `batch_size` draws of φ and as many of φ + Δφ, weighed against their mixture.

    Unbiased for $e^{J^*/\lambda}$ whatever Δφ is, and low where neither half reaches the best of p_φ; a Δφ that long
    adaptation has brought near q* makes the error small where draws of p_φ alone would need millions.

    **Arguments:** `problem`, prepared for `delta` (`Adaptation.prepare`). Raises `ValueError` for a single batch.
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
    # Draws of φ and φ + Δφ share their noise, so that a batch is what is independent of the others.
    error = jnp.std(jnp.mean(weights, axis=1), ddof=1) / jnp.sqrt(num_batches)
    return Optimum(
        start=jnp.mean(starts),
        value=problem.kl_coef * log_normaliser,
        error=problem.kl_coef * error,
        divergence=jnp.mean(weights * values) / problem.kl_coef - log_normaliser,
        ess=effective_sample_size(logits),
    )
