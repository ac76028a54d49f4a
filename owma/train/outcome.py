"""Training of the outcome model and the readout policy, from the same targets."""

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Float, Int, PRNGKeyArray, Psi, PyTree, Scalar
from owma.config.training import TrainingConfig
from owma.config.world import WorldConfig
from owma.diffusion import (
    AbstractDenoiser,
    Chain,
    ErrorCurve,
    FiLMDenoiser,
    InlineDenoiser,
    low_discrepancy_uniform,
    measure_errors,
    velocity_loss,
)
from owma.diffusion.schedule import VPSchedule
from owma.outcomes.policy import ReadoutPolicy
from owma.outcomes.targets import outcome_target
from owma.outcomes.world import WorldModel, calibrated_chain
from owma.train.devices import on_one_device, replicate, replicated, shard_batch
from owma.train.fit import FitConfig, descend, fit, init_optimiser, scan_updates
from owma.train.rows import OutcomeData, OutcomeRows, RowForm


class TrainingState(eqx.Module):
    """The state of a training, from which an interrupted run is resumed bit for bit."""

    denoisers: tuple[FiLMDenoiser, FiLMDenoiser]
    """The trained denoisers of the world model and of the policy."""
    averages: tuple[FiLMDenoiser, FiLMDenoiser]
    """Their exponential moving averages, used for the bootstrap and for acting."""
    opt_state: PyTree
    errors: ErrorCurve
    """The error curve of the averaged world model, which calibrates the bootstrap's chain."""
    step: Int[Array, ""]
    key: PRNGKeyArray


