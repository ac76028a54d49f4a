"""One run, many tasks: return against labels, and success over the goals of a maze."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from owma._internal.errors import ConfigError
from owma.results.plots.canvas import new_figure, panels, seed_dots, spoken
from owma.results.plots.colours import GREY, SERIES
from owma.results.plots.one_run import draw_walls

_FITS = {
    "pessimistic": ("lower bound", SERIES[2]),
    "decoder": ("z* by gradient", SERIES[0]),
    "linear": ("w by ridge", SERIES[1]),
}
_DASHES = ("-", "--", ":", "-.")


def few_shot(path: Path, entries: Sequence[Mapping[str, Any]]) -> Path:
    """Return against the number of labels, a panel a task, a colour a fit and a dash a planner, with 95 % intervals.

    A small dot is a draw of the labels, or a seed where there are several. Tasks pay in units of their own, and so each
    panel has its own axis.

    `entries`: those of `owma.transfer.summary.summarise_transfer`. **Returns:** `path`.
    """
    tasks = dict.fromkeys(entry["task"] for entry in entries)
    return _few_shot(path, {_of_task(task): [e for e in entries if e["task"] == task] for task in tasks})


def few_shot_of_trainings(path: Path, trainings: Mapping[str, Sequence[Mapping[str, Any]]]) -> Path:
    """The same of one task, a panel a training, all with the same axis of returns.

    `trainings`: title to entries. **Returns:** `path`.
    """
    tasks = {entry["task"] for entries in trainings.values() for entry in entries}
    if len(tasks) != 1:
        raise ConfigError(f"Trainings share an axis for one task, not for {len(tasks)}: returns have other units.")
    return _few_shot(path, trainings, shared=True)


def _few_shot(path: Path, shown: Mapping[str, Sequence[Mapping[str, Any]]], *, shared: bool = False) -> Path:
    entries = [entry for of_panel in shown.values() for entry in of_panel]
    planners = list(dict.fromkeys(entry["planner"] for entry in entries))
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    fits = [fit for fit in _FITS if any(entry["fit"] == fit for entry in entries)]
    # Beside each other at every number of labels: as points of one place they would cover one another.
    series = [(fit, planner) for fit in fits for planner in planners]
    shifts = {which: 1.06 ** (i - (len(series) - 1) / 2) for i, which in enumerate(series)}
    with new_figure(path, (2.3 if shared else 3.4) * columns + 0.6, 3.1 * lines + 0.8) as figure:
        every = panels(figure, len(shown), columns, **({"sharey": True} if shared else {}))
        for number, (axes, (title, of_panel)) in enumerate(zip(every, shown.items())):
            for fit, planner in series:
                (label, colour), dash = _FITS[fit], _DASHES[planners.index(planner) % len(_DASHES)]
                rows = sorted(
                    (entry for entry in of_panel if (entry["fit"], entry["planner"]) == (fit, planner)),
                    key=lambda entry: entry["labels"],
                )
                if not rows:
                    continue
                labels = np.array([row["labels"] for row in rows]) * shifts[fit, planner]
                means = np.array([row["return"] for row in rows])
                ends = np.array([row["intervals"]["return"] or [row["return"]] * 2 for row in rows])
                bars = np.clip(np.stack([means - ends[:, 0], ends[:, 1] - means]), 0, None)
                name = label if len(planners) == 1 else f"{label}, {spoken(planner)}"
                style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 4.5, "capsize": 2}
                axes.errorbar(labels, means, yerr=bars, linestyle=dash, linewidth=1.2, label=name, **style)
                for place, row in zip(labels, rows):
                    parts = row.get("parts", ())
                    if len(parts) > 1:
                        seed_dots(axes, [float(place)] * len(parts), list(parts), colour)
            axes.set(xscale="log", xlabel="labelled states")
            if not shared or number % columns == 0:
                axes.set_ylabel("return (95 % interval)")
            else:
                axes.tick_params(labelleft=False)
            axes.set_title(title, fontsize=9)
            axes.set_xticks(sorted({row["labels"] for row in of_panel}))
            axes.minorticks_off()
            axes.xaxis.set_major_formatter("{x:,g}")
        drawn = {name: line for axes in every for line, name in zip(*axes.get_legend_handles_labels())}
        # Below, so that the panels are wide on a narrow screen.
        figure.legend(drawn.values(), drawn, loc="outside lower left", ncols=1 if columns == 1 else 2)
    return path


def _of_task(task: str) -> str:
    """Of `my_rewards:stand` the name of the function: the module says nothing."""
    return spoken(task.rpartition(":")[2] or task)


def maze_heat(
    path: Path,
    maze_map: Sequence[Sequence[int | str]],
    shares: Mapping[str, Mapping[tuple[int, int], float]],
) -> Path:
    """Success over the goals of a maze seen from above, a panel a planner and fit; a cross marks cells without a goal.

    **Arguments:**

    - `path`: the PNG file to write.
    - `maze_map`: rows of cells from the top, 1 a wall.
    - `shares`: title to success in [0, 1] by (row, col).

    **Returns:** `path`.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    rows, cols = len(maze_map), len(maze_map[0])
    columns = min(3, max(1, len(shares)))
    lines = -(-max(1, len(shares)) // columns)
    shade = colormaps["YlGn"]
    with new_figure(path, 3.0 * columns, (3.0 * rows / cols + 0.4) * lines) as figure:
        for axes, (title, success) in zip(panels(figure, len(shares), columns), shares.items()):
            draw_walls(axes, maze_map, 1.0)
            for row in range(rows):
                for col in range(cols):
                    if maze_map[row][col] == 1:
                        continue
                    x, y = col + 0.5 - cols / 2, rows / 2 - row - 0.5
                    if (row, col) not in success:
                        axes.plot(x, y, "x", color=GREY)
                        continue
                    share = success[row, col]
                    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=shade(share), edgecolor="white"))
                    ink = "white" if share > 0.6 else "black"
                    axes.text(x, y, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=ink)
            mean = sum(success.values()) / max(1, len(success))
            axes.set_title(f"{spoken(title)}: {100 * mean:.0f} %", fontsize=8)
            axes.set(aspect="equal", xticks=[], yticks=[], xlim=(-cols / 2, cols / 2), ylim=(-rows / 2, rows / 2))
            axes.spines[:].set_visible(False)
    return path
