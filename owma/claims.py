"""What the method claims, each checked against rows; a claim that is false is said to be."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from owma.analysis import OURS, Axis, Group, comparisons, groups
from owma.tables import summarise

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


def claims(rows: Sequence[Mapping[str, Any]], axes: Sequence[Axis]) -> list[Claim]:
    """Those that the rows say anything about; `axes` are what `owma.analysis.ablations` found."""
    by_skew = {group.settings[SKEW]: group for group in groups(rows) if SKEW in group.settings}
    found = [
        *_rare_routes({skew: group for skew, group in by_skew.items() if 0.001 <= skew <= 0.02}),
        *_negative_control(by_skew.get(0)),
    ]
    for axis in axes:
        if axis.base == OURS and axis.field == "kl_coef":
            found += _price(axis)
    return found


def _rare_routes(by_skew: Mapping[float, Group]) -> list[Claim]:
    differences = {
        skew: [c for c in comparisons(group.rows, keys=("success",)) if c["rival"] not in ADAPTING]
        for skew, group in sorted(by_skew.items())
    }
    differences = {skew: compared for skew, compared in differences.items() if compared}
    if not differences:
        return []
    below = [
        f"{c['rival']} at {skew:g}" for skew, found in differences.items() for c in found if c["verdict"] == "loses"
    ]
    rarest = min(differences)
    level = [c["rival"] for c in differences[rarest] if c["verdict"] != "wins"]
    return [
        Claim(
            "Where 0.1 % to 2 % of the data take the route, adaptation is not below any planner that does not adapt.",
            not below,
            f"Below: {', '.join(below)}." if below else "Below none, by the paired 95 % intervals of success.",
        ),
        Claim(
            f"At the rarest ({rarest:g}) it is above all of them.",
            not level,
            f"Not above: {', '.join(level)}." if level else "Above each, by the paired 95 % intervals of success.",
        ),
    ]


def _negative_control(group: Group | None) -> list[Claim]:
    entry = summarise(group.rows)["planners"].get(OURS) if group is not None else None
    if entry is None:
        return []
    ends = entry["intervals"]["promise_gap"]
    share = "unknown" if entry["success"] is None else f"{100 * entry['success']:.0f} %"
    return [
        Claim(
            "Where the route was never recorded, the promise gap says that nobody knows the way.",
            None if ends is None else ends[0] > 0,
            f"Gap of {OURS} {_spread(entry['promise_gap'], ends)}, success {share}: "
            + ("what it promises it does not keep." if ends and ends[0] > 0 else "no broken promise gives it away."),
        )
    ]


def _price(axis: Axis) -> list[Claim]:
    found = []
    for key, text in (("kl", "The KL falls as λ grows."), ("promise_gap", "The promise gap shrinks as λ grows.")):
        trend = axis.trend(key)
        where = f" ({axis.group})" if axis.group else ""
        path = ", ".join(f"{value:g}: {entry[key]:.3g}" for value, entry in zip(axis.values, axis.entries))
        # Near 1 and not 1: means of a few episodes need not be in order to the last place.
        found.append(Claim(text, None if trend is None else trend < -0.8, f"By λ{where}: {path}."))
    return found


def _spread(middle: float, ends: Sequence[float] | None) -> str:
    return f"{middle:.3g}" if ends is None else f"{middle:.3g} [{ends[0]:.3g}, {ends[1]:.3g}]"
