"""Delta filters: which parameters adapt. Δφ is a filtered pytree of the denoiser's structure."""

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
    """Selects the parameters that adapt, and may reparameterise the denoiser first."""

    shares_hidden: ClassVar[bool] = False
    """Whether φ and φ + Δφ differ in their last layers only, so that one network pass serves both."""
    metric: ClassVar[AbstractMetric] = SampledMetric()
    """The estimator of the Fisher metric of these parameters."""

    @abc.abstractmethod
    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        """The same problem, its denoiser reparameterised, as the same function, for adaptation; or `problem`."""

    @abc.abstractmethod
    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        """A pytree of the prepared `denoiser`'s structure (or a prefix of it), `True` for leaves that adapt."""

    def zeros(self, denoiser: AbstractDenoiser) -> PyTree:
        """Δφ = 0: zeros for leaves that adapt, `None` for frozen ones. Raises `ValueError` if none adapts."""
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
    """The conditioning of each noise level separately: for a FiLM network, the scales and shifts of every level.

    A decision conditions the network on one state and K + 1 levels: one row of conditioning per level. Adapting the
    FiLM layer changes all rows together; here each row has its own parameters, so that the divergence of one level does
    not depend on those of another. The same functions can be represented (`TabulatedDenoiser`), and no gradient is
    propagated through the conditioning layers. `share` is that of `ReadoutParameters`.
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
    """A separate last layer for each noise level; all other layers are frozen.

    The means are then linear in Δφ: φ and φ + Δφ share their hidden layers, and the Fisher metric of the path KL has a
    closed form (`ReadoutMetric`), so that a step costs one forward and one backward pass.

    Only the first fraction `share` of the levels adapts, noisiest first; the trained model completes every draw. Noisy
    levels decide which mode a draw reaches, the others its details. With a small λ most of the divergence would be
    spent on the latter, where it exploits errors of V on outcomes far from the data (see `runs/reference/ablations`).
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
        no_leaf = jax.tree.map(lambda _: False, tabulated.table)
        last_layer = eqx.tree_at(lambda table: (table.weight, table.bias), no_leaf, (True, True))
        tabulated = tabulated.split(_num_levels(self.share, problem), last_layer)
        return eqx.tree_at(lambda p: p.denoiser, problem, tabulated)

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        if readout_of(denoiser) is None:
            raise ValueError(
                f"ReadoutParameters needs the denoiser of `Adaptation.prepare(problem)`, got {type(denoiser).__name__}."
            )
        frozen = jax.tree.map(lambda _: False, denoiser)
        return eqx.tree_at(lambda d: (d.table.weight, d.table.bias), frozen, (True, True))


class FiLMParameters(AbstractDeltaFilter):
    """The linear map from the embedded condition to scales and shifts. The trunk is frozen."""

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        return problem

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        return _only(denoiser, "film")


class TrunkParameters(AbstractDeltaFilter):
    """The trunk: the layers that process the sample. The conditioning is then the same for φ and φ + Δφ."""

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        return problem

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        return _only(denoiser, "trunk_in", "trunk", "trunk_out")


class OutputParameters(AbstractDeltaFilter):
    """The last layer of the trunk, one for all noise levels."""

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        return problem

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        return _only(denoiser, "trunk_out")


class PredicateParameters(AbstractDeltaFilter):
    """The leaves for which `predicate(path, leaf)` is true; `path` is a string such as `.net.film.weight`."""

    predicate: Callable[[str, Float[Array, "..."]], bool] = eqx.field(static=True)

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        return problem

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        def chosen(path: tuple, leaf: Any) -> bool:
            return eqx.is_inexact_array(leaf) and self.predicate(jax.tree_util.keystr(path), leaf)

        return jax.tree_util.tree_map_with_path(chosen, denoiser)


class LowRankParameters(AbstractDeltaFilter):
    r"""Low-rank adaptation (LoRA): $W + BA$ in place of every weight matrix, B of `rank` columns adapting from zero, A
    random and frozen (Hu et al., arXiv 2106.09685, with the down-projection frozen as in arXiv 2308.03303).
    """

    rank: int = eqx.field(static=True, default=4)

    def prepare(self, problem: DecisionProblem) -> DecisionProblem:
        def is_linear(node: object) -> bool:
            return isinstance(node, Linear)

        # A is the same at every decision, because a warm-started B belongs to its A.
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
    """The number of levels that adapt: at least one."""
    return max(1, round(share * problem.chain.num_transitions))


def _only(denoiser: AbstractDenoiser, *names: str) -> PyTree:
    if not isinstance(denoiser, FiLMDenoiser):
        raise ValueError(
            f"A delta filter for {', '.join(names)} needs a FiLMDenoiser, got {type(denoiser).__name__}; "
            "use AllParameters(), LevelParameters() or a filter of your own."
        )
    frozen = jax.tree.map(lambda _: False, denoiser)
    parts = [getattr(denoiser.net, name) for name in names]
    replacements = [jax.tree.map(eqx.is_inexact_array, part) for part in parts]
    return eqx.tree_at(lambda d: [getattr(d.net, name) for name in names], frozen, replacements)
