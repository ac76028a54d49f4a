"""One experiment from dataset to trained parts: configuration, data, tasks, training with resume."""

import dataclasses
import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma import checkpoint
from owma._errors import ConfigError
from owma._types import Array, Float, Scalar
from owma.config_json import fingerprint
from owma.data import (
    OfflineDataset,
    PointMazeCollect,
    TwoRoutesCollect,
    collect_pointmaze,
    collect_two_routes,
    load_minari,
)
from owma.planners import AgentModel
from owma.policy import PolicyConfig, ReadoutPolicy
from owma.runs import RunFolder
from owma.targets import monte_carlo
from owma.tasks import AbstractTask, GoalTask, LabelledTask, RecordedTask, RewardTask
from owma.training import (
    OutcomeData,
    OutcomeTrainer,
    RewardFamily,
    TrainingConfig,
    ValueTrainer,
    family_returns,
    split_episodes,
)
from owma.transitions import Transitions
from owma.value import (
    LinearValue,
    TaskValue,
    ValueConfig,
    ValueDecoder,
    infer_task,
    r_squared,
    value_scales,
)
from owma.world import WorldConfig, WorldModel, whitened_outcomes

Progress: TypeAlias = Callable[[str, int, int], AbstractContextManager[Callable[..., None]]]
"""progress(label, total, done) opens a progress display; calling what it gives advances it."""


@dataclasses.dataclass(frozen=True)
class MinariDataset:
    """A dataset that exists: by Minari id, or the folder that holds it."""

    dataset: str
    """Minari id or folder."""
    download: bool = False
    """Fetch the id from the hub if it is not there."""


@dataclasses.dataclass(frozen=True)
class RewardTaskConfig:
    """A reward function r(obs, action, next_obs) over arrays."""

    reward: str = "owma.envs:preferred_route_reward"
    """`module:function`, imported from your own Python path."""


@dataclasses.dataclass(frozen=True)
class RecordedTaskConfig:
    """The rewards recorded with the dataset."""


@dataclasses.dataclass(frozen=True)
class GoalTaskConfig:
    """A position to reach and stay at."""

    goal: tuple[float, ...]
    """In the leading coordinates of the observation."""
    radius: float = 0.5


@dataclasses.dataclass(frozen=True)
class LabelledTaskConfig:
    """A few labelled samples."""

    file: Path
    """An .npz file with `obs` (k, obs) and `reward` (k,)."""


TaskConfig: TypeAlias = RewardTaskConfig | RecordedTaskConfig | GoalTaskConfig | LabelledTaskConfig
DataConfig: TypeAlias = TwoRoutesCollect | PointMazeCollect | MinariDataset


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Episodes in the environment, the same start states for every planner."""

    env: str | None = None
    """Gymnasium id; by default the environment that the dataset names."""
    episodes: int = 32
    replan_every: int = 10
    """Steps for which a plan is followed."""
    timed_decisions: int = 4
    """Single decisions timed in each episode; 0 leaves milliseconds unmeasured."""

    def __post_init__(self) -> None:
        for name in ("episodes", "replan_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: must be at least 1.")


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """A whole run: data, models, task, evaluation."""

    name: str = "two-routes"
    """The run goes to runs/NAME/v<N>."""
    seed: int = 0
    """Of models, training and evaluation; the dataset has a seed of its own."""
    data: DataConfig = TwoRoutesCollect()
    task: TaskConfig = RewardTaskConfig()
    world: WorldConfig = WorldConfig()
    policy: PolicyConfig = PolicyConfig()
    training: TrainingConfig = TrainingConfig()
    value: ValueConfig = ValueConfig()
    evaluation: EvaluationConfig = EvaluationConfig()


class TrainedParts(eqx.Module):
    """All that a run keeps of training."""

    world: WorldModel
    policy: ReadoutPolicy
    linear: LinearValue
    """Ridge regression of the run's task on outcomes."""
    task: TaskValue
    """The decoder bound to the run's task."""
    linear_scale: Scalar
    task_scale: Scalar
    """`value_scale` of either value."""

    def agent_model(self, kind: Literal["decoder", "linear"]) -> AgentModel:
        value, scale = (self.linear, self.linear_scale) if kind == "linear" else (self.task, self.task_scale)
        return AgentModel(self.world, self.policy, value, scale)


def load_dataset(config: DataConfig, progress: Progress) -> OfflineDataset:
    """The dataset, collected first where the configuration is a collector's and the dataset is absent."""
    if isinstance(config, MinariDataset):
        return load_minari(config.dataset, download=config.download)
    total = config.episodes * config.steps if isinstance(config, TwoRoutesCollect) else config.steps
    with progress(f"collecting {config.name}", total, 0) as advance:
        so_far = 0

        def report(done: int, _: int) -> None:
            nonlocal so_far
            advance(done - so_far)
            so_far = done

        if isinstance(config, TwoRoutesCollect):
            return load_minari(collect_two_routes(config, report))
        return load_minari(collect_pointmaze(config, report))


