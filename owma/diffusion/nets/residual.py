"""A residual MLP with layer normalisation and dropout."""

import equinox as eqx
import jax

from owma._internal.types import Array, Float, PRNGKeyArray
from owma.diffusion.nets.linear import Linear


class ResidualMLP(eqx.Module):
    r"""$h_{l+1} = h_l + W_l\,\mathrm{dropout}(\mathrm{silu}(\mathrm{LN}(h_l)))$, then a linear read-out."""

    linear_in: Linear
    blocks: tuple[Linear, ...]
    norms: tuple[eqx.nn.LayerNorm, ...]
    dropout: eqx.nn.Dropout
    linear_out: Linear

    def __init__(
        self, in_size: int, out_size: int, *, width: int, depth: int, dropout: float, key: PRNGKeyArray
    ) -> None:
        keys = jax.random.split(key, depth + 2)
        self.linear_in = Linear(in_size, width, key=keys[0])
        self.blocks = tuple(Linear(width, width, key=k) for k in keys[2:])
        self.norms = tuple(eqx.nn.LayerNorm(width) for _ in range(depth))
        self.dropout = eqx.nn.Dropout(dropout)
        self.linear_out = Linear(width, out_size, key=keys[1])

    def __call__(self, x: Float[Array, " in"], *, key: PRNGKeyArray | None = None) -> Float[Array, " out"]:
        """`key` drives dropout; without one the network is deterministic, as at evaluation."""
        hidden = self.linear_in(x)
        keys = [None] * len(self.blocks) if key is None else list(jax.random.split(key, len(self.blocks)))
        for block, norm, block_key in zip(self.blocks, self.norms, keys, strict=True):
            active = jax.nn.silu(norm(hidden))
            hidden = hidden + block(self.dropout(active, key=block_key, inference=block_key is None))
        return self.linear_out(hidden)
