"""The demo's page as a moving picture of six seconds, for places that run no scripts."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from owma._internal.types import Float
from owma.results.plots.colours import ADAPTED, GREY, INK, PAYS, STAR, WALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRAMES_PER_SECOND = 12.5
_ROLLING = 32
_HELD_STEP = 2
_HELD = 16
_TRIM = 0.55


def moving_picture(told: Mapping[str, Any], path: Path) -> Path:
    """A GIF: what was recorded, what the trained model expects, and what the adapted one does, step by step; then the
    balls go. It begins with its end, so that it says the same where it does not move.

    **Arguments:** `told`: as `owma.demo.told.tell` returns it. `path`: the file.

    **Returns:** `path`.
    """
    from PIL import Image

    frames = [Image.fromarray(frame) for frame in _frames(told)]
    # One palette for all, so that nothing flickers; the end, which comes first, has every colour.
    palette = frames[0].quantize(128, method=Image.Quantize.MAXCOVERAGE)
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    milliseconds = round(1000 / FRAMES_PER_SECOND)
    first.save(path, save_all=True, append_images=others, duration=milliseconds, loop=0, optimize=True)
    return path


def _frames(told: Mapping[str, Any]) -> Iterator[np.ndarray]:
    plan = told["states"][0]["plans"][told["own"]]
    ways = unpacked(told["map"]["paths"]).reshape(-1, told["map"]["points"], 2)
    recorded = unpacked(told["recorded"]["paths"]).reshape(-1, told["recorded"]["points"], 2)
    draws = unpacked(plan["draws"]).astype(int).reshape(len(plan["kl"]), -1)
    balls = [_rolling(told["episodes"]["before"]), _rolling(told["episodes"]["after"][told["own"]])]
    steps = len(plan["kl"]) - 1
    last = (steps, _ROLLING - 1)
    moments = [last] * _HELD
    moments += [(step, 0) for step in range(steps + 1) for _ in range(_HELD_STEP)]
    moments += [(steps, frame) for frame in range(_ROLLING)] + [last] * 5
    shown: dict[tuple[int, int], np.ndarray] = {}
    for step, frame in moments:
        if (step, frame) not in shown:
            figure, axes = _figure(told)
            _panel(axes[0], told, "the recordings", told["recorded"]["lower"], GREY, recorded)
            _panel(axes[1], told, "what the model expects", plan["lower"][0], GREY, ways[draws[0]])
            colour = ADAPTED if step else GREY
            title = f"after {step} gradient step{'s' if step != 1 else ''}"
            _panel(axes[2], told, title, plan["lower"][step], colour, ways[draws[step]])
            _corner(axes[2], told, _cost(told, plan, step))
            for one, course, fill in zip(axes[1:], balls, (GREY, colour)):
                one.plot(*course[:, frame].T, "o", color=fill, markeredgecolor="white", markersize=8, zorder=6)
            shown[step, frame] = _pixels(figure)
        yield shown[step, frame]


def _cost(told: Mapping[str, Any], plan: Mapping[str, Any], step: int) -> str:
    took = f"{told['ms']:.0f} ms, " if step == len(plan["kl"]) - 1 else ""
    return f"{took}{max(0.0, plan['kl'][step]):.1f} nats"


def _corner(axes: "Axes", told: Mapping[str, Any], text: str) -> None:
    _, bottom, right, _ = told["map"]["box"]
    axes.text(right - 1.05, bottom + 0.78, text, fontsize=10, color=INK, va="center", ha="right")


def _figure(told: Mapping[str, Any]) -> "tuple[Figure, list[Axes]]":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((9.6, 3.9), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    left, bottom, right, top = told["map"]["box"]
    axes = []
    for i in range(3):
        one = figure.add_axes((0.008 + i * 0.333, 0.015, 0.318, 0.785))
        one.set(xlim=(left + _TRIM, right - _TRIM), ylim=(bottom + _TRIM, top - _TRIM), xticks=[], yticks=[])
        one.set_aspect("equal")
        one.spines[:].set_visible(False)
        axes.append(one)
    return figure, axes


def _panel(
    axes: "Axes",
    told: Mapping[str, Any],
    title: str,
    share: float,
    colour: str,
    ways: Float[np.ndarray, "n points 2"],
) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Rectangle

    left, bottom, _, top = told["map"]["box"]
    side = told["map"]["side"]
    for row, (walls, pays) in enumerate(zip(told["map"]["walls"], told["pays"])):
        for col, (wall, pay) in enumerate(zip(walls, pays)):
            place = (left + col * side, top - (row + 1) * side)
            if wall or pay:
                fill: dict[str, Any] = {"facecolor": WALL} if wall else {"facecolor": PAYS, "alpha": 0.15 + 0.4 * pay}
                axes.add_patch(Rectangle(place, side, side, linewidth=0, antialiased=False, **fill))
    axes.add_collection(LineCollection(list(ways), colors=colour, linewidths=1.6, alpha=0.3))
    axes.plot(*told["start"], "o", color="white", markeredgecolor=INK, markeredgewidth=1.3, markersize=10, zorder=4)
    axes.plot(*told["goal"], "*", color=STAR, markeredgecolor=INK, markeredgewidth=0.8, markersize=22, zorder=5)
    axes.text(left + 1.05, bottom + 0.78, "the task pays here", fontsize=10, color=INK, va="center")
    # Grey is too faint for small letters.
    said = INK if colour == GREY else colour
    axes.text(0, 1.15, title, transform=axes.transAxes, fontsize=10.5, color=said, va="bottom")
    axes.text(0, 1.025, f"{100 * share:.0f} %", transform=axes.transAxes, fontsize=19, weight="bold", color=said)
    axes.text(0.31, 1.03, "take the lower way", transform=axes.transAxes, fontsize=11, color=said)


def _rolling(episodes: Mapping[str, Any]) -> Float[np.ndarray, "balls frames 2"]:
    course = unpacked(episodes["ways"]).reshape(episodes["of"], episodes["frames"], 2)
    return course[:, np.linspace(0, episodes["frames"] - 1, _ROLLING).astype(int)]


def _pixels(figure: "Figure") -> np.ndarray:
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def unpacked(kept: Mapping[str, Any]) -> Float[np.ndarray, " n"]:
    """The numbers of `owma.report.futures.packed`."""
    codes: Sequence[int] | np.ndarray = np.frombuffer(base64.b64decode(kept["codes"]), f"<u{kept['bits'] // 8}")
    return kept["low"] + kept["step"] * np.asarray(codes, np.float64)
