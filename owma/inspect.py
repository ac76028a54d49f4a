"""`python -m owma.inspect DATASET`: what a dataset holds, and what may spoil training on it.

What reads it is imported when the flags have been read, so that `--help` and a mistake in a flag are answered at once.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tyro

from owma._internal.command import command, parse
from owma._internal.stdout import show_result
from owma.results.show import show_table

if TYPE_CHECKING:
    from rich.table import Table

_MOST_COLUMNS = 64
"""Coordinates that the table shows; --json has them all."""


@dataclasses.dataclass(frozen=True)
class Inspect:
    """Says what a dataset holds: spaces, episodes, returns, coverage, and what may spoil training on it."""

    dataset: tyro.conf.Positional[str]
    """A D4RL file (.hdf5, .h5, .npz), an OGBench file (.npz), a folder (of Minari's, of your own arrays, or a cache
    of owma's), or a Minari id."""
    download: bool = False
    """Fetch a Minari id from the hub if it is not there."""
    episode_steps: int | None = None
    """For a D4RL file whose timeouts are missing or never set: steps after which an episode was cut; 0 if all episodes
    end by terminals."""
    obs_keys: tuple[str, ...] = ()
    """Entries of a Minari dataset's Dict observations to read; none: those that training reads unless it is told."""
    json: bool = False
    """Print all of it as JSON."""


def main() -> None:
    """Parse, read, print."""
    arguments = parse(Inspect, prog="python -m owma.inspect")
    from owma._internal.json import jsonable
    from owma.data import open_by_name, summarise_dataset

    source = open_by_name(
        arguments.dataset,
        download=arguments.download,
        episode_steps=arguments.episode_steps,
        obs_keys=arguments.obs_keys,
    )
    facts = summarise_dataset(source)
    if arguments.json:
        show_result(json.dumps(jsonable(facts), indent=1))
    else:
        _show(facts)


def _show(facts: Mapping[str, Any]) -> None:
    show_table(_overview(facts))
    if facts["transitions"]:
        show_table(_columns(facts))
    for warning in facts["warnings"]:  # a result too: what may spoil training is what was asked for
        show_result(f"warning: {warning}")


def _overview(facts: Mapping[str, Any]) -> "Table":
    from rich.table import Table

    from owma.results.intervals import counted

    table = Table(title=facts["dataset"], show_header=False)
    table.add_row("form", f"{facts['form']}, {facts['files']} file{'' if facts['files'] == 1 else 's'}")
    refused = "named, and refused (see the warning): pass --evaluation.env to train and evaluate"
    absent = "not named: pass --evaluation.env to train and evaluate" if facts["env_refusal"] is None else refused
    table.add_row("environment", facts["env"] or absent)
    table.add_row("size in memory", f"{facts['megabytes']:,.1f} MB")
    table.add_row("transitions", f"{facts['transitions']:,}")
    ends = f"{facts['terminated']:,} terminated, {facts['truncated']:,} truncated"
    table.add_row("episodes", f"{facts['episodes']:,}: {ends}")
    if not facts["transitions"]:
        return table
    keys = f", of {' and '.join(facts['obs_keys'])}" if facts["obs_keys"] else ""
    for name, source in (("observations", keys), ("actions", "")):
        table.add_row(name, f"{counted(facts[name]['shape'][0], 'number')}, {facts[name]['dtype']}{source}")
    for name in ("lengths", "returns"):
        table.add_row(f"{name} of episodes", _spread(facts[name]))
    table.add_row("coverage, leading two", f"{facts['coverage']:.1%} of the cells of a grid over their range")
    table.add_row("actions at bounds", f"{facts['at_bounds']:.1%} of the entries")
    table.add_row("duplicates", f"{facts['duplicates']:.1%} of the transitions")
    return table


def _spread(quantiles: Mapping[str, float]) -> str:
    if not quantiles:
        return "none"
    low, median, high = (quantiles[name] for name in ("smallest", "median", "largest"))
    return f"{low:,.6g} to {high:,.6g}, median {median:,.6g}, mean {quantiles['mean']:,.6g}"


def _columns(facts: Mapping[str, Any]) -> "Table":
    from rich.table import Table

    table = Table("", *(f"{name}" for name in ("low", "high", "mean", "std")))
    for name in ("observations", "actions", "rewards"):
        columns = facts[name]["columns"]
        for number, column in enumerate(columns[:_MOST_COLUMNS]):
            label = name.removesuffix("s") + ("" if name == "rewards" else f" {number}")
            table.add_row(label, *(f"{column[key]:.4g}" for key in ("low", "high", "mean", "std")))
        if len(columns) > _MOST_COLUMNS:
            table.add_row(f"{len(columns) - _MOST_COLUMNS} more, see --json")
    return table


if __name__ == "__main__":
    command(main)
