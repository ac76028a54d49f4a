"""The interface of cumulants."""

import abc

import equinox as eqx

from owma._internal.types import Array, Float, Obs


class AbstractFeatures(eqx.Module):
    """Cumulants c(s), the summands of successor features ψ = Σ γᵏ c(s_{t+k})."""

    @abc.abstractmethod
    def __call__(self, obs: Obs) -> Float[Array, " features"]:
        """**Arguments:** `obs`: one observation, standardised per coordinate over the dataset.

        **Returns:** its cumulants.
        """
