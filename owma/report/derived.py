"""Files that follow from the rows beside them: made again, or held against what is there."""

import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np

from owma._internal.errors import ConfigError
from owma._internal.json import jsonable, replace_text
from owma.envs import TWO_ROUTES_ID
from owma.report.blocks import shown_on, with_tables
from owma.report.contents import build
from owma.report.folder_page import folder_page
from owma.report.overview import PICTURE, compared, folders as experiment_folders, forest_svg
from owma.report.rivalry import rivalries
from owma.report.source import Source, read_groups
from owma.results import plots
from owma.results.analysis import OURS, Group
from owma.results.baselines import read_baselines
from owma.results.ogbench import ogbench_protocol
from owma.results.pictures import run_pictures
from owma.results.plots.colours import ADAPTED
from owma.results.promises import kept_promises
from owma.results.summaries import skew_summary, sweep_summary
from owma.runs.folder import RunFolder
from owma.transfer.summary import summarise_ogbench, summarise_transfer, transfer_markdown

Made: TypeAlias = str | dict[str, Any] | Callable[[Path], object]
"""Text, what is kept as JSON, or what draws a picture into the file that it is given."""

_ROWS = "episodes.jsonl"
_PICTURE_TOLERANCE = 0.1
"""Mean difference of grey values, 0 to 255: another version of matplotlib may move a label by a pixel, other numbers
move lines."""
_WORDS = re.compile(r">([^<>]+)</text>")
"""Of an SVG: labels and numbers."""
_DECISIONS = re.compile(r'<script type="application/json" id="decision-data">(.*?)</script>', re.DOTALL)
_NOT_OF_ROWS = re.compile(r'src="data:image/[^"]*"|This page: python -m owma.report [^<]*')
"""Of a report: pictures, whose bytes are of one version of matplotlib, and its folder as it was named."""


def stale(root: Path) -> list[Path]:
    """The files below `root`, and the pages about it, that do not follow from their rows.

    Numbers of JSON may differ by 1e-6 of their size, pictures by what another version of matplotlib draws otherwise.
    Raises `ConfigError` where there are no rows.
    """
    return [path for path, made in _all(root) if not _is_same(path, made)]


def remake(root: Path, *, paged: bool = False) -> list[Path]:
    """Write anew what is stale; which files that were. Raises `ConfigError` where there are no rows.

    `paged`: a page for every folder in `root` too, even if no page beside it has a block of all experiments.
    """
    written = []
    for path, made in _all(root, paged=paged):
        if not _is_same(path, made):
            _write(path, made)
            written.append(path)
    return written


def _all(root: Path, *, paged: bool = False) -> Iterator[tuple[Path, Made]]:
    folders = sorted({path.parent for path in root.rglob(_ROWS)})
    if not folders:
        raise ConfigError(f"There is no {_ROWS} below {root}; name a folder of results, such as runs/reference.")
    groups_of = functools.cache(read_groups)  # a table and a page may be of the same rows
    for folder in folders:
        yield from _of_rows(folder, groups_of)
    for folder in dict.fromkeys(folder.parent for folder in folders):
        # The same transfer of several seeds is one table.
        parts = [part for part in sorted(folder.glob("seed*")) if (part / _ROWS).exists()]
        if (folder / "table.md").exists() and parts:
            beside = [row for part in parts for row in read_baselines(RunFolder(part))]
            yield folder / "table.md", transfer_markdown([row for part in parts for row in _rows(part)], beside)
        if parts and (picture := folder / "few_shot.png").exists():
            # ... and one picture, in which they can be compared.
            trainings = {
                f"training {part.name.removeprefix('seed')}": summarise_transfer(_rows(part))["entries"]
                for part in parts
            }
            yield picture, functools.partial(plots.few_shot_of_trainings, trainings=trainings)
    for picture in _existing(root, "promises.png"):
        promises = _promises(root, folders, groups_of)
        title = "What adaptation promised, and what of it came"
        yield picture, functools.partial(plots.promises_kept, promises=promises, title=title)
    root = root.resolve()
    rivalries_of = functools.cache(lambda folder: rivalries(folder, groups_of))
    if paged or any(shown_on(folder / "README.md", root) for folder in root.parents[:2]):
        for folder in experiment_folders(root):
            yield folder / "README.md", folder_page(folder, rivalries_of(folder), groups_of)
        yield root / PICTURE, forest_svg(compared(root, rivalries_of))
    for folder in (root, *root.parents[:2]):
        page = folder / "README.md"
        if page.exists():
            yield page, with_tables(page.read_text(encoding="utf-8"), folder, groups_of, rivalries_of)


