"""How well a trained model of outcomes fits the episodes that training held out."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Float, Int, PRNGKeyArray
from owma.config.diagnose import QUICK, DiagnoseConfig
from owma.config.experiment import ExperimentConfig
from owma.config.training import TrainingConfig
from owma.outcomes.targets import outcome_target
from owma.outcomes.transitions import Transitions
from owma.outcomes.verification import (
    central_coverage,
    energy_score,
    marginal_energy_score,
    rank_histogram_places,
    ratio_interval,
    spread_and_error,
)
from owma.outcomes.world import WorldModel, draw_each
from owma.results.diagnosis import Finding, outcome_findings
from owma.train.rows import OutcomeData
from owma.train.split import split_episodes

LEVELS = np.arange(1, 10) / 10
"""Of the central intervals whose coverage is measured."""

_BINS = 10
"""Of a rank histogram."""

_MOST_ROWS = 50_000
"""Rows of held-out episodes that are read, if the first episode is not longer."""


@dataclasses.dataclass(frozen=True)
class RecordedOutcomes:
    """States, and what was recorded to come of them."""

    obs: Float[np.ndarray, "n obs"]
    action: Float[np.ndarray, "n act"]
    """What was done there."""
    psi: Float[np.ndarray, "n psi"]
    """The outcome, in whitened coordinates; beyond the last state of a truncated episode, by a draw of the model."""
    guessed: Float[np.ndarray, " n"]
    """The weight of that draw: 0 where the episode terminates, or its last state is taken to be absorbing."""
    episodes: Int[np.ndarray, " n"]
    """The number of the episode in the dataset."""

    def __len__(self) -> int:
        return len(self.obs)

    @classmethod
    def of(
        cls, world: WorldModel, data: OutcomeData, episodes: Int[np.ndarray, " n"], *, key: PRNGKeyArray
    ) -> "RecordedOutcomes":
        """The outcomes of rows of `data`, which was built to the end of its episodes (`horizon=None`)."""
        guessed = np.where(data.terminal, 0.0, data.discount)
        bootstrap = jnp.zeros_like(data.sums)
        if guessed.any():
            bootstrap = jnp.asarray(draw_each(world, data.bootstrap_obs, 1, key=key)[:, 0])
        target = jax.vmap(outcome_target, in_axes=(0, 0, 0, 0, None))
        psi = target(data.sums, data.discount, data.terminal, bootstrap, world.terminal_outcome)
        return cls(np.asarray(data.obs), np.asarray(data.action), np.asarray(psi), guessed, episodes)


def whole_outcomes(world: WorldModel, transitions: Transitions, config: TrainingConfig) -> OutcomeData:
    """What was recorded to the end of each episode, and what the model has to add there."""
    absorbing = config.after_truncation == "stay"
    (data,) = OutcomeData.build(world, transitions, np.ones(len(transitions), bool), horizon=None, absorbing=absorbing)
    return data


def few_guessed(data: OutcomeData, most: float) -> Int[np.ndarray, " k"]:
    """The rows whose outcome is guessed by at most this weight; all where there is none."""
    guessed = np.where(data.terminal, 0.0, data.discount)
    rows = np.flatnonzero(guessed <= most)
    return rows if len(rows) else np.arange(len(guessed))


def held_out_mask(transitions: Transitions, config: ExperimentConfig) -> np.ndarray:
    """Which rows of its dataset the training of a run held out; all, of a dataset of one episode."""
    training = config.training
    about = {"seed": config.seed, "spare_singular": training.hold_out == "alike"}
    return split_episodes(transitions, training.held_out, **about)[1]


def held_out_outcomes(
    world: WorldModel, transitions: Transitions, config: ExperimentConfig, asked: DiagnoseConfig, *, key: PRNGKeyArray
) -> tuple[RecordedOutcomes, int]:
    """Random states of the episodes that training held out, and the number of those episodes.

    Of many episodes some are read: 50,000 rows.
    """
    rng = np.random.default_rng(asked.seed)
    episode_ids, mask = transitions.episode_ids, held_out_mask(transitions, config)
    held_out = np.unique(episode_ids[mask])
    lengths = np.bincount(episode_ids)
    order = rng.permutation(held_out)
    read = order[: max(1, int(np.searchsorted(np.cumsum(lengths[order]), _MOST_ROWS, side="right")))]
    rows = np.flatnonzero(np.isin(episode_ids, read))
    data = whole_outcomes(world, transitions.rows(rows), config.training)
    usable = few_guessed(data, asked.most_guessed)
    chosen = np.sort(rng.choice(usable, min(asked.states, len(usable)), replace=False))
    picked = data.rows(jnp.asarray(chosen))
    return RecordedOutcomes.of(world, picked, episode_ids[rows[chosen]], key=key), len(held_out)


def outcome_figures(recorded: RecordedOutcomes, draws: Float[np.ndarray, "n m psi"], *, seed: int) -> dict[str, Any]:
    """How well draws of the model fit what was recorded.

    **Returns:** `states`, `episodes` (how many), `guessed` (the mean weight of what the model adds to an outcome),
    `draws`; `energy_score` of the model and `energy_score_marginal` of a law that does not know the state, and
    `skill_marginal`, 1 less their ratio (`None` of a single episode); `levels`, `coverage` (of each coordinate, by
    level), `calibration` (mean of |coverage − level|), `coverage_bias` (mean of coverage − level, negative where the
    model is too sure) and `calibration_by_chance` (what a calibrated model would have of so many episodes);
    `histograms` (shares, of each coordinate); `variance` of the draws and `error` of their mean, of each coordinate;
    `spread`, the ratio of their sums, and `spread_interval`.
    """
    scores = energy_score(draws, recorded.psi)
    marginal = marginal_energy_score(recorded.psi, recorded.episodes)
    places = rank_histogram_places(draws, recorded.psi, seed=seed)
    coverage = central_coverage(places, LEVELS)
    variance, error = spread_and_error(draws, recorded.psi)
    count = len(np.unique(recorded.episodes))
    known = not np.isnan(marginal).any()
    histograms = [np.histogram(of_one, _BINS, (0, 1))[0] / len(of_one) for of_one in places.T]
    return {
        "states": len(recorded),
        "episodes": count,
        "draws": draws.shape[1],
        "guessed": float(recorded.guessed.mean()),
        "energy_score": float(scores.mean()),
        "energy_score_marginal": float(marginal.mean()) if known else None,
        "skill_marginal": 1 - float(scores.mean() / marginal.mean()) if known and marginal.mean() > 0 else None,
        "levels": LEVELS.tolist(),
        "coverage": coverage.T.tolist(),
        "calibration": float(np.mean(np.abs(coverage - LEVELS[:, None]))),
        "coverage_bias": float(np.mean(coverage - LEVELS[:, None])),
        "calibration_by_chance": float(np.mean(np.sqrt(2 / np.pi * LEVELS * (1 - LEVELS) / count))),
        "histograms": [of_one.tolist() for of_one in histograms],
        "variance": variance.mean(axis=0).tolist(),
        "error": error.mean(axis=0).tolist(),
        "spread": float(variance.sum() / error.sum()) if error.any() else None,
        "spread_interval": ratio_interval(variance.sum(axis=1), error.sum(axis=1), recorded.episodes, seed=seed),
    }


def doubts(world: WorldModel, transitions: Transitions, config: ExperimentConfig) -> list[Finding]:
    """What is bad of a model that has just been trained, from a few hundred states: a few seconds, whatever the data.

    `owma diagnose` looks at more.
    """
    outcome_key, draw_key = jax.random.split(jax.random.key(QUICK.seed))
    recorded, _ = held_out_outcomes(world, transitions, config, QUICK, key=outcome_key)
    draws = draw_each(world, recorded.obs, QUICK.draws, key=draw_key)
    figures = outcome_figures(recorded, draws, seed=QUICK.seed)
    return [finding for finding in outcome_findings(figures, QUICK.thresholds) if finding.verdict == "bad"]
