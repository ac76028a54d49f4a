"""`python -m owma.diagnose RUN`: how good a trained run is, without an environment.

What computes is imported when the flags have been read, so that `--help` and a mistake in a flag are answered at once.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from owma._internal.command import command, enable_compilation_cache, parse, require_platform
from owma._internal.progress import open_progress
from owma._internal.stdout import result_stream, show_result
from owma.config.diagnose import DiagnoseConfig
from owma.runs.folder import require_models

if TYPE_CHECKING:
    from owma.results.diagnosis import Finding


@dataclasses.dataclass(frozen=True)
class Diagnose:
    """Measures a run's models on the episodes that training held out, and its promises against the data: a sentence
    each, good, doubtful or bad; and writes diagnosis.json and the page diagnosis.html into the run.
    """

    run: tyro.conf.Positional[Path]
    """runs/NAME (its newest version) or runs/NAME/v<N>."""
    config: Annotated[DiagnoseConfig, tyro.conf.arg(name="")] = DiagnoseConfig()
    trust: tuple[str, ...] = ()
    """Modules of yours that the run's reward function is imported from; the folder alone, which may be somebody else's,
    is not believed."""


_OFTEN = ("--states", "--draws", "--starts", "--kl-coefs", "--seed", "--trust")
"""The flags that `--help` shows."""


def main() -> None:
    """Parse, diagnose, print a sentence a finding, and the page."""
    arguments = parse(Diagnose, prog="python -m owma.diagnose", often=_OFTEN)
    require_models(arguments.run)  # a mistake is answered before what computes is imported
    enable_compilation_cache()
    require_platform()
    from owma.diagnose.diagnosis import diagnose_run
    from owma.diagnose.keep import keep_diagnosis
    from owma.envs import import_modules
    from owma.runs.load import load_run

    import_modules(arguments.trust)
    run = load_run(arguments.run)
    found = diagnose_run(run, arguments.config, trusted=arguments.trust, progress=open_progress)
    path = keep_diagnosis(found, arguments.config)
    for name, said in found.about.items():
        show_result(f"{name}: {said}")
    _show(found.findings)
    show_result(path)


_STYLES = {"good": "green", "doubtful": "yellow", "bad": "bold red", "unknown": "dim", "note": "dim"}


def _show(findings: "list[Finding]") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("verdict", "of"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what was found", overflow="fold")
    for finding in findings:
        style = _STYLES[finding.verdict]
        table.add_row(f"[{style}]{finding.verdict}[/{style}]", finding.about, _escaped(finding.sentence))
    stream = result_stream()
    is_terminal = stream is not None and stream.isatty()
    Console(file=stream, width=None if is_terminal else 120).print(table)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    command(main)
