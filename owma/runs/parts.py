"""All that a run keeps of training, and how it is read again."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.errors import CheckpointError, ConfigError
from owma._internal.types import Array, Float, PRNGKeyArray, Scalar
from owma.config.experiment import ExperimentConfig
from owma.config.value import ValueKind
from owma.data import read_origin
from owma.outcomes.kernel import KernelValue, untrained_kernel_value
from owma.outcomes.pessimism import AbstractPessimism, LowerBound, pessimism_of
from owma.outcomes.policy import ReadoutPolicy, untrained_policy
from owma.outcomes.value import AbstractValue, EnsembleValue, LinearValue, TaskValue, untrained_decoder
from owma.outcomes.whitening import Standardisation
from owma.outcomes.world import Coordinates, WorldModel, untrained_world
from owma.planners import AgentModel
from owma.runs import checkpoint
from owma.runs.folder import RunFolder


class TrainedParts(eqx.Module):
    """All that a run keeps of training."""

    world: WorldModel
    policy: ReadoutPolicy
    linear: LinearValue
    """Ridge regression of the run's task on outcomes."""
    task: TaskValue | EnsembleValue
    """The decoder bound to the run's task, or several of them."""
    linear_scale: Scalar
    task_scale: Scalar
    """`value_scale` of either value."""
    unexplained: Float[Array, " members"] | None = None
    """1 - R^2 of the bound's regression and of each decoder on episodes that it was not fitted to; `None` with one
    decoder, which was fitted to all."""
    pessimism: AbstractPessimism | None = None
    bound_scale: Scalar | None = None
    """`value_scale` of the lower bound."""
    kernel: KernelValue | None = None
    """The linear value with the correction of a kernel, which the lower bound holds in its place."""

    @property
    def bound(self) -> LowerBound:
        """The lower bound over all values. Raises `ConfigError` for runs with a single decoder."""
        bound = LowerBound.of(self.kernel or self.linear, self.task, self.unexplained, self.pessimism)
        if bound is None:
            raise ConfigError(
                "The run has one decoder, and a pessimistic value needs several: act by --value linear or decoder, or "
                "train with --value.members 4."
            )
        return bound

    def value(self, kind: ValueKind) -> AbstractValue:
        """The value of the run's task."""
        return {"linear": lambda: self.linear, "decoder": lambda: self.task, "pessimistic": lambda: self.bound}[kind]()

    def agent_model(self, kind: ValueKind) -> AgentModel:
        """The models of an agent that acts by this value. Raises `ConfigError` where the run has none of the kind."""
        value = self.value(kind)
        scale = {"linear": self.linear_scale, "decoder": self.task_scale, "pessimistic": self.bound_scale}[kind]
        assert scale is not None  # there is a bound
        return AgentModel(self.world, self.policy, value, scale)


def read_shapes(folder: RunFolder) -> dict[str, Any]:
    """What `Experiment.train` has written of the form of its data. Raises `CheckpointError` if it is something else."""
    shapes = folder.read_json("shapes.json")
    is_right = isinstance(shapes, dict) and {
        **{key: type(shapes.get(key)) is int and 0 < shapes[key] < 1_000_000 for key in ("obs", "action", "psi")},
        "obs_keys": _is_keys(shapes.get("obs_keys", 0)),
        "env": isinstance(shapes.get("env", 0), str | None),
        # Runs from before it was kept have none.
        "dataset": shapes.get("dataset") is None or read_origin(shapes["dataset"]) is not None,
    }
    if not is_right or not all(is_right.values()):
        wrong = [key for key, right in is_right.items() if not right] if is_right else []
        raise CheckpointError(
            f"{folder.path / 'shapes.json'} is not of the form that training writes"
            f"{f': look at {wrong[0]!r}' if wrong else ''}. Restore it, or train again."
        )
    return shapes


def _is_keys(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(key, str) for key in value))


def restore_parts(folder: RunFolder, config: ExperimentConfig) -> TrainedParts:
    """The trained parts of a finished run. Raises `CheckpointError` if they are damaged or of another configuration."""
    shapes = read_shapes(folder)
    # Shapes alone: to make those numbers would compile seventy small programs, most of the time that loading takes.
    like = eqx.filter_eval_shape(skeleton, config, shapes["obs"], shapes["action"], shapes["psi"])
    parts, _ = checkpoint.restore(folder.path / "models", like, config_fingerprint=config.training_fingerprint)
    return parts


def skeleton(config: ExperimentConfig, obs_dim: int, action_dim: int, psi_dim: int) -> TrainedParts:
    """`TrainedParts` of the right structure and shapes, its numbers meaningless: what a checkpoint is restored into.

    Units and whitening are fitted to data, and `psi_dim` is found there: the constructors cannot be asked for them.
    """
    key = jax.random.key(0)
    psi, bound = jnp.zeros(psi_dim), np.ones(action_dim)
    coordinates = Coordinates.unit(config.world, obs_dim, psi_dim, key=key)
    units = coordinates.observation, Standardisation.identity(action_dim)
    one = jnp.ones(())  # not weakly typed, as `jnp.asarray(1.0)` would be: its programs would be others

    def task_value(key: PRNGKeyArray) -> TaskValue:
        decoder = untrained_decoder(config.value, psi_dim, key=key)
        return TaskValue(decoder, decoder.embeddings[0], one, one)

    members = config.value.members
    ensemble = EnsembleValue(eqx.filter_vmap(task_value)(jax.random.split(key, members))) if members > 1 else None
    linear = LinearValue(psi, one)
    has_kernel = ensemble is not None and config.value.kernels > 0
    return TrainedParts(
        world=untrained_world(config.world, coordinates, key=key),
        policy=untrained_policy(config.policy, *units, psi_dim, low=-bound, high=bound, key=key),
        linear=linear,
        task=task_value(key) if ensemble is None else ensemble,
        linear_scale=one,
        task_scale=one,
        unexplained=None if ensemble is None else jnp.ones(1 + members),
        pessimism=None if ensemble is None else pessimism_of(config.value),
        bound_scale=None if ensemble is None else one,
        kernel=untrained_kernel_value(linear, config.value.kernels) if has_kernel else None,
    )
