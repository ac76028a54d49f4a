"""All experiments of a folder at a glance: a table, and a forest plot, of what adaptation has more than its rivals."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from owma.report.folder_page import question
from owma.report.rivalry import Rivalry
from owma.results.analysis import OURS
from owma.results.intervals import LEAST_SEEDS, counted
from owma.results.plots.colours import FAINT, GREY, INK, planner_colours

PICTURE = "overview.svg"
_VERDICTS = {"wins": "▲ above", "loses": "▼ below", "open": "● open"}
_LEAST_SEEDS = 2
"""Of an experiment in the overview: rows of one training say nothing of others."""

_ROW, _TOP, _LABEL, _PANEL, _GAP = 22, 86, 300, 300, 36
_MOST = 150.0
"""Percent at which intervals end with an arrow."""

_BRACKETS = re.compile(r"\[[^\]]*\](?!\()|(?<!\])\([^)]*\)")
"""Intervals and means of seeds, but no links."""

Rivalries = Mapping[str, Sequence[Rivalry]]
"""By the name of the folder."""


def compared(root: Path, rivalries_of: Callable[[Path], Sequence[Rivalry]]) -> Rivalries:
    """Of the folders in `root`, those with several seeds in which adaptation has a rival."""
    found = {folder.name: rivalries_of(folder) for folder in folders(root)}
    return {
        name: of_folder
        for name, of_folder in found.items()
        if of_folder and of_folder[0].versus_best["seeds"] >= _LEAST_SEEDS
    }


def folders(root: Path) -> list[Path]:
    """Those that have a page."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def overview_markdown(root: Path, page_folder: Path, rivalries: Rivalries) -> str:
    """A picture and a row a problem; then the folders that compare no rivals, with the question of each."""
    here = root.relative_to(page_folder).as_posix()
    lines = [f"![{escape(summary(rivalries))}]({here}/{PICTURE})", "", f"**{summary(rivalries)}**", ""]
    lines += ["| experiment | adaptation | best rival | difference | more than Δφ = 0 | verdict |", "|-|-:|-:|-:|-:|-|"]
    for name, r in [(name, _main(of_problem)) for name, of_problem in _problems(rivalries)]:
        folder, _, place = name.partition(": ")
        judged = _VERDICTS.get(r.versus_best["verdict"], f"none ({counted(r.versus_best['seeds'], 'seed')})")
        first = f"[{folder}]({here}/{folder}/README.md){f': {place}' if place else ''}, {r.metric_text}"
        lines.append(_row([first, r.ours_text, r.best_text, r.difference_text, r.off_text, judged]))
    missing = dict.fromkeys(r.versus_best["lacking"] for r in _all(rivalries) if r.versus_best["lacking"])
    said = f" {'; '.join(missing).capitalize()}." if missing else ""
    lines += [
        "",
        "Mean [95 %] (mean of each seed). The best rival has the highest mean of all; Δφ = 0: without a step. "
        "Returns stand where all succeed, or nobody knows. [95 %]: bootstrap that resamples seeds, then episodes "
        f"within them, widened for few seeds.{said}",
        "",
    ]
    others = [folder for folder in folders(root) if folder.name not in rivalries]
    if others:
        lines += ["| also measured | question |", "|-|-|"]
        lines += [_row([f"[{folder.name}]({here}/{folder.name}/README.md)", question(folder)]) for folder in others]
    return "\n".join(lines) + "\n"


def summary(rivalries: Rivalries) -> str:
    """The message of the picture: how often adaptation is above and below its best rival, or what its means are."""
    problems = [_main(problem) for _, problem in _problems(rivalries)]
    verdicts = [r.versus_best["verdict"] for r in problems]
    above, below, without = (verdicts.count(verdict) for verdict in ("wins", "loses", "none"))
    if without < len(verdicts):
        more = f"; {without} have too few seeds for a verdict" if without else ""
        return f"Of {len(verdicts)} problems adaptation is above its best rival on {above}, below it on {below}{more}."
    off = [r.versus_off for r in problems if r.versus_off is not None]
    return (
        f"No verdicts yet: {LEAST_SEEDS} seeds are needed. In the mean adaptation is above its best rival on "
        f"{sum(r.versus_best['mean'] > 0 for r in problems)} of {len(problems)} problems, above Δφ = 0 on "
        f"{sum(c['mean'] > 0 for c in off)} of {len(off)}."
    )


def forest_svg(rivalries: Rivalries) -> str:
    """Adaptation minus the best rival, and minus itself with Δφ = 0: intervals, means, and the seeds as dots.

    In points of success or, where everybody succeeds or nobody knows, in percent of the other's return. Made by hand,
    so that the same rows make the same file.
    """
    problems = [(name, _main(of_problem)) for name, of_problem in _problems(rivalries)]
    height = _TOP + _ROW * len(problems) + 44
    width = _LABEL + 2 * _PANEL + 2 * _GAP
    ours = planner_colours([OURS])[OURS]
    shapes = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="DejaVu Sans, Verdana, sans-serif" font-size="12" fill="{INK}">',
        f"<title>{escape(summary(rivalries))}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    # In a browser's fallback font one line of both sentences is wider than the panels.
    for line, sentence in enumerate(summary(rivalries).split(". ", 1)):
        shapes.append(f'<text x="12" y="{24 + 19 * line}" font-size="14" font-weight="bold">{escape(sentence)}</text>')
    panels = [("minus the best rival", _versus_best), ("minus Δφ = 0, the same without a step", _versus_off)]
    for number, (title, of) in enumerate(panels):
        left = _LABEL + number * (_PANEL + _GAP)
        shapes += _panel(left, title, [of(r) for _, r in problems], ours)
    for row, (name, r) in enumerate(problems):
        y = _TOP + _ROW * row + 15
        shapes.append(f'<text x="12" y="{y}">{escape(_shortened(name))}</text>')
        if r.metric == "return":
            shapes.append(f'<text x="{_LABEL - 12}" y="{y}" text-anchor="end" fill="{GREY}">return</text>')
    foot = (
        "Points of success; of rows marked return, percent of the other's. Line: 95 % interval, with an arrow where it "
        "goes on. Dots: seeds."
    )
    shapes += [f'<text x="12" y="{height - 10}" fill="{GREY}">{foot}</text>', "</svg>", ""]
    return "\n".join(shapes)


