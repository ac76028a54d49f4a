"""What is shown while one waits, and how wide tables are."""

import io
import itertools
import os
import re
import sys
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from owma._internal import progress as _progress
from owma._internal.progress import progress
from owma.results.show import show_results
from owma.results.tables import summarise

pytestmark = pytest.mark.cases


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """`clock(seconds)` lets time pass."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    return passes


def test_time_is_counted_from_the_end_of_the_first_steps(clock, capsys: pytest.CaptureFixture[str]) -> None:
    """A minute of compilation and 16 steps, then 100 steps a second, as an evaluation goes: 3,184 of them take 32 s."""
    with progress("evaluating static", 3200) as advance:
        clock(60)
        advance(16)
        clock(10)
        advance(1000)
        clock(21.84)
        advance(2184)
    first, later, last = capsys.readouterr().err.splitlines()
    assert first == "evaluating static: 16 of 3,200 steps, 60 s so far"  # no rate is known, and none is made up
    assert later == "evaluating static: 1,016 of 3,200 steps, 100 steps/s, 22 s left"
    assert last == "evaluating static: 3,200 of 3,200 steps, 100 steps/s, 92 s in all"


def test_a_report_of_nothing_does_not_start_the_clock(clock, capsys: pytest.CaptureFixture[str]) -> None:
    """A sweep reports every second whether or not a step has ended."""
    with progress("sweep", 4, waiting="the first steps compile and train") as advance:
        for _ in range(60):
            clock(1)
            advance(0)
        advance(1)
        clock(30)
        advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2] == "sweep: 0 of 4 steps, 60 s so far" and not any("steps/s" in line for line in lines[:-1])
    assert lines[-1] == "sweep: 2 of 4 steps, 0.033 steps/s, 60 s left"


@pytest.mark.parametrize(
    ("label", "said"),
    [("training V(psi, z)", "compiling"), ("collecting owma/x", "starting"), ("a, 16 labels", "compiling")],
)
def test_what_the_first_wait_is_for_is_said(label: str, said: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr(_progress, "_SAY_COMPILING", 0.05)
    with progress(label, 10) as advance:
        time.sleep(0.5)
        advance(10)
        time.sleep(0.2)
    assert [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()][0] == said
    with progress(label, 10) as advance:
        advance(10)  # at once: there is nothing to say
        time.sleep(0.2)
    assert len(capsys.readouterr().err.splitlines()) == 1


def _results() -> dict:
    names = ("static", "online_adaptation", "online_adaptation-n_adaptation_samples=16")
    shared = {"success": True, "value": 1234.5, "promise_gap": 1234.5, "kl": 123.4, "nfe": 12672, "seed": 0}
    shared |= {"ms_p50": 1234.5, "ms_p95": 1234.5, "fallbacks": 0, "overruns": 0, "clipped": 0}
    return summarise(
        [{"planner": name, "episode": i, "return": 1000.0 * i} | shared for name in names for i in range(5)]
    )


class _Terminal(io.StringIO):
    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor


@pytest.fixture
def lines_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], list[str]]]:
    """`lines_in(columns)`: the table as it is shown in a terminal of this many columns; 0: that does not say."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    host, descriptor = os.openpty()

    def lines(columns: int) -> list[str]:
        termios.tcsetwinsize(descriptor, (0 if columns == 0 else 24, columns))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal := _Terminal(descriptor))
            show_results(_results())
        return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()

    yield lines
    os.close(host)
    os.close(descriptor)


@pytest.mark.parametrize("variable", ["COLUMNS", "FORCE_COLOR"])
def test_names_in_a_log_are_whole(variable: str, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(variable, "80")
    show_results(_results())
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    for name in _results()["planners"]:
        assert sum(line.startswith(f" {name} ") for line in lines) == 1, lines


def test_names_in_a_narrow_terminal_break_between_words(lines_in: Callable[[int], list[str]]) -> None:
    shown = lines_in(90)
    assert max(map(len, shown)) <= 90 and not any("…" in line for line in shown)
    # The text below the table begins at the edge; its rows do not.
    rows = itertools.dropwhile(lambda line: not line.startswith(" static"), shown)
    table = list(itertools.takewhile(lambda line: line.startswith(" "), rows))
    pieces = [line[1:20].split(" ")[0] for line in table]
    pieces = [piece for piece in pieces[pieces.index("static") + 1 :] if piece]
    assert pieces == ["online_adaptation", "online_adaptation-", "n_adaptation_", "samples=16"]


def test_a_terminal_that_does_not_say_its_width_is_taken_for_one_of_80(lines_in: Callable[[int], list[str]]) -> None:
    assert lines_in(0) == lines_in(80) != lines_in(200)


@pytest.mark.parametrize("width", [40, 60])
def test_in_a_narrower_terminal_columns_come_one_group_after_another(
    width: int, lines_in: Callable[[int], list[str]]
) -> None:
    narrow, wide = lines_in(width), lines_in(200)
    assert max(map(len, narrow)) <= width and not any("…" in line for line in narrow)
    # Each group repeats the names, and together they hold every number of the whole table.
    (row,) = [line for line in wide if line.startswith(" static ")]
    parts = [line.split() for line in narrow if line.startswith(" static ")]
    assert len(parts) > 1 and [cell for part in parts for cell in part[1:]] == row.split()[1:]
    headings = [line.split()[0] for line in narrow if line.startswith(" planner ")]
    assert len(headings) == len(parts)
