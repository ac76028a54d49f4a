"""Promises that the data or the episodes speak against, in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from owma.results.baselines import DATA

_MARGIN = 0.05
"""Of the range of the data's returns: so far beyond it a promise may lie before anything is said."""
_MUCH = 0.5
"""Of a promise, counted from the worst return of the data: more than so much of it that is not kept is said."""

_REMEDY = (
    "raise the price of a nat (evaluation.kl_coef, or planner.kl_coef of one planner), or act by another value "
    "(value.kind)"
)


def kept_promises(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the first decisions of each planner promised, and what was realised of it.

    **Returns:** for each planner that promised something the means `promised` and `realised`, discounted, and
    `by_seed`, of each seed realised/promised where its promise is above zero.
    """
    by_planner: dict[str, dict[Any, list[tuple[float, float]]]] = {}
    for row in rows:
        if row.get("value") is not None and row.get("promise_gap") is not None:
            pair = float(row["value"]), float(row["value"]) - float(row["promise_gap"])
            by_planner.setdefault(row["planner"], {}).setdefault(row["seed"], []).append(pair)
    kept = {}
    for name, by_seed in by_planner.items():
        means = [np.mean(pairs, axis=0) for pairs in by_seed.values()]
        promised, realised = np.mean([pair for pairs in by_seed.values() for pair in pairs], axis=0)
        shares = [float(mean[1] / mean[0]) for mean in means if mean[0] > 0]
        kept[name] = {"promised": float(promised), "realised": float(realised), "by_seed": shares}
    return kept


def doubtful_promises(results: Mapping[str, Any]) -> list[str]:
    """A sentence on planners whose V(ψ*) lies beyond all discounted returns of the data, and one on those of whose
    promise the larger part was not kept.

    **Arguments:** `results`: what `owma.results.tables.summarise` returns, with `baselines`. Where these say nothing of
    the data, nothing is said.
    """
    data = results.get("baselines", {}).get(DATA)
    if data is None:
        return []
    low, high = data["discounted"]
    margin, beyond, unkept = _MARGIN * (high - low), [], []
    for name, entry in results["planners"].items():
        value, gap = entry.get("value"), entry.get("promise_gap")
        if value is None:
            continue
        if not low - margin <= value <= high + margin:
            beyond.append(f"{name} {value:.3g}")
        if gap is not None and gap > max(_MUCH * (value - low), margin):
            unkept.append(f"{name} {gap:.3g} of {value:.3g}")
    said = []
    if beyond:
        said.append(
            f"what is promised, V, lies outside the discounted returns of the data, [{low:.3g}, {high:.3g}]: "
            f"{', '.join(beyond)}; no recorded state has brought that, so V is a guess there: {_REMEDY}."
        )
    if unkept:
        said.append(
            f"most of what is promised does not come (promise gap of V, the data's worst return being {low:.3g}): "
            f"{', '.join(unkept)}; plans ask for what the policy does not bring about: {_REMEDY}."
        )
    return said
