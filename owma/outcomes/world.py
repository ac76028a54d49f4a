"""The world model p_φ(ψ|s): a distribution over outcomes."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.tree import map_rows, row_mapper
from owma._internal.types import Array, Float, Obs, PRNGKeyArray, Psi
from owma.config.world import WorldConfig
from owma.diffusion import AbstractDenoiser, Chain, ErrorCurve, FiLMDenoiser
from owma.outcomes.features import AbstractFeatures, RecordedReward
from owma.outcomes.features.build import build_features
from owma.outcomes.targets import monte_carlo
from owma.outcomes.transitions import Transitions
from owma.outcomes.whitening import Standardisation, Whitening


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
    counts_terminal: bool = eqx.field(static=True, default=True)
    """Whether ψ has c of the state in which an episode terminates (`owma.outcomes.targets`); a recorded reward is of
    none.
    """

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
        """The whitened outcome in which nothing more happens (raw ψ = 0): what comes after a terminal state."""
        return self.whitening.whiten(jnp.zeros_like(self.whitening.mean))

    def sample(self, obs: Obs, *, key: PRNGKeyArray) -> Psi:
        """One draw ψ ~ p_φ(·|s)."""
        return self.chain.simulate(self.denoiser, self.context(obs), self.chain.noise(key=key)).psi


class Coordinates(eqx.Module):
    """What a world model has of the dataset before it is trained: the units of states and of outcomes."""

    observation: Standardisation
    features: AbstractFeatures
    whitening: Whitening
    low: Psi
    """The smallest recorded outcome, coordinate by coordinate: the chain's draws stay above it."""
    high: Psi
    """The largest."""

    @classmethod
    def fit(
        cls,
        config: WorldConfig,
        transitions: Transitions,
        *,
        key: PRNGKeyArray,
        features: AbstractFeatures | None = None,
    ) -> "tuple[Coordinates, Float[np.ndarray, 'n psi']]":
        """The coordinates of `transitions`, and their outcomes in them, which are those of `whitened_outcomes`.

        **Arguments:** `features`: learned ones, trained; without them they are built, of `key`.
        """
        observation = Standardisation.fit(transitions.obs)
        if features is None:
            features = build_features(config.features, transitions.obs.shape[1], key=key)
        counts_terminal = _counts_terminal(config, features)
        outcomes = raw_outcomes(transitions, observation, features, config.discount, counts_terminal=counts_terminal)
        whitening = Whitening.fit(outcomes, min_variance=config.min_variance, max_dims=config.max_dims)
        psi = map_rows(whitening.whiten, outcomes)
        return cls(observation, features, whitening, jnp.asarray(psi.min(axis=0)), jnp.asarray(psi.max(axis=0))), psi

    @classmethod
    def unit(cls, config: WorldConfig, obs_dim: int, psi_dim: int, *, key: PRNGKeyArray) -> "Coordinates":
        """Of the same structure and shapes, without data. How many of the raw outcome's directions `fit` keeps, data
        decide; that is why `psi_dim` must be said.
        """
        observation = Standardisation.identity(obs_dim)
        features = build_features(config.features, obs_dim, key=key)
        raw_dim = jax.eval_shape(features, observation.mean).shape[0]
        whitening = Whitening(jnp.zeros(raw_dim), jnp.zeros((psi_dim, raw_dim)), jnp.zeros((raw_dim, psi_dim)))
        return cls(observation, features, whitening, jnp.zeros(psi_dim), jnp.zeros(psi_dim))


def raw_outcomes(
    transitions: Transitions,
    observation: Standardisation,
    features: AbstractFeatures,
    discount: float,
    *,
    counts_terminal: bool,
) -> Float[np.ndarray, "n features"]:
    """Monte-Carlo ψ of every transition, raw; truncated episodes are taken to stay in their last state.

    `counts_terminal`: of `WorldModel`.
    """
    cumulants, tail = raw_cumulants(transitions, observation, features)
    terminal = tail if counts_terminal else None
    return monte_carlo(cumulants, transitions, discount=discount, tail=tail, terminal=terminal)


