"""Calibration: the error of a trained denoiser at each noise level, from which a chain takes its widths."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Float, PRNGKeyArray, Scalar
from owma.diffusion.denoiser import AbstractDenoiser

MAX_RATIO = 100.0
"""The noise level σ/α at which every chain starts: data of unit variance are then 0.01 % of the total variance."""


class ErrorCurve(eqx.Module):
    """The mean squared error of x̂₀, per coordinate, as a function of the noise level σ/α."""

    log_ratios: Float[Array, " levels"]
    log_errors: Float[Array, "levels x"]

    @classmethod
    def untrained(cls, dims: int, *, num_levels: int = 32, min_ratio: float = 1e-2) -> "ErrorCurve":
        """The exact curve for N(0, 1) data, r²/(1 + r²): that of whitened data before training."""
        log_ratios = jnp.linspace(np.log(min_ratio), np.log(MAX_RATIO), num_levels)
        log_errors = 2 * log_ratios - jnp.log1p(jnp.exp(2 * log_ratios))
        return cls(log_ratios, jnp.broadcast_to(log_errors[:, None], (num_levels, dims)))

    def __call__(self, ratios: Float[Array, " k"]) -> Float[Array, "k x"]:
        """Log-log interpolation, constant beyond the ends."""

        def one(log_errors: Float[Array, " levels"]) -> Float[Array, " k"]:
            return jnp.exp(jnp.interp(jnp.log(ratios), self.log_ratios, log_errors))

        return jax.lax.stop_gradient(jax.vmap(one, in_axes=1, out_axes=1)(self.log_errors))

    def of_velocity(self, ratios: Float[Array, " k"]) -> Float[Array, "k x"]:
        r"""The mean squared error of v; that of $\hat x_0 = \alpha x - \sigma v$ is $\sigma^2$ times as large."""
        return self(ratios) * (1 + 1 / jnp.square(ratios))[:, None]


def measure_errors(
    denoiser: AbstractDenoiser,
    x0: Float[Array, "n x"],
    context: Float[Array, "n context"],
    *,
    num_levels: int = 32,
    min_ratio: float = 1e-2,
    key: PRNGKeyArray,
) -> ErrorCurve:
    """Measure the error of `denoiser` on held-out pairs (x0, context), at `num_levels` levels uniform in log σ/α."""
    log_ratios = jnp.linspace(np.log(min_ratio), np.log(MAX_RATIO), num_levels)

    def at_level(args: tuple[Scalar, PRNGKeyArray]) -> Float[Array, " x"]:
        log_ratio, level_key = args
        ratio = jnp.exp(log_ratio)
        noise = jax.random.normal(level_key, x0.shape)

        def one(x: Float[Array, " x"], c: Float[Array, " context"], e: Float[Array, " x"]) -> Float[Array, " x"]:
            return jnp.square(denoiser(x + ratio * e, ratio, denoiser.condition(ratio, c)) - x)

        return jnp.mean(jax.vmap(one)(x0, context, noise), axis=0)

    errors = jax.lax.map(at_level, (log_ratios, jax.random.split(key, num_levels)))
    # The floor keeps the logarithm finite if a coordinate is predicted exactly.
    return ErrorCurve(log_ratios, jnp.log(jnp.maximum(errors, 1e-10)))
