"""What the method claims, each checked against rows; a claim that is false is said to be."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from owma.results.analysis import OURS, Axis, Group
from owma.results.intervals import interval_text, lacking

SKEW = "data.skew"

ADAPTING = (OURS, "adaptation_draw", "adaptation_adam", "published")
"""Planners that change the model's parameters; the others are what the claim of the skew curve is about."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """One of them, and what the rows say of it."""

    text: str
    holds: bool | None
    """`None` where the rows cannot tell."""
    evidence: str


def claims(experiments: Sequence[Group], axes: Sequence[Axis]) -> list[Claim]:
    """Those that the rows of the experiments bear on; `axes` as `owma.results.analysis.ablations` returns them."""
    by_skew = {group.settings[SKEW]: group for group in experiments if SKEW in group.settings}
    judged = [
        *_rare_routes({skew: group for skew, group in by_skew.items() if 0.001 <= skew <= 0.02}),
        *_negative_control(by_skew.get(0)),
    ]
    for axis in axes:
        if axis.base == OURS and axis.field == "kl_coef":
            judged += _trends_in_kl_coef(axis)
    return judged


def _rare_routes(by_skew: Mapping[float, Group]) -> list[Claim]:
    differences = {
        skew: [c for c in group.comparisons if c["metric"] == "success" and c["rival"] not in ADAPTING]
        for skew, group in sorted(by_skew.items())
    }
    differences = {skew: compared for skew, compared in differences.items() if compared}
    if not differences:
        return []
    below = [
        f"{c['rival']} at {skew:g}" for skew, losing in differences.items() for c in losing if c["verdict"] == "loses"
    ]
    rarest = min(differences)
    level = [c["rival"] for c in differences[rarest] if c["verdict"] != "wins"]
    missing = _missing(c for losing in differences.values() for c in losing)
    missing_at_rarest = _missing(differences[rarest])
    by = "by the paired 95 % intervals of success"
    return [
        Claim(
            "Where 0.1 % to 2 % of the data take the route, adaptation is not below any planner that does not adapt.",
            None if missing and not below else not below,
            f"Below: {', '.join(below)}." if below else missing or f"Below none, {by}.",
        ),
        Claim(
            f"At the rarest ({rarest:g}) it is above all of them.",
            None if missing_at_rarest else not level,
            missing_at_rarest or (f"Not above: {', '.join(level)}." if level else f"Above each, {by}."),
        ),
    ]


def _missing(compared: Iterable[Mapping[str, Any]]) -> str:
    """What is missing for a verdict in some of the comparisons, as a sentence."""
    lacking = dict.fromkeys(c["lacking"] for c in compared if c["lacking"])
    return f"{'; '.join(lacking).capitalize()}." if lacking else ""


def _negative_control(group: Group | None) -> list[Claim]:
    entry = group.results["planners"].get(OURS) if group is not None else None
    if entry is None:
        return []
    ends = entry["intervals"]["promise_gap"]
    missing = lacking(seeds=entry["seeds"])
    share = "unknown" if entry["success"] is None else f"{100 * entry['success']:.0f} %"
    return [
        Claim(
            "Where the route was never recorded, the promise gap says that nobody knows the way.",
            None if ends is None or missing else ends[0] > 0,
            f"Gap of {OURS} {interval_text(entry['promise_gap'], ends)}, success {share}: "
            + (f"{missing}." if missing else _of_promises(ends)),
        )
    ]


def _of_promises(ends: Sequence[float] | None) -> str:
    broken = ends is not None and ends[0] > 0
    return "what it promises it does not keep." if broken else "no broken promise gives it away."


def _trends_in_kl_coef(axis: Axis) -> list[Claim]:
    claims = []
    for key, text in (("kl", "The KL falls as λ grows."), ("promise_gap", "The promise gap shrinks as λ grows.")):
        trend = axis.trend(key)
        where = f" ({axis.group})" if axis.group else ""
        path = ", ".join(f"{value:g}: {entry[key]:.3g}" for value, entry in zip(axis.values, axis.entries))
        missing = lacking(seeds=min(entry["seeds"] for entry in axis.entries))
        # Near 1 and not 1: means of a few episodes need not be in order to the last place.
        holds = None if trend is None or missing else trend < -0.8
        claims.append(Claim(text, holds, f"By λ{where}: {path}." + (f" {missing.capitalize()}." if missing else "")))
    return claims
