"""What rows and traces say beyond a table: promises, robust centres, knobs, the course of decisions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from owma._internal.types import Float
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
from owma.results.plots.colours import ADAPTED, EDGE, GREY, INK, PLANNERS, is_ours, planner_colours


def promised_against_realised(path: Path, by_planner: Mapping[str, Mapping[str, Any]]) -> Path:
    """What plans promised against what came of them, an episode a dot, a panel a planner; on the diagonal is honest.

    `by_planner` is what `owma.results.analysis.calibration` returns. **Returns:** `path`.
    """
    colours = planner_colours(by_planner)
    columns = min(4, len(by_planner))
    ends = np.concatenate([np.r_[entry["promised"], entry["realised"]] for entry in by_planner.values()])
    # An off-support promise can be a hundred times what is ever realised: the axis ends where most dots are, and what
    # is beyond is an arrow at its end.
    low, high = float(ends.min()), float(np.quantile(ends, 0.99))
    margin = 0.05 * (high - low + 1e-9)
    ordered = sorted(by_planner, key=lambda name: not is_ours(name))
    with new_figure(path, 2.6 * columns, 2.7 * -(-len(by_planner) // columns)) as figure:
        for axes, name in zip(panels(figure, len(by_planner), columns), ordered):
            promised, realised = np.asarray(by_planner[name]["promised"]), np.asarray(by_planner[name]["realised"])
            beyond = promised > high
            axes.plot([low, high], [low, high], color=EDGE, linewidth=1.0, linestyle="--")
            style: dict[str, Any] = {"color": colours[name], "alpha": 0.55, "markeredgewidth": 0}
            axes.plot(promised[~beyond], realised[~beyond], "o", markersize=3.8, **style)
            axes.plot(np.full(beyond.sum(), high + 0.6 * margin), realised[beyond], ">", markersize=4.5, **style)
            axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
            axes.set_title(f"{spoken(name)}: gap {by_planner[name]['gap']:.3g}", fontsize=9, fontweight=weight(name))
            axes.set(xlabel="promised V(ψ*)", ylabel="realised, discounted")
        arrows = f"; arrows: promises above {high:.3g}" if (ends > high).any() else ""
        figure.supxlabel(f"on the dashed line a promise is kept{arrows}", fontsize=8.5, x=0.01, ha="left")
    return path


def promises_kept(path: Path, promises: Mapping[str, Mapping[str, Any]], *, title: str) -> Path:
    """What was promised and what was realised, a line a problem or planner: the length between them is what was lost.

    **Arguments:** `promises`: by label `promised` and `realised`, means of discounted returns in one unit a line, and
    `by_seed`, the shares realised/promised of single seeds. Each line is in shares of its own promise, so that problems
    of other units stand in one picture; what promises nothing is left out.

    **Returns:** `path`.
    """
    shown = {label: entry for label, entry in promises.items() if entry["promised"] > 0}
    ordered = sorted(shown, key=lambda label: shown[label]["realised"] / shown[label]["promised"])
    with new_figure(path, 6.8, 1.1 + 0.27 * max(1, len(ordered))) as figure:
        (axes,) = panels(figure, 1)
        axes.axvline(100, color=INK, linewidth=1.0, linestyle="--")
        for place, label in enumerate(ordered):
            entry = shown[label]
            kept = 100 * entry["realised"] / entry["promised"]
            colour = planner_colours([label])[label] if "colour" not in entry else entry["colour"]
            drawn = max(kept, _LEAST_KEPT)
            axes.plot([drawn, 100], [place, place], color=colour, linewidth=2.2, alpha=0.45)
            axes.plot(drawn, place, "o" if kept == drawn else "<", color=colour, markersize=7)
            seeds = [max(100 * share, _LEAST_KEPT) for share in entry.get("by_seed", ())]
            seed_dots(axes, seeds, [place - 0.27] * len(seeds), colour)
            axes.annotate(f"{kept:.0f} %", (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
        axes.set_yticks(range(len(ordered)), [_of_line(label) for label in ordered])
        axes.set_ylim(-0.7, len(ordered) - 0.4)
        axes.set_xlim(left=max(_LEAST_KEPT - 6, min(0.0, axes.get_xlim()[0])))
        axes.set(
            title=title, xlabel="realised, in % of what the plan promised (dashed: kept in full); small dots: seeds"
        )
    return path


def _of_line(label: str) -> str:
    """Planners in words, problems as they are called."""
    return spoken(label) if label.partition("-")[0] in PLANNERS else label


_LEAST_KEPT = -100.0
"""Percent; what is further below is an arrow there, with its number beside it."""


def trade_off(path: Path, kl_coefs: Sequence[float], entries: Sequence[Mapping[str, Any]], *, title: str) -> Path:
    """What a nat buys: success and the promise gap against the nats paid, a dot for each price λ.

    **Arguments:** `entries`: of `owma.results.tables.summarise`, one for each of `kl_coefs`; success is left out where
    none has it, and return stands in its place.

    **Returns:** `path`.
    """
    told = any(entry["success"] is not None for entry in entries)
    first = ("success", 100.0, "success, %") if told else ("return", 1.0, "return")
    with new_figure(path, 8.4, 3.2) as figure:
        nats = np.maximum([float(entry["kl"]) for entry in entries], 0.01)  # a logarithm has no zero
        for axes, (key, scale, label) in zip(panels(figure, 2), (first, ("promise_gap", 1.0, "promise gap"))):
            middle = np.array([np.nan if entry[key] is None else entry[key] for entry in entries], float) * scale
            ends = np.array([entry["intervals"][key] or [entry[key] or np.nan] * 2 for entry in entries], float) * scale
            bars = np.clip(np.stack([middle - ends[:, 0], ends[:, 1] - middle]), 0, None)
            order = np.argsort(nats)
            axes.plot(nats[order], middle[order], "-", color=ADAPTED, linewidth=1.4, alpha=0.6)
            axes.errorbar(nats, middle, yerr=bars, fmt="o", color=ADAPTED, markersize=7, capsize=3, linewidth=1.2)
            for place, entry in zip(nats, entries):
                seeds = [scale * mean for mean in seeds_of(entry, key)]
                seed_dots(axes, [float(place)] * len(seeds), seeds, ADAPTED)
            for x, y, kl_coef in zip(nats, middle, kl_coefs):
                axes.annotate(f"λ = {kl_coef:g}", (x, y), (6, -11), textcoords="offset points", fontsize=8, zorder=9)
            axes.set(xscale="log", ylabel=f"{label} (95 % interval)")
            axes.set_xlabel("nats a decision (KL from the trained model, logarithmic)")
            axes.margins(x=0.16)
            plain_logarithms(axes.xaxis)
            if key == "success":
                axes.set_ylim(-4, 104)
            if key == "promise_gap":
                axes.axhline(0, color=EDGE, linewidth=1)
        figure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.01, ha="left")
    return path


def centres(path: Path, by_planner: Mapping[str, Mapping[str, Any]], *, label: str, centre: str = "iqm") -> Path:
    """A dot and its 95 % interval for each planner, best first, and small dots for its seeds.

    `by_planner` maps planners to mappings with `centre`, `interval` and, of each seed, `by_seed`, as
    `owma.results.analysis.robust` and `probability_of_improvement` give them. **Returns:** `path`.
    """
    ordered = sorted(by_planner, key=lambda name: by_planner[name][centre])
    with new_figure(path, 6.0, 0.9 + 0.26 * len(ordered)) as figure:
        (axes,) = panels(figure, 1)
        for place, name in enumerate(ordered):
            entry, style = by_planner[name], mark(name)
            low, high = entry["interval"] or [entry[centre]] * 2
            axes.plot([low, high], [place, place], color=style["color"], linewidth=2.4, alpha=0.55, zorder=2)
            axes.plot(entry[centre], place, "o", **style)
            seeds = entry.get("by_seed", ())
            if len(seeds) > 1:
                seed_dots(axes, list(seeds), [place - 0.25] * len(seeds), style["color"])
        axes.set_yticks(range(len(ordered)), [spoken(name) for name in ordered])
        for tick, name in zip(axes.get_yticklabels(), ordered):
            tick.set_fontweight(weight(name))
        axes.set(xlabel=f"{label} (95 % interval)")
        if centre == "probability":
            axes.axvline(0.5, color=GREY, linewidth=1.0, linestyle="--")
            axes.set_xlim(-0.02, 1.02)
    return path


def profiles(path: Path, scores: Mapping[str, Float[np.ndarray, "tasks seeds"]], *, label: str) -> Path:
    """Performance profiles (Agarwal et al., arXiv 2108.13264): of each planner the share of runs, a run being a task
    and a seed, whose score, from 0 to 100, is above τ. **Returns:** `path`.
    """
    taus = np.linspace(0, 1, 201)
    with new_figure(path, 6.6, 3.6) as figure:
        (axes,) = panels(figure, 1)
        ends = {}
        for name, runs in scores.items():
            # The mean over tasks of the share of its seeds: tasks count alike.
            share = np.stack([(runs > 100 * tau).mean(axis=1) for tau in taus], axis=1).mean(axis=0)
            axes.step(100 * taus, 100 * share, where="post", **mark(name, marker=""))
            middle = len(taus) - 2
            ends[name] = (100.0, float(100 * share[middle]))
        axes.set(xlim=(0, 100), ylim=(0, 102), xlabel=f"τ: {label}", ylabel="runs with more than τ, %")
        direct_labels(axes, ends)
    return path


def ablation(path: Path, values: Sequence[Any], entries: Sequence[Mapping[str, Any]], *, field: str) -> Path:
    """Success, promise gap and KL along one knob, each with its 95 % interval and a small dot a seed.

    `entries` are entries of `owma.results.tables.summarise`, one for each of `values`; success is left out where none
    has it.
    **Returns:** `path`.
    """
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    places = np.array(values, float) if numbers else np.arange(len(values))
    wide = numbers and places.min() > 0 and places.max() / places.min() > 8
    with new_figure(path, 9.6, 2.6) as figure:
        shown = [("success", 100.0, "success, %"), ("promise_gap", 1.0, "promise gap"), ("kl", 1.0, "KL, nats")]
        shown = [metric for metric in shown if any(entry[metric[0]] is not None for entry in entries)]
        for axes, (key, scale, label) in zip(panels(figure, len(shown)), shown):
            middle = np.array([entry[key] for entry in entries], float) * scale
            ends = np.array([entry["intervals"][key] or [entry[key]] * 2 for entry in entries], float) * scale
            bars = np.clip(np.stack([middle - ends[:, 0], ends[:, 1] - middle]), 0, None)
            axes.errorbar(places, middle, yerr=bars, fmt="o-" if numbers else "o", color=ADAPTED, capsize=3)
            for place, entry in zip(places, entries):
                seeds = [scale * mean for mean in seeds_of(entry, key)]
                seed_dots(axes, [float(place)] * len(seeds), seeds, INK)
            axes.set(ylabel=label, xlabel=spoken(field), xscale="log" if wide else "linear")
            names = [f"{value:g}" if numbers else spoken(str(value)) for value in values]
            axes.set_xticks(places, names, rotation=0 if numbers else 30)
            axes.minorticks_off()
            if key == "success":
                axes.set_ylim(-4, 104)
            elif ends.min() >= 0:
                axes.set_ylim(0, None)
    return path


def decisions(path: Path, traces: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """KL and V(ψ*) of every decision over an episode: the mean over episodes, a line a planner.

    `traces` maps planners to the arrays that an evaluation keeps. **Returns:** `path`.
    """
    with new_figure(path, 9.6, 3.2) as figure:
        labels = (("decision_kl", "KL, nats (logarithmic above 2)"), ("decision_value", "V(ψ*), return units"))
        left, right = panels(figure, 2)
        ends = {}
        for axes, (key, label) in zip((left, right), labels):
            for name, trace in traces.items():
                mean, counted = _mean_over_episodes(trace[key])
                steps = np.arange(len(mean))[counted]
                axes.plot(steps, mean[counted], **mark(name, marker=""))
                if len(steps) and key == "decision_value":
                    ends[name] = (float(steps[-1]), float(mean[counted][-1]))
            axes.set(xlabel="decision of the episode", ylabel=label)
        left.set_title("What a decision costs")
        right.set_title("What it expects")
        left.set_yscale("symlog")
        left.yaxis.set_major_formatter("{x:g}")
        left.set_ylim(0, None)
        direct_labels(right, ends)
    return path


def convergence(path: Path, traces: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """J, E[V] and KL over the steps of adaptation, at the first decision: mean and range of the middle 80 % of states.

    `traces` as for `decisions`, of planners that adapt. **Returns:** `path`.
    """
    with new_figure(path, 9.6, 3.0) as figure:
        labels = (
            ("first_objective", "J, spreads of V", "Objective"),
            ("first_value", "E[V(ψ)], return units", "Expected value"),
            ("first_kl", "KL, nats", "Nats paid"),
        )
        places = panels(figure, 3)
        ends = {}
        for axes, (key, label, title) in zip(places, labels):
            for name, trace in traces.items():
                # Under a deadline some decisions make fewer steps than others.
                steps = np.flatnonzero(np.isfinite(trace[key]).any(axis=0))
                curves = trace[key][:, steps]
                low, high = np.nanquantile(curves, (0.1, 0.9), axis=0)
                style = mark(name)
                axes.fill_between(steps, low, high, color=style["color"], alpha=0.15, linewidth=0)
                mean = np.nanmean(curves, axis=0)
                axes.plot(steps, mean, **mark(name, marker=""))
                if key == "first_kl" and len(steps):
                    ends[name] = (float(steps[-1]), float(mean[-1]))
            axes.set(xlabel="adaptation step", ylabel=label, title=title)
            axes.locator_params(axis="x", integer=True)
        direct_labels(places[-1], ends)
    return path


def value_before_after(path: Path, traces: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """The mean V of the trained model's draws (grey), and V of the plan: a pair of boxes for each planner, of the first
    decisions and of all later ones.

    `traces` as for `decisions`. **Returns:** `path`.
    """
    colours = planner_colours(traces)
    with new_figure(path, 2.4 + 1.9 * len(traces), 3.4) as figure:
        parts = (("First decision", slice(0, 1)), ("Later decisions", slice(1, None)))
        for axes, (title, part) in zip(panels(figure, 2, sharey=True), parts):
            for place, (name, trace) in enumerate(traces.items()):
                pairs = ((trace["decision_prior_value"], GREY, -0.18), (trace["decision_value"], colours[name], 0.18))
                for values, colour, shift in pairs:
                    kept = values[:, part][np.isfinite(values[:, part])]
                    if kept.size:
                        style: dict[str, Any] = {"widths": 0.3, "showfliers": False, "patch_artist": True}
                        boxes = axes.boxplot([kept], positions=[place + shift], **style)
                        boxes["boxes"][0].set(facecolor=colour, alpha=0.5)
                        boxes["medians"][0].set(color=INK)
            axes.set_xticks(range(len(traces)), [spoken(name).replace(" ", "\n") for name in traces], fontsize=8)
            axes.set(ylabel="V(ψ), return units", title=title)
        figure.supxlabel("grey: what the trained model expects; colour: the plan", fontsize=8.5, x=0.01, ha="left")
    return path


def _mean_over_episodes(values: Float[np.ndarray, "episodes decisions"]) -> tuple[np.ndarray, np.ndarray]:
    """Means over the episodes that had not ended, and where there were any."""
    known = np.isfinite(values)
    counted = np.asarray(known.any(axis=0))
    return np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), counted