class OutcomeTrainer(eqx.Module):
    """Trains a world model and a policy on `OutcomeData`; `init`, then `run` until `updates` are done.

    With `OutcomeRows` the data stay on disk; the batches are the same, and are read in advance by a thread.
    """

    world: WorldModel
    policy: ReadoutPolicy
    data: OutcomeData | OutcomeRows | RowForm
    held_out: OutcomeData | OutcomeRows | RowForm
    config: TrainingConfig = eqx.field(static=True)
    world_config: WorldConfig = eqx.field(static=True)
    schedule: VPSchedule = eqx.field(static=True, default=VPSchedule())

    def init(self, *, key: PRNGKeyArray) -> TrainingState:
        world_denoiser, policy_denoiser = self.world.denoiser, self.policy.denoiser
        if not (isinstance(world_denoiser, FiLMDenoiser) and isinstance(policy_denoiser, FiLMDenoiser)):
            raise ValueError("OutcomeTrainer trains v-predicting networks; world and policy need a FiLMDenoiser each.")
        denoisers = (world_denoiser, policy_denoiser)
        errors = ErrorCurve.untrained(self.world.whitening.dims)
        zero = jnp.zeros((), jnp.int32)
        return TrainingState(denoisers, denoisers, init_optimiser(denoisers), errors, zero, key)

    def targets(
        self, denoiser: AbstractDenoiser, chain: Chain, batch: OutcomeData, *, key: PRNGKeyArray
    ) -> Float[Array, "batch psi"]:
        """One target ψ per row: the recorded cumulants, then a bootstrap, which is a draw of the averaged model."""
        if not self.config.bootstraps:
            # Every row with a discount left has terminated: bootstraps would double the work and not be used.
            return batch.sums + jnp.outer(batch.discount, self.world.terminal_outcome)
        # Each row has its own context, with one draw.
        inline = InlineDenoiser(denoiser)

        def one(row: OutcomeData, row_key: PRNGKeyArray) -> Psi:
            context = self.world.context(row.bootstrap_obs)
            bootstrap = chain.simulate(inline, context, chain.noise(key=row_key)).psi
            return outcome_target(row.sums, row.discount, row.terminal, bootstrap, self.world.terminal_outcome)

        return jax.lax.stop_gradient(jax.vmap(one)(batch, jax.random.split(key, len(batch))))

    def loss(
        self,
        denoisers: tuple[FiLMDenoiser, FiLMDenoiser],
        batch: OutcomeData,
        psi: Float[Array, "batch psi"],
        *,
        key: PRNGKeyArray,
    ) -> tuple[Scalar, tuple[Scalar, Scalar]]:
        """The velocity loss of ψ given s plus that of a given (s, ψ); and both, separately."""
        world_denoiser, policy_denoiser = denoisers
        size = len(batch)
        world_key, policy_key, world_level_key, policy_level_key = jax.random.split(key, 4)

        def levels(level_key: PRNGKeyArray) -> Float[Array, " batch"]:
            return self.levels(low_discrepancy_uniform(size, key=level_key))

        contexts = jax.vmap(self.world.context)(batch.obs)
        if self.config.obs_noise > 0:
            noise_key = jax.random.fold_in(world_key, 1)
            contexts = contexts + self.config.obs_noise * jax.random.normal(noise_key, contexts.shape)
        world_noise = jax.random.normal(world_key, psi.shape)
        world_losses = jax.vmap(lambda *xs: velocity_loss(world_denoiser, *xs))(
            psi, contexts, levels(world_level_key), world_noise
        )
        actions = jax.vmap(self.policy.action)(batch.action)
        policy_contexts = jax.vmap(self.policy.context)(batch.obs, psi)
        policy_noise = jax.random.normal(policy_key, actions.shape)
        policy_losses = jax.vmap(lambda *xs: velocity_loss(policy_denoiser, *xs))(
            actions, policy_contexts, levels(policy_level_key), policy_noise
        )
        world_loss, policy_loss = jnp.mean(world_losses), jnp.mean(policy_losses)
        return world_loss + policy_loss, (world_loss, policy_loss)

    def levels(self, uniform: Float[Array, " k"]) -> Float[Array, " k"]:
        """The noise levels σ/α of training, from uniform numbers on [0, 1)."""
        # Below t = 1e-3 (σ/α = 0.01) the noise is negligible.
        return self.schedule.ratio(1e-3 + (1 - 1e-3) * uniform)

    def held_out_loss(self, state: TrainingState) -> Scalar:
        """The loss of the averaged world model on held-out rows, computed from `state.errors`."""
        uniform = (jnp.arange(256) + 0.5) / 256
        return jnp.mean(state.errors.of_velocity(self.levels(uniform)))

    @property
    def _fit_config(self) -> FitConfig:
        return FitConfig(
            name="p(psi|s) and pi(a|s,psi)",
            updates=self.config.updates,
            report_every=self.config.report_every,
            learning_rate=self.learning_rate,
            learning_rate_flag="--training.learning-rate",
            ema_decay=self.config.ema_decay,
            max_norm=self.config.max_grad_norm,
        )

    def learning_rate(self, step: Int[Array, ""]) -> Scalar:
        """Linear warm-up times cosine decay; unlike in `optax.warmup_cosine_decay_schedule`, both start at step 0."""
        progress = step / self.config.updates
        cosine = 0.5 * (1 + jnp.cos(jnp.pi * progress))
        return self.config.learning_rate * cosine * jnp.minimum(1.0, (step + 1) / self.config.warmup)

    def batch_rows(self, key: PRNGKeyArray) -> tuple[Int[Array, " batch"], PRNGKeyArray]:
        """The rows of the batch for the state's `key`, and the key after that update."""
        key, batch_key, _, _ = jax.random.split(key, 4)
        return jax.random.randint(batch_key, (self.config.batch_size,), 0, len(self.data)), key

    def update(
        self, state: TrainingState, chain: Chain, batch: OutcomeData | None = None
    ) -> tuple[TrainingState, tuple[Scalar, Scalar]]:
        """One optimiser step on one batch; also updates the averages.

        `batch`: the rows of `batch_rows`, if the data are not on the device.
        """
        if batch is None:
            assert isinstance(self.data, OutcomeData)
            batch = self.data.rows(self.batch_rows(state.key)[0])
        batch = shard_batch(batch)
        key, _, target_key, loss_key = jax.random.split(state.key, 4)
        psi = self.targets(state.averages[0], chain, batch, key=target_key)
        (denoisers, averages, opt_state), losses = descend(
            lambda denoisers: self.loss(denoisers, batch, psi, key=loss_key),
            state.denoisers,
            state.averages,
            state.opt_state,
            state.step,
            self._fit_config,
        )
        new_state = TrainingState(denoisers, averages, opt_state, state.errors, state.step + 1, key)
        return replicated(new_state), losses

    def updates(self, state: TrainingState, num_updates: int) -> tuple[TrainingState, Float[Array, "updates 2"]]:
        """`num_updates` updates in one scan, batches drawn on the device; the next state and losses (world, policy)."""
        return self._scan(state, None, num_updates, lambda _: None)

    @eqx.filter_jit
    def updates_on(
        self, state: TrainingState, batches: Float[Array, "updates batch width"]
    ) -> tuple[TrainingState, Float[Array, "updates 2"]]:
        """`updates` on given batches of `OutcomeRows`."""
        data = self.data
        assert isinstance(data, RowForm)
        return self._scan(state, batches, len(batches), data.unpack)

    def _scan(
        self,
        state: TrainingState,
        batches: Float[Array, "updates batch width"] | None,
        num_updates: int,
        batch_of: Callable[[Any], OutcomeData | None],
    ) -> tuple[TrainingState, Float[Array, "updates 2"]]:
        chain = self._bootstrap_chain(state.errors)

        def update(state: TrainingState, batch: Any) -> tuple[TrainingState, Float[Array, " 2"]]:
            state, losses = self.update(state, chain, batch_of(batch))
            return state, jnp.stack(losses)

        return scan_updates(update, state, batches, length=num_updates)

    def calibration_rows(self, key: PRNGKeyArray) -> Int[Array, " rows"]:
        """The held-out rows that `recalibrated` uses for the state's `key`."""
        return jax.random.randint(jax.random.split(key, 4)[1], (2048,), 0, len(self.held_out))

    def recalibrated(self, state: TrainingState, rows: OutcomeData | None = None) -> TrainingState:
        """`state` with `errors` measured anew, for the averaged world model on held-out rows.

        `rows`: those of `calibration_rows`, if they are not on the device.
        """
        if rows is None:
            assert isinstance(self.held_out, OutcomeData)
            rows = self.held_out.rows(self.calibration_rows(state.key))
        chain = self._bootstrap_chain(state.errors)
        key, _, target_key, error_key = jax.random.split(state.key, 4)
        psi = self.targets(state.averages[0], chain, rows, key=target_key)
        contexts = jax.vmap(self.world.context)(rows.obs)
        errors = measure_errors(state.averages[0], psi, contexts, key=error_key)
        return eqx.tree_at(lambda s: (s.errors, s.key), state, (errors, key))

    @eqx.filter_jit
    def run_chunk(self, state: TrainingState, num_updates: int) -> tuple[TrainingState, Float[Array, " 2"]]:
        """`num_updates` updates, then recalibration; the next state and mean losses (world, policy)."""
        state, losses = self.updates(state, num_updates)
        return self.recalibrated(state), jnp.mean(losses, axis=0)

    def run_chunk_on_disk(self, state: TrainingState, num_updates: int) -> tuple[TrainingState, Float[Array, " 2"]]:
        """`run_chunk` on `OutcomeRows`: a thread reads the next batches while updates are made."""
        data, held_out, done, losses = self.data, self.held_out, 0, []
        assert isinstance(data, OutcomeRows) and isinstance(held_out, OutcomeRows)
        compiled = self._without_files()

        def read(key: PRNGKeyArray, num_updates: int) -> tuple[Array, PRNGKeyArray]:
            rows, key = compiled._batches_ahead(key, num_updates)
            return replicate(jnp.asarray(data.gather(np.asarray(rows)))), key

        with ThreadPoolExecutor(1) as reader:
            pending = reader.submit(read, state.key, min(_READ_AHEAD, num_updates))
            while done < num_updates:
                batches, key = pending.result()
                done += len(batches)
                if done < num_updates:
                    pending = reader.submit(read, key, min(_READ_AHEAD, num_updates - done))
                state, batch_losses = compiled.updates_on(state, batches)
                losses.append(batch_losses)
        rows = held_out.gather(np.asarray(self.calibration_rows(state.key)))
        return compiled._recalibrated_on(state, replicate(jnp.asarray(rows))), jnp.mean(jnp.concatenate(losses), axis=0)

    @eqx.filter_jit
    def _batches_ahead(self, key: PRNGKeyArray, num_updates: int) -> tuple[Int[Array, "updates batch"], PRNGKeyArray]:
        """The rows of the next `num_updates` batches, and the key after them."""

        def body(key: PRNGKeyArray, _: None) -> tuple[PRNGKeyArray, Int[Array, " batch"]]:
            rows, key = self.batch_rows(key)
            return key, rows

        key, rows = jax.lax.scan(body, key, None, length=num_updates)
        return rows, key

    @eqx.filter_jit
    def _recalibrated_on(self, state: TrainingState, rows: Float[Array, "rows width"]) -> TrainingState:
        assert isinstance(self.held_out, RowForm)
        return self.recalibrated(state, self.held_out.unpack(rows))

    def _bootstrap_chain(self, errors: ErrorCurve) -> Chain:
        # Without clipping: a bootstrapped outcome may exceed the range of recorded ones.
        return Chain.calibrated(errors, num_steps=self.config.bootstrap_steps, min_ratio=self.world_config.noise_floor)

    def run(self, state: TrainingState) -> Iterator[tuple[TrainingState, dict[str, float]]]:
        """Train from `state` on in chunks of `report_every` updates; yields the state and a row of metrics.

        Every batch is sharded over all devices (`owma.train.devices`).
        """
        trainer, state = replicate((self, state))
        run_chunk = trainer.run_chunk if isinstance(self.data, OutcomeData) else trainer.run_chunk_on_disk

        def run_named(state: TrainingState, num_updates: int) -> tuple[TrainingState, dict[str, Scalar]]:
            state, losses = run_chunk(state, num_updates)
            return state, dict(zip(("world_loss", "policy_loss"), losses))

        for reached, row in fit(run_named, state, self._fit_config):
            yield reached, row | {"world_held_out_loss": float(self.held_out_loss(reached))}

    def finish(self, state: TrainingState) -> tuple[WorldModel, ReadoutPolicy]:
        """The averaged models, with the world's chain calibrated to `state.errors`."""
        return self._without_files()._finish(on_one_device(state))

    def _without_files(self) -> "OutcomeTrainer":
        """The trainer without its files, for compilation: JAX caches programs, which would keep the files open."""
        if not (isinstance(self.data, OutcomeRows) and isinstance(self.held_out, OutcomeRows)):
            return self
        return dataclasses.replace(self, data=self.data.form, held_out=self.held_out.form)

    @eqx.filter_jit
    def _finish(self, state: TrainingState) -> tuple[WorldModel, ReadoutPolicy]:
        chain = calibrated_chain(self.world_config, state.errors, (self.world.chain.low, self.world.chain.high))
        world = eqx.tree_at(lambda w: (w.denoiser, w.chain), self.world, (state.averages[0], chain))
        return world, eqx.tree_at(lambda p: p.denoiser, self.policy, state.averages[1])


_READ_AHEAD = 64
"""Updates whose batches are read from disk at once, while the device computes the previous ones."""