def build_task(config: TaskConfig) -> AbstractTask:
    """The task that a configuration names. Raises `ConfigError` if it cannot be imported or read."""
    if isinstance(config, GoalTaskConfig):
        return GoalTask(np.asarray(config.goal, np.float32), config.radius)
    if isinstance(config, LabelledTaskConfig):
        return _read_labels(config.file)
    if isinstance(config, RecordedTaskConfig):
        return RecordedTask()
    module_name, _, function_name = config.reward.partition(":")
    try:
        return RewardTask(getattr(importlib.import_module(module_name), function_name))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"The reward {config.reward!r} cannot be imported ({error}); write it as module:function, "
            "with the module on your Python path."
        ) from error


def _read_labels(file: Path) -> LabelledTask:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return LabelledTask(arrays["obs"].astype(np.float32), arrays["reward"].astype(np.float32))
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(
            f"Labelled samples cannot be read from {file} ({error}); it must be an .npz file with `obs` and `reward`."
        ) from error


class Experiment:
    """The stages of one run, each of which goes on from what is on disk."""

    def __init__(self, config: ExperimentConfig, folder: RunFolder, progress: Progress) -> None:
        self.config, self.folder, self.progress = config, folder, progress
        self.fingerprint = fingerprint(dataclasses.replace(config, name="", evaluation=EvaluationConfig()))
        self.dataset = load_dataset(config.data, progress)
        self.keys = dict(zip(("build", "train", "value", "scale"), jax.random.split(jax.random.key(config.seed), 4)))

    def train(self) -> TrainedParts:
        """World model and policy, then value and task; writes metrics and checkpoints."""
        config, transitions = self.config, self.dataset.transitions
        task_rewards = build_task(config.task).rewards(transitions)
        world, policy = self._untrained()
        if checkpoint.latest(self._models) is not None:
            parts, _ = checkpoint.restore(
                self._models, skeleton(config, *sizes(self.dataset, world)), config_fingerprint=self.fingerprint
            )
            return parts
        world, policy = self._train_outcomes(world, policy)
        psi = jnp.asarray(whitened_outcomes(world, transitions))
        decoder = self._train_decoder(world, psi)
        parts = self._fit_task(world, policy, decoder, np.asarray(psi), task_rewards)
        checkpoint.save(self._models, config.training.updates, parts, config_fingerprint=self.fingerprint)
        self.folder.write_json(
            "shapes.json", dict(zip(("obs", "action", "psi"), sizes(self.dataset, world))) | self._interface()
        )
        return parts

    @property
    def _models(self) -> Path:
        return self.folder.path / "models"

    def _interface(self) -> dict[str, Any]:
        keys = self.dataset.obs_keys
        return {"obs_keys": None if keys is None else list(keys), "env": self.env_id()}

    def env_id(self) -> str:
        """The environment to evaluate in. Raises `ConfigError` if neither configuration nor dataset names one."""
        if self.config.evaluation.env is not None:
            return self.config.evaluation.env
        if self.dataset.env_spec is None:
            raise ConfigError(f"Dataset {self.dataset.dataset_id} names no environment; pass --evaluation.env ID.")
        return self.dataset.env_spec.id

    def _untrained(self) -> tuple[WorldModel, ReadoutPolicy]:
        world_key, policy_key = jax.random.split(self.keys["build"])
        world = self.config.world.build(self.dataset.transitions, key=world_key)
        policy = self.config.policy.build(
            self.dataset.transitions,
            world.whitening.dims,
            low=self.dataset.action_low,
            high=self.dataset.action_high,
            key=policy_key,
        )
        return world, policy

    def _train_outcomes(self, world: WorldModel, policy: ReadoutPolicy) -> tuple[WorldModel, ReadoutPolicy]:
        config = self.config.training
        fitted, held_out = split_episodes(self.dataset.transitions, config.held_out, seed=self.config.seed)
        trainer = OutcomeTrainer(
            world=world,
            policy=policy,
            data=OutcomeData.build(world, self.dataset.transitions, fitted, horizon=config.horizon),
            held_out=OutcomeData.build(world, self.dataset.transitions, held_out, horizon=config.horizon),
            config=config,
            world_config=self.config.world,
        )
        state = trainer.init(key=self.keys["train"])
        if checkpoint.latest(self.folder.checkpoints) is not None:
            state, _ = checkpoint.restore(self.folder.checkpoints, state, config_fingerprint=self.fingerprint)
        done = int(state.step)
        self._drop_metrics_after("outcomes", done)
        with self.progress("training p(psi|s), pi(a|s,psi)", config.updates, done) as advance:
            for state, row in trainer.run(state):
                self.folder.append_jsonl("metrics.jsonl", {"phase": "outcomes"} | row)
                checkpoint.save(self.folder.checkpoints, int(state.step), state, config_fingerprint=self.fingerprint)
                advance(int(state.step) - done, note=f"loss {row['world_loss']:.3f} {row['policy_loss']:.3f}")
                done = int(state.step)
        return trainer.finish(state)

    def _train_decoder(self, world: WorldModel, psi: Float[Array, "n psi"]) -> ValueDecoder:
        config, transitions = self.config.value, self.dataset.transitions
        family_key, train_key = jax.random.split(self.keys["value"])
        states = np.asarray(
            jax.vmap(world.observation)(jnp.asarray(transitions.obs[:: max(1, len(transitions) // 20_000)]))
        )
        family = RewardFamily.random(states, config.num_tasks, key=family_key)
        returns = jnp.asarray(family_returns(family, transitions, world.observation, world.discount))
        self._drop_metrics_after("value", 0)
        decoder, done = None, 0
        with self.progress("training V(psi, z)", config.updates, 0) as advance:
            for decoder, row in ValueTrainer(psi, returns, config).run(key=train_key):
                self.folder.append_jsonl("metrics.jsonl", {"phase": "value"} | row)
                advance(row["step"] - done, note=f"loss {row['value_loss']:.3f}")
                done = row["step"]
        assert decoder is not None  # `updates` is at least 1
        return decoder

    def _fit_task(
        self,
        world: WorldModel,
        policy: ReadoutPolicy,
        decoder: ValueDecoder,
        psi: Float[np.ndarray, "n psi"],
        rewards: Float[np.ndarray, " n"],
    ) -> TrainedParts:
        config, transitions = self.config.value, self.dataset.transitions
        returns = task_returns(rewards, transitions, world.discount)
        labels_key, z_key, scale_key, state_key = jax.random.split(self.keys["scale"], 4)
        labelled = np.asarray(
            jax.random.choice(labels_key, len(psi), (min(config.num_labels, len(psi)),), replace=False)
        )
        linear = LinearValue.fit(psi, returns, ridge=config.ridge)
        task = infer_task(decoder, psi[labelled], returns[labelled], prior=config.embedding_prior, key=z_key)
        rows = np.asarray(jax.random.choice(state_key, len(psi), (min(256, len(psi)),), replace=False))
        obs = jnp.asarray(transitions.obs[rows])
        linear_scale, task_scale = value_scales(world, (linear, task), obs, key=scale_key)
        parts = TrainedParts(
            world=world,
            policy=policy,
            linear=linear,
            task=task,
            linear_scale=linear_scale,
            task_scale=task_scale,
        )
        check = jnp.asarray(psi[rows])
        self.folder.append_jsonl(
            "metrics.jsonl",
            {
                "phase": "task",
                "labels": len(labelled),
                "r2_linear": r_squared(np.asarray(jax.vmap(linear)(check)), returns[rows]),
                "r2_decoder": r_squared(np.asarray(jax.vmap(task)(check)), returns[rows]),
                "value_scale_linear": float(parts.linear_scale),
                "value_scale_decoder": float(parts.task_scale),
            },
        )
        return parts

    def _drop_metrics_after(self, phase: str, step: int) -> None:
        """Rows that a resumed stage will write again."""
        if not self.folder.metrics_jsonl.exists():
            return
        rows = self.folder.read_jsonl("metrics.jsonl", drop_torn=True)
        self.folder.write_jsonl("metrics.jsonl", [r for r in rows if r["phase"] != phase or r["step"] <= step])


def task_returns(
    rewards: Float[np.ndarray, " n"], transitions: Transitions, discount: float
) -> Float[np.ndarray, " n"]:
    """Discounted returns of labelled transitions; truncated episodes are taken to go on with their last reward."""
    return monte_carlo(rewards[:, None], transitions, discount=discount, tail=rewards[:, None])[:, 0]


def sizes(dataset: OfflineDataset, world: WorldModel) -> tuple[int, int, int]:
    """(obs, action, psi): what the shapes of all arrays of a run follow from."""
    return dataset.transitions.obs.shape[1], dataset.transitions.action.shape[1], world.whitening.dims


def skeleton(config: ExperimentConfig, obs_dim: int, action_dim: int, psi_dim: int) -> TrainedParts:
    """`TrainedParts` of the right structure and shapes, its numbers meaningless: what a checkpoint is restored into."""
    key = jax.random.key(0)
    psi = jnp.zeros(psi_dim)
    decoder = config.value.build(psi_dim, key=key)
    one = jnp.asarray(1.0)
    return TrainedParts(
        world=config.world.skeleton(obs_dim, psi_dim, key=key),
        policy=config.policy.skeleton(obs_dim, action_dim, psi_dim, key=key),
        linear=LinearValue(psi, one),
        task=TaskValue(decoder, decoder.embeddings[0], one, one),
        linear_scale=one,
        task_scale=one,
    )
