"""Results and tables of rows in which something was varied: of a sweep, and of the campaign over skews."""

from collections.abc import Mapping, Sequence
from typing import Any

from owma.results.analysis import OURS, comparisons, groups
from owma.results.baselines import summarise_with_baselines
from owma.results.intervals import lacking
from owma.results.tables import paired_difference, results_markdown

_PAIRED = ("success", "return", "promise_gap")


def sweep_summary(
    rows: Sequence[Mapping[str, Any]], baselines: Sequence[Mapping[str, Any]] = ()
) -> tuple[dict[str, Any], str]:
    """`results.json` and `table.md` of a sweep's episodes: of each experiment that was varied, its planners.

    `baselines`: the rows of `baselines.jsonl`, if there are any.
    """
    results, tables = [], []
    for group in groups(rows):
        beside = [row for row in baselines if row["settings"] == group.settings]
        summary = summarise_with_baselines(group.rows, beside)
        results.append({"settings": group.settings, **summary, "comparisons": comparisons(group.rows)})
        tables += [f"**{group.label}**", ""] if group.label else []
        tables.append(results_markdown(summary, wide=True))
    return {"groups": results}, "\n".join(tables)


def skew_summary(
    rows: Sequence[Mapping[str, Any]], baselines: Sequence[Mapping[str, Any]] = ()
) -> tuple[dict[str, Any], str]:
    """`results.json` and `table.md` of the campaign over skews: of each its planners, and what adaptation has more.

    Rows have `skew` beside the keys of an episode. `baselines`: the rows of `baselines.jsonl`, if there are any.
    """
    results: dict[str, Any] = {}
    tables: list[str] = []
    for skew in dict.fromkeys(row["skew"] for row in rows):
        here = [row for row in rows if row["skew"] == skew]
        found = summarise_with_baselines(here, [row for row in baselines if row["skew"] == skew])
        names = list(found["planners"])
        pairs = [(OURS, name) for name in names if name != OURS and OURS in names]
        if {"adaptation_draw", "static"} <= set(names):
            pairs.append(("adaptation_draw", "static"))
        paired = {f"{a} - {b}": {key: paired_difference(here, a, b, key) for key in _PAIRED} for a, b in pairs}
        results[f"{skew:g}"] = found | {"paired": paired}
        tables += [f"**ρ = {skew:g}**", "", results_markdown(found), "", _differences(paired), ""]
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
