"""What is adapted: Δφ, a filtered pytree of the world model's own structure."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._types import PyTree
from owma.diffusion import AbstractDenoiser, FiLMDenoiser


class AbstractDeltaFilter(eqx.Module):
    """Chooses the parameters that adaptation may move."""

    @abc.abstractmethod
    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        """A pytree of `denoiser`'s structure (or a prefix of it) with `True` where a leaf is adapted."""

    def zeros(self, denoiser: AbstractDenoiser) -> PyTree:
        """Δφ = 0: zeros where adapted, `None` where frozen. Raises `ValueError` if nothing is adapted."""
        chosen = eqx.filter(eqx.filter(denoiser, self(denoiser)), eqx.is_inexact_array)
        if not jax.tree.leaves(chosen):
            raise ValueError(f"{type(self).__name__} adapts no parameter of {type(denoiser).__name__}.")
        return jax.tree.map(jnp.zeros_like, chosen)


class AllParameters(AbstractDeltaFilter):
    """Every parameter, as published."""

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        return jax.tree.map(eqx.is_inexact_array, denoiser)


class FiLMParameters(AbstractDeltaFilter):
    """The linear map from condition to scales and shifts. The trunk, which sees the samples, stays as it is."""

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        return _only(denoiser, "film")


class TrunkParameters(AbstractDeltaFilter):
    """The layers that see the samples; conditioning is then the same for φ and φ + Δφ."""

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        return _only(denoiser, "trunk_in", "trunk", "trunk_out")


class OutputParameters(AbstractDeltaFilter):
    """The last layer: the smallest change that still reaches every output."""

    def __call__(self, denoiser: AbstractDenoiser) -> PyTree:
        return _only(denoiser, "trunk_out")


def _only(denoiser: AbstractDenoiser, *names: str) -> PyTree:
    if not isinstance(denoiser, FiLMDenoiser):
        raise ValueError(
            f"A delta filter for {', '.join(names)} needs a FiLMDenoiser, got {type(denoiser).__name__}; "
            "use AllParameters() or a filter of your own."
        )
    nothing = jax.tree.map(lambda _: False, denoiser)
    parts = [getattr(denoiser.net, name) for name in names]
    replacements = [jax.tree.map(eqx.is_inexact_array, part) for part in parts]
    return eqx.tree_at(lambda d: [getattr(d.net, name) for name in names], nothing, replacements)