def _of_rows(folder: Path, groups_of: Callable[[Path], list[Group]]) -> Iterator[tuple[Path, Made]]:
    rows, experiments = _rows(folder), groups_of(folder.resolve())
    if (folder / "points.jsonl").exists():
        results, table = sweep_summary(experiments)
        yield folder / "results.json", results
        yield folder / "table.md", table
    elif rows and "skew" in rows[0]:
        results, table = skew_summary(experiments)
        yield folder / "results.json", results
        yield folder / "table.md", table
        yield folder / "skew_curve.png", functools.partial(plots.skew_curve, results=results)
    elif rows and "ogbench_task" in rows[0]:
        dataset = RunFolder(folder).read_json("config.json")["dataset"]
        results, table = ogbench_protocol(dataset, experiments[0])
        yield folder / "results.json", results
        yield folder / "table.md", table
    elif rows and "task" in rows[0]:
        yield from _of_transfer(folder, rows)
    else:
        run = experiments[0] if experiments else Group({}, [])
        yield folder / "results.json", run.results
        for name, draw in _of_run(folder, run, groups_of).items():
            yield from ((picture, draw) for picture in _existing(folder, name))
    shown = {group.label: group.results for group in experiments if not rows or "task" not in rows[0]}
    for picture in _existing(folder, "success.png"):
        yield picture, functools.partial(plots.successes, results=shown)
    if (folder / "report.html").exists():
        # What the explorer shows is of models, which are not kept with rows: it stays as it was.
        source = Source.read(folder, groups_of)
        told = _DECISIONS.search((folder / "report.html").read_text(encoding="utf-8"))
        yield folder / "report.html", build(source, json.loads(told[1]) if told else None)


def _of_run(folder: Path, run: Group, groups_of: Callable[[Path], list[Group]]) -> dict[str, Callable[[Path], object]]:
    """Its pictures; without models, those of decisions need the traces that an evaluation keeps."""
    source = Source.read(folder, groups_of)
    metrics = source.folder.read_jsonl("metrics.jsonl") if source.folder.metrics_jsonl.exists() else []
    env = gym.spec(TWO_ROUTES_ID) if source.on_two_routes else None
    made = run_pictures(run.results, metrics=metrics, traces=source.traces().get("", {}), env=env)
    return {name: draw for name, draw in made.items() if name != "success.png"}


def _promises(root: Path, folders: Sequence[Path], groups_of: Callable[[Path], list[Group]]) -> dict[str, Any]:
    """What adaptation promised and realised in each problem below a folder, by names of folders."""
    promises = {}
    for folder in folders:
        if "task" in _rows(folder)[0]:  # of a transfer; its tasks are no problems of one unit
            continue
        for group in groups_of(folder.resolve()):
            kept = kept_promises(group.rows).get(OURS)
            if kept is not None:
                name = folder.relative_to(root).as_posix()
                label = f"{name} ({group.label})" if group.label else name
                promises[label] = kept | {"colour": ADAPTED}
    return promises


def _of_transfer(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Path, Made]]:
    kept = RunFolder(folder).read_json("results.json") if (folder / "results.json").exists() else {}
    results = summarise_transfer(rows, read_baselines(RunFolder(folder))) | {"cells": kept.get("cells", {})}
    if "ogbench" in kept:
        numbered = {row["task"]: re.search(r" task (\d)$", row["task"]) for row in rows}
        results["ogbench"] = summarise_ogbench(
            rows, {name: int(number[1]) for name, number in numbered.items() if number}
        )
    yield folder / "results.json", results
    curves = [entry for entry in results["entries"] if entry["task"] not in results["cells"]]
    for picture in _existing(folder, "few_shot.png"):
        yield picture, lambda path: plots.few_shot(path, curves)


def _existing(folder: Path, name: str) -> list[Path]:
    return [path for path in (folder / name, folder / "plots" / name) if path.exists()]


def _rows(folder: Path) -> list[dict[str, Any]]:
    return RunFolder(folder).read_jsonl(_ROWS, drop_torn=True)


def _is_same(path: Path, made: Made) -> bool:
    if not path.exists():
        return False
    if isinstance(made, str):
        kept = path.read_text(encoding="utf-8")
        return kept == made or (path.suffix == ".html" and _NOT_OF_ROWS.sub("", kept) == _NOT_OF_ROWS.sub("", made))
    if isinstance(made, dict):
        return _agree(json.loads(path.read_text(encoding="utf-8")), jsonable(made))
    return _look_alike(path, made)


def _agree(kept: Any, made: Any) -> bool:
    if isinstance(kept, dict) and isinstance(made, dict):
        return kept.keys() == made.keys() and all(_agree(kept[key], made[key]) for key in kept)
    if isinstance(kept, list) and isinstance(made, list):
        return len(kept) == len(made) and all(map(_agree, kept, made))
    if isinstance(kept, float) or isinstance(made, float):
        if not (isinstance(kept, int | float) and isinstance(made, int | float)):
            return False
        return math.isclose(kept, made, rel_tol=1e-6, abs_tol=1e-9)
    return bool(kept == made)


def _look_alike(path: Path, draw: Callable[[Path], object]) -> bool:
    """Whether pixels of the PNG, and words of the SVG beside it, are those that are drawn."""
    import tempfile

    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / path.name
        draw(made)
        grey = [np.asarray(Image.open(its).convert("L").resize((300, 180)), float) for its in (path, made)]
        svg = [its.with_suffix(".svg") for its in (path, made)]
        words = [_WORDS.findall(its.read_text(encoding="utf-8")) if its.exists() else None for its in svg]
    return bool(np.abs(grey[0] - grey[1]).mean() < _PICTURE_TOLERANCE) and words[0] == words[1]


def _write(path: Path, made: Made) -> None:
    if isinstance(made, str):
        replace_text(path, made)
    elif isinstance(made, dict):
        RunFolder(path.parent).write_json(path.name, made)
    else:
        made(path)
