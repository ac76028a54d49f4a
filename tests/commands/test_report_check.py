"""`python -m owma.report --check`: what does not follow from its rows is named, wherever it is shown."""

import json
import re
import shutil
from pathlib import Path

import pytest

import owma.report
from owma.reporting import stale
from owma.reporting.blocks import with_tables

REFERENCE = Path(__file__).parent.parent.parent / "runs" / "reference"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Results of a campaign, of a sweep and of a transfer, and a page about them."""
    for name in ("two-routes", "ogbench-cube-price", "hopper-jump"):
        shutil.copytree(REFERENCE / name, tmp_path / "reference" / name)
    text = "One.\n<!-- planners of reference/two-routes: static online_adaptation -->\n<!-- end -->\nTwo.\n"
    (tmp_path / "README.md").write_text(with_tables(text, tmp_path))
    return tmp_path / "reference"


def test_one_stale_row_is_found_wherever_it_is_shown(copied: Path, invoke) -> None:
    assert invoke(owma.report.main, copied, "--check").code == 0
    rows = (copied / "two-routes" / "episodes.jsonl").read_text().splitlines()
    changed = [json.loads(line) for line in rows]
    changed = [row | {"success": False} if row["planner"] == "online_adaptation" else row for row in changed]
    (copied / "two-routes" / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in changed))
    done = invoke(owma.report.main, copied, "--check")
    assert done.code == 1
    named = {line.split(" does not follow")[0] for line in done.stderr.splitlines() if "does not follow" in line}
    names = ("results.json", "table.md", "skew_curve.png")
    assert named == {str(copied / "two-routes" / name) for name in names} | {str(copied.parent / "README.md")}
    assert invoke(owma.report.main, copied, "--remake").code == 0
    assert invoke(owma.report.main, copied, "--check").code == 0
    assert "| online_adaptation | 0 [0, " in (copied.parent / "README.md").read_text()


@pytest.mark.parametrize(
    "file", ["ogbench-cube-price/table.md", "ogbench-cube-price/results.json", "hopper-jump/table.md"]
)
def test_a_number_changed_by_hand_is_found(file: str, copied: Path) -> None:
    text = (copied / file).read_text()
    place = re.search(r"[1-8](?=\d)", text[200:])
    assert place is not None
    at = 200 + place.start()
    (copied / file).write_text(text[:at] + "9" + text[at + 1 :])
    assert stale(copied) == [copied / file]


def test_a_folder_without_rows_is_refused(tmp_path: Path, invoke) -> None:
    assert "name a folder of results" in invoke(owma.report.main, tmp_path, "--check").refused()
