"""Cumulants of a part of the observation."""

import equinox as eqx

from owma._internal.types import Array, Float, Obs
from owma.outcomes.features.base import AbstractFeatures


class PartFeatures(AbstractFeatures):
    r"""$c(s) = c'(s_{i:j})$: the cumulants `features` of the coordinates `start` to `stop` (exclusive) only.

    An outcome then predicts where a body or an object will be, and not the motion of limbs.
    """

    features: AbstractFeatures
    start: int = eqx.field(static=True)
    stop: int = eqx.field(static=True)

    def __call__(self, obs: Obs) -> Float[Array, " features"]:
        return self.features(obs[self.start : self.stop])
