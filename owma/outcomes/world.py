"""The world model p_φ(ψ|s): a distribution over outcomes."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.moved import OldMember
from owma._internal.tree import map_rows, row_mapper
from owma._internal.types import Array, Float, HostArray, Key, Obs, PRNGKeyArray, Psi
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
    """Whether ψ includes the cumulant of a terminal state (`owma.outcomes.targets`); false for recorded rewards, which
    belong to transitions.
    """

    def context(self, obs: Obs) -> Float[Array, " obs"]:
        """What the denoiser is conditioned on."""
        return self.observation(obs)

    def raw_cumulant(self, obs: Obs) -> Float[Array, " features"]:
        """c(s), before whitening."""
        return jax.lax.stop_gradient(self.features)(self.observation(obs))

    def cumulant(self, obs: Obs) -> Psi:
        """The whitened cumulant of state s: what one step in s adds to a whitened outcome."""
        return self.whitening.whiten_cumulant(self.raw_cumulant(obs), self.discount)

    nothing = OldMember("terminal_outcome")

    def remaining(self, psi: Psi, obs: Obs) -> Psi:
        r"""What is left of outcome ψ of state s after a step from s, by Bellman's equation: $(\psi - c(s))/\gamma$.

        The outcome itself where cumulants are recorded rewards, which a state does not tell.
        """
        if isinstance(self.features, RecordedReward):
            return psi
        return (psi - self.cumulant(obs)) / self.discount

    @property
    def terminal_outcome(self) -> Psi:
        """The raw outcome 0, whitened: no cumulants follow a terminal state."""
        return self.whitening.whiten(jnp.zeros_like(self.whitening.mean))

    def sample(self, obs: Obs, *, key: PRNGKeyArray) -> Psi:
        """One draw ψ ~ p_φ(·|s)."""
        return self.chain.simulate(self.denoiser, self.context(obs), self.chain.noise(key=key)).psi


@eqx.filter_jit
def _draw_chunk(world: WorldModel, obs: Float[Array, "n obs"], keys: Key[Array, " n"]) -> Float[Array, "n psi"]:
    return jax.vmap(lambda state, key: world.sample(state, key=key))(obs, keys)


_DRAWN_AT_ONCE = 1024


def draw_each(
    world: WorldModel, obs: Float[HostArray, "n obs"], count: int, *, key: PRNGKeyArray
) -> Float[np.ndarray, "n count psi"]:
    r"""`count` draws $\psi\sim p_\phi(\cdot\mid s)$ of each of the states `obs`, on the host.

    By one program, whatever the number of states and draws, that is compiled once for all models of one form.
    """
    rows = np.repeat(np.asarray(obs, np.float32), count, axis=0)
    rows = np.pad(rows, ((0, -len(rows) % _DRAWN_AT_ONCE), (0, 0)))
    keys = jax.random.split(key, len(rows))
    chunks = (slice(start, start + _DRAWN_AT_ONCE) for start in range(0, len(rows), _DRAWN_AT_ONCE))
    drawn = np.concatenate([np.asarray(_draw_chunk(world, jnp.asarray(rows[c]), keys[c])) for c in chunks])
    return drawn[: len(obs) * count].reshape(len(obs), count, -1)


class Coordinates(eqx.Module):
    """The dataset statistics that a world model is built on: the coordinates of states and of outcomes."""

    observation: Standardisation
    features: AbstractFeatures
    whitening: Whitening
    low: Psi
    """Minimum of the recorded outcomes, per coordinate: x̂₀ of the chain is clipped to it."""
    high: Psi
    """Maximum of the recorded outcomes, per coordinate."""

    @classmethod
    def fit(
        cls,
        config: WorldConfig,
        transitions: Transitions,
        *,
        key: PRNGKeyArray,
        features: AbstractFeatures | None = None,
    ) -> "tuple[Coordinates, Float[np.ndarray, 'n psi']]":
        """Fit the coordinates to `transitions`.

        **Arguments:** `features`: trained ones, if `config` has learned features; other ones are built with `key`.

        **Returns:** the coordinates, and the outcomes of `transitions` in them (those of `whitened_outcomes`).
        """
        observation = Standardisation.fit(transitions.obs)
        if features is None:
            features = build_features(config.features, transitions.obs.shape[1], key=key)
        counts_terminal = _counts_terminal(config, features)
        outcomes = raw_outcomes(transitions, observation, features, config.discount, counts_terminal=counts_terminal)
        part = None
        if counts_terminal and config.terminal_dims:
            part = _terminal_part(transitions, observation, features, config.discount)
        whitening = Whitening.fit(
            outcomes,
            min_variance=config.min_variance,
            max_dims=config.max_dims,
            part=part,
            part_dims=config.terminal_dims,
        )
        psi = map_rows(whitening.whiten, outcomes)
        return cls(observation, features, whitening, jnp.asarray(psi.min(axis=0)), jnp.asarray(psi.max(axis=0))), psi

    @classmethod
    def unit(cls, config: WorldConfig, obs_dim: int, psi_dim: int, *, key: PRNGKeyArray) -> "Coordinates":
        """Coordinates of the same structure and shapes as those of `fit`, without data. `psi_dim` must be given,
        because the number of principal directions that `fit` keeps depends on the data.
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
    """Monte-Carlo ψ of every transition, raw; the last state of a truncated episode is taken to be absorbing.

    `counts_terminal`: as in `WorldModel`.
    """
    cumulants, tail = raw_cumulants(transitions, observation, features)
    terminal = tail if counts_terminal else None
    return monte_carlo(cumulants, transitions, discount=discount, tail=tail, terminal=terminal)


