"""Tables within a page of Markdown, made of rows.

A block begins with a comment that says what it is of, by a path from the page's folder, and ends with `<!-- end -->`:

    <!-- planners of runs/reference/two-routes: static online_adaptation -->
    <!-- rivals of reference/skew reference/stitch -->
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from owma._internal.errors import ConfigError
from owma.results.analysis import OURS, comparisons, groups
from owma.results.baselines import read_baselines, summarise_with_baselines
from owma.results.intervals import counted
from owma.results.tables import of_each_seed, results_markdown, summarise, with_known_success
from owma.runs.folder import RunFolder

_BLOCK = re.compile(r"(<!-- (planners|rivals) of ([^:>]*?)(?:: ([^>]*?))? -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_VERDICTS = {"wins": "above", "loses": "below", "open": "open"}
_FORMS = "adaptation_"
"""Other forms of the method, which are no rivals."""
_BASELINES = ("random_actions", "data")


def with_tables(text: str, folder: Path) -> str:
    """The page with its blocks made again. Raises `ConfigError` where a block names what has no rows."""

    def made(block: re.Match[str]) -> str:
        paths, names = [folder / word for word in block[3].split()], (block[4] or "").split()
        table = _planners(paths, names) if block[2] == "planners" else _rivals(paths)
        return f"{block[1]}{table}{block[6]}"

    return _BLOCK.sub(made, text)


def _planners(paths: Sequence[Path], names: Sequence[str]) -> str:
    """The table of planners of one folder, of those named where any are."""
    if len(paths) != 1:
        raise ConfigError(f"A table of planners is of one folder, not of {len(paths)}.")
    rows = _rows(paths[0])
    if missing := set(names) - {row["planner"] for row in rows}:
        raise ConfigError(f"{paths[0]} has no rows of {', '.join(sorted(missing))}.")
    shown = [row for row in rows if not names or row["planner"] in names]
    return results_markdown(summarise_with_baselines(shown, read_baselines(RunFolder(paths[0]))))


def _rivals(paths: Sequence[Path]) -> str:
    """For each experiment adaptation, the rival with the highest mean, and what adaptation has more than held at zero.

    By success, or by return where nobody knows of success.
    """
    headings = ("rows", "of", "metric", "adaptation", "by seed", "best rival", "by seed", "difference", "more than off")
    lines = [_row([*headings, "verdict"]), "|-|-|-|-:|-:|-:|-:|-:|-:|-|"]
    lacking: dict[str, None] = {}
    for path in paths:
        for label, rows in _groups(path):
            for line, missing in _lines(path.name, label, rows):
                lines.append(line)
                lacking |= dict.fromkeys([missing] if missing else [])
    said = f" {'; '.join(lacking).capitalize()}." if lacking else ""
    return "\n".join(lines) + (
        "\n\nThe best rival has the highest mean; *off* is adaptation with Δφ held at zero. [95 %]: bootstrap that "
        f"resamples seeds, then episodes within them, widened for few seeds.{said}\n"
    )


def _lines(name: str, label: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Of adaptation and each of its variations a line, and what is missing for its verdict.

    By success, or by return where nobody knows of success; by both where adaptation and rival always succeed.
    """
    results = summarise(rows)
    planners = results["planners"]
    for ours in [each for each in planners if each.partition("-")[0] == OURS]:
        place = ", ".join(part for part in (label, ours.partition("-")[2]) if part) or "–"
        means: dict[str, dict[str, Any]] = {}
        for c in comparisons(rows, ours):
            means.setdefault(c["rival"], {})[c["metric"]] = c
        rivals = [each for each in means if not each.startswith((_FORMS, OURS)) and each not in _BASELINES]
        if not rivals:
            continue
        knows = all("success" in means[rival] for rival in rivals)
        for key in ("success", "return") if knows else ("return",):
            # Among those that succeed alike, the one with the highest return.
            best = max(rivals, key=lambda rival: (means[rival][key]["theirs"], means[rival]["return"]["theirs"]))
            c, off = means[best][key], means.get("adaptation_off", {}).get(key)
            about = [name, place, "success %" if key == "success" else "return"]
            judged = _VERDICTS.get(c["verdict"], f"none ({counted(c['seeds'], 'seed')})")
            about += [_spread(planners[ours][key], planners[ours]["intervals"][key], key)]
            about += [of_each_seed(planners[ours], key), f"{best} {_spread(c['theirs'], None, key)}"]
            about += [of_each_seed(planners[best], key), _spread(c["mean"], c["interval"], key, "+")]
            about += ["–" if off is None else _spread(off["mean"], off["interval"], key, "+"), judged]
            yield _row(about), c["lacking"]
            if key == "success" and not c["ours"] == c["theirs"] == 1:
                break


def _spread(middle: float, ends: Sequence[float] | None, key: str, sign: str = "") -> str:
    scale, form = (100.0, ".0f") if key == "success" else (1.0, ".3g")
    shown = f"{scale * middle:{sign}{form}}"
    return shown if ends is None else f"{shown} [{', '.join(f'{scale * end:{sign}{form}}' for end in ends)}]"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _groups(path: Path) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
    """Experiments whose planners can be compared, by name: of a sweep by what was varied, of transfers by task."""
    rows = _rows(path)
    if "task" not in rows[0]:
        return [(group.label, group.rows) for group in groups(rows)]
    several = len({row["fit"] for row in rows}) > 1
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(f"{row['task']}, {row['fit']}" if several else row["task"], []).append(row)
    return [(name, with_known_success(its)) for name, its in found.items()]


def _rows(path: Path) -> list[dict[str, Any]]:
    """Of a folder, or of the folders of single seeds in it."""
    folders = [path] if (path / "episodes.jsonl").exists() else sorted(path.glob("seed*"))
    rows = [row for folder in folders for row in RunFolder(folder).read_jsonl("episodes.jsonl", drop_torn=True)]
    if not rows:
        raise ConfigError(f"{path} has no rows; a page names it.")
    return rows
