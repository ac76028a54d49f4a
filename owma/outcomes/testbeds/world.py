"""A closed-form distribution as a world model that every planner accepts, and a small policy for it."""

import jax
import jax.numpy as jnp
import numpy as np

from owma.config.policy import PolicyConfig
from owma.diffusion import Chain
from owma.outcomes.features import IdentityFeatures
from owma.outcomes.policy import ReadoutPolicy, untrained_policy
from owma.outcomes.testbeds.gaussian import GaussianDenoiser
from owma.outcomes.testbeds.mixture import GaussianMixtureDenoiser
from owma.outcomes.whitening import Standardisation, Whitening
from owma.outcomes.world import WorldModel


def testbed_world(
    denoiser: GaussianDenoiser | GaussianMixtureDenoiser, *, num_steps: int = 10, min_ratio: float = 0.05
) -> WorldModel:
    """A world model whose outcomes have the distribution of `denoiser` in every state, without whitening.

    States have as many components as outcomes. The chain is calibrated to the exact errors of the denoiser.
    """
    dims = denoiser.means.shape[1] if isinstance(denoiser, GaussianMixtureDenoiser) else denoiser.mean.shape[0]
    return WorldModel(
        observation=Standardisation.identity(dims),
        features=IdentityFeatures(),
        whitening=Whitening(jnp.zeros(dims), jnp.eye(dims), jnp.eye(dims)),
        denoiser=denoiser,
        chain=Chain.calibrated(denoiser.errors(), num_steps=num_steps, min_ratio=min_ratio),
        discount=0.9,
    )


def testbed_policy(obs_dim: int, action_dim: int, psi_dim: int) -> ReadoutPolicy:
    """A small untrained policy with a fixed key, without standardisation; actions are in [-1, 1]."""
    return untrained_policy(
        PolicyConfig(width=8, depth=1, embed_width=8),
        Standardisation.identity(obs_dim),
        Standardisation.identity(action_dim),
        psi_dim,
        low=-np.ones(action_dim),
        high=np.ones(action_dim),
        key=jax.random.key(0),
    )