def _terminal_part(
    transitions: Transitions, observation: Standardisation, features: AbstractFeatures, discount: float
) -> Float[np.ndarray, "m features"] | None:
    r"""$\gamma^j c(s_T)$ of the transitions whose episode terminates, raw; `None` where none does."""
    ended = np.flatnonzero(transitions.terminated)
    if not len(ended):
        return None
    reached = map_rows(lambda obs: features(observation(obs)), np.asarray(transitions.next_obs)[ended])
    last = np.flatnonzero(transitions.ends)[transitions.episode_ids]
    rows = np.flatnonzero(np.asarray(transitions.terminated)[last])
    weight = discount ** (last[rows] - rows + 1.0)
    # In place: it may be as large as the outcomes of the dataset, and there is no second array of that size.
    part = reached[np.searchsorted(ended, last[rows])]
    part *= weight[:, None]
    return part


def raw_cumulants(
    transitions: Transitions, observation: Standardisation, features: AbstractFeatures
) -> tuple[Float[np.ndarray, "n features"], Float[np.ndarray, "n features"]]:
    """The raw cumulants of every transition's state and of its next state; of recorded rewards, the reward twice."""
    if isinstance(features, RecordedReward):
        reward = np.asarray(transitions.reward, np.float32)[:, None]
        return reward, reward

    def cumulant(obs: Obs) -> Float[Array, " features"]:
        return features(observation(obs))

    return map_rows(cumulant, transitions.obs), map_rows(cumulant, transitions.next_obs)


def cumulant_mapper(
    world: WorldModel,
) -> Callable[[Transitions], tuple[Float[np.ndarray, "n psi"], Float[np.ndarray, "n psi"]]]:
    """A function from transitions to their whitened cumulants: of each state (`WorldModel.cumulant`, or the recorded
    reward), and of each next state where an episode ends (zeros elsewhere).

    It is compiled once, and may be called on a dataset piece by piece.
    """
    reward_mapper = row_mapper(lambda c: world.whitening.whiten_cumulant(c, world.discount))
    state_mapper = row_mapper(world.cumulant)

    def mapped(transitions: Transitions) -> tuple[Float[np.ndarray, "n psi"], Float[np.ndarray, "n psi"]]:
        ends = transitions.ends
        if isinstance(world.features, RecordedReward):
            cumulants = reward_mapper(raw_cumulants(transitions, world.observation, world.features)[0])
            return cumulants, np.where(ends[:, None], cumulants, 0)
        # In one call: pieces differ in the number of episode ends, and each number would compile another program.
        both = state_mapper(np.concatenate([transitions.obs, np.asarray(transitions.next_obs)[ends]]))
        cumulants, at_ends = np.split(both, [len(transitions)])
        tail = np.zeros_like(cumulants)
        tail[ends] = at_ends
        return cumulants, tail

    return mapped


def whitened_outcomes(world: WorldModel, transitions: Transitions) -> Float[np.ndarray, "n psi"]:
    """Monte-Carlo ψ of every transition (`raw_outcomes`), in the model's coordinates."""
    raw = raw_outcomes(
        transitions, world.observation, world.features, world.discount, counts_terminal=world.counts_terminal
    )
    return map_rows(world.whitening.whiten, raw)


def untrained_world(config: WorldConfig, coordinates: Coordinates, *, key: PRNGKeyArray) -> WorldModel:
    """An untrained world model in these coordinates, its denoiser initialised with `key`."""
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
    # A recorded reward belongs to a transition: a terminal state has none.
    return config.count_terminal and not isinstance(features, RecordedReward)


def calibrated_chain(config: WorldConfig, errors: ErrorCurve, data_range: tuple[Psi, Psi]) -> Chain:
    """The chain that defines p(psi|s), its widths calibrated to `errors`; x̂₀ is clipped to `data_range`."""
    return Chain.calibrated(errors, num_steps=config.solver_steps, min_ratio=config.noise_floor, data_range=data_range)
