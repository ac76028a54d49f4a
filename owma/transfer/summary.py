"""From the rows of a transfer to its results, and to a table for people."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from owma.results.analysis import OURS, comparisons
from owma.results.baselines import episodes_among, summarise_baselines, summarise_with_baselines
from owma.results.intervals import interval, interval_text
from owma.results.promises import doubtful_promises
from owma.results.scores import OGBENCH_TASKS, ogbench_success
from owma.results.tables import kind_of_interval, paired_difference, results_markdown, with_known_success

if TYPE_CHECKING:
    from rich.table import Table


def summarise_transfer(
    rows: Sequence[Mapping[str, Any]], baselines: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Summarise the rows of a transfer's episodes for each (task, labels, fit, planner), in order of appearance.

    **Arguments:** `baselines`: the rows of `baselines.jsonl`, whose entries, without labels and fit, are `baselines`;
    with them the others have the mean `value` too.

    **Returns:** `{"entries": [...], "comparisons": [...]}`. Each entry has `task`, `labels`, `fit`, `planner`, the
    means `return`, `success` (`None` where the task has none), `promise_gap`, `kl` and `r2`, `intervals` of
    return and success, `episodes`, `seeds` and `draws`, and `parts`: the mean return of each seed. The 95 % intervals
    are those of `owma.results.intervals.interval`, over seeds and episodes within them; rows of one seed count by their
    draws of labels in place of seeds, and `parts` is of draws. Each comparison is of the decoder minus the linear
    value, where both were fitted: `task`, `labels`, `planner`, and for `return` and `success` what
    `owma.results.tables.paired_difference` says of the same labels and episodes, with `draws` of labels in place of
    seeds.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        beside = episodes_among([row for row in baselines if row["task"] == task])
        for row in with_known_success([row for row in rows if row["task"] == task], beside):
            groups.setdefault((task, row["labels"], row["fit"], row["planner"]), []).append(row)
    entries = [_entry(*names, rows=group) for names, group in groups.items()]
    comparisons = [
        _comparison(task, labels, planner, decoder, groups[task, labels, "linear", planner])
        for (task, labels, fit, planner), decoder in groups.items()
        if fit == "decoder" and (task, labels, "linear", planner) in groups
    ]
    if baselines:  # beside the data's returns it can be said whether a promise is one
        for names, entry in zip(groups, entries):
            promised = [row["value"] for row in groups[names] if row["value"] is not None]
            entry["value"] = float(np.mean(promised)) if promised else None
    summary = {"entries": entries, "comparisons": comparisons}
    return summary | ({"baselines": _baselines(baselines, rows)} if baselines else {})


def _baselines(rows: Sequence[Mapping[str, Any]], planners: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entries of what the planners of each task are held against; without labels and fit."""
    entries = []
    for task in dict.fromkeys(row["task"] for row in rows):
        mine, beside = ([row for row in its if row["task"] == task] for its in (rows, planners))
        summary = summarise_baselines(mine, beside)
        unknown = {"labels": None, "fit": None, "value": None, "promise_gap": None, "kl": None, "r2": None, "draws": 1}
        entries += [{"task": task, "planner": name, **unknown, **entry} for name, entry in summary.items()]
    return entries


def summarise_ogbench(rows: Sequence[Mapping[str, Any]], tasks: Mapping[str, int]) -> list[dict[str, Any]]:
    """OGBench's own metric for each (labels, fit, planner), in order of appearance.

    **Arguments:** `tasks`: the name that a task's rows have to its number in OGBench; other rows do not count.

    **Returns:** of each `labels`, `fit`, `planner` and what `owma.results.scores.ogbench_success` says of the episodes
    of all draws of labels.
    """
    groups: dict[tuple[Any, ...], dict[int, list[bool]]] = {}
    for row in rows:
        if row["task"] in tasks:
            group = groups.setdefault((row["labels"], row["fit"], row["planner"]), {})
            group.setdefault(tasks[row["task"]], []).append(row.get("env_success", row["success"]))
    return [
        {"labels": labels, "fit": fit, "planner": planner} | ogbench_success(group)
        for (labels, fit, planner), group in groups.items()
    ]


