"""What is shown of the reference results follows from their committed rows."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from owma import plots
from owma.analysis import groups
from owma.sweeps import read_points
from owma.tables import results_markdown, summarise
from owma.transfers import transfer_markdown

CHECKOUT = Path(__file__).parent.parent
REFERENCE = CHECKOUT / "runs" / "reference"
SWEEPS = sorted(path.parent.name for path in REFERENCE.glob("*/points.jsonl"))
TRANSFERS = sorted(path.parent.name for path in REFERENCE.glob("*/table.md") if (path.parent / "seed1").exists())


def _rows(name: str, file: str = "episodes") -> list[dict]:
    return [json.loads(line) for line in (REFERENCE / name / f"{file}.jsonl").read_text().splitlines()]


def test_the_table_of_the_readme_is_that_of_its_rows() -> None:
    assert results_markdown(summarise(_rows("two-routes-default"))) in (CHECKOUT / "README.md").read_text()


@pytest.mark.parametrize("sweep", SWEEPS)
def test_the_table_of_a_sweep_is_that_of_its_rows(sweep: str) -> None:
    table = (REFERENCE / sweep / "table.md").read_text()
    for group in groups(_rows(sweep)):
        assert results_markdown(summarise(group.rows), wide=True) in table


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_the_table_of_a_transfer_is_that_of_its_rows(transfer: str) -> None:
    folders = sorted(path.parent.name for path in (REFERENCE / transfer).glob("*/episodes.jsonl"))
    rows = [row for folder in folders for row in _rows(f"{transfer}/{folder}")]
    assert transfer_markdown(rows) == (REFERENCE / transfer / "table.md").read_text()


@pytest.mark.parametrize("sweep", SWEEPS)
def test_the_points_of_a_sweep_can_be_run_again(sweep: str) -> None:
    # What a report says of how to reproduce a row is made from them, with the fields that planners have today.
    points = read_points(_rows(sweep, "points"))
    rows = _rows(sweep, "rows")
    assert {point.key for point in points} == {f"{row['experiment']}/{row['planner']}" for row in rows}


def test_the_skew_curve_is_that_of_its_rows(tmp_path: Path) -> None:
    rows = _rows("skew")
    skews = sorted({row["skew"] for row in rows})
    found = {f"{skew:g}": summarise([row for row in rows if row["skew"] == skew]) for skew in skews}
    plots.skew_curve(tmp_path / "made.png", found)
    made, kept = (
        np.asarray(Image.open(path).convert("L").resize((200, 120)), float)
        for path in (tmp_path / "made.png", REFERENCE / "skew" / "skew_curve.png")
    )
    # Another version of matplotlib may move a label by a pixel; other numbers move lines.
    assert np.abs(made - kept).mean() < 0.4
