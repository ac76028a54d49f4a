"""The value of a task from labelled outcomes, every other part of the agent as it was trained."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.tree import map_rows
from owma._internal.types import Float, Int, PRNGKeyArray
from owma.config.transfer import FitKind
from owma.config.value import ValueConfig
from owma.outcomes.transitions import Transitions
from owma.outcomes.value import AbstractValue, LinearValue, infer_task, prior_outcomes, r_squared, value_scale
from owma.outcomes.world import whitened_outcomes
from owma.planners import AgentModel
from owma.runs.parts import TrainedParts
from owma.train.experiment import task_returns

_CHECKED = 10_000  # Rows on which R² is measured.
_STATES = 256  # States over which `value_scale` is taken, as in training.


class TaskInference:
    r"""Fits values of tasks to k labelled samples $(\psi_i, G_i)$ of the dataset, with nothing trained again.

    A label is the outcome ψ that followed a state and its discounted return G under the task, as in training.
    `decoder`: z* by gradient through $V_\theta(\psi, z)$ (`owma.outcomes.value.infer_task`); `linear`: w by ridge
    regression (`owma.outcomes.value.LinearValue.fit`); both on the same samples.
    """

    def __init__(self, parts: TrainedParts, config: ValueConfig, transitions: Transitions, *, seed: int) -> None:
        self.parts, self.config, self.transitions, self.seed = parts, config, transitions, seed
        self.psi = whitened_outcomes(parts.world, transitions)
        rng = np.random.default_rng(seed)
        size = len(self.psi)
        self._check = rng.choice(size, min(_CHECKED, size), replace=False)
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
        psi, known = self.psi[rows], returns[rows]
        if kind == "linear":
            value: AbstractValue = LinearValue.fit(psi, known, ridge=self.config.ridge)
        else:
            value = infer_task(self.parts.task.decoder, psi, known, prior=self.config.embedding_prior, key=key)
        scale = value_scale(value, self._prior)
        predicted = map_rows(lambda p: value(p)[None], self.psi[self._check])[:, 0]
        truth = returns[self._check]
        row = {
            "r2": r_squared(predicted, truth) if np.ptp(truth) else None,
            "value_scale": float(scale),
        }
        # Labels that are all alike tell of no preference: V is flat, and any unit serves.
        flat = not float(scale) > 1e-6
        return AgentModel(self.parts.world, self.parts.policy, value, jnp.where(flat, 1.0, scale)), row
