"""Training of learned cumulants, before the outcome model."""

import abc
from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.tree import map_rows
from owma._internal.types import Action, Array, Bool, Float, Int, Obs, PRNGKeyArray, PyTree, Scalar
from owma.diffusion.nets import ResidualMLP
from owma.outcomes.features import FeaturesConfig, LearnedFeatures
from owma.outcomes.features.build import build_features
from owma.outcomes.transitions import Transitions
from owma.outcomes.whitening import Standardisation
from owma.train.fit import FitConfig, cosine_decay, descend, fit, init_optimiser, scan_updates


class FeatureBatch(eqx.Module):
    """A batch for the objectives, observations and actions standardised; one row per transition."""

    obs: Float[Array, "batch obs"]
    action: Float[Array, "batch act"]
    next_obs: Float[Array, "batch obs"]
    goal: Float[Array, "batch obs"]
    """A later state of the same episode: `next_obs`, or one after it."""
    other: Float[Array, "batch obs"]
    """An independent state of the dataset."""
    ahead: Float[Array, "batch obs"]
    """The state `steps` after `obs` in the same episode: of rows whose goal is `goal`, not beyond it (`_leads`)."""
    steps: Int[Array, " batch"]


class AbstractFeatureObjective(eqx.Module):
    """A training objective of cumulants: a module around `LearnedFeatures` with a loss."""

    features: eqx.AbstractVar[LearnedFeatures]

    @abc.abstractmethod
    def loss(self, average: "AbstractFeatureObjective", batch: FeatureBatch) -> Scalar:
        """**Arguments:** `average`: the exponential moving average of `self`, a target network without gradient."""


class LaplacianObjective(AbstractFeatureObjective):
    r"""The smoothest functions along the dataset's transitions, by the graph drawing objective of Wu et al. 2018 (*The
    Laplacian in RL*, arXiv 1810.04586):
    $$\tfrac12\mathbb E\|c(s) - c(s')\|^2
    + \beta\,\mathbb E_{u,v}\Big[(c(u)^\top c(v))^2 - \|c(u)\|^2 - \|c(v)\|^2 + d\Big],$$
    (s, s') consecutive and u, v independent states. The second term is $\|\mathbb E\,cc^\top - I\|_F^2$ and keeps the
    d functions orthonormal over the dataset; together they span the eigenfunctions of the walk's Laplacian that have
    the smallest eigenvalues, the constant among them.
    """

    features: LearnedFeatures
    orthonormality: float = eqx.field(static=True, default=5.0)

    def loss(self, average: AbstractFeatureObjective, batch: FeatureBatch) -> Scalar:
        current, following, other = (
            jax.vmap(lambda s: self.features(s))(x) for x in (batch.obs, batch.next_obs, batch.other)
        )
        smoothness = 0.5 * jnp.mean(jnp.sum(jnp.square(current - following), axis=1))
        squares = jnp.sum(jnp.square(current), axis=1) + jnp.sum(jnp.square(other), axis=1)
        constraint = jnp.mean(jnp.square(jnp.sum(current * other, axis=1)) - squares) + current.shape[1]
        return smoothness + self.orthonormality * constraint


class DynamicsObjective(AbstractFeatureObjective):
    r"""Cumulants that predict the next state: $\min_{c,f}\ \mathbb E\|f(c(s), a) - s'\|^2$ in standardised
    coordinates, f a network that is discarded (the "transition" features of Touati, Rapin & Ollivier 2022, *Does
    Zero-Shot Reinforcement Learning Exist?*, arXiv 2209.14935).
    """

    features: LearnedFeatures
    head: ResidualMLP

    def loss(self, average: AbstractFeatureObjective, batch: FeatureBatch) -> Scalar:
        def predict(obs: Obs, action: Action) -> Float[Array, " obs"]:
            return self.head(jnp.concatenate([self.features(obs), action]))

        predicted = jax.vmap(predict)(batch.obs, batch.action)
        return jnp.mean(jnp.sum(jnp.square(predicted - batch.next_obs), axis=1))


