"""The recorded reward as the one cumulant."""

import jax.numpy as jnp

from owma._internal.types import Array, Float, Obs
from owma.outcomes.features.base import AbstractFeatures


class RecordedReward(AbstractFeatures):
    r"""$c_t = r_t$ as recorded: the outcome is the return itself, a distributional value of the behaviour policy
    (Bellemare et al. 2017, arXiv 1707.06887), which no other task can be evaluated on. A baseline for other cumulants.

    The reward belongs to a transition and not to a state: `owma.outcomes.world.raw_cumulants` reads it from the
    dataset, and calling this on a state gives NaN.
    """

    def __call__(self, obs: Obs) -> Float[Array, " features"]:
        del obs
        return jnp.full((1,), jnp.nan)
