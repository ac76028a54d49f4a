"""Which episodes are held out of training, for calibration and validation."""

import math

import numpy as np

from owma._internal.types import Bool, Float, Int
from owma.outcomes.transitions import Transitions, release

_SPARED = 0.2
"""Share of the episodes drawn that are not held out, because they are the least like any other."""

_REFERENCE = 2_000
"""Episodes that one is compared with, at most."""

_STEPS = 16
"""Steps of an episode that are looked at, at most."""


def split_episodes(
    transitions: Transitions, share: float, *, seed: int, spare_singular: bool = False
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Row masks (training, held out); a random fraction `share` of the episodes, at least one, is held out.

    A dataset of one episode cannot be split: both masks then select all of it.

    **Arguments:** `spare_singular`: draw a quarter more episodes, and give those back that are the least like any other
    (`singularity`). What only one of them shows, a rare way say, can be learnt from that one alone; and how far the
    model errs on it, who has never seen the like, says little of how far it errs elsewhere.
    """
    episodes = transitions.num_episodes
    if episodes == 1:
        all_rows = np.ones(len(transitions), bool)
        return all_rows, all_rows
    count = min(max(1, round(share * episodes)), episodes - 1)
    drawn = min(math.ceil(count / (1 - _SPARED)), episodes) if spare_singular else count
    rng = np.random.default_rng(seed)
    chosen = rng.choice(episodes, drawn, replace=False)
    if drawn > count:
        others = rng.choice(episodes, min(_REFERENCE, episodes), replace=False)
        chosen = chosen[np.argsort(singularity(transitions, chosen, others), kind="stable")[:count]]
    is_held_out = np.zeros(episodes, bool)
    is_held_out[chosen] = True
    held_out = np.repeat(is_held_out, np.diff(transitions.episode_starts, append=len(transitions)))
    return ~held_out, held_out


def singularity(
    transitions: Transitions, episodes: Int[np.ndarray, " k"], others: Int[np.ndarray, " m"]
) -> Float[np.ndarray, " k"]:
    """How far each of the `episodes` is from the nearest of the `others` but itself.

    Episodes are compared by their mean state and their last one, in standard deviations of each among the `others`.
    """
    summaries = _summaries(transitions, np.concatenate([episodes, others]))
    spread = summaries[len(episodes) :].std(axis=0)
    summaries = summaries / np.where(spread > 0, spread, 1.0)
    found, reference = summaries[: len(episodes)], summaries[len(episodes) :]
    nearest = np.empty(len(episodes))
    for i, (episode, summary) in enumerate(zip(episodes, found)):
        distances = np.linalg.norm(reference[others != episode] - summary, axis=1)
        nearest[i] = distances.min() if len(distances) else np.inf
    return nearest


def _summaries(transitions: Transitions, episodes: Int[np.ndarray, " k"]) -> Float[np.ndarray, "k twice_obs"]:
    starts = transitions.episode_starts
    lengths = np.diff(starts, append=len(transitions))
    summaries = []
    for episode in episodes:
        steps = np.unique(np.linspace(0, lengths[episode] - 1, _STEPS).astype(int))
        states = np.asarray(transitions.obs[starts[episode] + steps], np.float64)
        last = np.asarray(transitions.next_obs[starts[episode] + lengths[episode] - 1], np.float64)
        summaries.append(np.concatenate([states.mean(axis=0), last]))
    for array in (transitions.obs, transitions.next_obs):
        release(array)
    return np.stack(summaries)
