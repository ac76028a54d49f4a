"""What is adapted: Δφ, a filtered pytree of the world model's own structure."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, PyTree
from owma.adaptation.metric import AbstractMetric, ReadoutMetric, SampledMetric
from owma.adaptation.objective import DecisionProblem
from owma.diffusion import AbstractDenoiser, FiLMDenoiser, ReadoutDenoiser, TabulatedDenoiser, readout_of
from owma.diffusion.nets import Linear


class AbstractDeltaFilter(eqx.Module):
    """Chooses the parameters that adaptation may move, in coordinates of its choosing."""

    shares_hidden: ClassVar[bool] = False
    """Whether φ and φ + Δφ share all but their last layers, so that one network pass serves both."""
    metric: ClassVar[AbstractMetric] = SampledMetric()
    """How the metric of the path KL is measured in these parameters."""

    @abc.abstractmethod
    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        """The same problem with its denoiser in the coordinates that are adapted: the same function, or `problem`."""

    @abc.abstractmethod
    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        """A pytree of the prepared `denoiser`'s structure (or a prefix of it), `True` where a leaf is adapted."""

    def zeros(self, denoiser: AbstractDenoiser) -> PyTree:
        """Δφ = 0: zeros where adapted, `None` where frozen. Raises `ValueError` if nothing is adapted."""
        chosen = eqx.filter(eqx.filter(denoiser, self(denoiser)), eqx.is_inexact_array)
        if not jax.tree.leaves(chosen):
            raise ValueError(
                f"{type(self).__name__} adapts no parameter of {type(denoiser).__name__}; use AllParameters() or "
                "another filter, and the denoiser of a prepared problem (Adaptation.prepare)."
            )
        return jax.tree.map(jnp.zeros_like, chosen)


class AllParameters(AbstractDeltaFilter):
    """Every parameter, as published."""

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        return problem

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        return jax.tree.map(eqx.is_inexact_array, denoiser)


class LevelParameters(AbstractDeltaFilter):
    """The conditioning of each noise level by itself: for a FiLM network the scales and shifts of every level.

    A decision has one state and K + 1 levels, and reaches them through one row of conditioning each. A FiLM layer moves
    all rows at once, through the hidden units that the levels share; here each row moves alone, so that the divergence
    of one level does not depend on another's parameters. The same functions can be reached (`TabulatedDenoiser`), and
    no gradient passes the layers that make the conditioning. `share` is that of `ReadoutParameters`.
    """

    share: float = eqx.field(static=True, default=1.0)

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        tabulated = TabulatedDenoiser.of(problem.denoiser, problem.chain.ratios, problem.context)
        tabulated = tabulated.split(_num_levels(self.share, problem))
        return eqx.tree_at(lambda p: p.denoiser, problem, tabulated)

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        if not isinstance(denoiser, TabulatedDenoiser):
            raise ValueError(
                f"LevelParameters needs a TabulatedDenoiser, got {type(denoiser).__name__}; take the denoiser of "
                "`Adaptation.prepare(problem)`."
            )
        frozen = jax.tree.map(lambda _: False, denoiser)
        return eqx.tree_at(lambda d: d.table, frozen, jax.tree.map(eqx.is_inexact_array, denoiser.table))


class ReadoutParameters(AbstractDeltaFilter):
    """The last layer of each noise level by itself; what it reads stays as it is.

    Means are then linear in Δφ: φ and φ + Δφ share all but a small product, and the metric of the path KL is known in
    closed form (`ReadoutMetric`), so that a step costs one pass there and one back.

    Only the first `share` of the levels adapts, noisiest first; the trained model finishes every draw. Noisy levels
    decide which outcome a draw becomes, the others its details. At a low price of divergence most nats would go to the
    latter, where they buy what V wrongly promises of outcomes that no data come near (measured: `runs/README.md`).
    """

    share: float = eqx.field(static=True, default=1.0)

    shares_hidden: ClassVar[bool] = True
    metric: ClassVar[AbstractMetric] = ReadoutMetric()

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        if not isinstance(problem.denoiser, FiLMDenoiser):
            raise ValueError(
                f"ReadoutParameters needs a FiLMDenoiser, got {type(problem.denoiser).__name__}; use AllParameters() "
                "or LevelParameters()."
            )
        readout = ReadoutDenoiser(problem.denoiser)
        tabulated = TabulatedDenoiser.of(readout, problem.chain.ratios, problem.context)
        whole = jax.tree.map(lambda _: False, tabulated.table)
        layer = eqx.tree_at(lambda table: (table.weight, table.bias), whole, (True, True))
        tabulated = tabulated.split(_num_levels(self.share, problem), layer)
        return eqx.tree_at(lambda p: p.denoiser, problem, tabulated)

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        if readout_of(denoiser) is None:
            raise ValueError(
                f"ReadoutParameters needs the denoiser of `Adaptation.prepare(problem)`, got {type(denoiser).__name__}."
            )
        frozen = jax.tree.map(lambda _: False, denoiser)
        return eqx.tree_at(lambda d: (d.table.weight, d.table.bias), frozen, (True, True))


