"""Results of a command: tables on standard output, what is said of them on standard error."""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from owma._internal.command import show_warning
from owma._internal.stdout import result_stream, show_result

if TYPE_CHECKING:
    from rich.table import Table

    from owma.config.experiment import ExperimentConfig


_POOR_FIT = 0.5  # R² below which a value is called a guess.
_NARROWEST_NAME = 12
"""Characters of a planner's name on one line, at least."""
_PLAIN_WIDTH = 80
"""To which a caption is filled outside terminals if the table is not wider; of a terminal of unknown width."""


def show_setup(data: str, tasks: Sequence[str], env: str) -> None:
    """Print what a run is of; see `owma.results.description`."""
    for line in (f"data: {data}", *(f"task: {task}" for task in tasks), f"environment: {env}"):
        print(line, file=sys.stderr)


def show_results(results: Mapping[str, Any]) -> None:
    """Print the table of planners on standard output, and on standard error a warning of promises that are not to be
    believed.

    In a terminal that is too narrow for the table, names are on several lines.
    """
    from owma.results.promises import doubtful_promises
    from owma.results.tables import results_table, with_baselines

    table, width = results_table(results), _terminal_width()
    lacking = 0 if width is None else _needed_width(table) - width
    if lacking > 0:
        longest = max(map(len, with_baselines(results)), default=0)
        table = results_table(results, name_width=max(longest - lacking, _NARROWEST_NAME))
    show_table(table)
    for sentence in doubtful_promises(results):
        show_warning(sentence)


def show_table(table: "Table") -> None:
    """Print a table on standard output, no word or number of it cut.

    In a terminal that is too narrow, its columns are shown some after the others, each time beside the first one, which
    says what a row is of. Elsewhere, in a pipe or a file, lines are as long as they need to be.
    """
    from rich.console import Console

    width = _terminal_width()
    parts = [table] if width is None else _parts(table, width)
    for part in parts:
        needed = _needed_width(part)
        console = Console(file=result_stream(), width=max(needed, width or 0, _PLAIN_WIDTH if width is None else 0))
        with console.capture() as shown:
            console.print(part)
        show_result(shown.get(), end="")


def _terminal_width() -> int | None:
    """Of standard output, where that is a terminal. Colour may be asked of a pipe, which has no width all the same."""
    stream = result_stream()
    if stream is None or not stream.isatty():
        return None
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    with contextlib.suppress(OSError, ValueError):  # standard output may be the only terminal that there is
        if columns := os.get_terminal_size(stream.fileno()).columns:
            return columns
    return _PLAIN_WIDTH  # one that has just been opened may say 0


def _parts(table: "Table", width: int) -> "list[Table]":
    """The table or, if it is wider, tables of some of its columns, as many as fit beside the first one."""
    if _needed_width(table) <= width:
        return [table]
    parts, group = [], [0]
    for column in range(1, len(table.columns)):
        if len(group) > 1 and _needed_width(_some_columns(table, [*group, column])) > width:
            parts.append(group)
            group = [0]
        group.append(column)
    tables = [_some_columns(table, columns) for columns in [*parts, group]]
    for part in tables[1:]:
        part.title = None
    for part in tables[:-1]:
        part.caption = None
    return tables


def _some_columns(table: "Table", columns: "Sequence[int]") -> "Table":
    """A table of these columns, otherwise as it was."""
    from rich.table import Table

    part = Table(
        title=table.title,
        caption=table.caption,
        box=table.box,
        padding=table.padding,
        pad_edge=table.pad_edge,
        show_header=table.show_header,
        title_justify=table.title_justify,
        caption_justify=table.caption_justify,
    )
    kept = [table.columns[number] for number in columns]
    for column in kept:
        part.add_column(column.header, justify=column.justify, no_wrap=column.no_wrap)
    for row, cells in zip(table.rows, zip(*(column.cells for column in kept))):
        part.add_row(*cells, style=row.style)
    return part


def _needed_width(table: "Table") -> int:
    from rich.console import Console
    from rich.measure import Measurement

    wide = Console(width=10_000)
    return Measurement.get(wide, wide.options, table).maximum


def show_fit(row: Mapping[str, Any], config: "ExperimentConfig", *, obs_dim: int, kept: int) -> None:
    """Print how well the values explain the returns of the task, with a warning if the one acted by does badly.

    `row`: the row of phase `task` in `metrics.jsonl`. `kept`: coordinates of an outcome, after whitening.
    """
    kind = config.value.kind
    for name in (name for name in ("decoder", "linear", "pessimistic") if f"r2_{name}" in row):
        print(
            f"V(psi), {name}: R^2 = {_r_squared(row, name)} on {row['labels']:,} labels, "
            f"value_scale {row[f'value_scale_{name}']:.3g}{' (the planners act by it)' if name == kind else ''}",
            file=sys.stderr,
        )
    explained = row[f"r2_{kind}"]
    if explained is None or explained < _POOR_FIT:
        from owma.results.advice import advise

        show_warning(
            f"the {kind} value explains little of the task's returns (R^2 = {_r_squared(row, kind)}), so what planners "
            f"promise is a guess; {advise(config, row, obs_dim=obs_dim, kept=kept)}."
        )


def _r_squared(row: Mapping[str, Any], name: str) -> str:
    value = row[f"r2_{name}"]
    return "undefined (all returns are equal)" if value is None else f"{value:.2f}"
