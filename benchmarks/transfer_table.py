"""One table of a transfer that was run on several seeds.

    python benchmarks/transfer_table.py runs/hopper-seed{1,2,3}/v1/transfers/four

`owma.transfer` is of one run, which has one seed; what planners do is said by several. Prints Markdown: for each task
the planners, and what `online_adaptation` has more than each rival on the same episodes.
"""

import dataclasses
from pathlib import Path

import tyro

from owma._internal.command import command, parse
from owma._internal.errors import ConfigError
from owma._internal.stdout import show_result
from owma.results.baselines import read_baselines
from owma.runs.folder import RunFolder
from owma.transfer.summary import transfer_markdown


@dataclasses.dataclass(frozen=True)
class TransferTable:
    """Rows of the folders, which are of different seeds, as one table a task."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """RUN/transfers/NAME (its newest version), or one version of it; or any folder with its `episodes.jsonl`."""


def main() -> None:
    """Parse, print."""
    arguments = parse(TransferTable, prog="python benchmarks/transfer_table.py", description=__doc__)
    rows, baselines = [], []
    for path in arguments.folders:
        folder = RunFolder(path) if (path / "episodes.jsonl").exists() else RunFolder.open(path)
        mine = folder.read_jsonl("episodes.jsonl", drop_torn=True)
        if twice := {row["seed"] for row in mine} & {row["seed"] for row in rows}:
            raise ConfigError(f"{path} is of seed {min(twice)}, as one before it is; give each seed its --seed.")
        rows += mine
        baselines += read_baselines(folder)
    show_result(transfer_markdown(rows, baselines), end="")


if __name__ == "__main__":
    command(main)
