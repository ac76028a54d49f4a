"""The configuration of cumulants."""

import dataclasses
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from owma._types import PRNGKeyArray
    from owma.features.base import AbstractFeatures


@dataclasses.dataclass(frozen=True)
class FeaturesConfig:
    """Which cumulants c(s) the outcomes add up."""

    kind: Literal["identity", "fourier"] = "fourier"
    """`identity`: c(s) = s, standardised. `fourier`: sqrt(2/d) cos(Ws + b), random W and b."""
    num_features: int = 64
    """d, for `fourier`."""
    bandwidth: float = 3.0
    """Length scale of `fourier` in standard deviations of the observation."""

    def build(self, obs_dim: int, *, key: "PRNGKeyArray") -> "AbstractFeatures":
        from owma.features import FourierFeatures, IdentityFeatures

        if self.kind == "identity":
            return IdentityFeatures()
        return FourierFeatures(obs_dim, self.num_features, self.bandwidth, key=key)
