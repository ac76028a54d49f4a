"""The readout policy π(a|s,ψ): actions that bring a given outcome about."""

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
        """**Returns:** an action in the environment's units, within its bounds, and whether the draw was clipped to
        them.

        A draw that is not finite is replaced by the mean action of the data, and counts as clipped.
        """
        dims = self.action.mean.shape[0]
        drawn = self.action.invert(self.sampler(self.denoiser, self.context(obs, psi), key=key, dims=dims))
        # All components together: mixing a draw and the mean would be neither.
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
    """An untrained policy.

    **Arguments:** `observation`, `action`: the standardisation of states and actions; `low`, `high`: action bounds.
    """
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
