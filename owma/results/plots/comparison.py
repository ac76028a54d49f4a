"""Planners side by side: success, attainment and value against what they cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from owma._internal.errors import ConfigError
from owma._internal.types import Float
from owma.results.plots.canvas import (
    GREY,
    INK,
    new_figure,
    panels,
    plain_logarithms,
    planner_colours,
    seed_dots,
    seeds_of,
    spoken,
)


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
    colours = planner_colours(planners)
    with new_figure(path, 5.6, 3.6) as figure:
        (axes,) = panels(figure, 1)
        # Named in a legend beside the figure, best first: names beside the dots would cover one another.
        for name, entry in sorted(planners.items(), key=lambda item: -item[1]["success"]):
            success, ms = 100 * entry["success"], entry["ms_p50"]
            low, high = (100 * end for end in entry["intervals"]["success"] or [entry["success"]] * 2)
            bars = np.clip([[success - low], [high - success]], 0, None)
            style: dict[str, Any] = {"color": colours[name], "markersize": 7, "capsize": 3}
            axes.errorbar(ms, success, yerr=bars, fmt="o", label=spoken(name), **style)
            seeds = [100 * share for share in seeds_of(entry, "success")]
            seed_dots(axes, [ms] * len(seeds), seeds, colours[name])
            axes.plot([ms, entry["ms_p95"] or ms], [success, success], color=colours[name], linewidth=3, alpha=0.35)
        axes.set(xscale="log", ylim=(-4, 104), xlabel="milliseconds a decision (dot: p50, bar to p95)")
        axes.set(ylabel="success, % (95 % interval)", title="Success against latency")
        plain_logarithms(axes.xaxis)
        axes.margins(x=0.12)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


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
    colours = planner_colours(groups)
    with new_figure(path, 6.4, 4.0) as figure:
        (axes,) = panels(figure, 1)
        axes.axhline(1.0, color=GREY, linewidth=1.0, linestyle="--")
        for name, group in groups.items():
            ordered = sorted(group, key=lambda row: row["ms"])
            ms, attained, error = (np.array([row[k] for row in ordered]) for k in ("ms", "attained", "attained_error"))
            # Far below nothing is as bad as nothing: what the axis cannot hold stays on its edge.
            shown = np.maximum(attained, -0.5)
            axes.errorbar(
                ms,
                shown,
                yerr=1.96 * error,
                fmt="o-",
                color=colours[name],
                markersize=5,
                capsize=2,
                label=spoken(name),
            )
        axes.set(xscale="log", ylim=(-0.55, 1.15), xlabel="milliseconds a decision", title=title)
        axes.set(ylabel="(J − J₀)/(J* − J₀), 95 % over decisions")
        plain_logarithms(axes.xaxis)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


def latency(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Milliseconds of a decision: a bar a planner, and a panel for each number that it grows with.

    `rows`: mappings with `group`, `name` (a number, outside the group `planners`) and `ms_p50`.
    **Returns:** `path`.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    planners = sorted(groups.pop("planners"), key=lambda row: -row["ms_p50"])
    colours = planner_colours(row["name"] for row in planners)
    heights = [0.8 + 0.25 * len(planners)] + [2.6 * -(-len(groups) // 3)] * bool(groups)
    with new_figure(path, 11.0, sum(heights)) as figure:
        parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        (axes,) = panels(parts[0], 1)
        names = [spoken(row["name"]) for row in planners]
        axes.barh(names, [row["ms_p50"] for row in planners], color=[colours[row["name"]] for row in planners])
        axes.set(xscale="log", xlabel="milliseconds a decision, p50", title="Latency")
        plain_logarithms(axes.xaxis)
        for part in parts[1:]:
            for axes, (group, group_rows) in zip(panels(part, len(groups), 3), groups.items()):
                x, ms = [float(row["name"]) for row in group_rows], [row["ms_p50"] for row in group_rows]
                axes.plot(x, ms, "o-", color=INK, markersize=4)
                axes.set(xlabel=group, ylabel="ms", ylim=(0, None))
    return path


def skew_curve(path: Path, results: Mapping[str, Any]) -> Path:
    """Success with its 95 % interval against the share of the data that shows how, small dots seeds.

    `results` maps skews, written as numbers, to what `owma.results.tables.summarise` returns; planners without a
    success are left out. **Returns:** `path`.
    """
    skews = sorted(results, key=float)
    planners = {skew: _with_success(results[skew]["planners"]) for skew in skews}
    names = list(dict.fromkeys(name for skew in skews for name in planners[skew]))
    colours = planner_colours(names)
    # A place a skew, at which planners stand side by side: as points of one axis they would cover one another.
    step = 0.8 / max(1, len(names))
    with new_figure(path, 9.6, 4.2) as figure:
        (axes,) = panels(figure, 1)
        for i, name in enumerate(names):
            entries = [(place, planners[skew].get(name)) for place, skew in enumerate(skews)]
            entries = [(place, entry) for place, entry in entries if entry is not None]
            success = np.array([100 * entry["success"] for _, entry in entries])
            ends = 100 * np.array([entry["intervals"]["success"] or [entry["success"]] * 2 for _, entry in entries])
            bars = np.clip(np.stack([success - ends[:, 0], ends[:, 1] - success]), 0, None)
            x = np.array([place for place, _ in entries]) + step * (i + 0.5) - 0.4
            # There are fewer colours than planners: one whose colour is taken has a square.
            taken = colours[name] in (colours[other] for other in names[:i])
            style: dict[str, Any] = {"color": colours[name], "markersize": 5, "linewidth": 1.2}
            axes.errorbar(x, success, yerr=bars, fmt="s" if taken else "o", label=spoken(name), **style)
            for place, (_, entry) in zip(x, entries):
                seeds = [100 * share for share in seeds_of(entry, "success")]
                seed_dots(axes, [float(place) + 0.3 * step] * len(seeds), seeds, colours[name])
        axes.set_xticks(range(len(skews)), skews)
        axes.set(ylim=(-4, 104), xlim=(-0.5, len(skews) - 0.5), title="Skew; small dots are seeds")
        axes.set(xlabel="share of the episodes that take the rare route", ylabel="success, % (95 % interval)")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


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
    colours = planner_colours(groups)
    with new_figure(path, 6.4, 4.0) as figure:
        (axes,) = panels(figure, 1)
        axes.plot(*frontier.T, color=INK, linewidth=1.2, linestyle="--", label="q*, the optimum")
        for name, group in groups.items():
            points = np.array(sorted((row["kl"], row["value"]) for row in group)).T
            axes.plot(*points, "o-", color=colours[name], markersize=5, linewidth=1.4, label=spoken(name))
        axes.set(xscale="symlog", xlim=(-0.1, None), xlabel="divergence from the trained model, nats", title=title)
        axes.set(ylabel="V(ψ*)/value_scale")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


def _with_success(planners: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry for name, entry in planners.items() if entry["success"] is not None}


def _grouped(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["planner"], []).append(row)
    return groups
