"""A Gaussian: its denoiser, tilt and optimum."""

import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Float, PRNGKeyArray, Scalar
from owma.diffusion.calibration import ErrorCurve
from owma.diffusion.denoiser import AbstractDenoiser


class GaussianDenoiser(AbstractDenoiser):
    r"""The exact denoiser of $N(m, \mathrm{diag}(S))$, $\hat x_0 = m + \frac{S}{S + r^2}(y - m)$, for any context."""

    mean: Float[Array, " x"]
    variance: Float[Array, " x"]

    def condition(self, ratio: Scalar, context: Float[Array, " context"]) -> Float[Array, " x"]:
        del context
        return self.variance / (self.variance + jnp.square(ratio))

    def __call__(self, y: Float[Array, " x"], ratio: Scalar, conditioning: Float[Array, " x"]) -> Float[Array, " x"]:
        del ratio
        return self.mean + conditioning * (y - self.mean)

    def errors(self, num_levels: int = 512) -> ErrorCurve:
        r"""The exact posterior variance $S r^2/(S + r^2)$, on levels fine enough for interpolation."""
        log_ratios = jnp.linspace(np.log(1e-3), np.log(200.0), num_levels)
        squared = jnp.exp(2 * log_ratios)[:, None]
        variance = self.variance[None]
        return ErrorCurve(log_ratios, jnp.log(variance * squared / (variance + squared)))

    def tilted(self, weight: Float[Array, " x"], kl_coef: float) -> "GaussianDenoiser":
        r"""$q^* \propto p\,e^{w^\top\psi/\lambda} = N(m + Sw/\lambda, S)$."""
        return GaussianDenoiser(self.mean + self.variance * weight / kl_coef, self.variance)

    def optimum(self, weight: Float[Array, " x"], kl_coef: float) -> Scalar:
        r"""$J^* = w^\top m + w^\top S w/(2\lambda)$."""
        return weight @ self.mean + jnp.sum(self.variance * jnp.square(weight)) / (2 * kl_coef)

    def divergence(self, weight: Float[Array, " x"], kl_coef: float) -> Scalar:
        r"""$\mathrm{KL}(q^*\|p) = w^\top S w/(2\lambda^2)$."""
        return jnp.sum(self.variance * jnp.square(weight)) / (2 * kl_coef**2)

    def sample(self, num: int, *, key: PRNGKeyArray) -> Float[Array, "{num} x"]:
        """Exact draws."""
        noise = jax.random.normal(key, (num, self.mean.shape[0]))
        return self.mean[None] + jnp.sqrt(self.variance)[None] * noise
