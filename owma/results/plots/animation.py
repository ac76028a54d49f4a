"""An episode seen from above, moving."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from owma._internal.types import Float
from owma.results.plots.colours import ADAPTED, INK, STAR
from owma.results.plots.one_run import draw_walls


def map_animation(
    path: Path,
    positions: Float[np.ndarray, "frames 2"],
    *,
    title: str,
    maze_map: Sequence[Sequence[int | str]] | None = None,
    goal: tuple[float, float] | None = None,
    frames_per_second: float = 20.0,
) -> Path:
    """A GIF of a point that moves, with the way that it came.

    **Arguments:**

    - `path`: the GIF file to write.
    - `positions`: x and y in metres, a row a frame.
    - `title`: what is shown.
    - `maze_map`, `goal`: as in `maze_trajectories`; without a map the axes are those of the positions.

    **Returns:** `path`.
    """
    from matplotlib.animation import PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((3.6, 3.8), dpi=80, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if maze_map is not None:
        draw_walls(axes, maze_map, 1.0)
        half = np.array([len(maze_map[0]), len(maze_map)]) / 2
        axes.set(xlim=(-half[0], half[0]), ylim=(-half[1], half[1]))
    else:
        low, high = positions.min(axis=0), positions.max(axis=0)
        margin = 0.1 * max(float((high - low).max()), 1e-3)
        axes.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin))
    if goal is not None:
        axes.plot(*goal, "*", color=STAR, markeredgecolor=INK, markersize=15)
    axes.set(aspect="equal", xticks=[], yticks=[], title=title)
    style: dict[str, Any] = {"color": ADAPTED}
    (way,) = axes.plot([], [], linewidth=1.5, alpha=0.6, **style)
    (point,) = axes.plot([], [], "o", markersize=8, **style)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = PillowWriter(fps=frames_per_second)  # pyright: ignore[reportArgumentType]  (a share of a frame is fine)
    with writer.saving(figure, str(path), dpi=80):
        for frame in range(len(positions)):
            way.set_data(*positions[: frame + 1].T)
            point.set_data(*positions[frame : frame + 1].T)
            writer.grab_frame()
    return path
