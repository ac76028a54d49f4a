"""The training step and loop that all trainers share: Adam, a schedule, clipping, averaged weights, compiled chunks.

A trainer is an `equinox.Module` that holds its data, so that its compiled chunk takes them as arguments: `update` makes
one `descend`, `run_chunk` makes several by `scan_updates`, and `run` is `fit`.
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
    """All that an interrupted training needs to go on as if nothing had happened.

    Each training has a class of its own, by whose field names its checkpoints are read.
    """

    @property
    def step(self) -> Int[Array, ""]:
        """Updates made so far."""
        ...


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """How a loss is minimised, and how often that is reported."""

    name: str
    """What is trained, for messages."""
    updates: int
    """Gradient steps in all."""
    report_every: int
    """Updates in a chunk, after which there is a row of metrics."""
    learning_rate: Callable[[Int[Array, ""]], Scalar]
    """Of the number of updates made so far."""
    learning_rate_flag: str
    """What a user lowers when training diverges."""
    ema_decay: float
    """Of the averaged weights."""
    max_norm: float | None = None
    """Gradients of a larger global norm are scaled down to it; `None`: never."""


_Model = TypeVar("_Model")
_State = TypeVar("_State", bound=FitState)
_Aux = TypeVar("_Aux")
_Input = TypeVar("_Input")


def cosine_decay(peak: float, updates: int) -> Callable[[Int[Array, ""]], Scalar]:
    """The learning rate that falls from `peak` to zero along half a cosine, without a warm-up."""
    schedule = optax.cosine_decay_schedule(peak, updates)
    return lambda step: jnp.asarray(schedule(step))


def init_optimiser(model: PyTree) -> PyTree:
    """The state of the optimiser before the first update of `model`."""
    return _OPTIMISER.init(eqx.filter(model, eqx.is_inexact_array))


def descend(
    loss: Callable[[_Model], tuple[Scalar, _Aux]],
    model: _Model,
    average: _Model,
    opt_state: PyTree,
    step: Int[Array, ""],
    config: FitConfig,
) -> tuple[tuple[_Model, _Model, PyTree], _Aux]:
    """One update of `model`, the `step`-th from 0, and of the exponential moving average of its weights.

    **Arguments:** `loss`: of the model, on one batch, and what it reports. `opt_state`: of `init_optimiser`.

    **Returns:** model, average and optimiser state after the update; what `loss` reported.
    """
    (_, aux), grads = eqx.filter_value_and_grad(loss, has_aux=True)(model)
    if config.max_norm is not None:
        # As `optax.clip_by_global_norm`, which rounds differently: runs begun before would not go on bit for bit.
        norm = jnp.sqrt(squared_norm(grads))
        shrink = jnp.minimum(1.0, config.max_norm / jnp.maximum(norm, 1e-12))
        grads = jax.tree.map(lambda g: g * shrink, grads)
    directions, opt_state = _OPTIMISER.update(grads, opt_state)
    rate = config.learning_rate(step)
    model = eqx.apply_updates(model, jax.tree.map(lambda u: -rate * u, directions))
    # A short memory at first, so that the average forgets the untrained weights.
    decay = jnp.minimum(config.ema_decay, (1.0 + step) / (10.0 + step))
    return (model, move_towards(average, model, 1 - decay), opt_state), aux


def scan_updates(
    update: Callable[[_State, _Input], tuple[_State, _Aux]],
    state: _State,
    inputs: _Input,
    *,
    length: int | None = None,
) -> tuple[_State, _Aux]:
    """`update` in a `jax.lax.scan` over the leading axis of `inputs`; states may have leaves that are no arrays.

    **Arguments:** `length`: the number of updates, where `inputs` is `None`.

    **Returns:** the last state; what each update reported, stacked.
    """
    arrays, static = eqx.partition(state, eqx.is_array)

    def body(arrays: PyTree, one: Any) -> tuple[PyTree, _Aux]:
        new_state, aux = update(eqx.combine(arrays, static), one)
        return eqx.filter(new_state, eqx.is_array), aux

    arrays, stacked = jax.lax.scan(body, arrays, inputs, length=length)
    return eqx.combine(arrays, static), stacked


def fit(
    run_chunk: Callable[[_State, int], tuple[_State, Mapping[str, Scalar]]], state: _State, config: FitConfig
) -> Iterator[tuple[_State, dict[str, float]]]:
    """Chunks of `report_every` updates from wherever `state` stands, until `updates` are made.

    **Arguments:** `run_chunk`: makes so many updates; returns the state after them and their mean losses by name.

    **Yields:** the state after each chunk and a row of metrics: `step`, and the losses.

    **Raises:** `ConfigError` as soon as a loss is not finite, before that state is yielded.
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
