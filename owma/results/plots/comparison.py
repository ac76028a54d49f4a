"""Planners side by side: success, attainment and value against what they cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from owma._internal.errors import ConfigError
from owma._internal.types import Float
from owma.results.analysis import FORMS, NO_RIVALS, OURS
from owma.results.plots.canvas import (
    direct_labels,
    mark,
    new_figure,
    panels,
    plain_logarithms,
    seed_dots,
    seeds_of,
    spoken,
    weight,
)
from owma.results.plots.colours import ADAPTED, EDGE, INK, is_ours, planner_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST_ATTAINED = -0.5
"""Lower shares are as bad as this one; they are written, not drawn."""


def success_against_latency(path: Path, results: Mapping[str, Any]) -> Path:
    """What a decision costs and what it brings: success with its 95 % interval against milliseconds, a dot a planner.

    Small dots are seeds, where there are several.

    `results` is what `owma.results.tables.summarise` returns; planners without one of the two are left out.

    **Returns:** `path`. Raises `ConfigError` where no planner has both.
    """
    planners = {name: entry for name, entry in _with_success(results["planners"]).items() if entry["ms_p50"]}
    if not planners:
        raise ConfigError(
            "No planner in these results has a latency and a success, so there is nothing to plot: evaluate first, in "
            "an environment that says when an episode succeeds."
        )
    with new_figure(path, 6.4, max(3.4, 1.2 + 0.17 * len(planners))) as figure:
        (axes,) = panels(figure, 1)
        for name, entry in planners.items():
            success, ms = 100 * entry["success"], entry["ms_p50"]
            low, high = (100 * end for end in entry["intervals"]["success"] or [entry["success"]] * 2)
            bars = np.clip([[success - low], [high - success]], 0, None)
            style = mark(name)
            # From p50 to p95, ended by a tick.
            axes.plot([ms, entry["ms_p95"] or ms], [success] * 2, "-", color=style["color"], linewidth=2.2, alpha=0.6)
            axes.plot([entry["ms_p95"] or ms], [success], "|", color=style["color"], markersize=9)
            axes.errorbar(ms, success, yerr=bars, fmt="o", capsize=2, **mark(name, linewidth=1.2))
            seeds = [100 * share for share in seeds_of(entry, "success")]
            seed_dots(axes, [ms] * len(seeds), seeds, style["color"])
        axes.set(xscale="log", ylim=(-4, 104), xlabel="milliseconds a decision: dot p50, tick p95")
        axes.set(ylabel="success, % (95 % interval)", title=_of_success(planners, timed=True))
        plain_logarithms(axes.xaxis)
        axes.margins(x=0.1)
        direct_labels(axes, {name: (entry["ms_p50"], 100 * entry["success"]) for name, entry in planners.items()})
    return path


def _of_success(planners: Mapping[str, Any], *, timed: bool = False) -> str:
    """Adaptation and the best rival, in numbers: of equals the quickest where they are `timed`, or else, as in the
    sentence on the page, the one of the highest return.
    """
    rivals = [name for name in planners if not name.startswith((OURS, FORMS)) and name not in NO_RIVALS]
    if OURS not in planners:
        return "Success of each planner"

    def merit(name: str) -> tuple[float, float]:
        entry = planners[name]
        return entry["success"], -(entry["ms_p50"] or 0.0) if timed else entry.get("return") or 0.0

    def told(name: str) -> str:
        cost = f" at {planners[name]['ms_p50']:.2g} ms" if timed else ""
        return f"{100 * planners[name]['success']:.0f} %{cost}"

    said = f"Online adaptation {told(OURS)}"
    if not rivals:
        return said
    best = max(rivals, key=merit)
    return f"{said};\nbest rival, {spoken(best)}, {told(best)}"


def attainment_against_latency(path: Path, rows: Sequence[Mapping[str, Any]], *, title: str) -> Path:
    """The share of what is attainable that planners attain, against what a decision takes: a line a planner.

    **Arguments:**

    - `path`: the PNG file to write.
    - `rows`: mappings with `planner`, `ms`, `attained` and `attained_error` (a standard error); rows of one planner are
        its budgets.
    - `title`: what the rows are of.

    **Returns:** `path`.
    """
    groups = _grouped(rows)
    with new_figure(path, 7.4, 4.2) as figure:
        (axes,) = panels(figure, 1)
        axes.axhline(1.0, color=INK, linewidth=1.0, linestyle="--")
        axes.axhline(0.0, color=EDGE, linewidth=1.0)
        ends: dict[str, tuple[float, float]] = {}
        names = {}
        for name, group in groups.items():
            ordered = sorted(group, key=lambda row: row["ms"])
            ms, attained, error = (np.array([row[k] for row in ordered]) for k in ("ms", "attained", "attained_error"))
            inside = attained >= _LEAST_ATTAINED
            style = mark(name)
            # A line leaves the axes where its numbers do; how low they are stands with the name.
            axes.plot(ms, attained, "-", **mark(name, marker=""))
            axes.errorbar(
                ms[inside], attained[inside], yerr=1.96 * error[inside], fmt="o", capsize=2,
                **mark(name, linewidth=1.0),
            )  # fmt: skip
            axes.plot(ms[~inside], np.full((~inside).sum(), _LEAST_ATTAINED - 0.02), "v", color=style["color"])
            ends[name] = (float(ms[-1]), float(max(attained[-1], _LEAST_ATTAINED)))
            if not inside.all():
                names[name] = f"{spoken(name)} (down to {attained.min():.2g})"
        axes.set(xscale="log", ylim=(_LEAST_ATTAINED - 0.08, 1.15), xlabel="milliseconds a decision")
        axes.set(ylabel="share of the attainable objective\n0: trained model, 1: optimum (95 % over decisions)")
        plain_logarithms(axes.xaxis)
        best = max((row for row in rows if row["planner"] == OURS), key=lambda row: row["attained"], default=None)
        said = f": online adaptation attains {best['attained']:.2f} at {best['ms']:.2g} ms" if best else ""
        axes.set_title(f"{title}{said}")
        direct_labels(axes, ends, names=names)
    return path


def latency(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Milliseconds of a decision: a dot a planner, and a panel for each number that it grows with.

    `rows`: mappings with `group`, `name` (a number, outside the group `planners`) and `ms_p50`.
    **Returns:** `path`.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault("planners" if row["group"] == "published" else row["group"], []).append(row)
    planners = sorted(groups.pop("planners"), key=lambda row: -row["ms_p50"])
    heights = [0.9 + 0.22 * len(planners)] + [2.6 * -(-len(groups) // 3)] * bool(groups)
    with new_figure(path, 11.0 if groups else 7.0, sum(heights)) as figure:
        parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        (axes,) = panels(parts[0], 1)
        for place, row in enumerate(planners):
            axes.plot(row["ms_p50"], place, "o", **mark(row["name"]))
            ms = row["ms_p50"]
            axes.annotate(f"{ms:.0f}" if ms >= 100 else f"{ms:.2g}", (ms, place), (8, 0), textcoords="offset points",
                          va="center", fontsize=8, fontweight=weight(row["name"]))  # fmt: skip
        _names(axes, [row["name"] for row in planners])
        ours = [row["ms_p50"] for row in planners if row["name"] == OURS]
        axes.set(xscale="log", xlabel="milliseconds a decision, p50 (logarithmic)")
        axes.set_title(f"Online adaptation decides in {ours[0]:.2g} ms" if ours else "What a decision takes")
        plain_logarithms(axes.xaxis)
        axes.margins(x=0.12)
        for part in parts[1:]:
            for axes, (group, group_rows) in zip(panels(part, len(groups), 3), groups.items()):
                x, ms = [float(row["name"]) for row in group_rows], [row["ms_p50"] for row in group_rows]
                axes.plot(x, ms, "o-", color=ADAPTED, markersize=4)
                axes.set(xlabel=spoken(group), ylabel="ms, p50", ylim=(0, None))
    return path


def skew_curve(path: Path, results: Mapping[str, Any]) -> Path:
    """Success of each planner by the share of the data that shows how: as `successes`, a panel a share.

    `results` maps skews, written as numbers, to what `owma.results.tables.summarise` returns; planners without a
    success are left out. **Returns:** `path`.
    """
    skews = sorted(results, key=float)
    return successes(path, {f"{100 * float(skew):g} % of the data": results[skew] for skew in skews})


def successes(path: Path, results: Mapping[str, Mapping[str, Any]]) -> Path:
    """Success of each planner with its 95 % interval, names beside it, a small dot for each seed: a panel a problem.

    `results` maps titles of panels to what `owma.results.tables.summarise` returns; planners without a success are left
    out. Adaptation is the first, the others by their mean success. **Returns:** `path`.
    """
    shown = {title: _with_success(of_one["planners"]) for title, of_one in results.items()}
    means: dict[str, list[float]] = {}
    for planners in shown.values():
        for name, entry in planners.items():
            means.setdefault(name, []).append(entry["success"])
    ordered = sorted(means, key=lambda name: (is_ours(name), float(np.mean(means[name]))))
    with new_figure(path, 2.0 + max(2.1 * len(shown), 4.0), 1.15 + 0.25 * len(ordered)) as figure:
        for axes, (title, planners) in zip(panels(figure, len(shown), sharey=True), shown.items()):
            for place, name in enumerate(ordered):
                if name in planners:
                    _row(axes, place, name, planners[name])
            _names(axes, ordered)
            axes.tick_params(labelleft=axes is figure.axes[0])
            axes.set(xlim=(-4, 104), xlabel="success, %")
            axes.set_title(_of_success(planners) if len(shown) == 1 else title)
        figure.supxlabel("large dot: mean; line: 95 % interval; small dots: seeds", fontsize=8.5, x=0.01, ha="left")
    return path


def _row(axes: "Axes", place: int, name: str, entry: Mapping[str, Any]) -> None:
    style = mark(name)
    ends = entry.get("intervals", {}).get("success")
    low, high = (100 * end for end in ends or [entry["success"]] * 2)
    axes.plot([low, high], [place, place], color=style["color"], linewidth=2.4, alpha=0.55, zorder=2)
    axes.plot(100 * entry["success"], place, "o", **style)
    seeds = [100 * share for share in seeds_of(entry, "success")]
    seed_dots(axes, seeds, [place - 0.27] * len(seeds), style["color"])


def _names(axes: "Axes", names: Sequence[str]) -> None:
    """Of planners, one a line, up the axis."""
    axes.set_yticks(range(len(names)), [spoken(name) for name in names])
    axes.set_ylim(-0.7, len(names) - 0.4)
    for tick, name in zip(axes.get_yticklabels(), names):
        tick.set(fontweight=weight(name), color=planner_colours([name])[name] if is_ours(name) else INK)


def value_against_divergence(
    path: Path, rows: Sequence[Mapping[str, Any]], frontier: Float[np.ndarray, "points 2"], *, title: str
) -> Path:
    """What planners expect of their plans against how far they leave the trained model: a line a planner, over λ.

    **Arguments:**

    - `path`: the PNG file to write.
    - `rows`: mappings with `planner`, `kl` in nats and `value` in units of `value_scale`.
    - `frontier`: (KL, value) of q* for some λ, by rising KL: no law of outcomes is above it.
    - `title`: what the rows are of.

    **Returns:** `path`.
    """
    groups = _grouped(rows)
    with new_figure(path, 7.4, 4.2) as figure:
        (axes,) = panels(figure, 1)
        ends: dict[str, tuple[float, float]] = {}
        for name, group in groups.items():
            points = np.array(sorted((row["kl"], row["value"]) for row in group)).T
            axes.plot(*points, "o-", **mark(name))
            ends[name] = (float(points[0, -1]), float(points[1, -1]))
        axes.plot(*frontier.T, color=INK, linewidth=1.6, linestyle=(0, (4, 2)), zorder=7)
        middle = frontier[len(frontier) // 2]
        axes.annotate("optimum q*: no law is above", tuple(middle), (-6, 6), textcoords="offset points", ha="right",
                      fontsize=8.5, zorder=8)  # fmt: skip
        axes.set(xscale="symlog", xlabel="divergence from the trained model, nats (logarithmic above 2)")
        axes.set(ylabel="value of the plan, spreads of V", title=f"{title}: the value that a nat buys")
        axes.set_xlim(0, None)
        axes.xaxis.set_major_formatter("{x:g}")
        direct_labels(axes, ends)
    return path


def _with_success(planners: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry for name, entry in planners.items() if entry["success"] is not None}


def _grouped(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["planner"], []).append(row)
    return groups