def _entry(
    task: str, labels: int | None, fit: str | None, planner: str, *, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """`labels` and `fit` are `None` of what no value was fitted for: the baselines."""

    def column(key: str) -> np.ndarray:
        values = np.array([np.nan if row[key] is None else float(row[key]) for row in rows])
        return values[~np.isnan(values)]

    columns = {key: column(key) for key in ("return", "success", "promise_gap", "kl", "r2")}
    means = {key: float(values.mean()) if len(values) else None for key, values in columns.items()}
    seeds, draws = (np.array([row[key] for row in rows]) for key in ("seed", "draw"))
    counts = {"episodes": len(rows), "seeds": len(set(seeds.tolist())), "draws": len(set(draws.tolist()))}
    parts = seeds if counts["seeds"] > 1 else draws
    successes = [row["success"] is not None for row in rows]
    intervals = {
        "return": interval(columns["return"], parts),
        "success": interval(columns["success"], parts[successes], bounds=(0.0, 1.0)),
    }
    of_parts = [float(columns["return"][parts == part].mean()) for part in np.unique(parts)]
    entry = {"task": task, "labels": labels, "fit": fit, "planner": planner} | means
    return entry | {"intervals": intervals, "parts": of_parts} | counts


def _comparison(
    task: str,
    labels: int,
    planner: str,
    decoder: Sequence[Mapping[str, Any]],
    linear: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    # Pairs are told apart by draw of labels and episode; the seed is one, and what is resampled first is draws.
    rows = [{**row, "planner": row["fit"], "seed": row["draw"]} for row in (*decoder, *linear)]
    knows_success = all(row["success"] is not None for row in rows)
    keys = ("return", "success") if knows_success else ("return",)
    comparison: dict[str, Any] = {"task": task, "labels": labels, "planner": planner}
    for key in keys:
        difference = paired_difference(rows, "decoder", "linear", key)
        comparison[key] = difference | {"draws": difference.pop("seeds")}
    return comparison


def doubtful_transfers(results: Mapping[str, Any]) -> list[str]:
    """What `owma.results.promises.doubtful_promises` says of each task that is no cell of a sweep."""
    said = []
    for task in dict.fromkeys(entry["task"] for entry in _named(results, "entries")):
        of_task = {
            f"{e['planner']} ({e['labels']:,} labels, {e['fit']})": e for e in results["entries"] if e["task"] == task
        }
        beside = {e["planner"]: e for e in results.get("baselines", ()) if e["task"] == task}
        said += [f"{task}: {one}" for one in doubtful_promises({"planners": of_task, "baselines": beside})]
    return said


def transfer_markdown(rows: Sequence[Mapping[str, Any]], baselines: Sequence[Mapping[str, Any]] = ()) -> str:
    """Rows of the same transfer of several seeds: for each task a table of planners, and adaptation against each rival.

    Where there are several, tables are told apart by label count, draw of labels and fit too. Differences are paired by
    seed and episode (`owma.results.analysis.comparisons`), and shown with their 95 % interval over seeds and episodes.
    """
    about = ("task", "labels", "draw", "fit")
    varied = [key for key in about if key == "task" or len({row[key] for row in rows}) > 1]
    by_group: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        by_group.setdefault(tuple(row[key] for key in about), []).append(row)
    lines: list[str] = []
    for names, group in by_group.items():
        said: dict[str, Any] = dict(zip(about, names))
        lines += ["**" + ", ".join(f"{'' if key == 'task' else key + ' '}{said[key]}" for key in varied) + "**", ""]
        beside = [row for row in baselines if row["task"] == said["task"]]
        lines += [results_markdown(summarise_with_baselines(group, beside), wide=True)]
        differences: dict[str, list[str]] = {}
        compared = comparisons(group)
        for each in compared:
            scale, form = (100.0, "+.0f") if each["metric"] == "success" else (1.0, "+.3g")
            spread = interval_text(each["mean"], each["interval"], form, scale)
            differences.setdefault(each["rival"], []).append(f"{each['metric']} {spread}")
        lines += [f"- {OURS} − {rival}: {', '.join(spreads)}" for rival, spreads in differences.items()]
        lacking = dict.fromkeys(each["lacking"] for each in compared if each["lacking"])
        lines += [f"- {said.capitalize()}." for said in lacking] + [""]
    return "\n".join(lines)


def transfer_tables(results: Mapping[str, Any]) -> "list[Table]":
    """A table a task, a row a label count, fit and planner; the goals of a sweep are one table, of their means.

    OGBench's metric over its five tasks is a table of its own, the last one.
    """
    from rich import box
    from rich.table import Table

    tables: dict[str, Table] = {}
    for entry in [*_named(results, "entries"), *sweep_means(results), *_named(results, "baselines")]:
        if entry["task"] not in tables:
            table = Table(title=entry["task"], box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
            table.caption, table.caption_justify = _said_of_intervals(entry), "left"
            for heading in ("labels", "fit", "planner", "return\n[95 %]", "success %\n[95 %]", "R²", "promise\ngap"):
                table.add_column(heading, justify="left" if heading in ("fit", "planner") else "right")
            tables[entry["task"]] = table
        returns = interval_text(entry["return"], entry["intervals"]["return"])
        success = interval_text(entry["success"], entry["intervals"]["success"], ".0f", 100.0)
        others = ("–" if entry[key] is None else f"{entry[key]:.2g}" for key in ("r2", "promise_gap"))
        planner = entry["planner"].replace("_", " ")
        told = ("–", "–") if entry["labels"] is None else (f"{entry['labels']:,}", entry["fit"])
        tables[entry["task"]].add_row(*told, planner, returns, success, *others)
    for comparison in results["comparisons"]:
        if comparison["task"] in tables:  # not of the single cells of a sweep
            planner = comparison["planner"].replace("_", " ")
            spreads = _difference(comparison, "return", 1.0, "+.3g"), _difference(comparison, "success", 100.0, "+.0f")
            tables[comparison["task"]].add_row(f"{comparison['labels']:,}", "decoder − linear", planner, *spreads)
    return [*tables.values(), *([_ogbench_table(results["ogbench"])] if "ogbench" in results else [])]


def _ogbench_table(entries: Sequence[Mapping[str, Any]]) -> "Table":
    from rich import box
    from rich.table import Table

    title = "ogbench_success: the mean over OGBench's five tasks"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.caption, table.caption_justify = kind_of_interval([1]), "left"
    for heading in ("labels", "fit", "planner", "ogbench_success %\n[95 %]", *(f"task {n}\n%" for n in OGBENCH_TASKS)):
        table.add_column(heading, justify="left" if heading in ("fit", "planner") else "right")
    for entry in entries:
        mean = interval_text(entry["ogbench_success"], entry["interval"], ".0f", 100.0)
        shares = (f"{100 * entry['tasks'][str(number)]:.0f}" for number in OGBENCH_TASKS)
        table.add_row(f"{entry['labels']:,}", entry["fit"], entry["planner"].replace("_", " "), mean, *shares)
    return table


def sweep_means(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each (labels, fit, planner) of a sweep over goals an entry of means over cells, with intervals over cells."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for entry in [*results["entries"], *results.get("baselines", ())]:
        if entry["task"] in results["cells"]:
            groups.setdefault((entry["labels"], entry["fit"], entry["planner"]), []).append(entry)
    means = []
    for (labels, fit, planner), entries in groups.items():
        rows = [
            {key: e[key] for key in ("return", "success", "promise_gap", "kl", "r2")} | {"seed": 0, "draw": 0}
            for e in entries
        ]
        entry = _entry(f"{len(entries)} goal cells", labels, fit, planner, rows=rows)
        # A mean over cells is no proportion of trials.
        successes = np.array([row["success"] for row in rows])
        entry["intervals"]["success"] = interval(successes, np.zeros(len(successes)))
        means.append(entry)
    return means


def _said_of_intervals(entry: Mapping[str, Any]) -> str:
    if entry["seeds"] == 1 and entry["draws"] > 1:
        kind = "over draws of labels, then episodes, of one seed, widened for few draws"
        return f"[95 %]: {kind}: says nothing of other trainings."
    return kind_of_interval([entry["seeds"]]).strip()


def _named(results: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [entry for entry in results.get(kind, ()) if entry["task"] not in results["cells"]]


def _difference(comparison: Mapping[str, Any], key: str, scale: float, form: str) -> str:
    return (
        interval_text(comparison[key]["mean"], comparison[key]["interval"], form, scale) if key in comparison else "–"
    )
