"""What every command shares: errors as one sentence with exit code 2, and progress with rate and time left."""

import contextlib
import io
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import tyro

from owma._errors import OwmaError

_Arguments = TypeVar("_Arguments")
_LINE_EVERY = 10.0  # Seconds between lines where the output is no terminal.
_POOR_FIT = 0.5  # R² below which a value is called a guess.


def command(main: Callable[[], None]) -> None:
    """Run a command's `main`: `if __name__ == "__main__": command(main)`.

    An `OwmaError` becomes one sentence on standard error and exit code 2, an interrupt exit code 130; any other
    exception is a bug of ours and keeps its traceback.
    """
    try:
        main()
    except OwmaError as error:
        print(f"owma: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("owma: interrupted", file=sys.stderr)
        sys.exit(130)


def keep_programs() -> None:
    """Keep compiled programs on disk, so that the next start of a command does not compile them again.

    In the user's cache folder, unless JAX was told of another (`JAX_COMPILATION_CACHE_DIR`). A command calls it when it
    has read its flags: JAX takes a second to import, and `--help` is to be quick.
    """
    import jax

    folder = programs_folder()
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        # The small ones too: a command has hundreds.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def programs_folder() -> Path | None:
    """Where commands keep compiled programs; `None` where JAX was told of a place of its own."""
    import jax

    if jax.config.jax_compilation_cache_dir is not None:  # pyright: ignore[reportAttributeAccessIssue]
        return None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "owma" / "programs"


def compile_plainly() -> None:
    """Compile without optimisation from here on: it takes half the time, and what it makes is slower."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)


def parse(cls: type[_Arguments], *, prog: str, description: str | None = None) -> _Arguments:
    """The command line as an instance of `cls`.

    A value that a configuration refuses raises its `OwmaError`; tyro would put it into a box, in pieces.
    """
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return tyro.cli(cls, prog=prog, description=description, config=(tyro.conf.CascadeSubcommandArgs,))
    except SystemExit as stop:
        refusal: BaseException | None = stop
        while refusal is not None and not isinstance(refusal, OwmaError):
            refusal = refusal.__context__
        if refusal is not None:
            shown = io.StringIO()
            raise refusal from None
        raise
    finally:
        sys.stderr.write(shown.getvalue())


@contextmanager
def resumable(command: str, folder: Path) -> Iterator[None]:
    """On an interrupt, say how to go on, and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"owma: interrupted; go on with: {command} --resume {shlex.quote(str(folder))}", file=sys.stderr)
        sys.exit(130)


@runtime_checkable
class Advance(Protocol):
    """Report that `steps` more are done; `note` (a loss, say) is shown beside the rate."""

    def __call__(self, steps: int = 1, /, note: str = "") -> None: ...


@contextmanager
def progress(label: str, total: int, *, done: int = 0, unit: str = "steps") -> Iterator[Advance]:
    """Show progress on standard error: a bar on a terminal, elsewhere a plain line every ten seconds and at the end.

    ```python
    with progress("training", total) as advance:
        for ...:
            advance(1, note=f"loss {loss:.3f}")
    ```

    **Arguments:**

    - `label`: what is going on.
    - `total`: the number of steps when all is done.
    - `done`: steps done before, by an interrupted run; they do not count for the rate.
    - `unit`: what is counted.
    """
    show = _bar if sys.stderr.isatty() else _lines
    with show(label, total, done, unit) as advance:
        yield advance


@contextmanager
def _bar(label: str, total: int, done: int, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[rate]}", TimeRemainingColumn())
    shown = [TextColumn(column, markup=False) if isinstance(column, str) else column for column in columns]
    start, so_far = time.monotonic(), 0
    with Progress(*shown, TextColumn("{task.fields[note]}", markup=False), console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, completed=done, rate="", note="")

        def advance(steps: int = 1, /, note: str = "") -> None:
            nonlocal so_far
            so_far += steps
            rate = so_far / max(time.monotonic() - start, 1e-9)
            bar.update(task, advance=steps, rate=f"{_round(rate)} {unit}/s", note=note)

        yield advance


@contextmanager
def _lines(label: str, total: int, done: int, unit: str) -> Iterator[Advance]:
    start = shown = time.monotonic()
    so_far = 0

    def advance(steps: int = 1, /, note: str = "") -> None:
        nonlocal so_far, shown
        so_far += steps
        now, complete = time.monotonic(), done + so_far >= total
        if now - shown < _LINE_EVERY and not complete:
            return
        shown = now
        rate = so_far / max(now - start, 1e-9)
        left = f"{now - start:.0f} s in all" if complete else f"{(total - done - so_far) / max(rate, 1e-9):.0f} s left"
        text = f"{label}: {done + so_far:,} of {total:,} {unit}, {_round(rate)} {unit}/s, {left}"
        print(f"{text}, {note}" if note else text, file=sys.stderr, flush=True)

    yield advance


def _round(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def open_progress(label: str, total: int, done: int) -> "contextlib.AbstractContextManager[Advance]":
    """`progress` in the form in which experiments and evaluations ask for it."""
    return progress(label, total, done=done)


def show_results(results: Mapping[str, Any]) -> None:
    """Print the table of planners, and what the benchmark that the dataset is of reports."""
    from rich.console import Console

    from owma.tables import results_table

    Console(stderr=True).print(results_table(results))
    for name, entry in results["planners"].items():
        score = entry.get("benchmark", {}).get("d4rl_normalized_score")
        if score is not None:
            print(f"{name}: D4RL normalized score {score:.1f}", file=sys.stderr)


def show_fit(row: Mapping[str, Any], kind: Literal["decoder", "linear"]) -> None:
    """Print how well the values explain the returns of the task, with a warning if the one acted by does badly.

    `row`: the row of phase `task` in `metrics.jsonl`.
    """
    for name in ("decoder", "linear"):
        print(
            f"V(psi), {name}: R^2 = {_r_squared(row, name)} on {row['labels']:,} labels, "
            f"value_scale {row[f'value_scale_{name}']:.3g}{' (the planners act by it)' if name == kind else ''}",
            file=sys.stderr,
        )
    explained = row[f"r2_{kind}"]
    if explained is None or explained < _POOR_FIT:
        print(
            f"owma: warning: the {kind} value explains little of the task's returns (R^2 = {_r_squared(row, kind)}), "
            "so what planners promise is a guess; give training.updates and value.updates more, or let the outcomes "
            "tell more of the task (world.features.num-features, world.max-dims).",
            file=sys.stderr,
        )


def _r_squared(row: Mapping[str, Any], name: str) -> str:
    value = row[f"r2_{name}"]
    return "undefined (all returns are equal)" if value is None else f"{value:.2f}"
