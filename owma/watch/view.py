"""What a run has written so far, and how that is shown."""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owma._internal.errors import CheckpointError
from owma.runs.folder import RunFolder

if TYPE_CHECKING:
    from rich.console import Group

_HELD_OUT = "_held_out_loss"
_LEVELS = "▁▂▃▄▅▆▇█"
_WIDTH = 32
"""Characters of a course."""
_QUIET = 120.0
"""Seconds without a new row after which that is said."""


@dataclasses.dataclass(frozen=True)
class Watched:
    """The rows of a run at one moment."""

    path: Path
    metrics: list[dict[str, Any]]
    episodes: list[dict[str, Any]]
    is_finished: bool
    """Its results are there, or its models where none were asked for."""
    age: float | None
    """Seconds since something was written; `None` before anything was."""

    @classmethod
    def read(cls, path: Path) -> "Watched":
        """`runs/NAME` (its newest version), `runs/NAME/v<N>`, or a folder with rows.

        Raises `CheckpointError` where there is none.
        """
        has_rows = any((path / name).exists() for name in ("episodes.jsonl", "metrics.jsonl"))
        folder = RunFolder(path) if has_rows else RunFolder.open(path)
        files = (folder.metrics_jsonl, folder.episodes_jsonl)
        written = [file.stat().st_mtime for file in (*files, folder.config_json) if file.exists()]
        is_finished = folder.results_json.exists() or (_evaluates_nothing(folder) and (folder.path / "models").is_dir())
        age = max(0.0, time.time() - max(written)) if written else None
        return cls(folder.path, _rows(files[0]), _rows(files[1]), is_finished, age)

    @property
    def state(self) -> str:
        """What the run is at, in words."""
        if self.is_finished:
            return "finished"
        if self.episodes:
            now = f"evaluating; {self.episodes[-1]['planner']} is done"
        elif self.metrics:
            last = self.metrics[-1]
            step = "" if last.get("step") is None else f", update {last['step']:,}"
            now = f"{last.get('phase', 'training')}{step}"
        else:
            now = "nothing is written yet: data are read, or programs compiled"
        quiet = self.age is not None and self.age > _QUIET
        return now + (f"; no news for {self.age / 60:.0f} minutes" if quiet and self.age is not None else "")


def losses(metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each loss `phase`, `name`, `step`, the value `now`, `held_out` (`None` where nothing is held out) and its
    whole `course`.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in metrics:
        for key, value in row.items():
            if "loss" not in key or key.endswith(_HELD_OUT) or not isinstance(value, int | float):
                continue
            place = (str(row.get("phase", "training")), key)
            entry = found.setdefault(place, {"course": []})
            entry["course"].append(float(value))
            held = row.get(key.removesuffix("_loss") + _HELD_OUT, entry.get("held_out"))
            name = key.removesuffix("_loss").replace("_", " ")
            entry |= {"phase": place[0], "name": name, "step": row.get("step"), "now": float(value), "held_out": held}
    return list(found.values())


def promises(episodes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each planner how many `episodes`, their mean `success`, `promised` V(ψ*) and `realised` discounted return."""
    by_planner: dict[str, list[Mapping[str, Any]]] = {}
    for row in episodes:
        by_planner.setdefault(str(row["planner"]), []).append(row)
    found = []
    for name, rows in by_planner.items():
        told = [row for row in rows if row.get("value") is not None and row.get("promise_gap") is not None]
        found.append(
            {
                "planner": name,
                "episodes": len(rows),
                "success": _mean([float(row["success"]) for row in rows if row.get("success") is not None]),
                "promised": _mean([row["value"] for row in told]),
                "realised": _mean([row["value"] - row["promise_gap"] for row in told]),
            }
        )
    return found


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """A course in blocks, the last `width` of as many equal parts, logarithmic where all is positive."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return ""
    parts = [known[i * len(known) // width : (i + 1) * len(known) // width] for i in range(width)]
    means = known if len(known) <= width else [sum(part) / len(part) for part in parts]
    means = [math.log(value) for value in means] if min(means) > 0 else list(means)
    low, high = min(means), max(means)
    scale = (len(_LEVELS) - 1) / (high - low) if high > low else 0.0
    return "".join(_LEVELS[round((value - low) * scale)] for value in means)


def picture(seen: Watched) -> "Group":
    """What is shown: where the run is, the losses, and the planners."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [Text(f"{seen.path}: {seen.state}", style="bold")]
    of_losses, of_planners = losses(seen.metrics), promises(seen.episodes)
    if of_losses:
        table = _table("phase", "loss", "update", "now", "held out", "course (logarithmic)")
        for entry in of_losses:
            step = "–" if entry["step"] is None else f"{entry['step']:,}"
            numbers = [_shown(entry["now"]), _shown(entry["held_out"])]
            table.add_row(entry["phase"], entry["name"], step, *numbers, sparkline(entry["course"]))
        parts.append(table)
    if of_planners:
        table = _table("planner", "episodes", "success %", "promised", "realised", "kept %")
        for entry in of_planners:
            promised, realised = entry["promised"], entry["realised"]
            kept = "–" if not promised or promised < 0 or realised is None else f"{100 * realised / promised:.0f}"
            share = "–" if entry["success"] is None else f"{100 * entry['success']:.0f}"
            style = "bold" if entry["planner"] == "online_adaptation" else None
            cells = [str(entry["episodes"]), share, _shown(promised), _shown(realised), kept]
            table.add_row(entry["planner"], *cells, style=style)
        parts.append(table)
    return Group(*parts)


def _table(first: str, *others: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(
            heading, justify="left" if heading in ("loss", "course (logarithmic)") else "right", no_wrap=True
        )
    return table


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) and math.isfinite(value) else "–"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _rows(file: Path) -> list[dict[str, Any]]:
    """A file that is written at the same time, or replaced: what of it is whole."""
    try:
        return RunFolder(file.parent).read_jsonl(file.name, drop_torn=True) if file.exists() else []
    except CheckpointError:
        if file.exists():  # it holds what is none of its rows
            raise
        return []


def _evaluates_nothing(folder: RunFolder) -> bool:
    config = folder.read_json("config.json") if folder.config_json.exists() else {}
    evaluation = config.get("evaluation") if isinstance(config, dict) else None
    return isinstance(evaluation, dict) and evaluation.get("episodes") == 0
