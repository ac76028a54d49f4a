"""Statistics of unnormalised importance weights."""

import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, Scalar


def log_mean_exp(log_weights: Float[Array, "..."]) -> Scalar:
    """Logarithm of the mean weight."""
    return jax.nn.logsumexp(log_weights) - jnp.log(log_weights.size)


def effective_sample_size(log_weights: Float[Array, "..."]) -> Scalar:
    r"""Effective sample size $(\sum w)^2/\sum w^2$, between 1 and the number of draws (Kong 1992)."""
    return jnp.exp(2 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2 * log_weights))
