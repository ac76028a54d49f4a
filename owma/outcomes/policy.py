"""The readout policy π(a|s,ψ): which action leads to a given outcome."""

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Action, Array, Bool, Float, HostArray, Obs, PRNGKeyArray, Psi
from owma.config.policy import PolicyConfig
from owma.diffusion import AbstractDenoiser, FiLMDenoiser, ODESampler
from owma.outcomes.whitening import Standardisation


class ReadoutPolicy(eqx.Module):
    r"""$\pi(a\mid s,\psi)$, a diffusion model of actions conditioned on the state and on the outcome to bring about.

    Only `denoiser` holds parameters.
    """

    observation: Standardisation
    action: Standardisation
    denoiser: AbstractDenoiser
    sampler: ODESampler
    low: Float[Array, " act"]
    high: Float[Array, " act"]

    def context(self, obs: Obs, psi: Psi) -> Float[Array, " context"]:
        return jnp.concatenate([self.observation(obs), psi])

    def act(self, obs: Obs, psi: Psi, key: PRNGKeyArray) -> tuple[Action, Bool[Array, ""]]:
        """An action in the environment's units and bounds, and whether the draw had to be clipped to them.

        A draw that is not finite becomes the mean action of the data, and counts as clipped.
        """
        dims = self.action.mean.shape[0]
        drawn = self.action.invert(self.sampler(self.denoiser, self.context(obs, psi), key=key, dims=dims))
        # All of its components: a mixture of a draw and a mean would be neither.
        finite = jnp.where(jnp.all(jnp.isfinite(drawn)), drawn, self.action.mean)
        action = jnp.clip(finite, self.low, self.high)
        return action, jnp.any(action != drawn)


def untrained_policy(
    config: PolicyConfig,
    observation: Standardisation,
    action: Standardisation,
    psi_dim: int,
    *,
    low: Float[HostArray, " act"],
    high: Float[HostArray, " act"],
    key: PRNGKeyArray,
) -> ReadoutPolicy:
    """An untrained policy with these units of states and actions, whose actions are clipped to `low` and `high`."""
    obs_dim, action_dim = observation.mean.shape[0], action.mean.shape[0]
    denoiser = FiLMDenoiser(
        action_dim,
        obs_dim + psi_dim,
        width=config.width,
        depth=config.depth,
        embed_width=config.embed_width,
        key=key,
    )
    return ReadoutPolicy(
        observation=observation,
        action=action,
        denoiser=denoiser,
        sampler=ODESampler(diffrax.Euler(), config.solver_steps, config.noise_floor),
        low=jnp.asarray(np.asarray(low), jnp.float32),
        high=jnp.asarray(np.asarray(high), jnp.float32),
    )
