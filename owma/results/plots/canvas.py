"""The house style: figures and panels, direct labels, marks of planners and of seeds."""

import contextlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owma._internal.json import replace_text
from owma.results.plots.colours import DARK, EDGE, FAINT, GROUND, INK, is_filled, is_ours, planner_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure, SubFigure

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": EDGE,
    "axes.facecolor": "none",
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
    "lines.solid_capstyle": "butt",  # an interval ends where it ends
    "path.simplify_threshold": 0.3,
    # Words stay words in an SVG, which is half the size and can be searched; the same figure gives the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "owma",
}
_LINE = 0.155
"""Inches from one direct label to the next."""
_PARTS = ("fill", "stroke")
_PLACES = re.compile(r'(?<= )(?:d|x|y|width|height|transform)="[^"]*"')
_LONG = re.compile(r"(\.\d\d)\d+")


@contextlib.contextmanager
def new_figure(path: Path, width: float, height: float) -> Iterator["Figure"]:
    """A figure of the house style, `width` by `height` inches; saved as PNG, and as SVG beside it, at the end unless
    the block raised.

    The PNG is on white. The SVG has no ground, and turns its inks where the page that shows it is dark.
    """
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
        full, drawn = io.BytesIO(), io.StringIO()
        figure.savefig(full, format="png", bbox_inches="tight")
        figure.savefig(drawn, format="svg", bbox_inches="tight", facecolor="none", metadata={"Date": None}, dpi=dpi)
    # A palette is a third of the size and looks the same: a figure has few hues, and overlaid lines compress badly.
    Image.open(full).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    replace_text(path.with_suffix(".svg"), _for_any_ground(drawn.getvalue()))


def _for_any_ground(svg: str) -> str:
    rules = "".join(
        f'[style*="{part}: {light}"]{{{part}:{dark} !important}}' for light, dark in DARK.items() for part in _PARTS
    )
    svg = re.sub(r"(<svg [^>]*>)", rf"\1<style>@media (prefers-color-scheme: dark){{{rules}}}</style>", svg, count=1)
    svg = _smaller(svg)
    # Verdana is as wide, where DejaVu is not installed.
    svg = svg.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    return re.sub(r"[ \t]+\n", "\n", svg)


def _smaller(svg: str) -> str:
    """Places to a hundredth of a point, and no note of what drew them: half the size."""
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return _PLACES.sub(lambda found: _LONG.sub(r"\1", found[0]), svg)


def panels(figure: "Figure | SubFigure", count: int, columns: int | None = None, **shared: Any) -> list["Axes"]:
    """`count` axes in rows of `columns`, left to right; the places that remain stay empty.

    `shared`: `sharey=True` if all have the vertical axis of the first one.
    """
    columns = columns or max(1, count)
    lines = -(-max(1, count) // columns)
    found: list[Axes] = []
    for i in range(count):
        also: dict[str, Any] = {key: found[0] for key in shared if found}
        found.append(figure.add_subplot(lines, columns, 1 + i, **also))
    return found


def mark(name: str, **more: Any) -> dict[str, Any]:
    """How a planner is drawn: adaptation above all others, and larger."""
    colour = planner_colours([name])[name]
    face = colour if is_filled(name) else GROUND
    size, order = (8.5, 5) if is_ours(name) else (5.5, 3)
    width = 2.6 if is_ours(name) else 1.2
    return {
        "color": colour,
        "markerfacecolor": face,
        "markeredgecolor": colour,
        "markersize": size,
        "linewidth": width,
        "zorder": order,
    } | more


def weight(name: str) -> str:
    """Of a planner's name."""
    return "bold" if is_ours(name) else "normal"


def seeds_of(entry: Mapping[str, Any], key: str) -> list[float]:
    """The mean of each seed, of an entry of `owma.results.tables.summarise`; none of one seed, whose mean is drawn
    already.
    """
    means = [mean for mean in entry.get("by_seed", {}).get(key, {}).values() if mean is not None]
    return means if len(means) > 1 else []


def seed_dots(axes: "Axes", x: Sequence[float], y: Sequence[float], colour: str) -> None:
    """Small dots beside an interval, one a seed: what an interval over three seeds rests on."""
    axes.plot(x, y, ".", color=colour, markersize=6.5, alpha=0.75, markeredgewidth=0, label="_seeds", zorder=6)


def direct_labels(axes: "Axes", ends: Mapping[str, tuple[float, float]], *, names: Mapping[str, str] = {}) -> None:
    """The names of planners beside the axes, each at the height of its line's end or its mark, none over another.

    **Arguments:** `ends`: by planner, where in the data its line ends; the axes have their limits already. `names`:
    what is written instead of a name.
    """
    labels = [(names.get(name, spoken(name)), *end) for name, end in ends.items()]
    end_labels(axes, labels, colours=list(planner_colours(ends).values()), weights=[weight(name) for name in ends])


def end_labels(
    axes: "Axes",
    labels: Sequence[tuple[str, float, float]],
    *,
    colours: Sequence[str] = (),
    weights: Sequence[str] = (),
) -> None:
    """Words beside the axes for places in the data, `(words, x, y)`, each led to its place by a thin line."""
    figure = axes.get_figure(root=True)
    if figure is None:
        return
    height = max(0.5, figure.get_size_inches()[1] - 0.95)  # of the axes, less title and labels of the other axis
    _ = axes.get_xlim(), axes.get_ylim()  # which settles limits that still follow the data
    to_axes = axes.transData + axes.transAxes.inverted()
    places = [to_axes.transform((x, y)) for _, x, y in labels]
    ordered = sorted(range(len(labels)), key=lambda i: places[i][1])
    heights = spread([float(places[i][1]) for i in ordered], _LINE / height)
    for i, y in zip(ordered, heights):
        colour = colours[i] if colours else INK
        axes.annotate(
            labels[i][0],
            xy=tuple(places[i]),
            xycoords="axes fraction",
            xytext=(1.045, y),
            textcoords="axes fraction",
            color=colour,
            fontsize=8.5,
            fontweight=weights[i] if weights else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6, "shrinkB": 3},
        )


def spread(heights: Sequence[float], least: float) -> list[float]:
    """Heights in [0, 1], in rising order, moved as little as makes any two of them `least` apart, about their own
    middle; all within [0, 1] if there is room.
    """
    placed: list[tuple[float, int]] = []  # groups that touch: their middle, and how many
    for height in heights:
        placed.append((height, 1))
        while True:
            middle, count = placed[-1]
            half = least * (count - 1) / 2
            middle = max(half, min(middle, 1 - half)) if half < 0.5 else 0.5
            placed[-1] = (middle, count)
            if len(placed) < 2 or middle - placed[-2][0] >= least * (count + placed[-2][1]) / 2 - 1e-9:
                break
            placed.pop()
            before, n = placed.pop()
            placed.append(((before * n + middle * count) / (n + count), n + count))
    return [middle + least * (i - (count - 1) / 2) for middle, count in placed for i in range(count)]


def plain_logarithms(axis: "Axis") -> None:
    """Ticks at 1, 2 and 5 of every decade in plain numbers; one decade has none to read otherwise."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = axis.get_view_interval()
    wide = low > 0 and high / low > 300
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def spoken(name: str) -> str:
    """A name as it is written under a figure: `online_adaptation-kl_coef=0.5` as `online adaptation, kl coef = 0.5`."""
    base, _, settings = name.partition("-")
    words = base.replace("_", " ")
    return f"{words}, {settings.replace('_', ' ').replace('=', ' = ')}" if "=" in settings else name.replace("_", " ")
