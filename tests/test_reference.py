"""What is shown of the reference results follows from their committed rows."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from owma import plots
from owma.tables import results_markdown, summarise

CHECKOUT = Path(__file__).parent.parent
REFERENCE = CHECKOUT / "runs" / "reference"


def _rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (REFERENCE / name / "episodes.jsonl").read_text().splitlines()]


def test_the_table_of_the_readme_is_that_of_its_rows() -> None:
    assert results_markdown(summarise(_rows("two-routes-default"))) in (CHECKOUT / "README.md").read_text()


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
