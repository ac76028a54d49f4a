"""Cumulants of a part of the observation."""

import equinox as eqx

from owma._types import Array, Float, Obs
from owma.features.base import AbstractFeatures


class LeadingFeatures(AbstractFeatures):
    r"""$c(s) = c'(s_{1:n})$: other cumulants, of the leading `count` coordinates alone.

    An outcome then tells where a body will be, and not how its limbs will move on the way.
    """

    features: AbstractFeatures
    count: int = eqx.field(static=True)

    def __call__(self, obs: Obs) -> Float[Array, " features"]:
        return self.features(obs[: self.count])
