"""Standard output of a command holds its results, and nothing that other packages print."""

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_results: Any = None


def result_stream() -> Any:
    """Where results go: within `results_only` the standard output that the command was started with."""
    return sys.stdout if _results is None else _results


def show_result(text: object, end: str = "\n") -> None:
    """Print a result of the command on standard output, at once."""
    print(text, end=end, file=result_stream(), flush=True)


@contextmanager
def results_only() -> Iterator[None]:
    """Within, only `show_result` writes to standard output; whatever else is written there goes to standard error.

    Packages of environments print as they are imported, and simulators write to the file descriptor itself, as late as
    at the end of the process: after this it stays redirected, and `sys.stdout` is what it was.
    """
    global _results
    if _results is not None:  # `owma COMMAND` is a command that calls another
        yield
        return
    _results = _with_own_descriptor(sys.stdout)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout, _results = _results, None
        if sys.stdout is not None:
            sys.stdout.flush()


def _with_own_descriptor(stream: Any) -> Any:
    """The stream; where it is the standard output of the process, under another descriptor than 1, which it leaves to
    standard error.
    """
    try:
        if stream is not sys.__stdout__ or stream.fileno() != 1:
            return stream  # of whoever calls the command from Python
        stream.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
    except (OSError, ValueError, AttributeError):  # one of them is closed
        return stream
    buffering = 1 if os.isatty(kept) else -1
    return open(kept, "w", buffering, encoding=stream.encoding, errors=stream.errors, closefd=False)


def discard_unread() -> bool:
    """Whether somebody has stopped reading standard output or error; what is left for them is then discarded."""
    unread = [stream for stream in (sys.stdout, sys.stderr) if _is_unread(stream)]
    for stream in unread:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(unread)


def _is_unread(stream: Any) -> bool:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it has no descriptor
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False
