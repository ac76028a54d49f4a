"""What one run shows: its training, one of its decisions, the paths through a maze."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from owma._internal.errors import ConfigError
from owma._internal.types import Float
from owma.results.plots.canvas import (
    GREY,
    INK,
    PALETTE,
    WALL,
    new_figure,
    panels,
    plain_logarithms,
    planner_colours,
    spoken,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    with new_figure(path, 3.9 * len(phases), 3.1) as figure:
        for axes, (phase, lines) in zip(panels(figure, len(phases)), phases.items()):
            for colour, (key, points) in zip(itertools.cycle(PALETTE), lines.items()):
                steps, losses = np.array(points).T
                raw: dict[str, Any] = (
                    {"alpha": 0.3, "linewidth": 0.9}
                    if len(losses) > 40
                    # One point makes no line: it is the marker that shows.
                    else {"linewidth": 1.6, "label": spoken(key), "marker": "o", "markersize": 4}
                )
                axes.plot(steps, losses, color=colour, **raw)
                if len(losses) > 40:
                    axes.plot(steps, _smoothed(losses), color=colour, linewidth=1.8, label=f"{spoken(key)}, smoothed")
            axes.set(title=phase, xlabel="update", ylabel="loss", yscale="log")
            plain_logarithms(axes.yaxis)
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
    with new_figure(path, 6.2, 3.4) as figure:
        (axes,) = panels(figure, 1)
        for values, colour, label in (
            (before, GREY, r"before: $p_\varphi(\psi|s)$"),
            (after, PALETTE[0], r"after: $p_{\varphi+\Delta\varphi}(\psi|s)$"),
        ):
            mean = float(values.mean())
            axes.hist(values, edges, density=True, color=colour, alpha=0.45, label=f"{label}, mean {mean:.3g}")
            axes.hist(values, edges, density=True, histtype="step", color=colour, linewidth=1.1)
            axes.axvline(mean, ymax=0.7, color=colour, linewidth=1.6, linestyle="--")
        if optimum is not None:
            axes.plot(*optimum.T, color=INK, linewidth=1.4, label=r"optimum $q^*\propto p_\varphi\,e^{V/\lambda}$")
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
    with new_figure(path, 9.6, 2.9) as figure:
        steps = np.arange(len(objective))
        curves = (
            ("Objective J", objective, "J", optimum, "optimum J*"),
            ("Expected value", value, r"$E[V(\psi)]$, return units", prior_value, "not adapted"),
            ("Divergence", kl, "KL, nats", None, ""),
        )
        for axes, colour, (title, curve, label, line, name) in zip(panels(figure, 3), PALETTE, curves):
            axes.plot(steps, curve, color=colour, linewidth=1.8, marker="o", markersize=3.2)
            if line is not None:
                axes.axhline(line, color=INK, linewidth=1.1, linestyle="--", label=name)
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
    successes: Mapping[str, float | None],
    cell_size: float = 1.0,
) -> Path:
    """The paths that each planner took through a maze seen from above, one panel a planner.

    **Arguments:**

    - `path`: the PNG file to write.
    - `maze_map`: rows of cells from the top, 1 a wall. The cell (row, col) has its centre at
        x = (col + 0.5 − cols/2) · `cell_size`, y = (rows/2 − row − 0.5) · `cell_size`, as gymnasium-robotics does.
    - `trajectories`: planner name to positions in metres, an array an episode.
    - `start`, `goal`: positions in metres.
    - `successes`: planner name to success rate, from 0 to 1; `None` where it is not known.
    - `cell_size`: metres.

    **Returns:** `path`.
    """
    rows, cols = len(maze_map), len(maze_map[0])
    columns = min(4, max(1, len(trajectories)))
    lines = -(-max(1, len(trajectories)) // columns)
    colours = planner_colours(trajectories)
    with new_figure(path, 2.7 * columns, (2.7 * rows / cols + 0.35) * lines) as figure:
        for axes, (name, episodes) in zip(panels(figure, len(trajectories), columns), trajectories.items()):
            draw_walls(axes, maze_map, cell_size)
            faint = float(np.clip(6.0 / max(1, len(episodes)), 0.25, 0.8))
            for positions in episodes:
                axes.plot(*np.asarray(positions).T, color=colours[name], linewidth=1.2, alpha=faint)
            axes.plot(*start, "o", color="white", markeredgecolor=INK, markeredgewidth=1.3, markersize=7, zorder=5)
            axes.plot(*goal, "*", color="#f2b705", markeredgecolor=INK, markeredgewidth=0.9, markersize=14, zorder=5)
            share = successes[name]
            title = spoken(name) if share is None else f"{spoken(name)}: {100 * share:.0f} %"
            axes.set_title(title, color=colours[name])
            axes.set(aspect="equal", xticks=[], yticks=[])
            axes.set_xlim(-cols / 2 * cell_size, cols / 2 * cell_size)
            axes.set_ylim(-rows / 2 * cell_size, rows / 2 * cell_size)
            axes.spines[:].set_visible(False)
    return path


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
