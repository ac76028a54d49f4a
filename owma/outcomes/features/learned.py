"""Cumulants that are trained on the dataset before the outcome model is."""

import equinox as eqx
import jax

from owma._internal.types import Array, Float, Obs, PRNGKeyArray
from owma.diffusion.nets import Linear
from owma.outcomes.features.base import AbstractFeatures


class LearnedFeatures(AbstractFeatures):
    r"""$c(s) = W_{out} h_L$, $h_l = \mathrm{silu}(\mathrm{LN}(W_l h_{l-1} + b_l))$, $h_0 = s$.

    They are trained with one of the objectives of `owma.train.features`, and frozen afterwards.
    """

    layers: tuple[Linear, ...]
    norms: tuple[eqx.nn.LayerNorm, ...]
    linear_out: Linear

    def __init__(self, obs_dim: int, num_features: int, *, width: int, depth: int, key: PRNGKeyArray) -> None:
        keys = jax.random.split(key, depth + 1)
        sizes = (obs_dim, *[width] * depth)
        self.layers = tuple(Linear(sizes[i], sizes[i + 1], key=keys[i]) for i in range(depth))
        self.norms = tuple(eqx.nn.LayerNorm(width) for _ in range(depth))
        self.linear_out = Linear(width, num_features, key=keys[-1])

    def __call__(self, obs: Obs) -> Float[Array, " features"]:
        hidden = obs
        for layer, norm in zip(self.layers, self.norms):
            hidden = jax.nn.silu(norm(layer(hidden)))
        return self.linear_out(hidden)
