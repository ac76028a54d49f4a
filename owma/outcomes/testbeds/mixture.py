"""A Gaussian mixture: its denoiser, tilt and optimum, for testbeds with rare modes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Float, PRNGKeyArray, Psi, Scalar
from owma.diffusion.calibration import ErrorCurve, measure_errors
from owma.diffusion.denoiser import AbstractDenoiser


class _Level(eqx.Module):
    """The conditioning of a mixture at one noise level."""

    gains: Float[Array, "c x x"]
    """S (S + r²)⁻¹ of each component."""
    whitener: Float[Array, "c x x"]
    """L⁻¹ with L Lᵀ = S + r²."""
    log_norms: Float[Array, " c"]
    """Logits less ½ log det(S + r²)."""


class GaussianMixtureDenoiser(AbstractDenoiser):
    r"""The exact denoiser of $\sum_c\pi_c N(m_c, S_c)$, for any context:
    $\hat x_0(y, r) = \sum_c w_c(y)\,(m_c + G_c(y - m_c))$ with $G_c = S_c(S_c + r^2)^{-1}$ and
    $w_c\propto\pi_c N(y; m_c, S_c + r^2)$.

    Its parameters are those of the mixture, so that adaptation can represent the tilt
    $q^*\propto p\,e^{w^\top\psi/\lambda}$, which is again a mixture.
    """

    logits: Float[Array, " c"]
    means: Float[Array, "c x"]
    factors: Float[Array, "c x x"]
    """F with covariances F Fᵀ, so that every parameter is a valid covariance."""

    @classmethod
    def two_modes(cls, dims: int, separation: float, rare_weight: float, *, scale: float) -> "GaussianMixtureDenoiser":
        """Two round components of standard deviation `scale`, `separation` apart on the first axis, the rare one above;
        the mean is zero.
        """
        weights = jnp.asarray([1 - rare_weight, rare_weight])
        first = separation * jnp.asarray([-rare_weight, 1 - rare_weight])
        means = jnp.zeros((2, dims)).at[:, 0].set(first)
        return cls(jnp.log(weights), means, jnp.broadcast_to(scale * jnp.eye(dims), (2, dims, dims)))

    @property
    def dims(self) -> int:
        return self.means.shape[1]

    @property
    def covariances(self) -> Float[Array, "c x x"]:
        return self.factors @ jnp.swapaxes(self.factors, 1, 2)

    @property
    def log_weights(self) -> Float[Array, " c"]:
        r"""$\log\pi$, normalised."""
        return jax.nn.log_softmax(self.logits)

    def condition(self, ratio: Scalar, context: Float[Array, " context"]) -> _Level:
        del context
        noise = jnp.square(ratio) * jnp.eye(self.dims)

        def component(covariance: Float[Array, "x x"]) -> tuple[Float[Array, "x x"], Float[Array, "x x"], Scalar]:
            factor = jnp.linalg.cholesky(covariance + noise)
            whitener = jax.scipy.linalg.solve_triangular(factor, jnp.eye(self.dims), lower=True)
            return covariance @ whitener.T @ whitener, whitener, jnp.sum(jnp.log(jnp.diagonal(factor)))

        gains, whitener, half_log_det = jax.vmap(component)(self.covariances)
        return _Level(gains, whitener, self.logits - half_log_det)

    def __call__(self, y: Float[Array, " x"], ratio: Scalar, conditioning: _Level) -> Float[Array, " x"]:
        del ratio
        weights = jax.nn.softmax(self._log_components(y, conditioning))
        return weights @ (self.means + jnp.einsum("cij,cj->ci", conditioning.gains, y[None] - self.means))

    def errors(self, num_draws: int = 20_000, num_levels: int = 64) -> ErrorCurve:
        """The mean squared error of x̂₀, by Monte Carlo on `num_draws` exact draws with a fixed key."""
        draw_key, noise_key = jax.random.split(jax.random.key(0))
        draws = self.sample(num_draws, key=draw_key)
        return measure_errors(self, draws, jnp.zeros((num_draws, 1)), num_levels=num_levels, key=noise_key)

    def sample(self, num: int, *, key: PRNGKeyArray) -> Float[Array, "{num} x"]:
        """Exact draws."""
        component_key, noise_key = jax.random.split(key)
        component = jax.random.categorical(component_key, self.logits, shape=(num,))
        noise = jax.random.normal(noise_key, (num, self.dims))
        return self.means[component] + jnp.einsum("nij,nj->ni", self.factors[component], noise)

    def log_prob(self, psi: Psi) -> Scalar:
        logs = self._log_components(psi, self.condition(jnp.asarray(0.0), psi))
        return jax.nn.logsumexp(logs) - jax.nn.logsumexp(self.logits) - 0.5 * self.dims * np.log(2 * np.pi)

    def responsibilities(self, psi: Psi) -> Float[Array, " c"]:
        """The posterior probability of each component at ψ."""
        return jax.nn.softmax(self._log_components(psi, self.condition(jnp.asarray(0.0), psi)))

    def tilted(self, weight: Float[Array, " x"], kl_coef: float) -> "GaussianMixtureDenoiser":
        r"""$q^*\propto p\,e^{w^\top\psi/\lambda}$: means $m_c + S_cw/\lambda$, logits raised by $w^\top m_c/\lambda +
        w^\top S_cw/(2\lambda^2)$.
        """
        shifts = jnp.einsum("cij,j->ci", self.covariances, weight) / kl_coef
        return GaussianMixtureDenoiser(
            self.log_weights + self._log_moments(weight, kl_coef), self.means + shifts, self.factors
        )

    def optimum(self, weight: Float[Array, " x"], kl_coef: float) -> Scalar:
        r"""$J^* = \lambda\log E_p\,e^{w^\top\psi/\lambda}$."""
        return kl_coef * jax.nn.logsumexp(self.log_weights + self._log_moments(weight, kl_coef))

    def divergence(self, weight: Float[Array, " x"], kl_coef: float) -> Scalar:
        r"""$\mathrm{KL}(q^*\|p) = (E_{q^*}[w^\top\psi] - J^*)/\lambda$."""
        tilted = self.tilted(weight, kl_coef)
        value = jnp.exp(tilted.log_weights) @ (tilted.means @ weight)
        return (value - self.optimum(weight, kl_coef)) / kl_coef

    def _log_components(self, y: Float[Array, " x"], level: _Level) -> Float[Array, " c"]:
        """Log of weight times density of each component at y, up to a common constant."""
        whitened = jnp.einsum("cij,cj->ci", level.whitener, y[None] - self.means)
        return level.log_norms - 0.5 * jnp.sum(jnp.square(whitened), axis=1)

    def _log_moments(self, weight: Float[Array, " x"], kl_coef: float) -> Float[Array, " c"]:
        r"""$\log E_c\,e^{w^\top\psi/\lambda}$ of each component."""
        tilt = weight / kl_coef
        return self.means @ tilt + 0.5 * jnp.einsum("i,cij,j->c", tilt, self.covariances, tilt)
