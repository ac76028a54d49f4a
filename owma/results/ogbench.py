"""OGBench's protocol (Park et al. 2024, arXiv 2410.20092): its five tasks as one table, published numbers beside them.

Rows are those of an evaluation, with the number of the task as `ogbench_task`, and episodes that are numbered over all
five: the mean over all rows is OGBench's metric, and planners can be compared as in any other experiment.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from owma.results.analysis import Group
from owma.results.intervals import interval_text
from owma.results.scores import OGBENCH_TASKS
from owma.results.tables import has_seeds, kind_of_interval, of_each_seed, with_baselines

METHODS = ("GCBC", "GCIVL", "GCIQL", "QRL", "CRL", "HIQL")
PUBLISHED: Mapping[str, tuple[int, ...]] = {
    "pointmaze-medium-stitch": (23, 70, 21, 80, 0, 74),
    "pointmaze-medium-navigate": (9, 63, 53, 82, 29, 79),
    "pointmaze-large-stitch": (7, 12, 31, 84, 0, 13),
    "cube-single-play": (6, 53, 68, 5, 19, 15),
    "puzzle-3x3-play": (2, 6, 95, 1, 3, 12),
}
"""Success in percent of `METHODS`, the mean over five tasks and 8 seeds after 10^6 updates (arXiv 2410.20092), on the
official data; of other datasets none is kept here."""

_SAID = (
    "Published: means of five tasks and 8 seeds on OGBench's own data (arXiv 2410.20092), not run here; ours are of "
    "data collected by its recipe."
)


def ogbench_protocol(dataset: str, group: Group) -> tuple[dict[str, Any], str]:
    """`results.json` and `table.md` of the rows of one dataset.

    **Arguments:** `dataset`: OGBench's name, such as `cube-single-play`; `group`: what `owma.results.analysis.groups`
    returns of its rows and baselines.

    **Returns:** what a summary of planners has, with `dataset`, `tasks` (for each planner and baseline the share of
    each task), `solved_at_start` (the share of starts where the task is done already; `None` where no row knows) and
    `published`; and the table as Markdown.
    """
    rows = [*group.rows, *group.baselines]
    tasks: dict[str, dict[str, float]] = {}
    for name in with_baselines(group.results):
        shares = {number: _share(rows, name, number) for number in OGBENCH_TASKS}
        tasks[name] = {str(number): share for number, share in shares.items() if share is not None}
    known = [row["solved_at_start"] for row in rows if row.get("solved_at_start") is not None]
    results = group.results | {
        "dataset": dataset,
        "tasks": tasks,
        "solved_at_start": float(np.mean(known)) if known else None,
        "published": dict(zip(METHODS, PUBLISHED.get(dataset, ()))),
    }
    return results, _table(results)


def _share(rows: Sequence[Mapping[str, Any]], planner: str, task: int) -> float | None:
    of_task = [bool(row["success"]) for row in rows if row["planner"] == planner and row["ogbench_task"] == task]
    return float(np.mean(of_task)) if of_task else None


def _table(results: Mapping[str, Any]) -> str:
    headings = ["planner", "five tasks, success % [95 %]", *(f"task {number}" for number in OGBENCH_TASKS)]
    by_seed = has_seeds(results)
    if by_seed:
        headings.insert(2, "by seed")
    lines = [f"| {' | '.join(headings)} |", "|-" + "|-:" * (len(headings) - 1) + "|"]
    for name, entry in with_baselines(results).items():
        cells = [name, interval_text(entry["success"], entry["intervals"]["success"], ".0f", 100.0)]
        cells += [of_each_seed(entry, "success")] if by_seed else []
        cells += [_percent(results["tasks"][name].get(str(number))) for number in OGBENCH_TASKS]
        lines.append(f"| {' | '.join(cells)} |")
    for method, percent in results["published"].items():
        cells = [f"*{method}, published*", f"*{percent}*", *("–" for _ in headings[2:])]
        lines.append(f"| {' | '.join(cells)} |")
    seeds = {entry["seeds"] for entry in results["planners"].values()}
    said = [kind_of_interval(seeds).strip()]
    if results["solved_at_start"] is not None:
        said.append(f"Of all starts {100 * results['solved_at_start']:.0f} % are solved already.")
    said.append(_SAID if results["published"] else "No published numbers of these data are kept here.")
    return "\n".join([*lines, "", " ".join(said), ""])


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}"
