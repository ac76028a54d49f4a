"""One run, many tasks: return against labels, and success over the goals of a maze."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from owma.results.plots.canvas import GREY, PALETTE, new_figure, panels, seed_dots, spoken
from owma.results.plots.one_run import draw_walls

_FITS = {
    "pessimistic": ("lower bound", PALETTE[2]),
    "decoder": ("z* by gradient", PALETTE[0]),
    "linear": ("w by ridge", PALETTE[1]),
}
_DASHES = ("-", "--", ":", "-.")


def few_shot(path: Path, entries: Sequence[Mapping[str, Any]]) -> Path:
    """Return against the number of labels, a panel a task, a colour a fit and a dash a planner, with 95 % intervals.

    A small dot is a draw of the labels, or a seed where there are several.

    `entries`: those of `owma.transfer.summary.summarise_transfer`. **Returns:** `path`.
    """
    tasks = list(dict.fromkeys(entry["task"] for entry in entries))
    planners = list(dict.fromkeys(entry["planner"] for entry in entries))
    columns = min(3, len(tasks))
    lines = -(-len(tasks) // columns)
    with new_figure(path, 3.9 * columns + 0.6, 3.1 * lines + 0.3) as figure:
        for axes, task in zip(panels(figure, len(tasks), columns), tasks):
            for fit, (label, colour) in _FITS.items():
                for planner, dash in zip(planners, _DASHES * len(planners)):
                    rows = sorted(
                        (e for e in entries if (e["task"], e["fit"], e["planner"]) == (task, fit, planner)),
                        key=lambda entry: entry["labels"],
                    )
                    if not rows:
                        continue
                    labels, means = [row["labels"] for row in rows], [row["return"] for row in rows]
                    ends = [row["intervals"]["return"] or [row["return"]] * 2 for row in rows]
                    name = label if len(planners) == 1 else f"{label}, {spoken(planner)}"
                    axes.plot(labels, means, dash, color=colour, marker="o", markersize=4, label=name)
                    for row in rows:
                        parts = row.get("parts", ())
                        if len(parts) > 1:
                            seed_dots(axes, [float(row["labels"])] * len(parts), list(parts), colour)
                    axes.fill_between(labels, [e[0] for e in ends], [e[1] for e in ends], color=colour, alpha=0.15)
            axes.set(xscale="log", xlabel="labelled samples", ylabel="return (95 % interval)", title=task)
            axes.title.set_fontsize(8)
            axes.xaxis.set_major_formatter("{x:g}")
        figure.axes[0].legend(loc="best")
    return path


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
