"""Cumulants that are the observation itself."""

from owma._internal.types import Array, Float, Obs
from owma.outcomes.features.base import AbstractFeatures


class IdentityFeatures(AbstractFeatures):
    r"""$c(s) = s$: the outcome is the discounted occupancy's mean state."""

    def __call__(self, obs: Obs) -> Float[Array, " features"]:
        return obs
