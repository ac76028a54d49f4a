"""The diagnosis of a run: its models against the episodes that training held out, and its promises against the data."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.progress import Progress
from owma._internal.tree import map_rows
from owma._internal.types import Float, Int
from owma.config.diagnose import DiagnoseConfig
from owma.config.task import describe_task
from owma.diagnose.planning import policy_figures, promise_figures
from owma.diagnose.recorded import Recorded, explained_within, standardised, task_of, values_of
from owma.outcomes.pessimism import LowerBound
from owma.outcomes.value import AbstractValue
from owma.outcomes.verification import energy_score, neighbours, ratio_interval
from owma.outcomes.world import draw_each
from owma.results.diagnosis import Finding, Verdict, all_findings, worst
from owma.runs.load import SavedRun
from owma.runs.parts import TrainedParts
from owma.train.held_out import RecordedOutcomes, few_guessed, held_out_outcomes, outcome_figures

_STARTS_DRAWN = 256
"""States at which episodes begin, where the model's best draws are counted, at most."""


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What was found of a run."""

    folder: Path
    """That of the run."""
    about: Mapping[str, str]
    """What it is of."""
    figures: Mapping[str, Any]
    """`outcomes`, `policy`, `value`, `support` and `promises`, as the functions that measure them say."""
    findings: list[Finding]
    """A sentence each."""

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings."""
        return worst(self.findings)


def diagnose_run(
    run: SavedRun, config: DiagnoseConfig, *, trusted: tuple[str, ...] = (), progress: Progress
) -> Diagnosis:
    """Measure and judge; nothing is written.

    **Arguments:** `trusted`: modules that the run's reward function may be imported from, beside owma.

    **Raises:** `OwmaError` if the dataset is gone or not the same, or the task's code is not trusted.
    """
    task = task_of(run, trusted)
    world, parts = run.parts.world, run.parts
    value = run.model.value
    keys = jax.random.split(jax.random.key(config.seed), 6)
    with progress("diagnosing", 5, 0) as advance:
        recorded, whole = Recorded.read(run, task)
        held_out, held_out_episodes = held_out_outcomes(world, whole, run.config, config, key=keys[0])
        draws = draw_each(world, held_out.obs, config.draws, key=keys[1])
        outcomes = outcome_figures(held_out, draws, seed=config.seed)
        queries = standardised(world.observation, held_out.obs)
        surroundings = _surroundings(recorded, queries, config)
        rows, radius = surroundings if surroundings is not None else (None, 0.0)
        advance(1, note="outcomes")
        if rows is not None:
            outcomes |= _neighbour_figures(run, recorded, held_out, draws, rows, outcomes, config)
        advance(1, note="policy")
        policy = policy_figures(parts.policy, held_out, draws, config, key=keys[2])
        advance(1, note="value")
        values = value_figures(parts, value, recorded, rows)
        support = support_figures(run, value, recorded, queries, radius, config)
        advance(1, note="plans")
        promises = promise_figures(run, recorded, radius, config, key=keys[3])
        advance(1)
    figures = {"outcomes": outcomes, "policy": policy, "value": values, "support": support, "promises": promises}
    about = {
        "run": f"{run.config.name}, {run.folder.path.name}",
        "task": describe_task(run.config.task),
        "held out": f"{held_out_episodes:,} of {whole.num_episodes:,} episodes",
        "looked at": f"{len(held_out):,} states of {outcomes['episodes']:,} of them, {config.draws} draws each",
        "guessed of a recorded outcome": f"{100 * outcomes['guessed']:.0f} %, beyond the end of truncated episodes",
    }
    return Diagnosis(run.folder.path, about, figures, all_findings(figures, config.thresholds))


def _surroundings(
    recorded: Recorded, queries: Float[np.ndarray, "n obs"], config: DiagnoseConfig
) -> tuple[Int[np.ndarray, "n k"], float] | None:
    """Rows of like states in episodes that were trained on, and how far they are: the median distance of the last.

    `None` where there are no two such episodes.
    """
    usable = np.zeros(len(recorded.states), bool)
    usable[few_guessed(recorded.data, config.most_guessed)] = True
    rows = np.flatnonzero(usable & ~recorded.is_held_out)
    episodes = recorded.transitions.episode_ids[rows]
    starts = np.flatnonzero(np.diff(episodes, prepend=-1))
    if len(starts) < 2:
        return None
    found = neighbours(queries, recorded.states[rows], starts, config.neighbours)
    radius = float(np.median([distances[-1] for _, distances in found]))
    return np.stack([rows[near] for near, _ in found]), radius