class FiLMParameters(AbstractDeltaFilter):
    """The linear map from condition to scales and shifts. The trunk, which sees the samples, stays as it is."""

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        return problem

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        return _only(denoiser, "film")


class TrunkParameters(AbstractDeltaFilter):
    """The layers that see the samples; conditioning is then the same for φ and φ + Δφ."""

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        return problem

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        return _only(denoiser, "trunk_in", "trunk", "trunk_out")


class OutputParameters(AbstractDeltaFilter):
    """The last layer: the smallest change that still reaches every output."""

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        return problem

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        return _only(denoiser, "trunk_out")


class PredicateParameters(AbstractDeltaFilter):
    """The leaves for which `predicate(path, leaf)` holds, `path` being written like `.net.film.weight`."""

    predicate: Callable[[str, Float[Array, "..."]], bool] = eqx.field(static=True)

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        return problem

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        def chosen(path: tuple, leaf: Any) -> bool:
            return eqx.is_inexact_array(leaf) and self.predicate(jax.tree_util.keystr(path), leaf)

        return jax.tree_util.tree_map_with_path(chosen, denoiser)


class LowRankParameters(AbstractDeltaFilter):
    r"""$W + BA$ in place of every weight matrix, B of `rank` columns adapted from zero, A random and held
    (Hu et al., arXiv 2106.09685, with the down-projection frozen as in arXiv 2308.03303).
    """

    rank: int = eqx.field(static=True, default=4)

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        def is_linear(node: object) -> bool:
            return isinstance(node, Linear)

        # A is the same at every decision: a warm-started B would mean nothing with another.
        key = jax.random.key(0)

        def widen(node: PyTree) -> PyTree:
            return _LowRankLinear.of(node, self.rank, key) if is_linear(node) else node

        denoiser = jax.tree.map(widen, problem.denoiser, is_leaf=is_linear)
        return eqx.tree_at(lambda p: p.denoiser, problem, denoiser)

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        def is_low_rank(node: object) -> bool:
            return isinstance(node, _LowRankLinear)

        def mask(node: PyTree) -> PyTree:
            frozen = jax.tree.map(lambda _: False, node)
            return eqx.tree_at(lambda n: n.up, frozen, True) if is_low_rank(node) else frozen

        return jax.tree.map(mask, denoiser, is_leaf=is_low_rank)


class _LowRankLinear(eqx.Module):
    linear: Linear
    up: Float[Array, "out rank"]
    down: Float[Array, "rank in"]

    @classmethod
    def of(cls, linear: Linear, rank: int, key: Array) -> "_LowRankLinear":
        out_size, in_size = linear.weight.shape
        down = jax.random.normal(key, (min(rank, in_size, out_size), in_size)) / jnp.sqrt(in_size)
        return cls(linear, jnp.zeros((out_size, down.shape[0])), down)

    @property
    def bias(self) -> Float[Array, " out"]:
        return self.linear.bias

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        return self.linear(x) + (x @ self.down.T) @ self.up.T


def _num_levels(share: float, problem: DecisionProblem) -> int:
    """How many of the chain's levels adapt: at least one."""
    return max(1, round(share * problem.chain.num_transitions))


def _only(denoiser: AbstractDenoiser, *names: str) -> PyTree:
    if not isinstance(denoiser, FiLMDenoiser):
        raise ValueError(
            f"A delta filter for {', '.join(names)} needs a FiLMDenoiser, got {type(denoiser).__name__}; "
            "use AllParameters(), LevelParameters() or a filter of your own."
        )
    nothing = jax.tree.map(lambda _: False, denoiser)
    parts = [getattr(denoiser.net, name) for name in names]
    replacements = [jax.tree.map(eqx.is_inexact_array, part) for part in parts]
    return eqx.tree_at(lambda d: [getattr(d.net, name) for name in names], nothing, replacements)
