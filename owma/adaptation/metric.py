"""The Fisher metric of the path KL in Δφ, measured at visited states."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.moved import OldMember, rename_member
from owma._internal.types import Array, Float, PRNGKeyArray, PyTree
from owma.adaptation.objective import DecisionProblem
from owma.adaptation.path import scaled_means
from owma.diffusion import PathSample, conditioning_table, readout_of

Push: TypeAlias = Callable[[PyTree], Float[Array, "n levels x"]]
"""The linear map J: from a direction in Δφ to the change of the means, in units of their widths, at each state. Levels
that do not adapt may be left out."""


class AbstractMetric(eqx.Module):
    r"""$F = E\sum_k J_k^\top J_k$ with $J_k = \partial(\mu_k/\tilde s_k)/\partial\phi$: to second order the path KL
    between Δφ and Δφ + x is $\tfrac12x^\top Fx$.
    """

    measure_nfe: ClassVar[int]
    """Network passes of `measure`, per state."""
    product_nfe: ClassVar[int]
    """Network passes of one product with J or its transpose, per state."""
    passes = OldMember("measure_nfe")
    push_passes = OldMember("product_nfe")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        rename_member(cls, "passes", "measure_nfe")
        rename_member(cls, "push_passes", "product_nfe")

    @abc.abstractmethod
    def measure(
        self,
        problem: DecisionProblem,
        delta: PyTree,
        samples: PathSample,
        *,
        key: PRNGKeyArray,
    ) -> tuple[PyTree, Push]:
        """The diagonal of F, of Δφ's structure, and the linear map J, at the states of `samples`, n draws of φ + Δφ."""


class SampledMetric(AbstractMetric):
    r"""For any parameters: the diagonal by Hutchinson's estimator, $E_z(J^\top z)^2$ with random signs z, one for each
    draw; products with J by forward-mode differentiation.
    """

    measure_nfe: ClassVar[int] = 2
    product_nfe: ClassVar[int] = 1

    def measure(
        self,
        problem: DecisionProblem,
        delta: PyTree,
        samples: PathSample,
        *,
        key: PRNGKeyArray,
    ) -> tuple[PyTree, Push]:
        states = samples.states

        def means(deltas: PyTree) -> Float[Array, "n levels x"]:
            def one(delta: PyTree, states: Float[Array, "levels x"]) -> Float[Array, "levels x"]:
                return scaled_means(problem.chain, problem.adapted(delta), problem.context, states[None])[0]

            return jax.vmap(one)(deltas, states)

        # One copy of Δφ per draw: a single linearisation then serves the squares, draw by draw, and the products.
        def per_draw(x: PyTree) -> PyTree:
            return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (states.shape[0], *leaf.shape)), x)

        _, pushforward = jax.linearize(means, per_draw(delta))
        signs = jax.random.rademacher(key, states.shape, states.dtype)
        (products,) = jax.linear_transpose(pushforward, per_draw(delta))(signs)
        diagonal = jax.tree.map(lambda leaf: jnp.mean(jnp.square(leaf), axis=0), products)
        return diagonal, lambda x: pushforward(per_draw(x))


class ReadoutMetric(AbstractMetric):
    r"""For `ReadoutParameters`, in closed form: means are linear in the last layers, so that the diagonal of F is that
    of $E\,h_kh_k^\top$, and J is a product with $h_k$.
    """

    measure_nfe: ClassVar[int] = 0
    product_nfe: ClassVar[int] = 0

    def measure(
        self,
        problem: DecisionProblem,
        delta: PyTree,
        samples: PathSample,
        *,
        key: PRNGKeyArray,
    ) -> tuple[PyTree, Push]:
        del key
        adapted, chain, hidden = problem.adapted(delta), problem.chain, samples.hidden
        readout = readout_of(adapted)
        if readout is None or hidden is None:
            raise ValueError(
                "ReadoutMetric measures what ReadoutParameters adapts; use SampledMetric() for other delta filters."
            )
        table = conditioning_table(adapted, chain.ratios, problem.context)
        # Only the first levels adapt.
        num_levels = _readout(delta)[1].shape[0]
        hidden, states = hidden[:, :num_levels], samples.states[:, :num_levels]
        ratios, gains, widths, table = jax.tree.map(
            lambda leaf: leaf[:num_levels], (chain.ratios, chain.gains, chain.widths, table)
        )
        # ∂x̂₀/∂v = −rα, and 0 where x̂₀ is clipped.
        slope = -gains * ratios * jax.lax.rsqrt(1 + jnp.square(ratios))
        read = jax.vmap(readout.read)
        mean = jax.vmap(lambda h, y: read(h, y, ratios, table))(hidden, states)
        free = (mean > chain.low[None, None]) & (mean < chain.high[None, None])
        scale = jnp.where(free, slope[:, None] / widths, 0.0)
        square = jnp.square(scale) / hidden.shape[0]
        weight = jnp.einsum("nlx,nlw->lxw", square, jnp.square(hidden))
        diagonal = eqx.tree_at(_readout, delta, (weight, jnp.sum(square, axis=0)))

        def push(x: PyTree) -> Float[Array, "n levels x"]:
            weight, bias = _readout(x)
            return scale * (jnp.einsum("nlw,lxw->nlx", hidden, weight) + bias[None])

        return diagonal, push


def _readout(delta: PyTree) -> tuple[Any, Any]:
    # Not always arrays: `tree_at` calls this on placeholders.
    return delta.table.weight, delta.table.bias
