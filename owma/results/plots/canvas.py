"""The house style: palette, colours of the planners, figures and panels.

Colours are fixed per planner, so that two figures of one run can be read side by side.
"""

import contextlib
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure, SubFigure

INK, GREY, WALL, FAINT = "#2b2f36", "#6b7482", "#ccd2da", "#dde1e7"
PALETTE = (
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
    "online_adaptation": PALETTE[0],
    "guided_diffusion": PALETTE[1],
    "random_shooting": PALETTE[2],
    "tilted_resampling": PALETTE[3],
    "static": GREY,
}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9aa1ac",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def planner_colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each planner: fixed for the usual ones, in alphabetical order from the others of the palette."""
    names = list(names)
    others = itertools.cycle(PALETTE[len(_PLANNER_COLOURS) - 1 :])
    return {name: _PLANNER_COLOURS[name] if name in _PLANNER_COLOURS else next(others) for name in sorted(names)}


@contextlib.contextmanager
def new_figure(path: Path, width: float, height: float) -> Iterator["Figure"]:
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


def panels(figure: "Figure | SubFigure", count: int, columns: int | None = None) -> list["Axes"]:
    """`count` axes in rows of `columns`, left to right; the places that remain stay empty."""
    columns = columns or max(1, count)
    lines = -(-max(1, count) // columns)
    return [figure.add_subplot(lines, columns, 1 + i) for i in range(count)]


def seeds_of(entry: Mapping[str, Any], key: str) -> list[float]:
    """The mean of each seed, of an entry of `owma.results.tables.summarise`; none of one seed, whose mean is drawn
    already.
    """
    means = [mean for mean in entry.get("by_seed", {}).get(key, {}).values() if mean is not None]
    return means if len(means) > 1 else []


def seed_dots(axes: "Axes", x: list[float], y: list[float], colour: str) -> None:
    """Small dots beside an interval, one a seed: what an interval over three seeds rests on."""
    axes.plot(x, y, ".", color=colour, markersize=7, alpha=0.6, markeredgewidth=0, label="_seeds")


def plain_logarithms(axis: "Axis") -> None:
    """Ticks at 1, 2 and 5 of every decade in plain numbers; one decade has none to read otherwise."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def spoken(name: str) -> str:
    """A name as it is written under a figure."""
    return name.replace("_", " ")
