"""One decision as a drawing for documents: from a state, by outcomes and their adaptation, to an action."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import numpy as np

from owma._internal.types import Float
from owma.demo.hero import unpacked
from owma.results.plots.colours import ADAPTED, DARK, FAINT, GREY, GROUND, INK, PAYS, STAR, WALL

_WIDTH, _HEIGHT = 480, 286
_SIDE, _TOP = 128.0, 46.0
_LEFTS = (8.0, 176.0, 344.0)
"""Of the mazes, which have words above and below."""
_CUT = 0.5
"""Cells of the outer wall that are left out."""
_WAYS = 24
_POINTS = 12
_BOX_TOP, _BOX = 226.0, 50.0
_SHARP = 'shape-rendering="crispEdges"'
"""Between cells that touch nothing shines through."""
_ROLES = {"ink": INK, "soft": GREY, "wall": WALL, "box": FAINT, "ours": ADAPTED, "ground": GROUND}
"""What is drawn in which colour; both change where the page is dark."""


def decision_svg(told: Mapping[str, Any]) -> str:
    """The first decision of the demo: what goes in, what the model expects, what adaptation does, what comes out.

    An outcome is drawn as the recorded future that is nearest to it, as on the demo's page. Words are large enough for
    a screen of 400 pixels, and stand on a ground of their own, light or dark as the page is. The same numbers give the
    same text.

    **Arguments:** `told`: as `owma.demo.told.tell` returns it.
    """
    plan = told["states"][0]["plans"][told["own"]]
    ways = unpacked(told["map"]["paths"]).reshape(-1, told["map"]["points"], 2)
    draws = unpacked(plan["draws"]).astype(int).reshape(len(plan["kl"]), -1)
    steps = len(plan["kl"]) - 1
    panels = [
        ("in: state s, task", "yellow ground pays", "", "soft", None),
        ("outcomes ψ", "by the model p(ψ | s)", f"{100 * plan['lower'][0]:.0f} % go where it pays", "soft", draws[0]),
        (
            "the same, adapted",
            f"by {steps} gradient steps",
            f"{100 * plan['lower'][steps]:.0f} %, at {plan['kl'][steps]:.1f} nats",
            "ours",
            draws[steps],
        ),
    ]
    shapes = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        'font-family="DejaVu Sans, Verdana, sans-serif" font-size="12" text-anchor="middle">',
        f"<title>One decision: from a state to an action</title><style>{_style()}</style>",
        f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>',
    ]
    for left, (title, above, below, role, numbers) in zip(_LEFTS, panels):
        middle, words = left + _SIDE / 2, "ours" if role == "ours" else "ink"
        shapes += _maze(told, left)
        if numbers is not None:
            shapes += [_way(told, left, ways[number], f"line {role}") for number in numbers[:_WAYS]]
        shapes += _marks(told, left)
        shapes.append(_text(middle, 18.0, title, f"{words} bold"))
        shapes.append(_text(middle, 36.0, above, words))
        shapes.append(_text(middle, _TOP + _SIDE + 18, below, words))
    boxes = [("out: action a", "of this step"), ("policy", "π(a | s, ψ*)"), ("plan ψ*", "one of these draws")]
    for left, (title, below) in zip(_LEFTS, boxes):
        shapes.append(f'<rect class="box" x="{left}" y="{_BOX_TOP}" width="{_SIDE}" height="{_BOX}" rx="8"/>')
        shapes.append(_text(left + _SIDE / 2, _BOX_TOP + 20, title, "ink bold"))
        shapes.append(_text(left + _SIDE / 2, _BOX_TOP + 39, below, "ink"))
    shapes += _arrows()
    return "\n".join([*shapes, "</svg>", ""])


def _style() -> str:
    def rules(colours: Mapping[str, str]) -> str:
        return "".join(f".{role}{{fill:{colour}}}.line.{role}{{stroke:{colour}}}" for role, colour in colours.items())

    dark = {role: DARK[colour] for role, colour in _ROLES.items()}
    fixed = ".line{fill:none!important;stroke-width:1.4;stroke-opacity:.4}.arrow{stroke-width:1.8;stroke-opacity:1}"
    fixed += ".bold{font-weight:bold;font-size:13px}"
    return f"{rules(_ROLES)}{fixed}@media (prefers-color-scheme: dark){{{rules(dark)}}}"


def _maze(told: Mapping[str, Any], left: float) -> Iterator[str]:
    low, high = _limits(told)
    walls = told["map"]["walls"]
    for row, (blocked, pays) in enumerate(zip(walls, told["pays"])):
        for col, (wall, pay) in enumerate(zip(blocked, pays)):
            if wall or pay:
                box, side = told["map"]["box"], told["map"]["side"]
                corner = np.array([box[0] + col * side, box[3] - row * side])
                near, far = np.clip(corner, low, high), np.clip(corner + [side, -side], low, high)
                (x, y), (right, bottom) = _place(told, left, near), _place(told, left, far)
                look = 'class="wall"' if wall else f'fill="{PAYS}" fill-opacity="{0.15 + 0.4 * pay:.2f}"'
                size = f'width="{right - x:.1f}" height="{bottom - y:.1f}"'
                yield f'<rect x="{x:.1f}" y="{y:.1f}" {size} {look} {_SHARP}/>'


def _way(told: Mapping[str, Any], left: float, way: Float[np.ndarray, "points 2"], role: str) -> str:
    kept = way[np.linspace(0, len(way) - 1, _POINTS).astype(int)]
    places = " ".join("{:.1f},{:.1f}".format(*_place(told, left, point)) for point in kept)
    return f'<polyline class="{role}" points="{places}"/>'


def _marks(told: Mapping[str, Any], left: float) -> Iterator[str]:
    x, y = _place(told, left, np.array(told["start"]))
    yield f'<circle class="ground" cx="{x:.1f}" cy="{y:.1f}" r="5" stroke="{GREY}" stroke-width="1.6"/>'
    x, y = _place(told, left, np.array(told["goal"]))
    spikes = [(8.0 if i % 2 == 0 else 3.4, np.pi * i / 5) for i in range(10)]
    points = " ".join(f"{x + r * np.sin(angle):.1f},{y - r * np.cos(angle):.1f}" for r, angle in spikes)
    yield f'<polygon points="{points}" fill="{STAR}" stroke="{INK}" stroke-width="0.7"/>'


def _arrows() -> Iterator[str]:
    """Along the upper row, down to the plan, back along the lower row, and up again to the next state."""
    first, last, gap = _LEFTS[0], _LEFTS[-1], 5.0
    upper, lower = _TOP + _SIDE / 2, _BOX_TOP + _BOX / 2
    for left, after in zip(_LEFTS, _LEFTS[1:]):
        yield _arrow(left + _SIDE + gap, upper, after - gap, upper)
        yield _arrow(after - gap, lower, left + _SIDE + gap, lower)
    below, above = _TOP + _SIDE + 24, _BOX_TOP - gap
    yield _arrow(last + _SIDE / 2, below, last + _SIDE / 2, above)
    yield _arrow(first + _SIDE / 2, above, first + _SIDE / 2, _TOP + _SIDE + gap)
    yield _text(first + _SIDE / 2 + 8, (above + below) / 2, "next state", "ink", anchor="start")


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    along = np.sign([to_x - x, to_y - y])
    back, across = np.array([to_x, to_y]) - 7 * along, 4 * along[::-1]
    head = " ".join("{:.1f},{:.1f}".format(*point) for point in (back + across, (to_x, to_y), back - across))
    shaft = f'<path class="line arrow ink" d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}"/>'
    return f'{shaft}<polyline class="line arrow ink" points="{head}"/>'


def _text(x: float, y: float, words: str, role: str, *, anchor: str = "") -> str:
    where = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text class="{role}" x="{x:.1f}" y="{y:.1f}"{where}>{escape(words)}</text>' if words else ""


def _limits(told: Mapping[str, Any]) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    left, bottom, right, top = told["map"]["box"]
    return np.array([left + _CUT, bottom + _CUT]), np.array([right - _CUT, top - _CUT])


def _place(told: Mapping[str, Any], left: float, point: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
    """In the drawing, y downward, of a place in the maze, y upward."""
    low, high = _limits(told)
    share = (point - low) / (high - low)
    return np.array([left + _SIDE * share[0], _TOP + _SIDE * (1 - share[1])])
