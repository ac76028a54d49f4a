"""What one run shows: its training, one of its decisions, the paths through a maze."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from owma._internal.errors import ConfigError
from owma._internal.types import Float
from owma.results.plots.canvas import end_labels, new_figure, panels, plain_logarithms, spoken, weight
from owma.results.plots.colours import ADAPTED, GREY, INK, PAYS, SERIES, STAR, WALL, is_ours, planner_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HELD_OUT = "_held_out_loss"


def training_curves(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Losses against the step, one panel a phase, on a logarithmic axis; what was held out is dashed.

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
    with new_figure(path, 4.3 * len(phases), 3.1) as figure:
        for axes, (phase, lines) in zip(panels(figure, len(phases)), phases.items()):
            # What was held out has the colour of what it is the held-out loss of.
            trained = dict.fromkeys(key.replace(_HELD_OUT, "_loss") for key in lines)
            colours = dict(zip(trained, itertools.cycle(SERIES)))
            ends: list[tuple[str, float, float]] = []
            for key, points in lines.items():
                steps, losses = np.array(points).T
                is_held_out = key.endswith(_HELD_OUT)
                colour, dash = colours[key.replace(_HELD_OUT, "_loss")], "--" if is_held_out else "-"
                # One point makes no line: it is the marker that shows.
                raw: dict[str, Any] = (
                    {"alpha": 0.3, "linewidth": 0.9}
                    if len(losses) > 40
                    else {"linewidth": 1.6, "marker": "o", "markersize": 4}
                )
                axes.plot(steps, losses, dash, color=colour, **raw)
                shown = losses
                if len(losses) > 40:
                    shown = _smoothed(losses)
                    axes.plot(steps, shown, dash, color=colour, linewidth=1.8)
                known = shown[np.isfinite(shown)]
                if len(known):
                    name = spoken(key.replace(_HELD_OUT, "").removesuffix("_loss"))
                    said = f"{name}{', held out' if is_held_out else ''}: {known[-1]:.2g}"
                    ends.append((said, float(steps[-1]), float(known[-1])))
            axes.set(title=_of_phase(phase, lines), xlabel="update", ylabel="loss, logarithmic", yscale="log")
            plain_logarithms(axes.yaxis)
            axes.locator_params(axis="x", nbins=4)
            end_labels(axes, ends)
    return path


def _of_phase(phase: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    held = next((points for key, points in lines.items() if key.endswith(_HELD_OUT)), None)
    known = [loss for _, loss in held or () if np.isfinite(loss)]
    if len(known) < 2:
        return phase
    still = "still falls" if known[-1] < min(known[:-1]) else "is past its lowest"
    return f"{phase}: the held-out loss {still}"


def decision_histogram(
    path: Path,
    before: Float[np.ndarray, " samples"],
    after: Float[np.ndarray, " others"],
    *,
    optimum: Float[np.ndarray, " grid 2"] | None = None,
    planner: str = "adaptation",
) -> Path:
    """The values V(ψ) that one decision's draws have, before adaptation and after: a dot a draw, a bar the mean.

    **Arguments:**

    - `path`: the PNG file to write.
    - `before`, `after`: V in return units of draws of $p_φ$ and of the adapted model.
    - `optimum`: the density of V under the tilted optimum $q^*$, as rows (V, density), by rising V; drawn as a line.
    - `planner`: who decided.

    **Returns:** `path`.
    """
    rng = np.random.default_rng(0)
    means = float(np.mean(before)), float(np.mean(after))
    with new_figure(path, 6.2, 1.9 if optimum is None else 2.4) as figure:
        (axes,) = panels(figure, 1)
        for place, (values, colour, mean) in enumerate(((before, GREY, means[0]), (after, ADAPTED, means[1]))):
            axes.plot([mean, mean], [place - 0.36, place + 0.36], color=colour, linewidth=3)
            jitter = place + rng.uniform(-0.24, 0.24, len(values))
            alpha = float(np.clip(30 / len(values), 0.12, 0.6))
            axes.plot(values, jitter, "o", color=colour, markersize=4, alpha=alpha, markeredgewidth=0)
        rows = [r"trained model, $p_\varphi$", r"adapted, $p_{\varphi+\Delta\varphi}$"]
        if optimum is not None:
            curve = optimum[:, 1] / max(float(optimum[:, 1].max()), 1e-12)
            axes.plot(optimum[:, 0], 1.6 + 0.8 * curve, color=INK, linewidth=1.4)
            rows.append(r"optimum, $q^*\propto p_\varphi e^{V/\lambda}$")
        axes.set_yticks([0, 1, 2][: len(rows)], rows)
        axes.set(title=f"{spoken(planner)}, one decision: mean V from {means[0]:.3g} to {means[1]:.3g}")
        axes.set(xlabel=r"V(ψ) of each draw, return units; bar: mean", ylim=(-0.55, len(rows) - 0.45))
        axes.grid(axis="y", visible=False)
    return path


def adaptation_curves(
    path: Path,
    objective: Float[np.ndarray, " steps"],
    value: Float[np.ndarray, " steps"],
    kl: Float[np.ndarray, " steps"],
    *,
    prior_value: float,
    optimum: float | None = None,
    planner: str = "adaptation",
    surrogate: bool = False,
) -> Path:
    """One decision's adaptation, step by step: J, E[V] and the KL.

    **Arguments:**

    - `path`: the PNG file to write.
    - `objective`: J in units of `value_scale`, or whichever units `optimum` is in.
    - `value`: E[V] in return units.
    - `kl`: nats; or the `surrogate` that is charged in its place.
    - `prior_value`: E[V] of the model that was not adapted, in return units.
    - `optimum`: J*, where it is known.
    - `planner`: who decided.
    - `surrogate`: whether what is charged is `owma.adaptation.HybridKL`, which is no divergence: with Δφ = 0 it is
        0.2 Var V.

    **Returns:** `path`.
    """
    charge = "surrogate" if surrogate else "KL"
    paid = "surrogate; 0.2 Var V at Δφ = 0" if surrogate else "KL from the trained model, nats"
    said = f"is charged {kl[-1]:.2g}, which is no KL" if surrogate else f"pays {max(0.0, kl[-1]):.2g} nats"
    with new_figure(path, 9.6, 3.0) as figure:
        steps = np.arange(len(objective))
        curves = (
            ("objective", objective, f"J = E[V] − λ {charge}, spreads of V", optimum, "optimum J*"),
            ("gains", value, "E[V(ψ)], return units", prior_value, "trained model, other draws"),
            ("pays", kl, paid, None, ""),
        )
        for axes, (title, curve, label, line, name) in zip(panels(figure, 3), curves):
            axes.plot(steps, curve, color=ADAPTED, linewidth=1.8, marker="o", markersize=3.2)
            if line is not None:
                axes.axhline(line, color=INK, linewidth=1.1, linestyle="--")
                axes.annotate(name, (steps[-1], line), (0, -4), textcoords="offset points", ha="right", va="top",
                              fontsize=8)  # fmt: skip
            axes.set(xlabel="adaptation step", ylabel=label)
            axes.set_title(
                {
                    "objective": f"J rises by {objective[-1] - objective[0]:.3g}",
                    "gains": f"gains {value[-1] - value[0]:.3g} in value",
                    "pays": said,
                }[title]
            )
            axes.locator_params(axis="x", integer=True)
            axes.margins(y=0.16)
            if title == "pays":
                axes.set_ylim(min(0.0, float(np.min(kl))), None)
        figure.supxlabel(f"{spoken(planner)}: one decision, step by step", fontsize=8.5, x=0.01, ha="left")
    return path


def maze_trajectories(
    path: Path,
    maze_map: Sequence[Sequence[int | str]],
    trajectories: Mapping[str, Sequence[Float[np.ndarray, "_ 2"]]],
    *,
    start: tuple[float, float],
    goal: tuple[float, float],
    successes: Mapping[str, float | None],
    cell_size: float = 1.0,
    pays: Sequence[Sequence[float]] | None = None,
) -> Path:
    """The paths that each planner took through a maze seen from above, one panel a planner, adaptation first.

    **Arguments:**

    - `path`: the PNG file to write.
    - `maze_map`: rows of cells from the top, 1 a wall. The cell (row, col) has its centre at
        x = (col + 0.5 − cols/2) · `cell_size`, y = (rows/2 − row − 0.5) · `cell_size`, as gymnasium-robotics does.
    - `trajectories`: planner name to positions in metres, an array an episode.
    - `start`, `goal`: positions in metres.
    - `successes`: planner name to success rate, from 0 to 1; `None` where it is not known.
    - `cell_size`: metres.
    - `pays`: of each cell how much the task pays there, from 0 to 1; shaded, since reaching the goal alone may not be
        what is asked for.

    **Returns:** `path`.
    """
    rows, cols = len(maze_map), len(maze_map[0])
    columns = min(4, max(1, len(trajectories)))
    lines = -(-max(1, len(trajectories)) // columns)
    colours = planner_colours(trajectories)
    ordered = sorted(trajectories, key=lambda name: not is_ours(name))
    with new_figure(path, 2.7 * columns, (2.7 * rows / cols + 0.35) * lines + 0.3) as figure:
        for axes, name in zip(panels(figure, len(trajectories), columns), ordered):
            _shade(axes, pays, cell_size)
            draw_walls(axes, maze_map, cell_size)
            episodes = trajectories[name]
            faint = float(np.clip(6.0 / max(1, len(episodes)), 0.25, 0.8))
            for positions in episodes:
                # In an SVG as an image: points of many ways are most of its size.
                axes.plot(*np.asarray(positions).T, color=colours[name], linewidth=1.2, alpha=faint, rasterized=True)
            axes.plot(*start, "o", color="white", markeredgecolor=INK, markeredgewidth=1.3, markersize=7, zorder=5)
            axes.plot(*goal, "*", color=STAR, markeredgecolor=INK, markeredgewidth=0.9, markersize=14, zorder=5)
            share = successes[name]
            title = spoken(name) if share is None else f"{spoken(name)}: {100 * share:.0f} %"
            axes.set_title(title, color=colours[name] if is_ours(name) else INK, fontweight=weight(name))
            axes.set(aspect="equal", xticks=[], yticks=[])
            axes.set_xlim(-cols / 2 * cell_size, cols / 2 * cell_size)
            axes.set_ylim(-rows / 2 * cell_size, rows / 2 * cell_size)
            for spine in axes.spines.values():
                spine.set(visible=is_ours(name), color=colours[name], linewidth=2.5)
        task = "" if pays is None else "; the task pays on yellow ground only"
        told = "" if all(share is None for share in successes.values()) else "; percent: episodes that succeed"
        figure.supxlabel(f"white circle: start; star: goal{task}{told}", fontsize=9, x=0.01, ha="left")
    return path


def _shade(axes: "Axes", pays: Sequence[Sequence[float]] | None, cell_size: float) -> None:
    from matplotlib.patches import Rectangle

    for row, cells in enumerate(pays or ()):
        for col, share in enumerate(cells):
            if share > 0:
                corner = ((col - len(cells) / 2) * cell_size, (len(pays or ()) / 2 - row - 1) * cell_size)
                fill: dict[str, Any] = {"facecolor": PAYS, "alpha": 0.12 + 0.4 * share, "linewidth": 0}
                axes.add_patch(Rectangle(corner, cell_size, cell_size, antialiased=False, **fill))


def draw_walls(axes: "Axes", maze_map: Sequence[Sequence[int | str]], cell_size: float) -> None:
    """The walls of a maze as in `maze_trajectories`."""
    from matplotlib.patches import Rectangle

    rows, cols = len(maze_map), len(maze_map[0])
    axes.grid(False)
    for row, cells in enumerate(maze_map):
        for col, cell in enumerate(cells):
            if cell == 1:
                corner = ((col - cols / 2) * cell_size, (rows / 2 - row - 1) * cell_size)
                axes.add_patch(Rectangle(corner, cell_size, cell_size, facecolor=WALL, edgecolor=WALL, linewidth=0.5))


def _smoothed(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """A centred running geometric mean over a twentieth of the curve; gaps count for nothing."""
    width = max(3, len(values) // 20)
    known = ~np.isnan(values)
    logs = np.where(known, np.log(np.where(known, values, 1.0)), 0.0)
    window = np.ones(width)
    counts = np.convolve(known, window, "same")
    return np.exp(np.convolve(logs, window, "same") / np.where(counts > 0, counts, np.nan))