def raw_cumulants(
    transitions: Transitions, observation: Standardisation, features: AbstractFeatures
) -> tuple[Float[np.ndarray, "n features"], Float[np.ndarray, "n features"]]:
    """c of every transition, and what one more step in the state that it leads to would add."""
    if isinstance(features, RecordedReward):
        reward = np.asarray(transitions.reward, np.float32)[:, None]
        return reward, reward

    def cumulant(obs: Obs) -> Float[Array, " features"]:
        return features(observation(obs))

    return map_rows(cumulant, transitions.obs), map_rows(cumulant, transitions.next_obs)


def cumulant_mapper(
    world: WorldModel,
) -> Callable[[Transitions], tuple[Float[np.ndarray, "n psi"], Float[np.ndarray, "n psi"]]]:
    """What every transition adds to a whitened outcome: `WorldModel.cumulant` of its state, or its recorded reward; and
    what one more step in the state that it leads to would add, if an episode ends there (elsewhere zeros).

    **Returns:** a function that is compiled once, for transitions in several pieces.
    """
    reward_mapper = row_mapper(lambda c: world.whitening.whiten_cumulant(c, world.discount))
    state_mapper = row_mapper(world.cumulant)

    def mapped(transitions: Transitions) -> tuple[Float[np.ndarray, "n psi"], Float[np.ndarray, "n psi"]]:
        ends = transitions.ends
        if isinstance(world.features, RecordedReward):
            cumulants = reward_mapper(raw_cumulants(transitions, world.observation, world.features)[0])
            return cumulants, np.where(ends[:, None], cumulants, 0)
        # In one call: pieces differ in how many episodes end in them, and each number would be compiled for.
        found = state_mapper(np.concatenate([transitions.obs, np.asarray(transitions.next_obs)[ends]]))
        cumulants, at_ends = np.split(found, [len(transitions)])
        tail = np.zeros_like(cumulants)
        tail[ends] = at_ends
        return cumulants, tail

    return mapped


def whitened_outcomes(world: WorldModel, transitions: Transitions) -> Float[np.ndarray, "n psi"]:
    """Monte-Carlo ψ of every transition, in the model's coordinates, with the tail of `raw_outcomes`."""
    raw = raw_outcomes(
        transitions, world.observation, world.features, world.discount, counts_terminal=world.counts_terminal
    )
    return map_rows(world.whitening.whiten, raw)


def untrained_world(config: WorldConfig, coordinates: Coordinates, *, key: PRNGKeyArray) -> WorldModel:
    """An untrained model in these coordinates; the numbers of `coordinates` alone come from data."""
    whitening, obs_dim = coordinates.whitening, coordinates.observation.mean.shape[0]
    denoiser = FiLMDenoiser(
        whitening.dims, obs_dim, width=config.width, depth=config.depth, embed_width=config.embed_width, key=key
    )
    chain = calibrated_chain(config, ErrorCurve.untrained(whitening.dims), (coordinates.low, coordinates.high))
    return WorldModel(
        observation=coordinates.observation,
        features=coordinates.features,
        whitening=whitening,
        denoiser=denoiser,
        chain=chain,
        discount=config.discount,
        counts_terminal=_counts_terminal(config, coordinates.features),
    )


def _counts_terminal(config: WorldConfig, features: AbstractFeatures) -> bool:
    # What is recorded of the last transition is its reward; of the state that it leads to nothing is.
    return config.count_terminal and not isinstance(features, RecordedReward)


def calibrated_chain(config: WorldConfig, errors: ErrorCurve, data_range: tuple[Psi, Psi]) -> Chain:
    """The chain that defines p(psi|s), its widths those of a denoiser with these errors."""
    return Chain.calibrated(errors, num_steps=config.solver_steps, min_ratio=config.noise_floor, data_range=data_range)
