"""The page of one experiment: question, verdict, picture, tables, how it was made, and what its author notes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from owma._internal.errors import ConfigError
from owma.report.rivalry import Rivalry, experiments
from owma.results.analysis import OURS, Group
from owma.results.intervals import interval_text
from owma.results.tables import results_markdown, with_baselines

NOTE, COMMAND = "note.md", "command.sh"
"""By hand: a question as a heading and a few lines; and the commands that made the rows."""

MOST_LINES = 5
"""Of a note, below its question."""

_PICTURES = (
    *("trajectories.png", "skew_curve.png", "latency.png", "attained_against_ms_0.02.png", "few_shot.png"),
    *("success.png", "success_against_latency.png", "hero.gif"),
)
_SHORT = 12
"""Lines of a table that is not folded."""
_VERDICTS = {
    "wins": "above it",
    "loses": "below it",
    "open": "neither above nor below it",
}


def question(folder: Path) -> str:
    """The heading of its note; the folder's name, where there is no note."""
    return _note(folder)[0]


def folder_page(folder: Path, found: Sequence[Rivalry], groups_of: Callable[[Path], list[Group]]) -> str:
    """Markdown for `README.md` of the folder.

    **Arguments:** `found`: of `owma.report.rivalry.rivalries`.

    **Raises:** `ConfigError` for a note of more than `MOST_LINES` lines.
    """
    asked, noted = _note(folder)
    parts = [
        f"<!-- Written by `python -m owma.report --pages` of the rows, {NOTE} and {COMMAND} in this folder. -->",
        f"# {asked}",
    ]
    if found:
        parts.append(f"**{verdict(found)}**")
    picture = next(
        (place for name in _PICTURES for place in (folder / name, folder / "plots" / name) if place.exists()), None
    )
    if picture is not None:
        parts.append(f"![{asked}]({picture.relative_to(folder).as_posix()})")
    parts += _tables(folder, found, groups_of)
    if noted:
        parts.append(noted)
    if (folder / COMMAND).exists():
        parts.append(f"```sh\n{(folder / COMMAND).read_text(encoding='utf-8').strip()}\n```")
    if (folder / "report.html").exists():
        parts.append("[report.html](report.html) is the whole report, to be opened from a clone.")
    return "\n\n".join(parts) + "\n"


def verdict(found: Sequence[Rivalry]) -> str:
    """One sentence on adaptation and its best rival."""
    verdicts = [r.versus_best["verdict"] for r in found]
    lacking = dict.fromkeys(r.versus_best["lacking"] for r in found if r.versus_best["lacking"])
    needed = "; ".join(said.removeprefix("no verdict: ") for said in lacking)
    if len(found) == 1:
        (r,) = found
        judged = _VERDICTS.get(verdicts[0], f"no verdict ({needed})")
        return f"{r.metric_text.capitalize()}: adaptation {r.ours_text}, the best rival {r.best_text}: {judged}."
    without = verdicts.count("none")
    if without == len(found):
        return f"No verdicts: {needed}."
    more = f"; none on {without} ({needed})" if without else ""
    above, below = verdicts.count("wins"), verdicts.count("loses")
    return f"Adaptation is above its best rival in {above} of {len(found)} comparisons and below it in {below}{more}."


def _tables(folder: Path, found: Sequence[Rivalry], groups_of: Callable[[Path], list[Group]]) -> list[str]:
    """A table of five columns, and the whole one folded; of what compares no planners, the table that there is."""
    kept = (folder / "table.md").read_text(encoding="utf-8").strip() if (folder / "table.md").exists() else ""
    if not found:
        rows = sum(line.startswith("|") for line in kept.splitlines())
        return [] if not kept else [kept if rows <= _SHORT else _folded(kept)]
    several = len({r.place for r in found}) > 1
    if several or not (folder / "episodes.jsonl").exists():
        short = _of_problems(found)
    else:
        (group,) = [group for _, group in experiments(folder, groups_of)]
        if "ogbench_task" in group.rows[0]:
            return [kept]  # it is as short, and has the published numbers
        short = _of_planners(group.results)
        kept = kept or results_markdown(group.results, wide=True).strip()
    return [short, _folded(kept)] if kept else [short]


def _of_problems(found: Sequence[Rivalry]) -> str:
    lines = ["| of | adaptation | best rival | difference | more than Δφ = 0 |", "|-|-:|-:|-:|-:|"]
    for r in found:
        of = f"{r.place}, {r.metric_text}" if r.place else r.metric_text
        lines.append(f"| {of} | {r.ours_text} | {r.best_text} | {r.difference_text} | {r.off_text} |")
    return "\n".join(lines)


def _of_planners(results: Mapping[str, Any]) -> str:
    lines = ["| planner | success % [95 %] | return [95 %] | promise gap | KL (nats) |", "|-|-:|-:|-:|-:|"]
    for name, entry in with_baselines(results).items():
        if name.partition("-")[0] == OURS and name != OURS:
            continue  # variations are in the whole table
        cells = [_mean(entry, "success", ".0f", 100.0), _mean(entry, "return"), _mean(entry, "promise_gap")]
        cells.append(_mean(entry, "kl", ends=False))
        shown = f"**{name}**" if name == OURS else name
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(entry: Mapping[str, Any], key: str, form: str = ".3g", scale: float = 1.0, *, ends: bool = True) -> str:
    interval = entry.get("intervals", {}).get(key) if ends else None
    return interval_text(entry.get(key), interval, form, scale)


def _folded(table: str) -> str:
    return f"<details>\n<summary>The whole table</summary>\n\n{table}\n\n</details>"


def _note(folder: Path) -> tuple[str, str]:
    """The question, and the lines below it."""
    if not (folder / NOTE).exists():
        return folder.name, ""
    first, _, below = (folder / NOTE).read_text(encoding="utf-8").strip().partition("\n")
    if len(below.strip().splitlines()) > MOST_LINES or not first.startswith("# "):
        raise ConfigError(
            f"{folder / NOTE}: a note is a question (`# ...?`) and at most {MOST_LINES} lines below it; shorten it."
        )
    return first.removeprefix("# "), below.strip()