class HilbertObjective(AbstractFeatureObjective):
    r"""Coordinates in which Euclidean distances are temporal distances: $V(s, g) = -\|c(s) - c(g)\|$ is the value of
    reaching g at a cost of 1 a step (HILP, Park et al. 2024, *Foundation Policies with Hilbert Representations*, arXiv
    2402.15567): $$\min_c\ \mathbb E\,\ell_\tau\big(-1 + \gamma\bar V(s', g) - V(s, g)\big),\qquad \ell_\tau(x) = |\tau
    - \mathbb 1[x < 0]|\,x^2,$$ $\bar V$ the target network, g a later state of the same episode (five of eight) or any
    state. An expectile τ near 1 approximates a maximum over the recorded actions. Where s' = g, $\bar V$ is 0 by
    construction. Over k recorded steps, which lead to g at most, it is $-\frac{1-\gamma^k}{1-\gamma} +
    \gamma^k\bar V(s_{t+k}, g)$.
    """

    features: LearnedFeatures
    discount: float = eqx.field(static=True)
    expectile: float = eqx.field(static=True)
    n_step: int = eqx.field(static=True, default=1)

    def value(self, obs: Obs, goal: Obs) -> Scalar:
        """V(s, g) of standardised states: minus the discounted number of steps from s to g."""
        squared = jnp.sum(jnp.square(self.features(obs) - self.features(goal)))
        return -jnp.sqrt(jnp.maximum(squared, 1e-6))  # the square root has no derivative at 0

    def loss(self, average: AbstractFeatureObjective, batch: FeatureBatch) -> Scalar:
        assert isinstance(average, HilbertObjective)
        # Of so many steps; in float64, in which one step costs 1.
        of_steps = self.discount ** np.arange(1 + self.n_step)
        discount = jnp.asarray(of_steps, jnp.float32)[batch.steps]
        cost = jnp.asarray((1 - of_steps) / (1 - self.discount), jnp.float32)[batch.steps]
        goal = jnp.where(_leads(len(batch.obs))[:, None], batch.goal, batch.other)
        target = -cost + discount * jax.vmap(lambda s, g: average.value(s, g))(batch.ahead, goal)
        error = jax.lax.stop_gradient(target) - jax.vmap(lambda s, g: self.value(s, g))(batch.obs, goal)
        weight = jnp.where(error < 0, 1 - self.expectile, self.expectile)
        return jnp.mean(weight * jnp.square(error))


def _leads(size: int) -> Bool[Array, " batch"]:
    """Of `hilbert`: in which rows of a batch the goal is one that the episode leads to."""
    return jnp.arange(size) % 8 < 5


class FeatureState(eqx.Module):
    """The state of the training of cumulants, from which an interrupted one is resumed bit for bit."""

    objective: AbstractFeatureObjective
    average: AbstractFeatureObjective
    """Exponential moving average of its weights: what is kept."""
    opt_state: PyTree
    step: Int[Array, ""]
    key: PRNGKeyArray


