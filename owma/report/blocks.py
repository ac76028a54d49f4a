"""Tables within a page of Markdown, made of rows.

A block begins with a comment that says what it is of, by a path from the page's folder, and ends with `<!-- end -->`:

    <!-- planners of runs/reference/two-routes: static online_adaptation -->
    <!-- rivals of reference/skew reference/stitch -->
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from owma._internal.errors import ConfigError
from owma.report.source import read_groups
from owma.results.analysis import FORMS, NO_RIVALS, OURS, Group, comparisons, groups
from owma.results.baselines import read_baselines
from owma.results.intervals import counted, interval_text
from owma.results.tables import of_each_seed, results_markdown, with_known_success
from owma.runs.folder import RunFolder

_BLOCK = re.compile(r"(<!-- (planners|rivals) of ([^:>]*?)(?:: ([^>]*?))? -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_VERDICTS = {"wins": "above", "loses": "below", "open": "open"}


def with_tables(text: str, folder: Path, groups_of: Callable[[Path], list[Group]] = read_groups) -> str:
    """The page with its blocks made again. Raises `ConfigError` where a block names what has no rows.

    `groups_of`: of a folder, resolved, what `owma.report.source.read_groups` returns; a cache may.
    """

    def made(block: re.Match[str]) -> str:
        paths, names = [folder / word for word in block[3].split()], (block[4] or "").split()
        experiments = [(path, _experiments(path, groups_of)) for path in paths]
        table = _planners(experiments, names) if block[2] == "planners" else _rivals(experiments)
        return f"{block[1]}{table}{block[6]}"

    return _BLOCK.sub(made, text)


_Experiments = Sequence[tuple[Path, Sequence[tuple[str, Group]]]]
"""Of each folder, by name."""


def _planners(folders: _Experiments, names: Sequence[str]) -> str:
    """The table of planners of one experiment, of those named where any are."""
    experiments = [(path, group) for path, of_folder in folders for _, group in of_folder]
    if len(experiments) != 1:
        raise ConfigError(f"A table of planners is of one experiment, not of {len(experiments)}.")
    ((path, group),) = experiments
    if missing := set(names) - group.results["planners"].keys():
        raise ConfigError(f"{path} has no rows of {', '.join(sorted(missing))}.")
    planners = {name: entry for name, entry in group.results["planners"].items() if not names or name in names}
    return results_markdown(group.results | {"planners": planners})


def _rivals(folders: _Experiments) -> str:
    """For each experiment adaptation, the rival with the highest mean, and what adaptation has more than held at zero.

    By success, or by return where nobody knows of success.
    """
    headings = ("rows", "of", "metric", "adaptation", "by seed", "best rival", "by seed", "difference", "more than off")
    lines = [_row([*headings, "verdict"]), "|-|-|-|-:|-:|-:|-:|-:|-:|-|"]
    lacking: dict[str, None] = {}
    for path, experiments in folders:
        for label, group in experiments:
            for line, missing in _lines(path.name, label, group):
                lines.append(line)
                lacking |= dict.fromkeys([missing] if missing else [])
    said = f" {'; '.join(lacking).capitalize()}." if lacking else ""
    return "\n".join(lines) + (
        "\n\nThe best rival has the highest mean; *off* is adaptation with Δφ held at zero. [95 %]: bootstrap that "
        f"resamples seeds, then episodes within them, widened for few seeds.{said}\n"
    )


def _lines(name: str, label: str, group: Group) -> Iterator[tuple[str, str]]:
    """Of adaptation and each of its variations a line, and what is missing for its verdict.

    By success, or by return where nobody knows of success; by both where adaptation and rival always succeed.
    """
    planners = group.results["planners"]
    for ours in [each for each in planners if each.partition("-")[0] == OURS]:
        place = ", ".join(part for part in (label, ours.partition("-")[2]) if part) or "–"
        means: dict[str, dict[str, Any]] = {}
        for c in group.comparisons if ours == OURS else comparisons(group.rows, ours):
            means.setdefault(c["rival"], {})[c["metric"]] = c
        rivals = [each for each in means if not each.startswith((FORMS, OURS)) and each not in NO_RIVALS]
        if not rivals:
            continue
        knows = all("success" in means[rival] for rival in rivals)
        for key in ("success", "return") if knows else ("return",):
            # Among those that succeed alike, the one with the highest return.
            best = max(rivals, key=lambda rival: (means[rival][key]["theirs"], means[rival]["return"]["theirs"]))
            c, off = means[best][key], means.get("adaptation_off", {}).get(key)
            about = [name, place, "success %" if key == "success" else "return"]
            judged = _VERDICTS.get(c["verdict"], f"none ({counted(c['seeds'], 'seed')})")
            about += [_metric(planners[ours][key], planners[ours]["intervals"][key], key)]
            about += [of_each_seed(planners[ours], key), f"{best} {_metric(c['theirs'], None, key)}"]
            about += [of_each_seed(planners[best], key), _metric(c["mean"], c["interval"], key, "+")]
            about += ["–" if off is None else _metric(off["mean"], off["interval"], key, "+"), judged]
            yield _row(about), c["lacking"]
            if key == "success" and not c["ours"] == c["theirs"] == 1:
                break


def _metric(middle: float, ends: Sequence[float] | None, key: str, sign: str = "") -> str:
    scale, form = (100.0, ".0f") if key == "success" else (1.0, ".3g")
    return interval_text(middle, ends, sign + form, scale)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _experiments(path: Path, groups_of: Callable[[Path], list[Group]]) -> list[tuple[str, Group]]:
    """Those whose planners can be compared, by name: of a sweep by what was varied, of transfers by task."""
    # Of a folder, or of the folders of single seeds in it.
    folders = [path] if (path / "episodes.jsonl").exists() else sorted(path.glob("seed*"))
    rows = [row for folder in folders for row in RunFolder(folder).read_jsonl("episodes.jsonl", drop_torn=True)]
    if not rows:
        raise ConfigError(f"{path} has no rows; a page names it.")
    if "task" not in rows[0]:
        if folders == [path]:
            return [(group.label, group) for group in groups_of(path.resolve())]
        beside = [row for folder in folders for row in read_baselines(RunFolder(folder))]
        return [(group.label, group) for group in groups(rows, beside)]
    several = len({row["fit"] for row in rows}) > 1
    by_task: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_task.setdefault(f"{row['task']}, {row['fit']}" if several else row["task"], []).append(row)
    return [(name, Group({}, with_known_success(of_task))) for name, of_task in by_task.items()]
