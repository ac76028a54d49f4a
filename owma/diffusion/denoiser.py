"""Denoisers: the posterior means E[x₀ | x₀ + rε = y] of diffusion models."""

import abc
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, PRNGKeyArray, PyTree, Scalar
from owma.diffusion.nets import FiLMNet

Conditioning: TypeAlias = Any
"""What `AbstractDenoiser.condition` returns: a pytree of arrays of the denoiser's own choosing."""


class AbstractDenoiser(eqx.Module):
    r"""The posterior mean $\hat x_0(y, r) = E[x_0 \mid x_0 + r\varepsilon = y]$ of a conditional distribution.

    Evaluated in two parts, because many samples share a context and a noise level: `condition` once for each (level,
    context), `__call__` for each sample.
    """

    @abc.abstractmethod
    def condition(self, ratio: Scalar, context: Float[Array, " context"]) -> Conditioning:
        r"""Compute all that depends on the noise level $r = \sigma/\alpha$ and the context, but not on the sample."""

    @abc.abstractmethod
    def __call__(self, y: Float[Array, " x"], ratio: Scalar, conditioning: Conditioning) -> Float[Array, " x"]:
        r"""$\hat x_0$ at $y = x/\alpha$, `conditioning` being `condition(ratio, context)`."""


def conditioning_table(
    denoiser: AbstractDenoiser, ratios: Float[Array, " levels"], context: Float[Array, " context"]
) -> Conditioning:
    """`denoiser.condition` at every level of a chain, stacked."""
    if isinstance(denoiser, TabulatedDenoiser):
        # The table itself. Looking up its rows would be a gather, whose transpose is slow.
        if denoiser.ratios.shape != ratios.shape:
            raise ValueError(f"The denoiser is tabulated at {denoiser.ratios.size} levels, not at {ratios.size}.")
        return denoiser.rows
    return jax.vmap(lambda ratio: denoiser.condition(ratio, context))(ratios)


class TabulatedDenoiser(AbstractDenoiser):
    """A denoiser in one context, whose conditionings at the levels of a chain are tabulated as parameters.

    The same function in this context with another parameterisation: a FiLM layer changes all levels together, a table
    each level separately. With more hidden units than levels, each can represent what the other can.
    """

    denoiser: AbstractDenoiser
    ratios: Float[Array, " levels"]
    table: Conditioning
    """One row per level, or the first rows only (`split`)."""
    held: Conditioning = None
    """The rows after those of `table`, leaf by leaf; `None` where `table` has all of them."""

    @classmethod
    def of(
        cls, denoiser: AbstractDenoiser, ratios: Float[Array, " levels"], context: Float[Array, " context"]
    ) -> "TabulatedDenoiser":
        return cls(denoiser, ratios, conditioning_table(denoiser, ratios, context))

    def split(self, num_levels: int, mask: PyTree = True) -> "TabulatedDenoiser":
        """The same function, with the table split into its first `num_levels` rows (`table`) and the rest (`held`).

        `mask`: a tree of booleans, or a prefix of one; leaves for which it is false are not split.
        """
        if num_levels == self.ratios.size:
            return self
        mask = jax.tree.map(lambda m, part: jax.tree.map(lambda _: m, part), mask, self.table)
        first = jax.tree.map(lambda m, leaf: leaf[:num_levels] if m else leaf, mask, self.table)
        held = jax.tree.map(lambda m, leaf: leaf[num_levels:] if m else None, mask, self.table)
        return TabulatedDenoiser(self.denoiser, self.ratios, first, held)

    @property
    def rows(self) -> Conditioning:
        """The whole table, one row per level."""
        if self.held is None:
            return self.table

        def joined(first: Array, held: Array | None) -> Array:
            # A leaf that was not split remains the same array object, by which `Means` tells what two models share.
            return first if held is None else jnp.concatenate([first, held])

        return jax.tree.map(joined, self.table, self.held)

    def condition(self, ratio: Scalar, context: Float[Array, " context"]) -> Conditioning:
        """The row of `ratio`, which must be one of `ratios`; `context` is ignored."""
        del context
        row = jnp.argmin(jnp.abs(self.ratios - ratio))
        return jax.tree.map(lambda leaf: leaf[row], self.rows)

    def __call__(self, y: Float[Array, " x"], ratio: Scalar, conditioning: Conditioning) -> Float[Array, " x"]:
        return self.denoiser(y, ratio, conditioning)


