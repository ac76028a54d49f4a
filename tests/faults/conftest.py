"""The campaign of faults: `python -m pytest -m faults -n 0` runs all of it and writes its table.

Each test gives a fault a name and says what came of it; a fault that ended otherwise than specified fails its test.
What takes minutes is marked `slow` too, and left out of the default run.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent.parent
TABLE = CHECKOUT / "runs" / "reference" / "faults" / "table.md"

_HEAD = """What was done to the library, and what came of it: `python -m pytest -m faults -n 0` writes this table.

| fault | outcome | as specified |
|---|---|---|
"""

_rows: list[tuple[str, str, str, bool]] = []


@pytest.hookimpl(tryfirst=True)  # before those that are not asked for are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker("faults")


@pytest.fixture
def outcome(record_property: Callable[[str, object], None]) -> Callable[[str, object], None]:
    """`outcome(fault, what came of it)`, for the table."""

    def record(fault: str, what: object) -> None:
        record_property("fault", fault)
        # Without folders that are others in every run.
        text = re.sub(r"(/[\w.@+-]+)+/(?=[\w.@+-])", "…/", " ".join(str(what).split()))
        record_property("outcome", text if len(text) <= 200 else f"{text[:199]}…")

    return record


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when != "call" or not re.search(r"(^|/)faults/", report.nodeid):
        return
    told = [str(value) for name, value in report.user_properties if name in ("fault", "outcome")]
    for fault, what in zip(told[::2], told[1::2]):
        _rows.append((report.nodeid, fault, what, report.passed))
    if report.failed and not told:
        _rows.append((report.nodeid, report.nodeid.rpartition("::")[2], "the test stopped before an outcome", False))


def pytest_sessionfinish(session: pytest.Session) -> None:
    options = session.config.option
    is_part = options.keyword or any("::" in name or name.endswith(".py") for name in session.config.args)
    if options.markexpr != "faults" or is_part or not _rows:
        return
    lines = [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in (fault, what, 'yes' if passed else '**no**'))} |"
        for _, fault, what, passed in _rows
    ]
    failed = sum(not passed for *_, passed in _rows)
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(_HEAD + "\n".join(lines) + f"\n\n{len(_rows)} faults, {len(_rows) - failed} as specified.\n")
