"""Tables within a page of Markdown, made of rows.

A block begins with a comment that says what it is of, by a path from the page's folder, and ends with `<!-- end -->`:

    <!-- planners of runs/reference/two-routes: static online_adaptation -->
    <!-- planners of runs/reference/skew at data.skew = 0.005 -->
    <!-- experiments of reference -->
"""

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from owma._internal.errors import ConfigError
from owma.report.overview import compared, overview_markdown
from owma.report.rivalry import Rivalry, experiments, rivalries
from owma.report.source import read_groups
from owma.results.analysis import Group
from owma.results.tables import results_markdown

_BLOCK = re.compile(
    r"(<!-- (planners|experiments) of ([^:>]*?)(?: at ([^:>]*?))?(?:: ([^>]*?))? -->\n)(.*?)(<!-- end -->)", re.DOTALL
)

_ON_ITS_PAGE = ("V(ψ*)", "network calls", "ms p95")
"""Columns of the experiment's own page; with them intervals would break over lines where GitHub shows a table."""


def with_tables(
    text: str,
    folder: Path,
    groups_of: Callable[[Path], list[Group]] = read_groups,
    rivalries_of: Callable[[Path], Sequence[Rivalry]] | None = None,
) -> str:
    """The page with its blocks made again. Raises `ConfigError` where a block names what has no rows.

    `groups_of`, `rivalries_of`: of a folder, what `owma.report.source.read_groups` and `owma.report.rivalry.rivalries`
    return, the former of a resolved one; caches may.
    """

    def made(block: re.Match[str]) -> str:
        path, place, names = folder / block[3].strip(), block[4] or "", (block[5] or "").split()
        if block[2] == "planners":
            table = _planners(path, place, names, groups_of)
        else:
            of_root = compared(path, rivalries_of or functools.partial(rivalries, groups_of=groups_of))
            table = overview_markdown(path, folder, of_root)
        return f"{block[1]}{table}{block[7]}"

    return _BLOCK.sub(made, text)


def shown_on(page: Path, root: Path) -> bool:
    """Whether a page has a block of all experiments in `root`, which then have pages of their own."""
    blocks = _BLOCK.finditer(page.read_text(encoding="utf-8")) if page.exists() else ()
    return any(b[2] == "experiments" and (page.parent / b[3].strip()).resolve() == root.resolve() for b in blocks)


def _planners(path: Path, place: str, names: Sequence[str], groups_of: Callable[[Path], list[Group]]) -> str:
    """The table of planners of one experiment, of those named where any are; `place` tells it from its neighbours."""
    found = experiments(path, groups_of)
    chosen = [group for label, group in found if place in ("", label)]
    if len(chosen) != 1:
        places = ", ".join(repr(label) for label, _ in found)
        raise ConfigError(f"A table of planners is of one experiment; {path} has {places}: name one, as `at LABEL`.")
    (group,) = chosen
    if missing := set(names) - group.results["planners"].keys():
        raise ConfigError(f"{path} has no rows of {', '.join(sorted(missing))}.")
    planners = {name: entry for name, entry in group.results["planners"].items() if not names or name in names}
    return results_markdown(group.results | {"planners": planners}, without=_ON_ITS_PAGE)