class InlineDenoiser(AbstractDenoiser):
    """A denoiser that computes its conditioning in `__call__`; its `condition` returns the context.

    The same function, for contexts with one sample each. A table of conditionings would save no work there, and writing
    it to memory and reading it takes a CPU as long as the arithmetic.
    """

    denoiser: AbstractDenoiser

    def condition(self, ratio: Scalar, context: Float[Array, " context"]) -> Conditioning:
        del ratio
        return context

    def __call__(self, y: Float[Array, " x"], ratio: Scalar, conditioning: Conditioning) -> Float[Array, " x"]:
        return self.denoiser(y, ratio, self.denoiser.condition(ratio, conditioning))


def same_network(first: AbstractDenoiser, second: AbstractDenoiser) -> bool:
    """Whether two denoisers are known at trace time to differ in their conditionings only: both then multiply samples
    by the same matrices, and can be evaluated as one batch.
    """
    if not (isinstance(first, TabulatedDenoiser) and isinstance(second, TabulatedDenoiser)):
        return False
    networks = (jax.tree.leaves(eqx.filter(denoiser.denoiser, eqx.is_array)) for denoiser in (first, second))
    return all(a is b for a, b in zip(*networks, strict=True))


class FiLMDenoiser(AbstractDenoiser):
    r"""A v-predicting FiLM network (Salimans & Ho, arXiv 2202.00512).

    The network outputs $v$ at $x = \alpha y$; then $\hat x_0 = \alpha x - \sigma v$ and
    $\hat\varepsilon = \sigma x + \alpha v$. Predicting $\varepsilon$ instead would divide by $\alpha\approx 0.007$ at
    the noisiest level.
    """

    net: FiLMNet
    num_frequencies: int = eqx.field(static=True)

    def __init__(
        self,
        data_size: int,
        context_size: int,
        *,
        width: int,
        depth: int,
        embed_width: int,
        num_frequencies: int = 8,
        key: PRNGKeyArray,
    ) -> None:
        self.num_frequencies = num_frequencies
        condition_size = context_size + 2 * num_frequencies + 1
        self.net = FiLMNet(
            data_size, condition_size, data_size, width=width, depth=depth, embed_width=embed_width, key=key
        )

    def condition(self, ratio: Scalar, context: Float[Array, " context"]) -> Conditioning:
        # ln(r)/4 is of order one over all levels (Karras et al., arXiv 2206.00364, table 1).
        level = jnp.log(ratio) / 4
        phases = level * jnp.pi * 2.0 ** jnp.arange(-1, self.num_frequencies - 1)
        embedding = jnp.concatenate([level[None], jnp.sin(phases), jnp.cos(phases)])
        return self.net.modulation(jnp.concatenate([embedding, context]))

    def velocity(self, y: Float[Array, " x"], ratio: Scalar, conditioning: Conditioning) -> Float[Array, " x"]:
        r"""The output of the network, $v = \alpha\varepsilon - \sigma x_0$, which is trained by regression."""
        return self.net(y * jax.lax.rsqrt(1 + jnp.square(ratio)), conditioning)

    def __call__(self, y: Float[Array, " x"], ratio: Scalar, conditioning: Conditioning) -> Float[Array, " x"]:
        return from_velocity(y, ratio, self.velocity(y, ratio, conditioning))


