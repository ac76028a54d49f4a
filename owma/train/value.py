"""Training of value decoders V_θ(ψ, z) on a family of reward functions."""

from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.tree import map_rows
from owma._internal.types import Array, Bool, Float, HostArray, Int, Obs, PRNGKeyArray, PyTree, Scalar
from owma.config.value import ValueConfig
from owma.outcomes.targets import monte_carlo
from owma.outcomes.transitions import Transitions
from owma.outcomes.value import ValueDecoder, untrained_decoder
from owma.outcomes.whitening import Standardisation
from owma.train.devices import on_one_device, replicate, replicated, shard_batch
from owma.train.fit import FitConfig, cosine_decay, descend, fit, init_optimiser, scan_updates


class RewardFamily(eqx.Module):
    r"""Random reward functions of the state,
    $r_i(s) = \sum_b w_{ib}\exp(-\tfrac12\|m_i\odot(s - c_{ib})\|^2/\ell_i^2)$.

    Bumps of either sign at states of the dataset, each function depending on a random subset $m_i$ of the standardised
    coordinates, with a random width $\ell_i$: goals to reach, places to avoid, and mixtures of both. If outcomes cover
    only some coordinates, the functions depend on those only, because outcomes say little about the others.
    """

    centres: Float[Array, "tasks bumps obs"]
    weights: Float[Array, "tasks bumps"]
    precision: Float[Array, "tasks obs"]

    @classmethod
    def random(
        cls,
        obs: Float[HostArray, "n obs"],
        num_tasks: int,
        *,
        num_bumps: int = 6,
        coordinates: slice = slice(None),
        key: PRNGKeyArray,
    ) -> "RewardFamily":
        """**Arguments:** `obs`: standardised states of the dataset, from which centres are drawn; `coordinates`: those
        that the functions may depend on.
        """
        start, stop, _ = coordinates.indices(obs.shape[1])
        centre_key, weight_key, mask_key, width_key = jax.random.split(key, 4)
        rows = jax.random.randint(centre_key, (num_tasks, num_bumps), 0, obs.shape[0])
        mask = jax.random.bernoulli(mask_key, 0.6, (num_tasks, stop - start))
        # A function of no coordinate would be constant; it depends on all of them instead.
        mask = jnp.where(mask.any(axis=1, keepdims=True), mask, True)
        width = jnp.exp(jax.random.uniform(width_key, (num_tasks, 1), minval=np.log(0.3), maxval=np.log(1.5)))
        return cls(
            centres=jnp.asarray(np.asarray(obs)[np.asarray(rows)]),
            weights=jax.random.normal(weight_key, (num_tasks, num_bumps)),
            precision=jnp.pad(mask / jnp.square(width), ((0, 0), (start, obs.shape[1] - stop))),
        )

    def __call__(self, obs: Obs) -> Float[Array, " tasks"]:
        distance = jnp.einsum("to,tbo->tb", self.precision, jnp.square(obs[None, None] - self.centres))
        return jnp.sum(self.weights * jnp.exp(-0.5 * distance), axis=1)


def family_returns(
    family: RewardFamily, transitions: Transitions, observation: Standardisation, discount: float
) -> Float[np.ndarray, "n tasks"]:
    """Discounted returns of every transition under every function of the family, each standardised over the dataset."""
    # Each row takes a number for every task, bump and coordinate: eight thousand rows would take a third of a GiB.
    rewards = map_rows(lambda obs: family(observation(obs)), transitions.next_obs, chunk=1024)
    returns = monte_carlo(rewards, transitions, discount=discount, tail=rewards)
    return (returns - returns.mean(axis=0)) / np.maximum(returns.std(axis=0), 1e-6)


class EpisodeBags(eqx.Module):
    """Episodes drawn with replacement for each of several decoders, as many as there are (the bootstrap).

    About 37 % of the episodes are in none of a decoder's draws: what it says of them is a test of it.
    """

    drawn: Int[np.ndarray, "members episodes"]

    @classmethod
    def draw(cls, num_episodes: int, members: int, *, seed: int) -> "EpisodeBags":
        return cls(np.random.default_rng(seed).integers(num_episodes, size=(members, num_episodes)))

    def rows(self, transitions: Transitions) -> Int[np.ndarray, "members n"]:
        """The rows of each decoder's episodes, cut or repeated to the number of rows of the dataset."""
        n = len(transitions)
        rows_of = np.split(np.arange(n), transitions.episode_starts[1:])
        return np.stack([np.resize(np.concatenate([rows_of[e] for e in bag]), n) for bag in self.drawn])

    def hold(self, episodes: Int[np.ndarray, " k"]) -> Bool[np.ndarray, "members k"]:
        """Whether each decoder was trained on each of these episodes."""
        return np.stack([np.isin(episodes, bag) for bag in self.drawn])


class ValueState(eqx.Module):
    """The state of the decoders' training after `step` updates; of several, arrays have their number as first axis."""

    decoder: ValueDecoder
    average: ValueDecoder
    """Exponential moving average of its weights: what is kept."""
    opt_state: PyTree
    step: Int[Array, ""]
    key: PRNGKeyArray


class _Batch(eqx.Module):
    """Pairs of an outcome and a task, and the noise that is added to the outcomes."""

    rows: Int[Array, " batch"]
    tasks: Int[Array, " batch"]
    noise: Float[Array, "batch psi"]


