"""Figures as PNG files, from plain arrays; matplotlib is imported where it is used, without its global state.

Colours are fixed per planner, so that two figures of one run can be read side by side.
"""

import contextlib
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from owma._errors import ConfigError
from owma._types import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_INK, _GREY, _WALL, _FAINT = "#2b2f36", "#6b7482", "#ccd2da", "#dde1e7"
_PALETTE = (
    "#0f6fb3",
    "#d9541e",
    "#2a9d5c",
    "#8a5cc2",
    "#c9a014",
    "#c2417f",
    "#1fa3a8",
    "#7a5230",
    "#9fb52a",
    "#e08fb0",
    "#4b4fa8",
    "#b07a5a",
)
_PLANNER_COLOURS = {
    "online_adaptation": _PALETTE[0],
    "guided_diffusion": _PALETTE[1],
    "random_shooting": _PALETTE[2],
    "tilted_resampling": _PALETTE[3],
    "static": _GREY,
}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#9aa1ac",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.7,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def planner_colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each planner: fixed for the usual ones, in alphabetical order from the others of the palette."""
    names = list(names)
    others = itertools.cycle(_PALETTE[len(_PLANNER_COLOURS) - 1 :])
    return {name: _PLANNER_COLOURS[name] if name in _PLANNER_COLOURS else next(others) for name in sorted(names)}