class Readout(eqx.Module):
    """The conditioning of a `ReadoutDenoiser`: the modulation of its network, and its last layer."""

    modulation: Float[Array, "*levels depth 2 width"]
    weight: Float[Array, "*levels x width"]
    bias: Float[Array, "*levels x"]


class ReadoutDenoiser(AbstractDenoiser):
    r"""A FiLM denoiser whose last layer is part of its conditioning: once tabulated, each level has its own.

    With $h$ the output of the frozen hidden layers, $v = W_k h + b_k$ is linear in the adapted parameters, and two such
    denoisers share $h$.
    """

    denoiser: FiLMDenoiser

    def condition(self, ratio: Scalar, context: Float[Array, " context"]) -> Readout:
        last = self.denoiser.net.trunk_out
        return Readout(self.denoiser.condition(ratio, context), last.weight, last.bias)

    def hidden(self, y: Float[Array, " x"], ratio: Scalar, conditioning: Readout) -> Float[Array, " width"]:
        """The hidden activations h, which do not depend on the last layer."""
        return self.denoiser.net.hidden(y * jax.lax.rsqrt(1 + jnp.square(ratio)), conditioning.modulation)

    def read(
        self, hidden: Float[Array, " width"], y: Float[Array, " x"], ratio: Scalar, conditioning: Readout
    ) -> Float[Array, " x"]:
        r"""$\hat x_0$ at `y`, `hidden` being the hidden activations there."""
        return from_velocity(y, ratio, hidden @ conditioning.weight.T + conditioning.bias)

    def __call__(self, y: Float[Array, " x"], ratio: Scalar, conditioning: Readout) -> Float[Array, " x"]:
        return self.read(self.hidden(y, ratio, conditioning), y, ratio, conditioning)


def readout_of(denoiser: AbstractDenoiser) -> ReadoutDenoiser | None:
    """The `ReadoutDenoiser` inside a `TabulatedDenoiser`; `None` for any other denoiser."""
    inner = denoiser.denoiser if isinstance(denoiser, TabulatedDenoiser) else None
    return inner if isinstance(inner, ReadoutDenoiser) else None


def from_velocity(y: Float[Array, " x"], ratio: Scalar, velocity: Float[Array, " x"]) -> Float[Array, " x"]:
    r"""$\hat x_0 = \alpha x - \sigma v$ at $x = \alpha y$, $\sigma/\alpha = r$."""
    alpha = jax.lax.rsqrt(1 + jnp.square(ratio))
    return jnp.square(alpha) * y - ratio * alpha * velocity


def velocity_target(x0: Float[Array, " x"], noise: Float[Array, " x"], ratio: Scalar) -> Float[Array, " x"]:
    r"""$v = \alpha\varepsilon - \sigma x_0$ at $\sigma/\alpha = r$."""
    return (noise - ratio * x0) * jax.lax.rsqrt(1 + jnp.square(ratio))


def velocity_loss(
    denoiser: FiLMDenoiser,
    x0: Float[Array, " x"],
    context: Float[Array, " context"],
    ratio: Scalar,
    noise: Float[Array, " x"],
) -> Scalar:
    r"""$\|v_\theta - v\|^2/d$ for one example at one noise level."""
    y = x0 + ratio * noise
    predicted = denoiser.velocity(y, ratio, denoiser.condition(ratio, context))
    return jnp.mean(jnp.square(predicted - velocity_target(x0, noise, ratio)))


def low_discrepancy_uniform(num: int, *, key: PRNGKeyArray) -> Float[Array, " num"]:
    """`num` uniform numbers on [0, 1), one in each of `num` equal cells, in shuffled order.

    Each is uniform on its own, so the loss stays unbiased, while the batch covers all noise levels evenly
    (Kingma et al., arXiv 2107.00630, appendix I.1).
    """
    offset_key, order_key = jax.random.split(key)
    cells = jax.random.permutation(order_key, num)
    return jnp.mod(cells / num + jax.random.uniform(offset_key), 1.0)
