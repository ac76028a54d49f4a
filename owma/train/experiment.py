"""The stages of a training run, with checkpoints and resume."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.errors import CheckpointError, DamagedError
from owma._internal.progress import Progress
from owma._internal.types import Array, Bool, Float, PyTree
from owma.config.experiment import ExperimentConfig
from owma.envs import env_json
from owma.outcomes.features import LearnedFeatures
from owma.outcomes.policy import ReadoutPolicy, untrained_policy
from owma.outcomes.targets import monte_carlo
from owma.outcomes.transitions import Transitions
from owma.outcomes.value import ValueDecoder, prior_outcomes
from owma.outcomes.whitening import Standardisation
from owma.outcomes.world import Coordinates, WorldModel, untrained_world
from owma.results.baselines import data_row, keep_data_row
from owma.runs import checkpoint
from owma.runs.dataset import keep_dataset
from owma.runs.folder import RunFolder
from owma.runs.parts import TrainedParts, restore_parts
from owma.train.devices import any_across_processes, broadcast_from_process_0, is_main_process, on_one_device
from owma.train.features import FeatureTrainer
from owma.train.inputs import Inputs
from owma.train.logs import MetricsLog
from owma.train.outcome import OutcomeTrainer
from owma.train.rows import OutcomeData, OutcomeRows, sample_rows
from owma.train.split import split_episodes
from owma.train.task import TESTED, Labels, bags_of, fit_task, task_row
from owma.train.value import EpisodeBags, RewardFamily, ValueTrainer, family_returns

_State = TypeVar("_State")


class Experiment:
    """The stages of one run, each of which resumes from its checkpoints.

    In a job of several processes (`owma.train.job`) all execute the stages together; process 0 alone reads and writes
    the run folder.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        inputs: Inputs,
        folder: RunFolder,
        progress: Progress,
        logs: Sequence[MetricsLog] = (),
        *,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """**Arguments:** `logs`: back ends for the rows of `metrics.jsonl`; `warn`: called with a sentence for each
        damaged checkpoint.
        """
        self.config, self.folder, self.progress, self.logs, self.warn = config, folder, progress, logs, warn
        self.dataset, self.rewards, self.env = inputs.dataset, inputs.rewards, inputs.env
        self.success_reward = inputs.success_reward
        # If the data stay on disk, coordinates, value and task are fitted to a sample of episodes (`sample_rows`).
        self.sample, self.sample_rewards = inputs.dataset.transitions, inputs.rewards
        if self.sample.is_mapped:
            rows = sample_rows(self.sample, seed=config.seed)
            self.sample, self.sample_rewards = self.sample.ended_rows(rows), self.sample_rewards[rows]
        self.fingerprint = config.training_fingerprint
        self.keys = dict(zip(("build", "train", "value", "scale"), jax.random.split(jax.random.key(config.seed), 4)))

    def train(self) -> TrainedParts:
        """Train world model and policy, then value and task; writes metrics and checkpoints. Returns the models of a
        finished run without training.

        Damaged models are computed again from the newest intact checkpoint, bit for bit as they were.

        **Raises:** `CheckpointError` if no checkpoint is intact, or it is of another configuration or of other data.
        """
        models, transitions = self.folder.path / "models", self.dataset.transitions
        if is_main_process():
            keep_dataset(self.folder, self.config.data, self.dataset)
            returns = task_returns(self.sample_rewards, self.sample, self.config.world.discount)
            keep_data_row(self.folder, data_row(transitions, self.rewards, returns, self.success_reward))
        if any_across_processes(
            is_main_process() and checkpoint.latest(models) is not None and not self._are_damaged(models)
        ):
            return restore_parts(self.folder, self.config)
        world, policy, psi = self._untrained()
        world, policy = self._train_outcomes(world, policy)
        bags = bags_of(self.config, self.sample)
        decoder = self._train_decoders(world, jnp.asarray(psi), bags)
        parts = self._fit_task(world, policy, decoder, psi, bags)
        keys = self.dataset.obs_keys
        shapes = {
            "obs": transitions.obs.shape[1],
            "action": transitions.action.shape[1],
            "psi": world.whitening.dims,
            "obs_keys": None if keys is None else list(keys),
            "env": None if self.env is None else env_json(self.env),
            "dataset": dataclasses.asdict(self.dataset.origin),
        }
        # The models last: their presence means that training is finished.
        if is_main_process():
            self.folder.write_json("shapes.json", shapes)
        with self._saving(models) as save:
            save(self.config.training.updates, parts)
        return parts

    def _untrained(self) -> tuple[WorldModel, ReadoutPolicy, Float[np.ndarray, "n psi"]]:
        """The untrained models, and the whitened outcomes of the sample, on the host."""
        world_key, policy_key = jax.random.split(self.keys["build"])
        features_key, denoiser_key = jax.random.split(world_key)
        config, sample = self.config.world, self.sample
        features = self._trained_features() if config.features.is_learned else None
        coordinates, psi = Coordinates.fit(config, sample, key=features_key, features=features)
        world = untrained_world(config, coordinates, key=denoiser_key)
        policy = untrained_policy(
            self.config.policy,
            coordinates.observation,
            Standardisation.fit(sample.action),
            coordinates.whitening.dims,
            low=self.dataset.action_low,
            high=self.dataset.action_high,
            key=policy_key,
        )
        world, policy, shared_psi = broadcast_from_process_0((world, policy, jnp.asarray(psi)))
        return world, policy, np.asarray(shared_psi)

    def _trained_features(self) -> LearnedFeatures:
        """Train learned cumulants; their checkpoints have their own folder."""
        config, folder = self.config.world.features, self.folder.path / "features"
        trainer = FeatureTrainer.build(self.sample, config)
        state = trainer.init(key=jax.random.fold_in(self.keys["build"], 1))
        state = self._resumed(folder, state)
        done = int(state.step)
        self._drop_metrics_after("features", done)
        with (
            self._saving(folder) as save,
            self.progress(f"training {config.kind} features", config.pretraining.updates, done) as advance,
        ):
            for reached, row in trainer.run(state):
                state = reached
                self._log({"phase": "features"} | row)
                save(int(state.step), state)
                advance(int(state.step) - done, note=f"loss {row['features_loss']:.3g}")
                done = int(state.step)
        return state.average.features

    def _train_outcomes(self, world: WorldModel, policy: ReadoutPolicy) -> tuple[WorldModel, ReadoutPolicy]:
        config = self.config.training
        about = {"seed": self.config.seed, "spare_singular": config.hold_out == "alike"}
        masks = split_episodes(self.dataset.transitions, config.held_out, **about)
        data, held_out = self._rows(world, *masks)
        trainer = OutcomeTrainer(
            world=world,
            policy=policy,
            data=data,
            held_out=held_out,
            config=config,
            world_config=self.config.world,
        )
        state = trainer.init(key=self.keys["train"])
        self._check_sample()
        state = self._resumed(self.folder.checkpoints, state)
        done = int(state.step)
        self._drop_metrics_after("outcomes", done)
        with (
            self._saving(self.folder.checkpoints) as save,
            self.progress("training p(psi|s), pi(a|s,psi)", config.updates, done) as advance,
        ):
            for reached, row in trainer.run(state):
                state = reached
                self._log({"phase": "outcomes"} | row)
                save(int(state.step), state)
                advance(int(state.step) - done, note=f"loss {row['world_loss']:.3f} {row['policy_loss']:.3f}")
                done = int(state.step)
        return trainer.finish(state)

    def _resumed(self, folder: Path, state: _State) -> _State:
        """The state of the newest intact checkpoint in `folder`; `state` if there is no checkpoint."""
        if is_main_process():
            newest, damaged = checkpoint.newest_intact(folder)
            self._warn(*(f"{sentence} Training goes on from step {newest}, which is whole." for sentence in damaged))
            if newest is not None:
                state, _ = checkpoint.restore(folder, state, step=newest, config_fingerprint=self.fingerprint)
        return broadcast_from_process_0(state)

    @contextlib.contextmanager
    def _saving(self, folder: Path) -> Iterator[Callable[[int, PyTree], None]]:
        """`checkpoint.saving`, in which process 0 alone writes."""
        with checkpoint.saving(folder, config_fingerprint=self.fingerprint) as save:
            yield lambda step, tree: save(step, on_one_device(tree)) if is_main_process() else None

    def _check_sample(self) -> None:
        """Raises `CheckpointError` if training was begun with another sample, and so with other coordinates."""
        if not is_main_process():
            return
        file = self.folder.path / "sample.json"
        num_rows, num_sampled = len(self.dataset.transitions), len(self.sample)
        if checkpoint.latest(self.folder.checkpoints) is None:
            file.unlink(missing_ok=True)
            if num_sampled < num_rows:
                self.folder.write_json(file.name, {"rows": num_sampled})
            return
        content = self.folder.read_json(file.name) if file.exists() else {"rows": num_rows}
        before = content.get("rows") if isinstance(content, dict) else None
        if not isinstance(before, int):
            raise CheckpointError(f"{file} is not of the form that training writes. Restore it, or start a new run.")
        if before != num_sampled:
            raise CheckpointError(
                f"The run {self.folder.path} was begun with coordinates fitted to {before:,} transitions, and these "
                f"are fitted to {num_sampled:,}; give the same --memory-gib, or start a new run."
            )

    def _rows(
        self, world: WorldModel, *masks: Bool[np.ndarray, " n"]
    ) -> tuple[OutcomeData, ...] | tuple[OutcomeRows, ...]:
        transitions, config = self.dataset.transitions, self.config.training
        horizon, absorbing = config.horizon, config.after_truncation == "stay"
        if transitions.is_mapped:
            return OutcomeRows.write(world, transitions, masks, self.folder.path, horizon=horizon, absorbing=absorbing)
        return OutcomeData.build(world, transitions, *masks, horizon=horizon, absorbing=absorbing)

    def _train_decoders(self, world: WorldModel, psi: Float[Array, "n psi"], bags: EpisodeBags | None) -> ValueDecoder:
        config, transitions = self.config.value, self.sample
        family_key, train_key = jax.random.split(self.keys["value"])
        states = np.asarray(
            jax.vmap(world.observation)(jnp.asarray(transitions.obs[:: max(1, len(transitions) // 20_000)]))
        )
        coordinates = self.config.world.features.looked_at
        family = RewardFamily.random(states, config.num_tasks, coordinates=coordinates, key=family_key)
        returns = jnp.asarray(family_returns(family, transitions, world.observation, world.discount))
        self._drop_metrics_after("value", 0)
        trainer = ValueTrainer(psi, returns, config, None if bags is None else jnp.asarray(bags.rows(transitions)))
        state, done = trainer.init(key=train_key), 0
        with self.progress("training V(psi, z)", config.updates, 0) as advance:
            for reached, row in trainer.run(state):
                state = reached
                self._log({"phase": "value"} | row)
                advance(int(state.step) - done, note=f"loss {row['value_loss']:.3f}")
                done = int(state.step)
        return trainer.finish(state)

    def _fit_task(
        self,
        world: WorldModel,
        policy: ReadoutPolicy,
        decoder: ValueDecoder,
        psi: Float[np.ndarray, "n psi"],
        bags: EpisodeBags | None,
    ) -> TrainedParts:
        config, transitions = self.config.value, self.sample
        returns = task_returns(self.sample_rewards, transitions, world.discount)
        labels_key, z_key, scale_key, state_key = jax.random.split(self.keys["scale"], 4)
        labelled = np.asarray(
            jax.random.choice(labels_key, len(psi), (min(config.num_labels, len(psi)),), replace=False)
        )
        labels = Labels(psi, returns, transitions.episode_ids)
        rows = np.asarray(jax.random.choice(state_key, len(psi), (min(256, len(psi)),), replace=False))
        prior = prior_outcomes(world, jnp.asarray(transitions.obs[rows]), key=scale_key)
        fit = fit_task(decoder, labels, prior, bags, config, decoder_labels=labelled, key=z_key)
        self._drop_metrics_after("task", -1)
        self._log({"phase": "task", "labels": len(labelled)} | task_row(fit, labels.rows(labelled[:TESTED])))
        return fit.parts(world, policy)

    def _are_damaged(self, models: Path) -> bool:
        try:
            checkpoint.newest_intact(models)
            return False
        except DamagedError as error:
            if checkpoint.latest(self.folder.checkpoints) is None:
                raise
            self._warn(f"{error.damage} They are made again from the checkpoints of training.")
            return True

    def _warn(self, *sentences: str) -> None:
        for sentence in sentences:
            if self.warn is not None:
                self.warn(sentence)

    def _log(self, row: Mapping[str, Any]) -> None:
        if is_main_process():
            self.folder.append_jsonl("metrics.jsonl", row)
        for log in self.logs:
            log.log(row)

    def _drop_metrics_after(self, phase: str, step: int) -> None:
        """Remove the rows that a resumed stage will write again."""
        if not is_main_process() or not self.folder.metrics_jsonl.exists():
            return
        rows = self.folder.read_jsonl("metrics.jsonl", drop_torn=True)
        self.folder.write_jsonl("metrics.jsonl", [r for r in rows if r["phase"] != phase or r.get("step", 0) <= step])


def task_returns(
    rewards: Float[np.ndarray, " n"], transitions: Transitions, discount: float
) -> Float[np.ndarray, " n"]:
    """Discounted returns of every transition; the last state of a truncated episode is taken to be absorbing, with the
    last reward.
    """
    return monte_carlo(rewards[:, None], transitions, discount=discount, tail=rewards[:, None])[:, 0]