def training_curves(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Losses against the step, one panel a phase, on a logarithmic axis.

    **Arguments:**

    - `path`: the PNG file to write.
    - `rows`: rows of `metrics.jsonl`: `step`, optionally `phase`, and losses under keys that hold the word `loss`.
        Other keys are left alone; values that are `None` or not positive are gaps in the line.

    **Returns:** `path`. Raises `ConfigError` where no row holds a loss.
    """
    phases: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        for key, value in row.items():
            if "loss" in key:
                shown = float(value) if value is not None and value > 0 else np.nan
                lines = phases.setdefault(str(row.get("phase", "training")), {})
                lines.setdefault(key, []).append((float(row["step"]), shown))
    if not phases:
        raise ConfigError("There is no loss in these rows, so there is nothing to plot: train for some steps first.")
    with _figure(path, 3.9 * len(phases), 3.1) as figure:
        for axes, (phase, lines) in zip(_panels(figure, len(phases)), phases.items()):
            for colour, (key, points) in zip(itertools.cycle(_PALETTE), lines.items()):
                steps, losses = np.array(points).T
                raw: dict[str, Any] = (
                    {"alpha": 0.3, "linewidth": 0.9} if len(losses) > 40 else {"linewidth": 1.6, "label": key}
                )
                axes.plot(steps, losses, color=colour, **raw)
                if len(losses) > 40:
                    axes.plot(steps, _smoothed(losses), color=colour, linewidth=1.8, label=f"{key}, smoothed")
            axes.set(title=phase, xlabel="update", ylabel="loss", yscale="log")
            _plain_logarithms(axes.yaxis)
            axes.legend(loc="upper right")
    return path


def decision_histogram(
    path: Path,
    before: Float[np.ndarray, " samples"],
    after: Float[np.ndarray, " others"],
    *,
    optimum: Float[np.ndarray, " grid 2"] | None = None,
) -> Path:
    """The values V(ψ) that one decision's samples have, before adaptation and after.

    **Arguments:**

    - `path`: the PNG file to write.
    - `before`, `after`: V in return units of samples of $p_φ$ and of the adapted model.
    - `optimum`: the density of V under the tilted optimum $q^*$, as rows (V, density), by rising V; drawn as a line.

    **Returns:** `path`.
    """
    pooled = np.concatenate([before, after] + ([optimum[:, 0]] if optimum is not None else []))
    edges = np.linspace(pooled.min(), pooled.max() + 1e-6, 45)
    with _figure(path, 6.2, 3.4) as figure:
        (axes,) = _panels(figure, 1)
        for values, colour, label in (
            (before, _GREY, r"before: $p_\varphi(\psi|s)$"),
            (after, _PALETTE[0], r"after: $p_{\varphi+\Delta\varphi}(\psi|s)$"),
        ):
            mean = float(values.mean())
            axes.hist(values, edges, density=True, color=colour, alpha=0.45, label=f"{label}, mean {mean:.3g}")
            axes.hist(values, edges, density=True, histtype="step", color=colour, linewidth=1.1)
            axes.axvline(mean, ymax=0.7, color=colour, linewidth=1.6, linestyle="--")
        if optimum is not None:
            axes.plot(*optimum.T, color=_INK, linewidth=1.4, label=r"optimum $q^*\propto p_\varphi\,e^{V/\lambda}$")
        axes.set(title="One decision, before and after adaptation", xlabel=r"$V(\psi)$, return units", ylabel="density")
        axes.grid(axis="x", visible=False)
        axes.set_ylim(0, axes.get_ylim()[1] * 1.32)  # room for the legend above the bars and the mean lines
        axes.legend(loc="upper left")
    return path


def adaptation_curves(
    path: Path,
    objective: Float[np.ndarray, " steps"],
    value: Float[np.ndarray, " steps"],
    kl: Float[np.ndarray, " steps"],
    *,
    prior_value: float,
    optimum: float | None = None,
) -> Path:
    """One decision's adaptation, step by step: J, E[V] and the KL.

    **Arguments:**

    - `path`: the PNG file to write.
    - `objective`: J in units of `value_scale`, or whichever units `optimum` is in.
    - `value`: E[V] in return units.
    - `kl`: nats.
    - `prior_value`: E[V] of the model that was not adapted, in return units.
    - `optimum`: J*, where it is known.

    **Returns:** `path`.
    """
    with _figure(path, 9.6, 2.9) as figure:
        steps = np.arange(len(objective))
        panels = (
            ("Objective J", objective, "J", optimum, "optimum J*"),
            ("Expected value", value, r"$E[V(\psi)]$, return units", prior_value, "not adapted"),
            ("Divergence", kl, "KL, nats", None, ""),
        )
        for axes, colour, (title, curve, label, line, name) in zip(_panels(figure, 3), _PALETTE, panels):
            axes.plot(steps, curve, color=colour, linewidth=1.8, marker="o", markersize=3.2)
            if line is not None:
                axes.axhline(line, color=_INK, linewidth=1.1, linestyle="--", label=name)
                axes.legend(loc="best")
            axes.set(title=title, xlabel="adaptation step", ylabel=label)
            axes.locator_params(axis="x", integer=True)
            axes.margins(y=0.12)
    return path


def maze_trajectories(
    path: Path,
    maze_map: Sequence[Sequence[int | str]],
    trajectories: Mapping[str, Sequence[Float[np.ndarray, "_ 2"]]],
    *,
    start: tuple[float, float],
    goal: tuple[float, float],
    successes: Mapping[str, float],
    cell_size: float = 1.0,
) -> Path:
    """The paths that each planner took through a maze seen from above, one panel a planner.

    **Arguments:**

    - `path`: the PNG file to write.
    - `maze_map`: rows of cells from the top, 1 a wall. The cell (row, col) has its centre at
        x = (col + 0.5 − cols/2) · `cell_size`, y = (rows/2 − row − 0.5) · `cell_size`, as gymnasium-robotics does.
    - `trajectories`: planner name to positions in metres, an array an episode.
    - `start`, `goal`: positions in metres.
    - `successes`: planner name to success rate, from 0 to 1.
    - `cell_size`: metres.

    **Returns:** `path`.
    """
    rows, cols = len(maze_map), len(maze_map[0])
    columns = min(4, max(1, len(trajectories)))
    lines = -(-max(1, len(trajectories)) // columns)
    colours = planner_colours(trajectories)
    with _figure(path, 2.7 * columns, (2.7 * rows / cols + 0.35) * lines) as figure:
        for axes, (name, episodes) in zip(_panels(figure, len(trajectories), columns), trajectories.items()):
            _draw_walls(axes, maze_map, cell_size)
            faint = float(np.clip(6.0 / max(1, len(episodes)), 0.25, 0.8))
            for positions in episodes:
                axes.plot(*np.asarray(positions).T, color=colours[name], linewidth=1.2, alpha=faint)
            axes.plot(*start, "o", color="white", markeredgecolor=_INK, markeredgewidth=1.3, markersize=7, zorder=5)
            axes.plot(*goal, "*", color="#f2b705", markeredgecolor=_INK, markeredgewidth=0.9, markersize=14, zorder=5)
            axes.set_title(f"{_spoken(name)}: {100 * successes[name]:.0f} %", color=colours[name])
            axes.set(aspect="equal", xticks=[], yticks=[])
            axes.set_xlim(-cols / 2 * cell_size, cols / 2 * cell_size)
            axes.set_ylim(-rows / 2 * cell_size, rows / 2 * cell_size)
            axes.spines[:].set_visible(False)
    return path


def success_against_latency(path: Path, results: Mapping[str, Any]) -> Path:
    """What a decision costs and what it brings: success with its 95 % interval against milliseconds, a dot a planner.

    `results` is what `owma.tables.summarise` returns. **Returns:** `path`. Raises `ConfigError` where no planner has a
    latency.
    """
    planners = {name: entry for name, entry in results["planners"].items() if entry["ms_p50"]}
    if not planners:
        raise ConfigError("No planner in these results has a latency, so there is nothing to plot: evaluate first.")
    colours = planner_colours(planners)
    with _figure(path, 5.6, 3.6) as figure:
        (axes,) = _panels(figure, 1)
        # Named in a legend beside the figure, best first: names beside the dots would cover one another.
        for name, entry in sorted(planners.items(), key=lambda item: -item[1]["success"]):
            success, ms = 100 * entry["success"], entry["ms_p50"]
            low, high = (100 * end for end in entry["intervals"]["success"] or [entry["success"]] * 2)
            bars = np.clip([[success - low], [high - success]], 0, None)
            style: dict[str, Any] = {"color": colours[name], "markersize": 7, "capsize": 3}
            axes.errorbar(ms, success, yerr=bars, fmt="o", label=_spoken(name), **style)
            axes.plot([ms, entry["ms_p95"] or ms], [success, success], color=colours[name], linewidth=3, alpha=0.35)
        axes.set(xscale="log", ylim=(-4, 104), xlabel="milliseconds a decision (dot: p50, bar to p95)")
        axes.set(ylabel="success, % (95 % interval)", title="Success against latency")
        _plain_logarithms(axes.xaxis)
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
    with _figure(path, 6.4, 4.0) as figure:
        (axes,) = _panels(figure, 1)
        axes.axhline(1.0, color=_GREY, linewidth=1.0, linestyle="--")
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
                label=_spoken(name),
            )
        axes.set(xscale="log", ylim=(-0.55, 1.15), xlabel="milliseconds a decision", title=title)
        axes.set(ylabel="(J − J₀)/(J* − J₀), 95 % interval")
        _plain_logarithms(axes.xaxis)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


def skew_curve(path: Path, results: Mapping[str, Any]) -> Path:
    """Success with its 95 % interval against the share of the data that shows how: a line a planner.

    `results` maps skews, written as numbers, to what `owma.tables.summarise` returns. **Returns:** `path`.
    """
    skews = sorted(results, key=float)
    names = list(dict.fromkeys(name for skew in skews for name in results[skew]["planners"]))
    colours = planner_colours(names)
    with _figure(path, 6.4, 4.0) as figure:
        (axes,) = _panels(figure, 1)
        for i, name in enumerate(names):
            entries = [(float(skew), results[skew]["planners"].get(name)) for skew in skews]
            entries = [(skew, entry) for skew, entry in entries if entry is not None]
            success = np.array([100 * entry["success"] for _, entry in entries])
            ends = 100 * np.array([entry["intervals"]["success"] or [entry["success"]] * 2 for _, entry in entries])
            bars = np.clip(np.stack([success - ends[:, 0], ends[:, 1] - success]), 0, None)
            # Side by side: at the ends of the axis planners coincide.
            x = np.array([skew for skew, _ in entries]) * 1.02 ** (i - len(names) / 2)
            style: dict[str, Any] = {"color": colours[name], "markersize": 5, "capsize": 2}
            axes.errorbar(x, success, yerr=bars, fmt="o-", label=_spoken(name), **style)
        axes.set(xscale="log", ylim=(-4, 104), xlabel="share of the episodes that take the rare route", title="Skew")
        axes.set(ylabel="success, % (95 % interval)")
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
    with _figure(path, 6.4, 4.0) as figure:
        (axes,) = _panels(figure, 1)
        axes.plot(*frontier.T, color=_INK, linewidth=1.2, linestyle="--", label="q*, the optimum")
        for name, group in groups.items():
            points = np.array(sorted((row["kl"], row["value"]) for row in group)).T
            axes.plot(*points, "o-", color=colours[name], markersize=5, linewidth=1.4, label=_spoken(name))
        axes.set(xscale="symlog", xlim=(-0.1, None), xlabel="divergence from the trained model, nats", title=title)
        axes.set(ylabel="V(ψ*)/value_scale")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


def _grouped(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["planner"], []).append(row)
    return groups


def _draw_walls(axes: "Axes", maze_map: Sequence[Sequence[int | str]], cell_size: float) -> None:
    from matplotlib.patches import Rectangle

    rows, cols = len(maze_map), len(maze_map[0])
    axes.grid(False)
    for row, cells in enumerate(maze_map):
        for col, cell in enumerate(cells):
            if cell == 1:
                corner = ((col - cols / 2) * cell_size, (rows / 2 - row - 1) * cell_size)
                axes.add_patch(Rectangle(corner, cell_size, cell_size, facecolor=_WALL, edgecolor=_WALL, linewidth=0.5))


@contextlib.contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator["Figure"]:
    """A figure of the house style, `width` by `height` inches; saved as PNG at the end unless the block raised."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        dpi = min(120.0, 1000 / (width * height) ** 0.5)  # at most a million pixels, so that no file is large
        figure = Figure((width, height), dpi=dpi, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
        full = io.BytesIO()
        figure.savefig(full, format="png", bbox_inches="tight")
    # A palette is a third of the size and looks the same: a figure has few hues, and overlaid lines compress badly.
    Image.open(full).convert("RGB").quantize(256).save(path, optimize=True)


def _panels(figure: "Figure", count: int, columns: int | None = None) -> list["Axes"]:
    """`count` axes in rows of `columns`, left to right; the places that remain stay empty."""
    columns = columns or max(1, count)
    lines = -(-max(1, count) // columns)
    return [figure.add_subplot(lines, columns, 1 + i) for i in range(count)]


def _plain_logarithms(axis: "Axis") -> None:
    """Ticks at 1, 2 and 5 of every decade in plain numbers; one decade has none to read otherwise."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def _smoothed(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """A centred running geometric mean over a twentieth of the curve; gaps count for nothing."""
    width = max(3, len(values) // 20)
    known = ~np.isnan(values)
    logs = np.where(known, np.log(np.where(known, values, 1.0)), 0.0)
    window = np.ones(width)
    counts = np.convolve(known, window, "same")
    return np.exp(np.convolve(logs, window, "same") / np.where(counts > 0, counts, np.nan))


def _spoken(name: str) -> str:
    return name.replace("_", " ")
