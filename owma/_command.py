"""What every command shares: errors as one sentence with exit code 2, a stop where nothing is lost, and progress."""

import contextlib
import errno
import io
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import tyro

from owma._errors import ConfigError, OwmaError

_Arguments = TypeVar("_Arguments")
_LINE_EVERY = 10.0  # Seconds between lines where the output is no terminal.
_POOR_FIT = 0.5  # R² below which a value is called a guess.
_REFUSED = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room there"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "grant write access there"),
    errno.EIO: "look after the disk",
}
"""What an operating system refuses that a user can mend, and how."""
_asked_to_stop = threading.Event()
"""Of the process, as its signals are."""


class Stopped(BaseException):
    """A signal asked for an end, and this is a place where nothing is lost by it. No `except Exception` holds it up."""


def command(main: Callable[[], None]) -> None:
    """Run a command's `main`: `if __name__ == "__main__": command(main)`.

    An `OwmaError` becomes one sentence on standard error and exit code 2, and so does a disk that is full or cannot be
    written; an interrupt becomes exit code 130. Any other exception is a bug of ours and keeps its traceback.
    """
    try:
        main()
    except OwmaError as error:
        print(f"owma: error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        place = "" if error.filename is None else f" ({error.filename})"
        remedy = f"{_REFUSED[error.errno]}, and run it again; what was written before is as it was."
        print(f"owma: error: {error.strerror}{place}: {remedy}", file=sys.stderr)
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


def parse(cls: type[_Arguments] | Any, *, prog: str, description: str | None = None) -> _Arguments:
    """The command line as an instance of `cls`, which may be a union of annotated classes too.

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
def resumable(again: str) -> Iterator[None]:
    """On SIGTERM or SIGINT, stop where nothing is lost, say how to go on, and exit with code 0.

    That place is the next report of progress: after a checkpoint, an episode, or a step of a sweep. A second signal
    ends the process at once, with the code that a shell gives to it; what is on disk is whole at any moment.

    **Arguments:** `again`: the command that goes on.
    """
    try:
        with stoppable():
            yield
    except Stopped:
        print(f"owma: stopped; go on with: {again}", file=sys.stderr)
        sys.exit(0)
    except KeyboardInterrupt:
        print(f"owma: interrupted; go on with: {again}", file=sys.stderr)
        sys.exit(130)


def require_trust(modules: Collection[str], trusted: Collection[str], again: str) -> None:
    """Modules that a folder on disk names code in are imported only if the user's own command line names them too.

    Raises `ConfigError` where one is not in `trusted`, with the command `again` and the flag that it lacks.
    """
    missing = sorted(set(modules) - set(trusted))
    if missing:
        names = shlex.join(sorted({*modules, *trusted}))
        raise ConfigError(
            f"The configuration in that folder imports {', '.join(missing)}, whose code would run; if it is yours, "
            f"go on with: {again} --trust {names}"
        )


def same_command(module: str) -> str:
    """The command line of this process, to be run again."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


@contextmanager
def stoppable() -> Iterator[None]:
    """Take SIGTERM and SIGINT as requests to stop; within `resumable`, again after a library put in its own handlers.

    A signal that is ignored stays so: that is how a shell starts jobs in the background.
    """
    if threading.current_thread() is not threading.main_thread():  # the only one that may handle signals
        yield
        return
    watched = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    wakeup_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, lambda *_: _asked_to_stop.set()) for number in watched}
    # Python runs handlers between two instructions of its own, and a compilation is one of a minute: a thread listens.
    listener = threading.Thread(target=_listen, args=(reader, watched), daemon=True)
    listener.start()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(wakeup_before)
        os.close(writer)
        listener.join()
        os.close(reader)
        if wakeup_before == -1:  # not within another
            _asked_to_stop.clear()


def _listen(reader: int, watched: Collection[int]) -> None:
    """The first signal is announced, the second obeyed."""
    asked = False
    while received := os.read(reader, 1):
        number = received[0]
        if number not in watched:
            continue
        said = b"stopped at once" if asked else b"stopping at the next safe point; once more to stop at once"
        with contextlib.suppress(OSError):  # whoever read standard error may be gone
            os.write(2, b"owma: " + said + b"\n")
        if asked:
            os._exit(128 + number)
        asked = True
        _asked_to_stop.set()


@runtime_checkable
class Advance(Protocol):
    """Report that `steps` more are done; `note` (a loss, say) is shown beside the rate."""

    def __call__(self, steps: int = 1, /, note: str = "") -> None: ...


@contextmanager
def progress(
    label: str,
    total: int,
    *,
    done: int = 0,
    unit: str = "steps",
    is_shown: bool = True,
    agree: Callable[[bool], bool] = bool,
) -> Iterator[Advance]:
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
    - `is_shown`: where it is not, a report only stops.
    - `agree`: is told at every report whether a signal has come, and says whether to stop; processes that work together
        must all say the same.

    Within `resumable`, a report raises `Stopped` once a signal has come: report what is safe already.
    """
    show = (_bar if sys.stderr.isatty() else _lines) if is_shown else _nothing
    with show(label, total, done, unit) as shown:

        def advance(steps: int = 1, /, note: str = "") -> None:
            shown(steps, note)
            if agree(_asked_to_stop.is_set()):
                raise Stopped

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
        if complete:
            left = f"{now - start:.0f} s in all"
        else:
            left = f"{(total - done - so_far) / rate:.0f} s left" if so_far else f"{now - start:.0f} s so far"
        text = f"{label}: {done + so_far:,} of {total:,} {unit}, {_round(rate)} {unit}/s, {left}"
        print(f"{text}, {note}" if note else text, file=sys.stderr, flush=True)

    yield advance


@contextmanager
def _nothing(label: str, total: int, done: int, unit: str) -> Iterator[Callable[[int, str], None]]:
    del label, total, done, unit
    yield lambda steps, note: None


def _round(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def open_progress(label: str, total: int, done: int) -> "contextlib.AbstractContextManager[Advance]":
    """`progress` in the form in which experiments and evaluations ask for it."""
    return progress(label, total, done=done)


def show_warning(sentence: str) -> None:
    """Print what the user should know, though all goes on."""
    print(f"owma: warning: {sentence}", file=sys.stderr)


def show_results(results: Mapping[str, Any]) -> None:
    """Print the table of planners."""
    from rich.console import Console

    from owma.tables import results_table

    Console(stderr=True).print(results_table(results))


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
        show_warning(
            f"the {kind} value explains little of the task's returns (R^2 = {_r_squared(row, kind)}), "
            "so what planners promise is a guess; give training.updates and value.updates more, or let the outcomes "
            "tell more of the task (world.features.num-features, world.max-dims)."
        )


def _r_squared(row: Mapping[str, Any], name: str) -> str:
    value = row[f"r2_{name}"]
    return "undefined (all returns are equal)" if value is None else f"{value:.2f}"
