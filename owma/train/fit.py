"""The training step and loop of all trainers: Adam, a schedule, gradient clipping, an EMA of weights, compiled chunks.

A trainer is an `equinox.Module` that holds its data, so that compiled chunks receive them as arguments. Its `update`
calls `descend`, its `run_chunk` makes several updates with `scan_updates`, and its `run` is `fit`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from owma._internal.errors import ConfigError
from owma._internal.tree import move_towards, squared_norm
from owma._internal.types import Array, Int, PyTree, Scalar


@runtime_checkable
class FitState(Protocol):
    """The state of a training, from which an interrupted one is resumed bit for bit.

    Each trainer has its own class; checkpoints name its fields.
    """

    @property
    def step(self) -> Int[Array, ""]:
        """Updates made so far."""
        ...


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """Settings of the optimiser and of reporting."""

    name: str
    """Of the trained models, for messages."""
    updates: int
    """Total number of gradient steps."""
    report_every: int
    """Updates in a chunk, after which there is a row of metrics."""
    learning_rate: Callable[[Int[Array, ""]], Scalar]
    """The schedule: from the number of updates so far to the learning rate."""
    learning_rate_flag: str
    """The command-line flag that a user should lower if training diverges."""
    ema_decay: float
    """Decay of the exponential moving average of weights."""
    max_norm: float | None = None
    """Gradients of a larger global norm are scaled down to it; `None` for no clipping."""


_Model = TypeVar("_Model")
_State = TypeVar("_State", bound=FitState)
_Aux = TypeVar("_Aux")
_Input = TypeVar("_Input")


def cosine_decay(peak: float, updates: int) -> Callable[[Int[Array, ""]], Scalar]:
    """Cosine decay from `peak` to zero over `updates`, without a warm-up."""
    schedule = optax.cosine_decay_schedule(peak, updates)
    return lambda step: jnp.asarray(schedule(step))


def init_optimiser(model: PyTree) -> PyTree:
    """The initial state of the optimiser for `model`."""
    return _OPTIMISER.init(eqx.filter(model, eqx.is_inexact_array))


def descend(
    loss: Callable[[_Model], tuple[Scalar, _Aux]],
    model: _Model,
    average: _Model,
    opt_state: PyTree,
    step: Int[Array, ""],
    config: FitConfig,
) -> tuple[tuple[_Model, _Model, PyTree], _Aux]:
    """Update number `step` (from 0) of `model` and of the exponential moving average of its weights.

    **Arguments:** `loss`: from the model to its loss on one batch, and auxiliary output. `opt_state`: as returned by
    `init_optimiser` or by the previous update.

    **Returns:** the next (model, average, optimiser state), and the auxiliary output of `loss`.
    """
    (_, aux), grads = eqx.filter_value_and_grad(loss, has_aux=True)(model)
    if config.max_norm is not None:
        # Not `optax.clip_by_global_norm`, which rounds differently: old runs would not resume bit for bit.
        norm = jnp.sqrt(squared_norm(grads))
        shrink = jnp.minimum(1.0, config.max_norm / jnp.maximum(norm, 1e-12))
        grads = jax.tree.map(lambda g: g * shrink, grads)
    directions, opt_state = _OPTIMISER.update(grads, opt_state)
    rate = config.learning_rate(step)
    model = eqx.apply_updates(model, jax.tree.map(lambda u: -rate * u, directions))
    # A small decay at first, so that the average forgets the initial weights.
    decay = jnp.minimum(config.ema_decay, (1.0 + step) / (10.0 + step))
    return (model, move_towards(average, model, 1 - decay), opt_state), aux


def scan_updates(
    update: Callable[[_State, _Input], tuple[_State, _Aux]],
    state: _State,
    inputs: _Input,
    *,
    length: int | None = None,
) -> tuple[_State, _Aux]:
    """`update` in a `jax.lax.scan` over the leading axis of `inputs`; states may have leaves that are not arrays.

    **Arguments:** `length`: the number of updates, if `inputs` is `None`.

    **Returns:** the last state, and the stacked auxiliary outputs of the updates.
    """
    arrays, static = eqx.partition(state, eqx.is_array)

    def body(arrays: PyTree, input_: Any) -> tuple[PyTree, _Aux]:
        new_state, aux = update(eqx.combine(arrays, static), input_)
        return eqx.filter(new_state, eqx.is_array), aux

    arrays, stacked = jax.lax.scan(body, arrays, inputs, length=length)
    return eqx.combine(arrays, static), stacked


def fit(
    run_chunk: Callable[[_State, int], tuple[_State, Mapping[str, Scalar]]], state: _State, config: FitConfig
) -> Iterator[tuple[_State, dict[str, float]]]:
    """Run chunks of `report_every` updates from `state` on, until `updates` are made.

    **Arguments:** `run_chunk`: from a state and a number of updates to the next state and the mean losses by name.

    **Yields:** the state after each chunk, and a row of metrics: `step` and the losses.

    **Raises:** `ConfigError` if a loss is not finite, before that state is yielded.
    """
    while (step := int(state.step)) < config.updates:
        state, means = run_chunk(state, min(config.report_every, config.updates - step))
        losses = {name: float(mean) for name, mean in means.items()}
        if not np.isfinite(list(losses.values())).all():
            shown = ", ".join(f"{name} {loss:.3g}" for name, loss in losses.items())
            raise ConfigError(
                f"Training of {config.name} diverged before update {int(state.step)} ({shown}): lower "
                f"{config.learning_rate_flag}, or look for extreme values in the dataset."
            )
        yield state, {"step": int(state.step)} | losses


_OPTIMISER = optax.scale_by_adam()
