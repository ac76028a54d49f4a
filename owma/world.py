"""The world model p_φ(ψ|s): a distribution over outcomes."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._errors import ConfigError
from owma._tree import map_rows
from owma._types import Array, Float, Obs, PRNGKeyArray, Psi
from owma.diffusion import AbstractDenoiser, Chain, ErrorCurve, FiLMDenoiser
from owma.features import AbstractFeatures, FeaturesConfig
from owma.targets import monte_carlo
from owma.transitions import Transitions
from owma.whitening import Standardisation, Whitening


class WorldModel(eqx.Module):
    r"""$p_\phi(\psi\mid s)$, ψ being successor features $\sum_k\gamma^k c(s_{t+k})$ in whitened coordinates.

    Only `denoiser` holds parameters φ; the rest are statistics of the dataset.
    """

    observation: Standardisation
    features: AbstractFeatures
    whitening: Whitening
    denoiser: AbstractDenoiser
    chain: Chain
    """The sampler whose law p_φ is, its widths calibrated on held-out data."""
    discount: float = eqx.field(static=True)

    def context(self, obs: Obs) -> Float[Array, " obs"]:
        """What the denoiser is conditioned on."""
        return self.observation(obs)

    def raw_cumulant(self, obs: Obs) -> Float[Array, " features"]:
        """c(s), before whitening."""
        return jax.lax.stop_gradient(self.features)(self.observation(obs))

    def cumulant(self, obs: Obs) -> Psi:
        """What one step in state s adds to a whitened outcome."""
        return self.whitening.whiten_cumulant(self.raw_cumulant(obs), self.discount)

    @property
    def nothing(self) -> Psi:
        """The whitened outcome in which nothing more happens (raw ψ = 0): that of a terminal state."""
        return self.whitening.whiten(jnp.zeros_like(self.whitening.mean))

    def sample(self, obs: Obs, *, key: PRNGKeyArray) -> Psi:
        """One draw ψ ~ p_φ(·|s)."""
        return self.chain.simulate(self.denoiser, self.context(obs), self.chain.noise(key=key)).psi


@dataclasses.dataclass(frozen=True)
class WorldConfig:
    """The outcome model p(psi|s)."""

    features: FeaturesConfig = FeaturesConfig()
    discount: float = 0.98
    """gamma of the outcomes, in (0, 1)."""
    min_variance: float = 3e-3
    """Principal directions of the dataset's outcomes with less than this share of the largest variance are dropped."""
    max_dims: int = 32
    """At most this many whitened coordinates."""
    width: int = 96
    """Units in each hidden layer."""
    depth: int = 3
    """Hidden layers."""
    embed_width: int = 64
    """Width of the layers that turn (noise level, context) into scales and shifts."""
    solver_steps: int = 10
    """K: steps of the chain that defines p(psi|s)."""
    noise_floor: float = 0.05
    """sigma/alpha at which the chain makes its last draw."""

    def __post_init__(self) -> None:
        if not 0 < self.discount < 1:
            raise ConfigError(f"discount={self.discount}: must lie strictly between 0 and 1.")
        if self.solver_steps < 1:
            raise ConfigError(f"solver_steps={self.solver_steps}: the chain needs at least one step.")

    def chain(self, errors: ErrorCurve, data_range: tuple[Psi, Psi]) -> Chain:
        return Chain.calibrated(errors, num_steps=self.solver_steps, min_ratio=self.noise_floor, data_range=data_range)

    def build(self, transitions: Transitions, *, key: PRNGKeyArray) -> WorldModel:
        """An untrained model whose coordinates are fitted to `transitions`."""
        features_key, denoiser_key = jax.random.split(key)
        observation = Standardisation.fit(transitions.obs)
        features = self.features.build(transitions.obs.shape[1], key=features_key)
        outcomes = raw_outcomes(transitions, observation, features, self.discount)
        whitening = Whitening.fit(outcomes, min_variance=self.min_variance, max_dims=self.max_dims)
        psi = map_rows(whitening.whiten, outcomes)
        data_range = (jnp.asarray(psi.min(axis=0)), jnp.asarray(psi.max(axis=0)))
        return self._assemble(observation, features, whitening, data_range, key=denoiser_key)

    def skeleton(self, obs_dim: int, psi_dim: int, *, key: PRNGKeyArray) -> WorldModel:
        """A model of the right structure and shapes, its numbers meaningless: what a checkpoint is restored into."""
        observation = Standardisation(jnp.zeros(obs_dim), jnp.ones(obs_dim))
        features = self.features.build(obs_dim, key=key)
        raw_dim = jax.eval_shape(features, observation.mean).shape[0]
        whitening = Whitening(jnp.zeros(raw_dim), jnp.zeros((psi_dim, raw_dim)), jnp.zeros((raw_dim, psi_dim)))
        zero = jnp.zeros(psi_dim)
        return self._assemble(observation, features, whitening, (zero, zero), key=key)

    def _assemble(
        self,
        observation: Standardisation,
        features: AbstractFeatures,
        whitening: Whitening,
        data_range: tuple[Psi, Psi],
        *,
        key: PRNGKeyArray,
    ) -> WorldModel:
        denoiser = FiLMDenoiser(
            whitening.dims,
            observation.mean.shape[0],
            width=self.width,
            depth=self.depth,
            embed_width=self.embed_width,
            key=key,
        )
        chain = self.chain(ErrorCurve.untrained(whitening.dims), data_range)
        return WorldModel(observation, features, whitening, denoiser, chain, self.discount)


def raw_outcomes(
    transitions: Transitions, observation: Standardisation, features: AbstractFeatures, discount: float
) -> Float[np.ndarray, "n features"]:
    """Monte-Carlo ψ of every transition, raw; truncated episodes are taken to stay in their last state."""

    def cumulant(obs: Obs) -> Float[Array, " features"]:
        return features(observation(obs))

    cumulants, tail = map_rows(cumulant, transitions.obs), map_rows(cumulant, transitions.next_obs)
    return monte_carlo(cumulants, transitions, discount=discount, tail=tail)


def whitened_outcomes(world: WorldModel, transitions: Transitions) -> Float[np.ndarray, "n psi"]:
    """Monte-Carlo ψ of every transition, in the model's coordinates, with the tail of `raw_outcomes`."""
    raw = raw_outcomes(transitions, world.observation, world.features, world.discount)
    return map_rows(world.whitening.whiten, raw)
