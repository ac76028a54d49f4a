"""Progress on standard error, and signals that stop it where nothing is lost."""

import contextlib
import importlib.util
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_LINE_EVERY = 10.0  # Seconds between lines where the output is no terminal.
_SAY_COMPILING = 2.0  # Seconds after which a line says what the wait is for.
_UNCOMPILED = ("collecting", "copying")
"""How labels begin of what compiles nothing."""
_asked_to_stop = threading.Event()
"""Of the process, as its signals are."""
_received: list[int] = []
"""The signals that asked, the first one first."""
_bars: list["RichProgress"] = []
"""Those on the terminal now."""


class Stopped(BaseException):
    """A signal asked for an end, and this is a place where nothing is lost by it. No `except Exception` holds it up."""

    def __init__(self) -> None:
        self.is_interrupt = signal.SIGINT in _received
        """Whether somebody pressed Ctrl-C in this process; else a batch system asked, or another process was asked."""


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
    handlers = {number: signal.signal(number, lambda received, _: _ask(received)) for number in watched}
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
            _received.clear()


def _ask(number: int) -> None:
    _received.append(number)
    _asked_to_stop.set()


def _listen(reader: int, watched: Collection[int]) -> None:
    """The first signal is announced, the second obeyed."""
    asked = False
    while received := os.read(reader, 1):
        number = received[0]
        if number not in watched:
            continue
        with contextlib.suppress(OSError):  # whoever read standard error may be gone
            if asked:
                # A bar hides the cursor, and does not come to show it again. Its lock may be held: it is not asked.
                os.write(2, b"\x1b[?25h\nowma: stopped at once\n" if _bars else b"owma: stopped at once\n")
            else:
                _say("owma: stopping at the next safe point; once more to stop at once")
        if asked:
            os._exit(128 + number)
        asked = True
        _ask(number)


def _say(sentence: str) -> None:
    """A line on standard error, above the bar where there is one."""
    if _bars:
        _bars[-1].console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    else:
        os.write(2, f"{sentence}\n".encode())


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
    waiting: str | None = None,
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
    - `waiting`: what goes on until the first steps are done, `compiling` by default; only from there on is time taken,
        for the rate and for what is left.
    - `is_shown`: where it is not, a report only stops.
    - `agree`: is told at every report whether a signal has come, and says whether to stop; processes that work together
        must all say the same.

    Within `resumable`, a report raises `Stopped` once a signal has come: report what is safe already.
    """
    show = (_bar if sys.stderr.isatty() or _in_a_notebook() else _lines) if is_shown else _nothing
    with show(label, total, done, unit, waiting or _first_wait(label)) as shown:

        def advance(steps: int = 1, /, note: str = "") -> None:
            shown(steps, note)
            if agree(_asked_to_stop.is_set()):
                raise Stopped

        yield advance


def _first_wait(label: str) -> str:
    return "starting" if label.startswith(_UNCOMPILED) else "compiling"


def _in_a_notebook() -> bool:
    """Whether rich shows a bar in a notebook, where standard error is no terminal."""
    if (
        "ipywidgets" not in sys.modules
        and importlib.util.find_spec("ipywidgets") is None
        or "IPython" not in sys.modules
    ):
        return False
    from rich.console import Console

    return Console().is_jupyter


class _Pace:
    """Steps a second, from the end of the first steps on: before it there was compilation."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.so_far = 0
        self._first: tuple[float, int] | None = None

    def add(self, steps: int) -> None:
        self.so_far += steps
        if self._first is None and self.so_far:
            self._first = time.monotonic(), self.so_far

    @property
    def rate(self) -> float | None:
        """`None` until more than the first steps are done."""
        if self._first is None or self.so_far <= self._first[1]:
            return None
        return (self.so_far - self._first[1]) / max(time.monotonic() - self._first[0], 1e-9)


@contextmanager
def _bar(label: str, total: int, done: int, unit: str, waiting: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[rate]}", TimeRemainingColumn())
    shown = [TextColumn(column, markup=False) if isinstance(column, str) else column for column in columns]
    pace = _Pace()
    with Progress(*shown, TextColumn("{task.fields[note]}", markup=False), console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, completed=done, rate=waiting, note="")

        def advance(steps: int = 1, /, note: str = "") -> None:
            pace.add(steps)
            rate = waiting if not pace.so_far else "" if pace.rate is None else f"{_round(pace.rate)} {unit}/s"
            bar.update(task, advance=steps, rate=rate, note=note)

        _bars.append(bar)
        try:
            yield advance
        finally:
            _bars.remove(bar)


@contextmanager
def _lines(label: str, total: int, done: int, unit: str, waiting: str) -> Iterator[Advance]:
    pace = _Pace()
    shown = pace.start

    def line(text: str) -> None:
        print(f"{label}: {text}", file=sys.stderr, flush=True)

    # Nothing of Python's is executed while a program is compiled: a thread says so, where it takes long enough.
    timer = threading.Timer(_SAY_COMPILING, line, (waiting,))
    timer.daemon = True
    timer.start()

    def advance(steps: int = 1, /, note: str = "") -> None:
        nonlocal shown
        pace.add(steps)
        if pace.so_far:
            timer.cancel()
        now, complete = time.monotonic(), done + pace.so_far >= total
        if now - shown < _LINE_EVERY and not complete:
            return
        shown, rate = now, pace.rate
        parts = [f"{done + pace.so_far:,} of {total:,} {unit}"]
        parts += [f"{_round(rate)} {unit}/s"] if rate is not None else []
        if rate is None or complete:
            parts.append(f"{now - pace.start:.0f} s {'in all' if complete else 'so far'}")
        else:
            parts.append(f"{(total - done - pace.so_far) / rate:.0f} s left")
        line(", ".join([*parts, *([note] if note else [])]))

    try:
        yield advance
    finally:
        timer.cancel()


@contextmanager
def _nothing(label: str, total: int, done: int, unit: str, waiting: str) -> Iterator[Callable[..., None]]:
    del label, total, done, unit, waiting
    yield lambda steps=1, note="": None


def _round(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def open_progress(label: str, total: int, done: int) -> "contextlib.AbstractContextManager[Advance]":
    """`progress` in the form in which experiments and evaluations ask for it."""
    return progress(label, total, done=done)


Progress: TypeAlias = Callable[[str, int, int], AbstractContextManager[Callable[..., None]]]
"""progress(label, total, done) opens a progress display; calling what it gives advances it."""


ProgressCallback: TypeAlias = Callable[[str, int, int, str], None]
"""callback(label, done, total, note): what a user's own display is told at every report of progress."""


def shown_progress(progress: bool | ProgressCallback) -> Progress:
    """Progress for a call from Python: on standard error or in the notebook, nowhere, or to a callback.

    What a callback raises ends the work, where nothing is lost by it.
    """
    if not callable(progress):
        return open_progress if progress else lambda label, total, done: _nothing(label, total, done, "", "")

    @contextmanager
    def told(label: str, total: int, done: int) -> "Iterator[Advance]":
        so_far = done

        def advance(steps: int = 1, /, note: str = "") -> None:
            nonlocal so_far
            so_far += steps
            progress(label, so_far, total, note)

        yield advance

    return told