class ValueTrainer(eqx.Module):
    """Regresses the family's returns on outcomes; `init`, then `run`, then `finish`.

    There are no checkpoints: training takes seconds and is deterministic, so that an interrupted one is repeated with
    the same result, bit for bit.
    """

    psi: Float[Array, "n psi"]
    returns: Float[Array, "n tasks"]
    config: ValueConfig = eqx.field(static=True)
    member_rows: Int[Array, "members n"] | None = None
    """The rows of each decoder where there are several (`EpisodeBags.rows`); `None` trains one, on all of them."""

    def init(self, *, key: PRNGKeyArray) -> ValueState:
        init_key, key = jax.random.split(key)
        if self.member_rows is None:
            decoder = self._untrained(init_key)
            opt_state = init_optimiser(decoder)
        else:
            decoder = eqx.filter_vmap(self._untrained)(jax.random.split(init_key, len(self.member_rows)))
            opt_state = eqx.filter_vmap(init_optimiser)(decoder)
        return ValueState(decoder, decoder, opt_state, jnp.zeros((), jnp.int32), key)

    def _untrained(self, key: PRNGKeyArray) -> ValueDecoder:
        return untrained_decoder(self.config, self.psi.shape[1], key=key)

    def run(self, state: ValueState) -> Iterator[tuple[ValueState, dict[str, float]]]:
        """Train from `state` on in chunks of `report_every` updates; yields the state and a row of metrics."""
        trainer, state = replicate((self, state))
        return fit(trainer.run_chunk, state, self._fit_config)

    def finish(self, state: ValueState) -> ValueDecoder:
        """The averaged decoder, or all of them, stacked."""
        return on_one_device(state.average)

    @property
    def _fit_config(self) -> FitConfig:
        config = self.config
        return FitConfig(
            name="V(psi, z)",
            updates=config.updates,
            report_every=config.report_every,
            learning_rate=cosine_decay(config.learning_rate, config.updates),
            learning_rate_flag="--value.learning-rate",
            ema_decay=config.ema_decay,
        )

    @eqx.filter_jit
    def run_chunk(self, state: ValueState, num_updates: int) -> tuple[ValueState, dict[str, Scalar]]:
        """`num_updates` updates in one scan; the next state and the mean loss."""
        key, chunk_key = jax.random.split(state.key)
        state = eqx.tree_at(lambda s: s.key, state, key)
        state, losses = scan_updates(self._update, state, jax.random.split(chunk_key, num_updates))
        return state, {"value_loss": jnp.mean(losses)}

    def _update(self, state: ValueState, key: PRNGKeyArray) -> tuple[ValueState, Scalar]:
        def update(
            decoder: ValueDecoder, average: ValueDecoder, opt_state: PyTree, batch: _Batch, key: PRNGKeyArray
        ) -> tuple[tuple[ValueDecoder, ValueDecoder, PyTree], Scalar]:
            def loss_of(decoder: ValueDecoder) -> tuple[Scalar, Scalar]:
                loss = self._loss(decoder, batch, key=key)
                return loss, loss

            return descend(loss_of, decoder, average, opt_state, state.step, self._fit_config)

        now = state.decoder, state.average, state.opt_state
        row_key, task_key, noise_key, dropout_key = jax.random.split(key, 4)
        if self.member_rows is None:
            batch = self._batch(row_key, task_key, noise_key, None)
            (decoder, average, opt_state), loss = update(*now, batch, dropout_key)
        else:
            members = len(self.member_rows)
            row_keys, task_keys, noise_keys, dropout_keys = (
                jax.random.split(k, members) for k in (row_key, task_key, noise_key, dropout_key)
            )
            batch = jax.vmap(self._batch)(row_keys, task_keys, noise_keys, self.member_rows)
            (decoder, average, opt_state), losses = eqx.filter_vmap(update)(*now, batch, dropout_keys)
            loss = jnp.mean(losses)
        return replicated(ValueState(decoder, average, opt_state, state.step + 1, state.key)), loss

    def _batch(
        self,
        row_key: PRNGKeyArray,
        task_key: PRNGKeyArray,
        noise_key: PRNGKeyArray,
        rows_of: Int[Array, " n"] | None,
    ) -> _Batch:
        size = self.config.batch_size
        rows = jax.random.randint(row_key, (size,), 0, self.psi.shape[0])
        rows = rows if rows_of is None else rows_of[rows]
        tasks = jax.random.randint(task_key, (size,), 0, self.returns.shape[1])
        # Draws of the chain contain the noise of its last transition; V is trained to be robust to a little of it.
        noise = self.config.psi_noise * jax.random.normal(noise_key, (size, self.psi.shape[1]))
        return _Batch(rows, tasks, noise)

    def _loss(self, decoder: ValueDecoder, batch: _Batch, *, key: PRNGKeyArray) -> Scalar:
        rows, tasks = shard_batch((batch.rows, batch.tasks))
        psi = self.psi[rows] + batch.noise
        z = decoder.embeddings[tasks]
        predictions = jax.vmap(lambda p, e, k: decoder(p, e, key=k))(psi, z, jax.random.split(key, len(rows)))
        fit = jnp.mean(jnp.square(predictions - self.returns[rows, tasks]))
        return fit + self.config.embedding_prior * jnp.mean(jnp.sum(jnp.square(z), axis=-1))
