"""Cumulants of an untrained network."""

import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, Obs, PRNGKeyArray
from owma.outcomes.features.base import AbstractFeatures


class RandomFeatures(AbstractFeatures):
    r"""$c(s) = \tanh(W_L h_{L-1} + b_L)$, $h_l = \tanh(W_l h_{l-1} + b_l)$, $h_0 = s$, with random, frozen weights:
    the cumulants of RaMP (Chen et al. 2023, arXiv 2305.17250), which regresses unseen rewards on them.

    $W_1\sim N(0, \ell^{-2})$ with the bandwidth $\ell$ in standardised units, the later
    $W_l\sim N(0, 2/\text{width})$, so that layers preserve the variance of their inputs; $b_l\sim U(-1, 1)$.
    """

    weights: tuple[Float[Array, "_ _"], ...]
    biases: tuple[Float[Array, " _"], ...]

    def __init__(
        self, obs_dim: int, num_features: int, bandwidth: float, *, width: int, depth: int, key: PRNGKeyArray
    ) -> None:
        sizes = (obs_dim, *[width] * depth, num_features)
        scales = [1 / bandwidth] + [(2 / width) ** 0.5] * depth
        weights, biases = [], []
        for layer, scale in enumerate(scales):
            weight_key, bias_key = jax.random.split(jax.random.fold_in(key, layer))
            weights.append(scale * jax.random.normal(weight_key, (sizes[layer + 1], sizes[layer])))
            biases.append(jax.random.uniform(bias_key, (sizes[layer + 1],), minval=-1.0))
        self.weights, self.biases = tuple(weights), tuple(biases)

    def __call__(self, obs: Obs) -> Float[Array, " features"]:
        hidden = obs
        for weight, bias in zip(self.weights, self.biases):
            hidden = jnp.tanh(weight @ hidden + bias)
        return hidden
