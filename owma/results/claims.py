"""What the method claims, each checked against rows; a claim that is false is said to be."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from owma.results.analysis import FORMS, NO_RIVALS, OURS, Axis, Group
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


_JUDGED = {
    "wins": "Adaptation is above the best rival",
    "loses": "Adaptation is below the best rival",
    "open": "No difference from the best rival is shown",
}


def against_best(group: Group) -> Mapping[str, Any] | None:
    """The comparison of adaptation with the rival of the highest mean success, or return where nobody knows of success;
    of several that succeed alike the one with the highest return. `None` where nothing can be compared.

    Other forms of the method (`FORMS`) are no rivals.
    """
    means: dict[str, dict[str, Mapping[str, Any]]] = {}
    for c in group.comparisons:
        if not c["rival"].startswith((FORMS, OURS)) and c["rival"] not in NO_RIVALS:
            means.setdefault(c["rival"], {})[c["metric"]] = c
    if not means:
        return None
    key = "success" if all("success" in of_rival for of_rival in means.values()) else "return"
    best = max(means, key=lambda rival: (means[rival][key]["theirs"], means[rival]["return"]["theirs"]))
    return means[best][key]


def headline(experiments: Sequence[Group]) -> str:
    """What comes of adaptation against the best rival, in a sentence or two, by the rule of verdicts."""
    compared = [c for c in map(against_best, experiments) if c is not None]
    if not compared:
        return f"No planner was evaluated on the same episodes as {OURS}, so there is no verdict."
    if len(compared) > 1:
        counts = {verdict: sum(c["verdict"] == verdict for c in compared) for verdict in (*_JUDGED, "none")}
        missing = dict.fromkeys(c["lacking"].removeprefix("no verdict: ") for c in compared if c["lacking"])
        without = f" ({'; '.join(missing)})" if missing else ""
        said = [
            f"above the best rival in {counts['wins']}" if counts["wins"] else "",
            f"below the best rival in {counts['loses']}" if counts["loses"] else "",
            f"no difference from the best rival is shown in {counts['open']}" if counts["open"] else "",
            f"no verdict in {counts['none']}{without}" if counts["none"] else "",
        ]
        return f"Adaptation in {len(compared)} experiments: {', '.join(filter(None, said))}."
    (c,) = compared
    scale, form, unit = (100.0, ".0f", " %") if c["metric"] == "success" else (1.0, ".3g", "")
    ours, theirs = (f"{scale * c[key]:{form}}{unit}" for key in ("ours", "theirs"))
    word = "succeeds in" if c["metric"] == "success" else "returns"
    missing = c["lacking"].removeprefix("no verdict: ")
    judged = _JUDGED.get(c["verdict"]) or (f"No verdict ({missing})" if missing else "No verdict")
    difference = interval_text(c["mean"], c["interval"], f"+{form}", scale)
    return (
        f"{judged}: adaptation {word} {ours}, {c['rival']} {theirs}; difference {difference}"
        f"{' points' if c['metric'] == 'success' else ''}."
    )


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
