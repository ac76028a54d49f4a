"""Cumulants of a part of the observation."""

import equinox as eqx

from owma._internal.types import Array, Float, Obs
from owma.outcomes.features.base import AbstractFeatures


class PartFeatures(AbstractFeatures):
    r"""$c(s) = c'(s_{i:j})$: other cumulants, of the coordinates from `start` to before `stop` alone.

    An outcome then tells where a body or a thing will be, and not how limbs will move on the way.
    """

    features: AbstractFeatures
    start: int = eqx.field(static=True)
    stop: int = eqx.field(static=True)

    def __call__(self, obs: Obs) -> Float[Array, " features"]:
        return self.features(obs[self.start : self.stop])