def _panel(left: int, title: str, points: Sequence[Mapping[str, Any] | None], colour: str) -> list[str]:
    bottom = _TOP + _ROW * len(points)
    shapes = [f'<text x="{left}" y="{_TOP - 18}" font-weight="bold">{escape(title)}</text>']
    for tick in (-100, -50, 0, 50, 100):
        x = _x(left, float(tick))
        stroke = INK if tick == 0 else FAINT
        shapes.append(f'<line x1="{x}" y1="{_TOP - 6}" x2="{x}" y2="{bottom}" stroke="{stroke}"/>')
        shapes.append(f'<text x="{x}" y="{bottom + 14}" text-anchor="middle" fill="{GREY}">{_signed(tick)}</text>')
    for row, point in enumerate(points):
        y = _TOP + _ROW * row + 11
        if point is None:
            shapes.append(f'<text x="{_x(left, 0.0)}" y="{y + 4}" text-anchor="middle" fill="{GREY}">–</text>')
            continue
        if point["ends"] is not None:
            low, high = (_x(left, end) for end in point["ends"])
            shapes.append(f'<line x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke="{colour}" stroke-width="2"/>')
            for end, x in zip(point["ends"], (low, high)):
                if abs(end) > _MOST:  # it goes on beyond
                    shapes.append(f'<path d="M{x} {y}l{-5 if end > 0 else 5} -4v8z" fill="{colour}"/>')
        for seed in (seed for seed in point["seeds"] if abs(seed) <= _MOST):
            shapes.append(f'<circle cx="{_x(left, seed)}" cy="{y}" r="2.6" fill="{GREY}" fill-opacity="0.75"/>')
        x = _x(left, point["mean"])
        if abs(point["mean"]) > _MOST:  # the arrow stands for it, and the number
            side, anchor = (-8, "end") if point["mean"] > 0 else (8, "start")
            shapes.append(
                f'<text x="{x + side}" y="{y - 3}" text-anchor="{anchor}" font-size="10">{point["mean"]:+.0f}</text>'
            )
            shapes.append(f'<path d="M{x} {y}l{side + 3} -4v8z" fill="{colour}"/>')
            continue
        shapes.append(f'<rect x="{x - 3.5:.1f}" y="{y - 3.5}" width="7" height="7" fill="{colour}"/>')
    return shapes


def _versus_best(r: Rivalry) -> Mapping[str, Any] | None:
    return _point(r, r.versus_best, r.theirs)


def _versus_off(r: Rivalry) -> Mapping[str, Any] | None:
    return None if r.versus_off is None or r.off is None else _point(r, r.versus_off, r.off)


def _point(r: Rivalry, comparison: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    scale = 100.0 if r.metric == "success" else 100.0 / max(abs(comparison["theirs"]), 1e-9)
    ours, theirs = r.ours["by_seed"][r.metric], other["by_seed"][r.metric]
    ends = comparison["interval"]
    return {
        "mean": scale * comparison["mean"],
        "ends": None if ends is None else [scale * end for end in ends],
        "seeds": [scale * (ours[seed] - theirs[seed]) for seed in ours if None not in (ours[seed], theirs.get(seed))],
    }


def _problems(rivalries: Rivalries) -> list[tuple[str, Sequence[Rivalry]]]:
    """Each with its name and its rows, of which there are two where everybody succeeds."""
    found: dict[str, list[Rivalry]] = {}
    for name, of_folder in rivalries.items():
        several = len({r.place for r in of_folder}) > 1
        for r in of_folder:
            found.setdefault(f"{name}: {r.place}" if several and r.place else name, []).append(r)
    return list(found.items())


def _main(of_problem: Sequence[Rivalry]) -> Rivalry:
    """Where everybody succeeds, it is by their returns that planners can be told apart."""
    return of_problem[-1]


def _all(rivalries: Rivalries) -> Iterable[Rivalry]:
    return (r for of_folder in rivalries.values() for r in of_folder)


def _x(left: int, percent: float) -> float:
    return round(left + _PANEL * (min(max(percent, -_MOST), _MOST) + _MOST) / (2 * _MOST), 1)


def _signed(number: int) -> str:
    return f"{number:+d}" if number else "0"


def _shortened(name: str) -> str:
    return name if len(name) <= 34 else f"{name[:33]}…"


def _row(cells: Sequence[str]) -> str:
    """Of a table. What stands in brackets is not broken over lines: GitHub breaks at spaces where columns are many."""
    whole = (_BRACKETS.sub(lambda found: found[0].replace(" ", "\u00a0"), cell) for cell in cells)
    return f"| {' | '.join(whole)} |"