def _neighbour_figures(
    run: SavedRun,
    recorded: Recorded,
    held_out: RecordedOutcomes,
    draws: Float[np.ndarray, "n m psi"],
    rows: Int[np.ndarray, "n k"],
    outcomes: Mapping[str, Any],
    config: DiagnoseConfig,
) -> dict[str, Any]:
    """What `outcome_figures` lacks: the model beside the recorded outcomes of like states.

    **Returns:** `energy_score_neighbours` and `skill_neighbours`, 1 less the ratio of the model's score to it, with
    `skill_neighbours_interval`; `variance_neighbours` of their outcomes, of each coordinate; `spread` and
    `spread_interval` against the smaller of that and the squared error, since either is too large by what the other is
    not (the one by the distance of like states, the other by the error of the model's mean); and `spread_replicated`,
    the variance of one draw of the model in each of the like states over that of the recorded outcomes: both hold what
    like states differ by.
    """
    world, (n, k) = run.parts.world, rows.shape
    outcome_key, draw_key = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 1))
    flat, place = np.unique(rows, return_inverse=True)
    # A row is a neighbour of several states: its outcome is completed once.
    data = recorded.data.rows(jnp.asarray(flat))
    like = RecordedOutcomes.of(world, data, recorded.transitions.episode_ids[flat], key=outcome_key)
    near = like.psi[place.reshape(n, k)]
    replicated = draw_each(world, like.obs, 1, key=draw_key)[:, 0][place.reshape(n, k)]
    model, score = energy_score(draws, held_out.psi), energy_score(near, held_out.psi)
    low, high = ratio_interval(model, score, held_out.episodes, seed=config.seed)
    variance, of_near, of_replicated = (x.var(axis=1, ddof=1) for x in (draws, near, replicated))
    found: dict[str, Any] = {
        "energy_score_neighbours": float(score.mean()),
        "skill_neighbours": 1 - float(model.mean() / score.mean()) if score.mean() > 0 else None,
        "skill_neighbours_interval": (1 - high, 1 - low),
        "variance_neighbours": of_near.mean(axis=0).tolist(),
        "spread_replicated": float(of_replicated.sum() / of_near.sum()) if of_near.sum() > 0 else None,
    }
    if 0 < of_near.mean(axis=0).sum() < sum(outcomes["error"]):
        found["spread"] = float(variance.sum() / of_near.sum())
        sums = variance.sum(axis=1), of_near.sum(axis=1)
        found["spread_interval"] = ratio_interval(*sums, held_out.episodes, seed=config.seed)
    return found


def value_figures(
    parts: TrainedParts, value: AbstractValue, recorded: Recorded, rows: Int[np.ndarray, "n k"] | None
) -> dict[str, Any]:
    """How well V explains returns.

    **Returns:** `held_out`, R² of each value on episodes that it was not fitted to (`None` where that is not known);
    `within`, R² of the value that is acted by among the outcomes of like states, each less its mean there (of episodes
    that it was fitted to; `None` where returns do not differ).
    """
    held_out = None
    if parts.unexplained is not None:
        r2 = (1 - np.asarray(parts.unexplained, np.float64)).tolist()
        held_out = dict(zip(parts.bound.names, r2, strict=True))
    if rows is None:
        return {"held_out": held_out, "within": None}
    flat, place = np.unique(rows, return_inverse=True)
    predicted = values_of(value, recorded.psi[flat])[place.reshape(rows.shape)]
    return {"held_out": held_out, "within": explained_within(predicted, recorded.returns[rows])}


def support_figures(
    run: SavedRun,
    value: AbstractValue,
    recorded: Recorded,
    queries: Float[np.ndarray, "n obs"],
    radius: float,
    config: DiagnoseConfig,
) -> dict[str, Any]:
    """What the data show of the task's best.

    **Arguments:** `queries`: standardised held-out states; `radius`: how far like states are from each other.

    **Returns:** of the discounted returns of whole episodes `best`, `median` and `percentiles` (0 to 100); `episodes`,
    and how many are `near_best` (see `Thresholds.near_best`), with a return of `near_best_return` and more;
    `within_reach`, the share of `queries` that one of these passes; `near_best_mean`, what these return from their
    starts in the mean, and what V says of them, `near_best_value`, and each of the values that it is a bound of,
    `near_best_values` (`None` of another one); of the outcomes at starts that V calls near the best `recorded_share`,
    and of the model's draws there `drawn_share`.
    """
    starts = recorded.transitions.episode_starts
    returns = recorded.returns[starts].astype(np.float64)
    best, median = float(returns.max()), float(np.median(returns))
    threshold = best - config.thresholds.near_best * (best - median)
    is_near = returns >= threshold
    of_near = np.flatnonzero(is_near[recorded.transitions.episode_ids])
    firsts = np.flatnonzero(np.diff(recorded.transitions.episode_ids[of_near], prepend=-1))
    nearest = neighbours(queries, recorded.states[of_near], firsts, 1)
    chosen = np.random.default_rng(config.seed).permutation(starts)[:_STARTS_DRAWN]
    key = jax.random.fold_in(jax.random.key(config.seed), 2)
    drawn = draw_each(run.parts.world, recorded.transitions.obs[chosen], config.draws, key=key)
    said = values_of(value, recorded.psi[starts])
    return {
        "episodes": len(starts),
        "best": best,
        "median": median,
        "percentiles": np.percentile(returns, np.arange(101)).tolist(),
        "near_best": int(is_near.sum()),
        "near_best_return": threshold,
        "within_reach": float(np.mean([distances[0] <= radius for _, distances in nearest])),
        "near_best_mean": float(returns[is_near].mean()),
        "near_best_value": float(said[is_near].mean()),
        "near_best_values": _of_members(value, recorded.psi[starts[is_near]]),
        "recorded_share": float(np.mean(said >= threshold)),
        "drawn_share": float(np.mean(values_of(value, drawn.reshape(-1, drawn.shape[-1])) >= threshold)),
    }


def _of_members(value: AbstractValue, psi: Float[np.ndarray, "n psi"]) -> dict[str, float] | None:
    """What each of the values below a bound says of outcomes, in the mean."""
    if not isinstance(value, LowerBound):
        return None
    return dict(zip(value.names, map_rows(value.members, psi).mean(axis=0).tolist(), strict=True))
