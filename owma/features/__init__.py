"""Cumulants c(s) behind one interface."""

import dataclasses
from typing import Literal

from owma._types import PRNGKeyArray
from owma.features.base import AbstractFeatures as AbstractFeatures
from owma.features.fourier import FourierFeatures as FourierFeatures
from owma.features.identity import IdentityFeatures as IdentityFeatures


@dataclasses.dataclass(frozen=True)
class FeaturesConfig:
    """Which cumulants c(s) the outcomes add up."""

    kind: Literal["identity", "fourier"] = "fourier"
    """`identity`: c(s) = s, standardised. `fourier`: sqrt(2/d) cos(Ws + b), random W and b."""
    num_features: int = 64
    """d, for `fourier`."""
    bandwidth: float = 3.0
    """Length scale of `fourier` in standard deviations of the observation."""

    def build(self, obs_dim: int, *, key: PRNGKeyArray) -> AbstractFeatures:
        if self.kind == "identity":
            return IdentityFeatures()
        return FourierFeatures(obs_dim, self.num_features, self.bandwidth, key=key)
