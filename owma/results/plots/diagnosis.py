"""What a diagnosis measured: calibration, rank histograms, spread, the policy's errors, and promises by price."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from owma.results.plots.canvas import new_figure, panels, plain_logarithms
from owma.results.plots.colours import ADAPTED, EDGE, GREY, INK, SERIES

_MOST_HISTOGRAMS = 12


def calibration_and_spread(path: Path, outcomes: Mapping[str, Any]) -> Path:
    """Coverage against nominal, and the model's variance against the data's, a line or a dot a whitened coordinate.

    **Arguments:** `outcomes`: as `owma.train.held_out.outcome_figures` returns them. **Returns:** `path`.
    """
    levels, coverage = np.array(outcomes["levels"]), np.array(outcomes["coverage"])
    with new_figure(path, 8.4, 3.5) as figure:
        first, second = panels(figure, 2)
        # Of each level, two standard errors about a calibrated model's coverage.
        chance = 2 * np.sqrt(levels * (1 - levels) / outcomes["episodes"])
        first.fill_between(100 * levels, 100 * (levels - chance), 100 * (levels + chance), color=EDGE, alpha=0.25, lw=0)
        first.plot([0, 100], [0, 100], color=INK, linewidth=1.0, linestyle="--")
        for of_one in coverage:
            first.plot(100 * levels, 100 * of_one, color=ADAPTED, linewidth=0.8, alpha=0.35)
        first.plot(100 * levels, 100 * coverage.mean(axis=0), "o-", color=ADAPTED, linewidth=2.2, markersize=4)
        first.set(
            title=f"Intervals are off by {100 * outcomes['calibration']:.1f} points", xlim=(0, 100), ylim=(0, 100)
        )
        first.set(xlabel="central interval, %", ylabel="held-out outcomes in it, %")
        model, error = np.array(outcomes["variance"]), np.array(outcomes["error"])
        near = np.array(outcomes.get("variance_neighbours", error))
        low, high = (float(f(np.r_[model, np.minimum(error, near)])) for f in (np.min, np.max))
        ends = [max(low, 1e-12) / 1.6, max(high, 1e-12) * 1.6]
        second.plot(ends, ends, color=INK, linewidth=1.0, linestyle="--")
        second.plot(np.minimum(error, near), model, "o", color=ADAPTED, markersize=6, alpha=0.8, markeredgewidth=0)
        second.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        spread = outcomes["spread"]
        second.set(title="Spread" if spread is None else f"The model spreads {spread:.2g} times as far")
        second.set(xlabel="variance of the data, given the state", ylabel="variance of the model")
        for axis in (second.xaxis, second.yaxis):
            plain_logarithms(axis)
    return path


def rank_histograms(path: Path, outcomes: Mapping[str, Any]) -> Path:
    """Where held-out outcomes lie among the draws of the model, a panel a whitened coordinate, twelve at most.

    Flat is calibrated; a hollow is a model that is too narrow, a hill one that is too wide, a slope one that is biased.
    **Arguments:** `outcomes`: as `owma.train.held_out.outcome_figures` returns them. **Returns:** `path`.
    """
    histograms = np.array(outcomes["histograms"])[:_MOST_HISTOGRAMS]
    bins = histograms.shape[1]
    columns = min(6, len(histograms))
    chance = 2 * np.sqrt((1 / bins) * (1 - 1 / bins) / outcomes["episodes"])
    places = (np.arange(bins) + 0.5) / bins
    with new_figure(path, 1.5 * columns + 0.6, 1.5 * -(-len(histograms) // columns) + 0.5) as figure:
        for number, (axes, shares) in enumerate(
            zip(panels(figure, len(histograms), columns, sharey=True), histograms), 1
        ):
            axes.axhspan(100 * (1 / bins - chance), 100 * (1 / bins + chance), color=EDGE, alpha=0.25, linewidth=0)
            axes.axhline(100 / bins, color=INK, linewidth=1.0, linestyle="--")
            axes.bar(places, 100 * shares, width=0.92 / bins, color=ADAPTED, alpha=0.85)
            axes.set(title=f"ψ{number}", xlim=(0, 1), xticks=[0, 1])
            axes.set_ylabel("%" if (number - 1) % columns == 0 else "")
        figure.supxlabel(
            "place of held-out outcomes among the draws; grey: by chance, 95 %", fontsize=8.5, x=0.01, ha="left"
        )
    return path


def policy_errors(path: Path, policy: Mapping[str, Any]) -> Path:
    """The error of the policy's mean action by what it is told.

    **Arguments:** `policy`: as `owma.diagnose.planning.policy_figures` returns it, its errors known. **Returns:**
    `path`.
    """
    rows = {
        "told the recorded outcome": (policy["error"], ADAPTED),
        "told another of the same state": (policy["error_other_outcome"], GREY),
        "told that of another state": (policy["error_other_state"], GREY),
        "the data's mean action": (1.0, GREY),
    }
    with new_figure(path, 6.8, 2.0) as figure:
        (axes,) = panels(figure, 1)
        for place, (error, colour) in enumerate(reversed(rows.values())):
            axes.barh(place, error, color=colour, height=0.62)
            axes.annotate(f"{error:.2f}", (error, place), (3, 0), textcoords="offset points", va="center", fontsize=8.5)
        axes.set_yticks(range(len(rows)), list(reversed(rows)))
        axes.set(title="What the policy makes of ψ", xlabel="squared error of the mean action, in variances of actions")
        axes.margins(x=0.12)
        axes.grid(axis="y", visible=False)
    return path


def promises_by_price(path: Path, promises: Mapping[str, Any], support: Mapping[str, Any]) -> Path:
    """What plans promise by what they pay, beside what recorded outcomes return; and the returns that were recorded.

    **Arguments:** as `owma.diagnose.planning.promise_figures` and `owma.diagnose.diagnosis.support_figures` return
    them. **Returns:** `path`.
    """
    prices = sorted(promises["prices"], key=lambda row: row["kl"])
    nats, promised, chosen = (np.array([row[key] for row in prices]) for key in ("kl", "promise", "chosen"))
    with new_figure(path, 9.0, 3.5) as figure:
        first, second = panels(figure, 2)
        first.axhline(promises["best"], color=INK, linewidth=1.0, linestyle="--")
        first.annotate("best recorded", (1, promises["best"]), (-2, 3), xycoords=("axes fraction", "data"),
                       textcoords="offset points", ha="right", fontsize=8)  # fmt: skip
        first.axhline(promises["static"], color=GREY, linewidth=1.0, linestyle=":")
        first.annotate("static", (1, promises["static"]), (-2, 3), xycoords=("axes fraction", "data"),
                       textcoords="offset points", ha="right", fontsize=8, color=GREY)  # fmt: skip
        first.plot(nats, promised, "o-", color=ADAPTED, linewidth=2.2, markersize=5)
        first.plot(nats, chosen, "s-", color=SERIES[1], linewidth=1.4, markersize=4)
        for row in prices:
            is_own = row["kl_coef"] == promises["kl_coef"]
            below = row["promise"] < row["chosen"]
            first.annotate(f"{row['kl_coef']:g}", (row["kl"], row["promise"]), (0, -7 if below else 6), ha="center",
                           va="top" if below else "bottom", textcoords="offset points", fontsize=8,
                           fontweight="bold" if is_own else "normal")  # fmt: skip
        first.set(xlabel="nats a plan, at each λ", ylabel="return")
        if nats.max() > 5:
            first.set_xscale("symlog", linthresh=1.0)
            shown = [tick for tick in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if tick < 1.5 * nats.max()]
            first.set_xticks(shown, [str(tick) for tick in shown])
            first.minorticks_off()
            first.set_xlim(left=0)
        first.set(title="Promised (blue), recorded (orange)")
        first.margins(y=0.14)
        percentiles = np.array(support["percentiles"])
        second.plot(percentiles, np.arange(len(percentiles)), color=INK, linewidth=1.6)
        own = next(row for row in prices if row["kl_coef"] == promises["kl_coef"])
        for place, (value, colour, name) in enumerate(
            ((promises["static"], GREY, "static"), (own["promise"], ADAPTED, f"adapted, λ = {own['kl_coef']:g}"))
        ):
            second.axvline(value, color=colour, linewidth=1.8)
            second.annotate(name, (value, 0.82 - 0.55 * place), (-3, 0), xycoords=("data", "axes fraction"),
                            textcoords="offset points", ha="right", fontsize=8, color=colour)  # fmt: skip
        second.axvspan(support["near_best_return"], support["best"], color=SERIES[2], alpha=0.18, linewidth=0)
        second.set(title=f"{support['near_best']:,} of {support['episodes']:,} episodes near the best (green)")
        second.set(xlabel="discounted return of an episode", ylabel="episodes below it, %", ylim=(0, 100))
    return path