class FeatureTrainer(eqx.Module):
    """Trains learned cumulants; `init`, then `run`, then the `features` of the last state's average."""

    obs: Float[Array, "n obs"]
    action: Float[Array, "n act"]
    next_obs: Float[Array, "n obs"]
    episode_end: Int[Array, " n"]
    """The index of the last transition of each transition's episode."""
    config: FeaturesConfig = eqx.field(static=True)

    @classmethod
    def build(cls, transitions: Transitions, config: FeaturesConfig) -> "FeatureTrainer":
        """`config` must be of a learned kind."""
        observation, action = Standardisation.fit(transitions.obs), Standardisation.fit(transitions.action)
        return cls(
            obs=jnp.asarray(map_rows(observation, transitions.obs)),
            action=jnp.asarray(map_rows(action, transitions.action)),
            next_obs=jnp.asarray(map_rows(observation, transitions.next_obs)),
            episode_end=jnp.asarray(np.flatnonzero(transitions.ends)[transitions.episode_ids]),
            config=config,
        )

    def init(self, *, key: PRNGKeyArray) -> FeatureState:
        """Raises `ValueError` if the configuration names no learned cumulants."""
        features_key, head_key, key = jax.random.split(key, 3)
        config, obs_dim = self.config, self.obs.shape[1]
        features = build_features(config, obs_dim, key=features_key)
        if not isinstance(features, LearnedFeatures):
            raise ValueError(f"FeatureTrainer: `{config.kind}` cumulants are not learned.")
        objective: AbstractFeatureObjective
        if config.kind == "laplacian":
            objective = LaplacianObjective(features)
        elif config.kind == "hilbert":
            pretraining = config.pretraining
            objective = HilbertObjective(features, pretraining.discount, pretraining.expectile, pretraining.n_step)
        else:
            inputs = config.num_features + self.action.shape[1]
            head = ResidualMLP(inputs, obs_dim, width=config.width, depth=1, dropout=0.0, key=head_key)
            objective = DynamicsObjective(features, head)
        return FeatureState(objective, objective, init_optimiser(objective), jnp.zeros((), jnp.int32), key)

    def batch(self, *, key: PRNGKeyArray) -> FeatureBatch:
        """Random rows, each with a later state of its episode (a geometric number of steps ahead) and an independent
        state.
        """
        row_key, later_key, other_key = jax.random.split(key, 3)
        size, n = self.config.pretraining.batch_size, self.obs.shape[0]
        rows = jax.random.randint(row_key, (size,), 0, n)
        uniform = jax.random.uniform(later_key, (size,), minval=1e-6)
        steps = jnp.floor(jnp.log(uniform) / jnp.log(self.config.pretraining.discount)).astype(rows.dtype)
        later = jnp.minimum(rows + steps, self.episode_end[rows])
        last = jnp.where(_leads(size), later, self.episode_end[rows])
        ahead = jnp.minimum(rows + self.config.pretraining.n_step - 1, last)
        return FeatureBatch(
            obs=self.obs[rows],
            action=self.action[rows],
            next_obs=self.next_obs[rows],
            goal=self.next_obs[later],
            other=self.obs[jax.random.randint(other_key, (size,), 0, n)],
            ahead=self.next_obs[ahead],
            steps=ahead - rows + 1,
        )

    def update(self, state: FeatureState) -> tuple[FeatureState, Scalar]:
        """One batch, one step of the optimiser, one step of the average."""
        key, batch_key = jax.random.split(state.key)
        batch = self.batch(key=batch_key)

        def loss_of(objective: AbstractFeatureObjective) -> tuple[Scalar, Scalar]:
            loss = objective.loss(state.average, batch)
            return loss, loss

        (objective, average, opt_state), loss = descend(
            loss_of, state.objective, state.average, state.opt_state, state.step, self._fit_config
        )
        return FeatureState(objective, average, opt_state, state.step + 1, key), loss

    @eqx.filter_jit
    def run_chunk(self, state: FeatureState, num_updates: int) -> tuple[FeatureState, dict[str, Scalar]]:
        """`num_updates` updates in one scan; the next state and the mean loss."""
        state, losses = scan_updates(lambda state, _: self.update(state), state, None, length=num_updates)
        return state, {"features_loss": jnp.mean(losses)}

    def run(self, state: FeatureState) -> Iterator[tuple[FeatureState, dict[str, float]]]:
        """Train from `state` on in chunks of `report_every` updates; yields the state and a row of metrics."""
        return fit(self.run_chunk, state, self._fit_config)

    @property
    def _fit_config(self) -> FitConfig:
        config = self.config.pretraining
        return FitConfig(
            name=f"the {self.config.kind} features",
            updates=config.updates,
            report_every=config.report_every,
            learning_rate=cosine_decay(config.learning_rate, config.updates),
            learning_rate_flag="--world.features.pretraining.learning-rate",
            ema_decay=config.ema_decay,
        )
