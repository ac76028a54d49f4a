"""Results and tables of rows in which something was varied: of a sweep, and of the campaign over skews."""

from collections.abc import Mapping, Sequence
from typing import Any

from owma.results.analysis import OURS, Group
from owma.results.intervals import lacking
from owma.results.tables import paired_difference, results_markdown

_PAIRED = ("success", "return", "promise_gap")


def sweep_summary(experiments: Sequence[Group]) -> tuple[dict[str, Any], str]:
    """`results.json` and `table.md` of a sweep's episodes: of each experiment that was varied, its planners.

    `experiments`: what `owma.results.analysis.groups` returns.
    """
    results, tables = [], []
    for group in experiments:
        results.append({"settings": group.settings, **group.results, "comparisons": group.comparisons})
        tables += [f"**{group.label}**", ""] if group.label else []
        tables.append(results_markdown(group.results, wide=True))
    return {"groups": results}, "\n".join(tables)


def skew_summary(experiments: Sequence[Group]) -> tuple[dict[str, Any], str]:
    """`results.json` and `table.md` of the campaign over skews: of each its planners, and what adaptation has more.

    `experiments`: what `owma.results.analysis.groups` returns of rows that have `skew` beside the keys of an episode.
    """
    results: dict[str, Any] = {}
    tables: list[str] = []
    for group in experiments:
        skew, names = group.settings["data.skew"], list(group.results["planners"])
        pairs = [(OURS, name) for name in names if name != OURS and OURS in names]
        if {"adaptation_draw", "static"} <= set(names):
            pairs.append(("adaptation_draw", "static"))
        paired = {f"{a} - {b}": {key: paired_difference(group.rows, a, b, key) for key in _PAIRED} for a, b in pairs}
        results[f"{skew:g}"] = group.results | {"paired": paired}
        tables += [f"**ρ = {skew:g}**", "", results_markdown(group.results), "", _differences(paired), ""]
    return results, "\n".join(tables)


def _differences(paired: Mapping[str, Any]) -> str:
    lines = ["| difference in success, points | mean | 95 % interval |", "|-|-:|-:|"]
    for names, difference in paired.items():
        mean, ends = difference["success"]["mean"], difference["success"]["interval"]
        shown = "–" if ends is None else f"[{100 * ends[0]:+.0f}, {100 * ends[1]:+.0f}]"
        lines.append(f"| {names} | {100 * mean:+.0f} | {shown} |")
    missing = dict.fromkeys(lacking(seeds=d["success"]["seeds"], pairs=d["success"]["pairs"]) for d in paired.values())
    said = [f"{sentence.capitalize()}." for sentence in missing if sentence]
    return "\n".join([*lines, *(["", *said] if said else [])])
