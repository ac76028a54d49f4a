"""`python -m owma.report RUN-or-SWEEP`: one HTML file with tables, pictures, losing cases, and decisions to explore."""

import dataclasses
import sys
from pathlib import Path

import tyro

from owma._internal.command import command, enable_compilation_cache, parse, require_platform
from owma._internal.errors import ConfigError
from owma._internal.progress import progress
from owma._internal.stdout import show_result
from owma.runs.folder import rows_folder


@dataclasses.dataclass(frozen=True)
class Report:
    """Writes one HTML file that needs no other: adaptation and its rivals, results, pictures, how to reproduce each."""

    folder: tyro.conf.Positional[Path]
    """runs/NAME (its newest version), runs/NAME/v<N> of a run or a sweep, or any folder with an episodes.jsonl."""
    out: Path | None = None
    """The file to write; by default report.html in the folder."""
    states: int = 6
    """Start states in the explorer of decisions; 0 leaves it out."""
    draws: int = 64
    """Draws of each state that it shows."""
    check: bool = False
    """Instead of a report: whether the tables, results, pictures and reports below the folder follow from the rows
    beside them; the marked tables of README.md in it and in the two folders above; and, where those show all
    experiments, the page of each. Names what does not."""
    remake: bool = False
    """Write anew what `--check` would name."""
    pages: bool = False
    """Likewise, and a README.md for every folder of an experiment in the folder, of its rows, its `note.md` (a question
    and at most five lines) and its `command.sh`; and the overview of all."""

    def __post_init__(self) -> None:
        if self.states < 0 or self.draws < 2:
            raise ConfigError(f"states={self.states}, draws={self.draws}: at least 0 states and 2 draws.")
        if self.check and (self.remake or self.pages):
            raise ConfigError("check, and remake or pages: the one changes nothing, the others do; name one.")


def main() -> None:
    """Parse, report, print the file."""
    arguments = parse(Report, prog="python -m owma.report")
    if arguments.check or arguments.remake or arguments.pages:
        _follow(arguments)
        return
    rows_folder(arguments.folder)  # a mistake is answered before what computes is imported
    enable_compilation_cache()
    require_platform()
    from owma._internal.json import replace_text
    from owma.report.contents import build
    from owma.report.explorer import explore
    from owma.report.source import Source
    from owma.runs.load import load_run

    source = Source.read(arguments.folder)
    decisions = None
    with progress("report", 2, unit="parts") as advance:
        trained = source.trained() if arguments.states else None
        if trained is not None:
            path, planner = trained
            run = load_run(path)
            if run.env_spec is not None:
                decisions = explore(run, planner, states=arguments.states, draws=arguments.draws)
        advance(1)
        text = build(source, decisions)
        advance(1)
    out = arguments.out or source.folder.path / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_text(out, text)
    show_result(out)


def _follow(arguments: Report) -> None:
    """Hold what is below the folder against its rows, or write it anew."""
    from owma.report.derived import remake, stale

    if arguments.remake or arguments.pages:
        written = remake(arguments.folder, paged=arguments.pages)
        show_result("\n".join(map(str, written)) or f"All below {arguments.folder} follows from its rows.")
    elif stale_files := stale(arguments.folder):
        for path in stale_files:
            print(f"{path} does not follow from its rows", file=sys.stderr)
        print(f"Write them anew: `python -m owma.report --remake {arguments.folder}`.", file=sys.stderr)
        sys.exit(1)
    else:
        show_result(f"All below {arguments.folder} follows from its rows.")


if __name__ == "__main__":
    command(main)
