"""The value of a task from labelled outcomes, every other part of the agent as it was trained."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Float, Int, PRNGKeyArray, Scalar
from owma.config.experiment import ExperimentConfig
from owma.config.transfer import FitKind
from owma.outcomes.transitions import Transitions
from owma.outcomes.value import (
    AbstractValue,
    EnsembleValue,
    LinearValue,
    TaskValue,
    ValueDecoder,
    prior_outcomes,
    value_scale,
)
from owma.outcomes.world import whitened_outcomes
from owma.planners import AgentModel
from owma.runs.parts import TrainedParts
from owma.train.experiment import task_returns
from owma.train.task import TESTED, Labels, TaskFit, bags_of, explained, fit_decoders, fit_task

_STATES = 256  # States over which `value_scale` is taken, as in training.


class TaskInference:
    r"""Fits values of tasks to k labelled samples $(\psi_i, G_i)$ of the dataset, with nothing trained again.

    A label is the outcome ψ that followed a state and its discounted return G under the task, as in training.
    `decoder`: z* by gradient through $V_\theta(\psi, z)$ (`owma.outcomes.value.infer_task`); `linear`: w by ridge
    regression (`owma.outcomes.value.LinearValue.fit`); `pessimistic`: both, and a lower bound over them
    (`owma.outcomes.pessimism.LowerBound`); all on the same samples.
    """

    def __init__(self, parts: TrainedParts, config: ExperimentConfig, transitions: Transitions, *, seed: int) -> None:
        """**Arguments:** `config`: of the run; `transitions`: those that its values were fitted to."""
        self.parts, self.config, self.transitions, self.seed = parts, config.value, transitions, seed
        self._bags, self._episodes = bags_of(config, transitions), transitions.episode_ids
        self.psi = whitened_outcomes(parts.world, transitions)
        rng = np.random.default_rng(seed)
        size = len(self.psi)
        self._check = rng.choice(size, min(TESTED, size), replace=False)
        obs = jnp.asarray(transitions.obs[rng.choice(size, min(_STATES, size), replace=False)])
        self._prior = prior_outcomes(parts.world, obs, key=jax.random.key(seed))

    def returns(self, rewards: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Discounted returns of every transition."""
        return task_returns(rewards, self.transitions, self.parts.world.discount)

    def draw(self, labels: int, draw: int) -> Int[np.ndarray, " k"]:
        """Which samples are labelled: the set number `draw` of `labels` transitions, the same for every task."""
        rng = np.random.default_rng((self.seed, labels, draw))
        return rng.choice(len(self.psi), min(labels, len(self.psi)), replace=False)

    def fit(
        self, kind: FitKind, returns: Float[np.ndarray, " n"], rows: Int[np.ndarray, " k"], *, key: PRNGKeyArray
    ) -> tuple[AgentModel, dict[str, Any]]:
        """The agent with the value of a task, and what there is to say of that value.

        **Arguments:** `returns`: of every transition, of which only those in `rows` are looked at by the fit.

        **Returns:** the model, and a row with `r2` (over the dataset) and `value_scale`.
        """
        labels = self._labels(returns, rows)
        if kind == "linear":
            value: AbstractValue = LinearValue.fit(labels.psi, labels.returns, ridge=self.config.ridge)
        elif kind == "decoder":
            value, _ = fit_decoders(_stacked_decoder(self.parts.task), labels, self._bags, self.config, key=key)
        else:
            value = self._fit(labels, key=key).parts(self.parts.world, self.parts.policy).bound
        scale = value_scale(value, self._prior)
        tested = Labels(self.psi[self._check], returns[self._check], self._episodes[self._check])
        row = {"r2": explained(value, tested), "value_scale": float(scale)}
        return AgentModel(self.parts.world, self.parts.policy, value, _usable_scale(scale)), row

    def fit_all(self, returns: Float[np.ndarray, " n"], rows: Int[np.ndarray, " k"], *, key: PRNGKeyArray) -> TaskFit:
        """Every value that the run has, from the same labels."""
        fit = self._fit(self._labels(returns, rows), key=key)
        scales = fit.linear_scale, fit.task_scale, fit.bound_scale
        usable = [None if scale is None else _usable_scale(scale) for scale in scales]
        return dataclasses.replace(fit, linear_scale=usable[0], task_scale=usable[1], bound_scale=usable[2])

    def _labels(self, returns: Float[np.ndarray, " n"], rows: Int[np.ndarray, " k"]) -> Labels:
        return Labels(self.psi[rows], returns[rows], self._episodes[rows])

    def _fit(self, labels: Labels, *, key: PRNGKeyArray) -> TaskFit:
        everything = np.arange(len(labels.returns))
        decoder = _stacked_decoder(self.parts.task)
        return fit_task(decoder, labels, self._prior, self._bags, self.config, decoder_labels=everything, key=key)


def _usable_scale(scale: Scalar) -> Scalar:
    """The unit of λ, or 1 where V is flat: labels that are all alike tell of no preference, and any unit serves."""
    return jnp.where(scale > 1e-6, scale, 1.0)


def _stacked_decoder(value: TaskValue | EnsembleValue) -> ValueDecoder:
    """The decoder of a task's value, or all of them, stacked."""
    return value.members.decoder if isinstance(value, EnsembleValue) else value.decoder
