"""The values of a task, from labelled outcomes: regressions, the decoders', and how far each is to be trusted."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from owma._internal.tree import map_rows
from owma._internal.types import Array, Float, HostArray, Int, PRNGKeyArray, Scalar
from owma.config.experiment import ExperimentConfig
from owma.config.value import ValueConfig
from owma.outcomes.kernel import KernelValue, spread_out
from owma.outcomes.pessimism import AbstractPessimism, LowerBound, pessimism_of
from owma.outcomes.policy import ReadoutPolicy
from owma.outcomes.transitions import Transitions
from owma.outcomes.value import (
    AbstractValue,
    EnsembleValue,
    LinearValue,
    TaskValue,
    ValueDecoder,
    infer_task,
    infer_task_each,
    r_squared,
    value_scale,
)
from owma.outcomes.world import WorldModel
from owma.runs.parts import TrainedParts
from owma.train.value import EpisodeBags

TESTED = 10_000
"""Labels on which R² is measured."""

_FOLDS = 5

_ALIKE = 20.0
"""Labels of one episode that tell a kernel as much as one, where it has so many: successive returns are alike."""

_PSEUDO_LABELS = 10.0
"""Labels of which nothing is explained, added to those on which a value is tested: a handful proves little."""


@dataclasses.dataclass(frozen=True)
class Labels:
    """Outcomes, their discounted returns under a task, and the episode that each is from."""

    psi: Float[HostArray, "k psi"]
    returns: Float[HostArray, " k"]
    episodes: Int[np.ndarray, " k"]

    def rows(self, rows: Int[np.ndarray, " m"]) -> "Labels":
        """Some of them."""
        return Labels(self.psi[rows], self.returns[rows], self.episodes[rows])


class TaskFit(eqx.Module):
    """All that is fitted to one task; the fields are those of `TrainedParts`."""

    linear: LinearValue
    task: TaskValue | EnsembleValue
    linear_scale: Scalar
    task_scale: Scalar
    unexplained: Float[Array, " members"] | None
    pessimism: AbstractPessimism | None
    bound_scale: Scalar | None
    kernel: KernelValue | None

    @property
    def bound(self) -> LowerBound | None:
        """The lower bound over all values, where there are several decoders."""
        return LowerBound.of(self.kernel or self.linear, self.task, self.unexplained, self.pessimism)

    def parts(self, world: WorldModel, policy: ReadoutPolicy) -> TrainedParts:
        """With the models that serve all tasks."""
        return TrainedParts(world, policy, **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})


def fit_task(
    decoder: ValueDecoder,
    labels: Labels,
    prior: Float[Array, "n samples psi"],
    bags: EpisodeBags | None,
    config: ValueConfig,
    *,
    decoder_labels: Int[np.ndarray, " m"],
    key: PRNGKeyArray,
) -> TaskFit:
    """Every value of a task, and the units of λ that they give.

    **Arguments:** `decoder`: of the family, or several of them, stacked, with the `bags` that they were trained on.
    `labels`: those that the linear value is fitted to; `decoder_labels`: the rows of them that tasks of the decoders
    are inferred from, and on which all values are tested. `prior`: draws of the trained model (`prior_outcomes`).
    """
    kernel = None
    if bags is not None and config.kernels > 0:
        kernel, regression_unexplained = fit_kernel(labels, config, tested_on=decoder_labels)
        linear = kernel.linear
    else:
        linear, regression_unexplained = fit_linear(labels, config, tested_on=decoder_labels)
    task, decoders_unexplained = fit_decoders(decoder, labels.rows(decoder_labels), bags, config, key=key)
    scales = value_scale(linear, prior), value_scale(task, prior)
    if decoders_unexplained is None:
        return TaskFit(linear, task, *scales, None, None, None, None)
    unexplained = jnp.asarray([regression_unexplained, *decoders_unexplained], jnp.float32)
    fit = TaskFit(linear, task, *scales, unexplained, pessimism_of(config), None, kernel)
    assert fit.bound is not None
    return dataclasses.replace(fit, bound_scale=value_scale(fit.bound, prior))


def task_row(fit: TaskFit, labels: Labels) -> dict[str, Any]:
    """What there is to say of a fit, for the metrics of a run: R² on labels that it was fitted to (`None` where their
    returns are constant), R² of every value on episodes that it was not fitted to, and the units of λ.
    """
    row: dict[str, Any] = {
        "r2_linear": explained(fit.linear, labels),
        "r2_decoder": explained(fit.task, labels),
        "value_scale_linear": float(fit.linear_scale),
        "value_scale_decoder": float(fit.task_scale),
    }
    if fit.bound is not None and fit.bound_scale is not None:
        assert fit.unexplained is not None
        regression, *decoders = (1 - np.asarray(fit.unexplained, np.float64)).tolist()
        row |= {"r2_held_out_regression": regression, "r2_held_out_decoders": decoders}
        row |= {"weight_regression": float(fit.bound.weights[0])}
        row |= {"r2_pessimistic": explained(fit.bound, labels), "value_scale_pessimistic": float(fit.bound_scale)}
    return row


def explained(value: AbstractValue, labels: Labels) -> float | None:
    """R² of a value; `None` if the returns are constant."""
    if np.ptp(labels.returns) == 0:
        return None
    return r_squared(map_rows(lambda p: value(p)[None], np.asarray(labels.psi))[:, 0], labels.returns)


def bags_of(config: ExperimentConfig, transitions: Transitions) -> EpisodeBags | None:
    """The episodes on which each decoder of a run is trained; `None` where one is trained on all.

    **Arguments:** `transitions`: those that the decoders are trained on, the sample if the data stay on disk.
    """
    if config.value.members == 1:
        return None
    return EpisodeBags.draw(transitions.num_episodes, config.value.members, seed=config.seed)


def fit_linear(
    labels: Labels, config: ValueConfig, *, tested_on: Int[np.ndarray, " m"] | None = None
) -> tuple[LinearValue, float]:
    """Ridge regression on all labels, and the share of the variance that it leaves unexplained in episodes that it is
    not fitted to.

    **Arguments:** `tested_on`: the rows on which that is measured; by default all.
    """

    def fit(labels: Labels) -> LinearValue:
        return LinearValue.fit(labels.psi, labels.returns, ridge=config.ridge)

    return fit(labels), _left_in_other_episodes(fit, labels, tested_on)


def fit_kernel(
    labels: Labels, config: ValueConfig, *, tested_on: Int[np.ndarray, " m"] | None = None
) -> tuple[KernelValue, float]:
    """`fit_linear` with the correction of a kernel, and the same share of it."""
    # Where outcomes lie tells nothing of their returns: all fits may have the same centres.
    centres = spread_out(labels.psi, config.kernels)

    def fit(labels: Labels) -> KernelValue:
        linear = LinearValue.fit(labels.psi, labels.returns, ridge=config.ridge)
        of_each = len(labels.episodes) / len(np.unique(labels.episodes))
        return KernelValue.fit(linear, labels.psi, labels.returns, centres, alike=min(_ALIKE, of_each))

    return fit(labels), _left_in_other_episodes(fit, labels, tested_on)


def _left_in_other_episodes(
    fit: Callable[[Labels], AbstractValue], labels: Labels, tested_on: Int[np.ndarray, " m"] | None
) -> float:
    """What a fit leaves unexplained, by cross-validation over `_FOLDS` parts of the episodes."""
    tested = np.arange(len(labels.returns)) if tested_on is None else tested_on
    names = np.unique(labels.episodes)
    parts = np.random.default_rng(0).permutation(len(names)) % _FOLDS
    part = parts[np.searchsorted(names, labels.episodes)]
    errors = np.full(len(labels.returns), np.nan)
    for i in range(min(_FOLDS, len(names)) if len(names) > 1 else 0):
        here = tested[part[tested] == i]
        errors[here] = _squared_errors(fit(labels.rows(np.flatnonzero(part != i))), labels.rows(here))
    return _unexplained(errors[tested], labels.returns)


def fit_decoders(
    decoder: ValueDecoder, labels: Labels, bags: EpisodeBags | None, config: ValueConfig, *, key: PRNGKeyArray
) -> tuple[TaskValue | EnsembleValue, Float[np.ndarray, " members"] | None]:
    """The decoder's value of a task, or that of several, stacked, each from labels of the episodes that it was trained
    on; and what each leaves unexplained of the others. `None` for a single one, which was trained on all.
    """
    prior = config.embedding_prior
    if bags is None:
        return infer_task(decoder, labels.psi, labels.returns, prior=prior, key=key), None
    holds = bags.hold(labels.episodes)
    psi, returns = np.asarray(labels.psi), np.asarray(labels.returns)
    rows = np.stack([_resized(np.flatnonzero(held), len(returns)) for held in holds])
    value = infer_task_each(decoder, psi[rows], returns[rows], prior=prior, key=key)
    errors = np.square(map_rows(value.each, psi) - returns[:, None])
    tested = [np.where(held, np.nan, errors[:, i]) for i, held in enumerate(holds)]
    return value, np.array([_unexplained(of_one, returns) for of_one in tested])


def _resized(rows: Int[np.ndarray, " m"], k: int) -> Int[np.ndarray, " k"]:
    """k of these rows, again from the first where they do not suffice; all k rows where there are none."""
    return np.resize(rows, k) if len(rows) else np.arange(k)


def _squared_errors(value: AbstractValue, labels: Labels) -> Float[np.ndarray, " k"]:
    return np.square(map_rows(lambda p: value(p)[None], labels.psi)[:, 0] - labels.returns)


def _unexplained(errors: Float[np.ndarray, " k"], returns: Float[HostArray, " n"]) -> float:
    """1 − R² from the squared errors of the labels on which a value was tested; those of others are NaN."""
    tested, variance = errors[~np.isnan(errors)], np.var(returns)
    ratio = float(np.sum(tested) / variance) if variance > 0 else 0.0
    return (ratio + _PSEUDO_LABELS) / (len(tested) + _PSEUDO_LABELS)
