"""Results on the terminal of a command."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from owma._internal.command import show_warning

if TYPE_CHECKING:
    from rich.table import Table

    from owma.config.experiment import ExperimentConfig


_POOR_FIT = 0.5  # R² below which a value is called a guess.


def show_setup(data: str, tasks: Sequence[str], env: str) -> None:
    """Print what a run is of; see `owma.results.description`."""
    for line in (f"data: {data}", *(f"task: {task}" for task in tasks), f"environment: {env}"):
        print(line, file=sys.stderr)


def show_results(results: Mapping[str, Any]) -> None:
    """Print the table of planners, with a warning of promises that are not to be believed.

    In a terminal that is too narrow for the table, names are on several lines.
    """
    from rich.console import Console

    from owma.results.promises import doubtful_promises
    from owma.results.tables import results_table, with_baselines

    console, table = Console(stderr=True), results_table(results)
    lacking = _needed_width(table) - console.width
    if console.is_terminal and lacking > 0:
        table = results_table(results, name_width=max(map(len, with_baselines(results))) - lacking)
    show_table(table)
    for sentence in doubtful_promises(results):
        show_warning(sentence)


def show_table(table: "Table") -> None:
    """Print a table on standard error: no narrower than its words and numbers need, whatever is said of the width.

    A log has no width, and a terminal breaks what is too long for it at its own edge.
    """
    from rich.console import Console

    Console(stderr=True, width=max(Console(stderr=True).width, _needed_width(table))).print(table)


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
    for name in ("decoder", "linear"):
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
