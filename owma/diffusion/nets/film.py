"""A residual MLP with feature-wise linear modulation (FiLM)."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, PRNGKeyArray
from owma.diffusion.nets.linear import Linear


class FiLMNet(eqx.Module):
    r"""$h_{l+1} = h_l + W_l\,\mathrm{silu}\big((1 + a_l)\odot h_l + b_l\big)$ with $(a_l, b_l)$ from a condition
    (feature-wise linear modulation, Perez et al., arXiv 1709.07871).

    `modulation` maps the condition to $(a, b)$, separately from `__call__`, so that it is computed once for all inputs
    that share a condition.
    """

    embed: tuple[Linear, ...]
    film: Linear
    trunk_in: Linear
    trunk: tuple[Linear, ...]
    trunk_out: Linear

    def __init__(
        self,
        in_size: int,
        condition_size: int,
        out_size: int,
        *,
        width: int,
        depth: int,
        embed_width: int,
        key: PRNGKeyArray,
    ) -> None:
        keys = jax.random.split(key, depth + 5)
        self.embed = (
            Linear(condition_size, embed_width, key=keys[0]),
            Linear(embed_width, embed_width, key=keys[1]),
        )
        self.film = _scaled(Linear(embed_width, 2 * depth * width, key=keys[2]), 0.1)
        self.trunk_in = Linear(in_size, width, key=keys[3])
        self.trunk = tuple(Linear(width, width, key=k) for k in keys[5:])
        # The output is zero at initialisation: the untrained network predicts the mean, whatever its width.
        self.trunk_out = _scaled(Linear(width, out_size, key=keys[4]), 0.0)

    def modulation(self, condition: Float[Array, " condition"]) -> Float[Array, "depth 2 width"]:
        hidden = condition
        for layer in self.embed:
            hidden = jax.nn.silu(layer(hidden))
        width = self.trunk_in.bias.shape[0]
        return self.film(hidden).reshape(len(self.trunk), 2, width)

    def hidden(self, x: Float[Array, " in"], modulation: Float[Array, "depth 2 width"]) -> Float[Array, " width"]:
        """The activations before the last layer."""
        hidden = self.trunk_in(x)
        for layer, (scale, shift) in zip(self.trunk, modulation, strict=True):
            hidden = hidden + layer(jax.nn.silu((1 + scale) * hidden + shift))
        return hidden

    def __call__(self, x: Float[Array, " in"], modulation: Float[Array, "depth 2 width"]) -> Float[Array, " out"]:
        return self.trunk_out(self.hidden(x, modulation))


def _scaled(linear: Linear, factor: float) -> Linear:
    return jax.tree.map(lambda leaf: jnp.asarray(factor, leaf.dtype) * leaf, linear)
