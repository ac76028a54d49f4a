"""Random Fourier cumulants."""

import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, Obs, PRNGKeyArray
from owma.outcomes.features.base import AbstractFeatures


class FourierFeatures(AbstractFeatures):
    r"""$c(s) = \sqrt{2/d}\,\cos(Ws + b)$ with $W_{ij}\sim N(0, \ell^{-2})$, $b_i\sim U(0, 2\pi)$
    (Rahimi & Recht 2007): inner products approximate a Gaussian kernel of bandwidth $\ell$ in standardised units.
    """

    weight: Float[Array, "features obs"]
    bias: Float[Array, " features"]

    def __init__(self, obs_dim: int, num_features: int, bandwidth: float, *, key: PRNGKeyArray) -> None:
        weight_key, bias_key = jax.random.split(key)
        self.weight = jax.random.normal(weight_key, (num_features, obs_dim)) / bandwidth
        self.bias = jax.random.uniform(bias_key, (num_features,), maxval=2 * jnp.pi)

    def __call__(self, obs: Obs) -> Float[Array, " features"]:
        return jnp.sqrt(2.0 / self.bias.shape[0]) * jnp.cos(self.weight @ obs + self.bias)
