"""What rows and traces say beyond a table: calibration, robust centres, knobs, the course of decisions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from owma._internal.types import Float
from owma.results.plots.canvas import (
    GREY,
    INK,
    PALETTE,
    new_figure,
    panels,
    planner_colours,
    seed_dots,
    seeds_of,
    spoken,
)


def promised_against_realised(path: Path, by_planner: Mapping[str, Mapping[str, Any]]) -> Path:
    """What plans promised against what came of them, an episode a dot, a panel a planner; on the diagonal is honest.

    `by_planner` is what `owma.results.analysis.calibration` returns. **Returns:** `path`.
    """
    colours = planner_colours(by_planner)
    columns = min(4, len(by_planner))
    ends = np.concatenate([np.r_[entry["promised"], entry["realised"]] for entry in by_planner.values()])
    # An off-support promise can be a hundred times what is ever realised: the axis ends where most dots are.
    low, high = float(ends.min()), float(np.quantile(ends, 0.99))
    margin = 0.05 * (high - low + 1e-9)
    with new_figure(path, 2.6 * columns, 2.7 * -(-len(by_planner) // columns)) as figure:
        for axes, (name, entry) in zip(panels(figure, len(by_planner), columns), by_planner.items()):
            promised = np.minimum(entry["promised"], high)
            axes.plot([low, high], [low, high], color=GREY, linewidth=1.0, linestyle="--")
            axes.plot(promised, entry["realised"], "o", color=colours[name], markersize=3.5, alpha=0.5)
            axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
            axes.set_title(f"{spoken(name)}: gap {entry['gap']:.3g}", color=colours[name], fontsize=9)
            axes.set(xlabel="promised V(ψ*)", ylabel="realised return")
    return path


def centres(path: Path, by_planner: Mapping[str, Mapping[str, Any]], *, label: str, centre: str = "iqm") -> Path:
    """A dot and its 95 % interval for each planner, best first, and small dots for its seeds.

    `by_planner` maps planners to mappings with `centre`, `interval` and, of each seed, `by_seed`, as
    `owma.results.analysis.robust` and `probability_of_improvement` give them. **Returns:** `path`.
    """
    colours = planner_colours(by_planner)
    ordered = sorted(by_planner, key=lambda name: by_planner[name][centre])
    with new_figure(path, 6.0, 0.8 + 0.26 * len(ordered)) as figure:
        (axes,) = panels(figure, 1)
        for place, name in enumerate(ordered):
            entry = by_planner[name]
            low, high = entry["interval"] or [entry[centre]] * 2
            axes.plot([low, high], [place, place], color=colours[name], linewidth=3, alpha=0.4)
            axes.plot(entry[centre], place, "o", color=colours[name], markersize=6)
            seeds = entry.get("by_seed", ())
            if len(seeds) > 1:
                seed_dots(axes, list(seeds), [place - 0.25] * len(seeds), colours[name])
        axes.set_yticks(range(len(ordered)), [spoken(name) for name in ordered])
        axes.set(xlabel=f"{label} (95 % interval)")
        if centre == "probability":
            axes.axvline(0.5, color=GREY, linewidth=1.0, linestyle="--")
            axes.set_xlim(-0.02, 1.02)
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
        for axes, colour, (key, scale, label) in zip(panels(figure, len(shown)), PALETTE, shown):
            middle = np.array([entry[key] for entry in entries], float) * scale
            ends = np.array([entry["intervals"][key] or [entry[key]] * 2 for entry in entries], float) * scale
            bars = np.clip(np.stack([middle - ends[:, 0], ends[:, 1] - middle]), 0, None)
            axes.errorbar(places, middle, yerr=bars, fmt="o-" if numbers else "o", color=colour, capsize=3)
            for place, entry in zip(places, entries):
                seeds = [scale * mean for mean in seeds_of(entry, key)]
                seed_dots(axes, [float(place)] * len(seeds), seeds, INK)
            axes.set(ylabel=label, xlabel=field, xscale="log" if wide else "linear")
            names = [f"{value:g}" if numbers else spoken(str(value)) for value in values]
            axes.set_xticks(places, names, rotation=0 if numbers else 30)
            axes.minorticks_off()
    return path


def decisions(path: Path, traces: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """KL and V(ψ*) of every decision over an episode: the mean over episodes, a line a planner.

    `traces` maps planners to the arrays that an evaluation keeps. **Returns:** `path`.
    """
    colours = planner_colours(traces)
    with new_figure(path, 9.6, 3.0) as figure:
        labels = (("decision_kl", "KL, nats"), ("decision_value", "V(ψ*)"))
        left, right = panels(figure, 2)
        for axes, (key, label) in zip((left, right), labels):
            for name, trace in traces.items():
                mean, counted = _mean_over_episodes(trace[key])
                axes.plot(np.arange(len(mean))[counted], mean[counted], color=colours[name], label=spoken(name))
            axes.set(xlabel="decision of the episode", ylabel=label)
        left.set_yscale("symlog")
        left.set_ylim(0, None)
        right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


def convergence(path: Path, traces: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """J, E[V] and KL over the steps of adaptation, at the first decision: mean and range of the middle 80 % of states.

    `traces` as for `decisions`, of planners that adapt. **Returns:** `path`.
    """
    colours = planner_colours(traces)
    with new_figure(path, 9.6, 2.9) as figure:
        labels = (("first_objective", "J"), ("first_value", "E[V(ψ)]"), ("first_kl", "KL, nats"))
        places = panels(figure, 3)
        for axes, (key, label) in zip(places, labels):
            for name, trace in traces.items():
                # Under a deadline some decisions make fewer steps than others.
                steps = np.flatnonzero(np.isfinite(trace[key]).any(axis=0))
                curves = trace[key][:, steps]
                low, high = np.nanquantile(curves, (0.1, 0.9), axis=0)
                axes.fill_between(steps, low, high, color=colours[name], alpha=0.15, linewidth=0)
                axes.plot(steps, np.nanmean(curves, axis=0), color=colours[name], label=spoken(name))
            axes.set(xlabel="adaptation step", ylabel=label)
            axes.locator_params(axis="x", integer=True)
        places[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


def value_before_after(path: Path, traces: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """Of each decision the mean V of the trained model's draws, and V of the plan: a pair of boxes for each planner.

    `traces` as for `decisions`. **Returns:** `path`.
    """
    colours = planner_colours(traces)
    with new_figure(path, 1.6 + 1.1 * len(traces), 3.2) as figure:
        (axes,) = panels(figure, 1)
        for place, (name, trace) in enumerate(traces.items()):
            pairs = ((trace["decision_prior_value"], GREY, -0.18), (trace["decision_value"], colours[name], 0.18))
            for values, colour, shift in pairs:
                kept = values[np.isfinite(values)]
                if kept.size:
                    style: dict[str, Any] = {"widths": 0.3, "showfliers": False, "patch_artist": True}
                    boxes = axes.boxplot([kept], positions=[place + shift], **style)
                    boxes["boxes"][0].set(facecolor=colour, alpha=0.5)
                    boxes["medians"][0].set(color=INK)
        axes.set_xticks(range(len(traces)), [spoken(name).replace(" ", "\n") for name in traces])
        axes.set(ylabel="V(ψ)", title="Before (grey) and after")
    return path


def _mean_over_episodes(values: Float[np.ndarray, "episodes decisions"]) -> tuple[np.ndarray, np.ndarray]:
    """Means over the episodes that had not ended, and where there were any."""
    known = np.isfinite(values)
    counted = np.asarray(known.any(axis=0))
    return np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), counted
