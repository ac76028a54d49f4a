"""A closed-form distribution as a world model that every planner accepts."""

import jax.numpy as jnp

from owma.diffusion import Chain
from owma.outcomes.features import IdentityFeatures
from owma.outcomes.testbeds.gaussian import GaussianDenoiser
from owma.outcomes.testbeds.mixture import GaussianMixtureDenoiser
from owma.outcomes.whitening import Standardisation, Whitening
from owma.outcomes.world import WorldModel


def testbed_world(
    denoiser: GaussianDenoiser | GaussianMixtureDenoiser, *, num_steps: int = 10, min_ratio: float = 0.05
) -> WorldModel:
    """A world model whose outcomes are `denoiser`'s in every state, their coordinates being as they are.

    States are as many numbers as outcomes. The chain is calibrated by the denoiser's own errors.
    """
    dims = denoiser.means.shape[1] if isinstance(denoiser, GaussianMixtureDenoiser) else denoiser.mean.shape[0]
    return WorldModel(
        observation=Standardisation(jnp.zeros(dims), jnp.ones(dims)),
        features=IdentityFeatures(),
        whitening=Whitening(jnp.zeros(dims), jnp.eye(dims), jnp.eye(dims)),
        denoiser=denoiser,
        chain=Chain.calibrated(denoiser.errors(), num_steps=num_steps, min_ratio=min_ratio),
        discount=0.9,
    )
