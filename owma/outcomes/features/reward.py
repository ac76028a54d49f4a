"""The recorded reward as the one cumulant."""

import jax.numpy as jnp

from owma._internal.types import Array, Float, Obs
from owma.outcomes.features.base import AbstractFeatures


class RecordedReward(AbstractFeatures):
    r"""$c_t = r_t$ as recorded: the outcome is the return itself, a distributional value of the behaviour policy
    (Bellemare et al. 2017, arXiv 1707.06887), and no other task can be told in it. A baseline for what cumulants buy.

    The reward is of a transition and not of a state: `owma.outcomes.world.raw_cumulants` reads it from the dataset, and
    a state alone gives NaN.
    """

    def __call__(self, obs: Obs) -> Float[Array, " features"]:
        del obs
        return jnp.full((1,), jnp.nan)
