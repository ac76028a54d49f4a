"""What is shown of the reference results follows from their committed rows."""

import json
from pathlib import Path

import pytest

from owma.config.sweep import read_points
from owma.report.derived import stale

CHECKOUT = Path(__file__).parent.parent
REFERENCE = CHECKOUT / "runs" / "reference"
SWEEPS = sorted(path.parent.name for path in REFERENCE.glob("*/points.jsonl"))


def _rows(name: str, file: str = "episodes") -> list[dict]:
    return [json.loads(line) for line in (REFERENCE / name / f"{file}.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_what_is_shown_follows_from_its_rows() -> None:
    """Tables, results, pictures, the report of the ablations, and the marked tables of both pages."""
    assert stale(REFERENCE) == []


def test_the_pages_show_tables_of_reference_rows() -> None:
    assert "<!-- planners of runs/reference/skew at data.skew = 0.005:" in (CHECKOUT / "README.md").read_text()
    page = (CHECKOUT / "runs" / "README.md").read_text()
    assert page.count("<!-- experiments of reference -->") == 1 and len(page.splitlines()) <= 120
    whole = page.replace("\u00a0", " ")  # intervals are not broken over lines
    assert (
        "| [skew-linear](reference/skew-linear/README.md): data.skew = 0.001, success % | 62 [0, 100] (0 / 94 / 94) |"
        in whole
    )
    assert all((folder / "README.md").exists() for folder in REFERENCE.iterdir() if folder.is_dir())


@pytest.mark.parametrize("sweep", SWEEPS)
def test_the_points_of_a_sweep_can_be_run_again(sweep: str) -> None:
    # What a report says of how to reproduce a row is made from them, with the fields that planners have today.
    points = read_points(_rows(sweep, "points"))
    rows = _rows(sweep, "rows")
    assert {point.key for point in points} == {f"{row['experiment']}/{row['planner']}" for row in rows}
