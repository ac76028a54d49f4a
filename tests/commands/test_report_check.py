"""`python -m owma.report --check`: what does not follow from its rows is named, wherever it is shown."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import owma.report.__main__
from owma._internal.errors import ConfigError
from owma.report.blocks import with_tables
from owma.report.derived import remake, stale
from owma.runs.folder import RunFolder
from owma.transfer.summary import transfer_markdown

CHECKOUT = Path(__file__).parent.parent.parent
REFERENCE = CHECKOUT / "runs" / "reference"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Results of a campaign, of a sweep and of a transfer, and a page about them."""
    for name in ("two-routes", "ogbench-cube-price", "hopper-jump"):
        shutil.copytree(REFERENCE / name, tmp_path / "reference" / name)
    text = "One.\n<!-- planners of reference/two-routes: static online_adaptation -->\n<!-- end -->\nTwo.\n"
    (tmp_path / "README.md").write_text(with_tables(text, tmp_path))
    return tmp_path / "reference"


def test_one_stale_row_is_found_wherever_it_is_shown(copied: Path, invoke) -> None:
    assert invoke(owma.report.__main__.main, copied, "--check").code == 0
    rows = (copied / "two-routes" / "episodes.jsonl").read_text().splitlines()
    changed = [json.loads(line) for line in rows]
    changed = [row | {"success": False} if row["planner"] == "online_adaptation" else row for row in changed]
    (copied / "two-routes" / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in changed))
    done = invoke(owma.report.__main__.main, copied, "--check")
    assert done.code == 1
    named = {line.split(" does not follow")[0] for line in done.stderr.splitlines() if "does not follow" in line}
    names = ("results.json", "table.md", "skew_curve.png")
    assert named == {str(copied / "two-routes" / name) for name in names} | {str(copied.parent / "README.md")}
    assert invoke(owma.report.__main__.main, copied, "--remake").code == 0
    assert invoke(owma.report.__main__.main, copied, "--check").code == 0
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


def test_every_experiment_has_a_page_that_follows_from_its_rows(copied: Path, invoke) -> None:
    for name in ("ogbench-cube-price", "hopper-jump"):
        shutil.rmtree(copied / name)
    note = copied / "two-routes" / "note.md"
    note.write_text("# Does it help?\n\nIt does, here.\n")
    (copied / "two-routes" / "command.sh").write_text("python benchmarks/skew.py\n")
    overview = copied.parent / "README.md"
    overview.write_text(overview.read_text() + "<!-- experiments of reference -->\n<!-- end -->\n")
    assert invoke(owma.report.__main__.main, copied, "--pages").code == 0
    page = (copied / "two-routes" / "README.md").read_text()
    assert page.splitlines()[2] == "# Does it help?" and "\nIt does, here.\n" in page
    assert "no verdict (3 seeds, 5 are needed)" in page and "```sh\npython benchmarks/skew.py\n```" in page
    assert (
        re.search(r"\| \*\*online_adaptation\*\* \| \d+ \[\d+, \d+\] \|", page) and "<summary>The whole table" in page
    )
    assert "[two-routes](reference/two-routes/README.md), success %" in overview.read_text()
    picture = (copied / "overview.svg").read_text()
    assert picture.startswith("<svg") and "two-routes" in picture
    assert stale(copied) == []
    # A digit that was changed is found, on the page and in the picture, though nobody asks for pages.
    (copied / "two-routes" / "README.md").write_text(page.replace("3 seeds", "4 seeds"))
    (copied / "overview.svg").write_text(picture.replace("two-routes", "two-ways"))
    assert stale(copied) == [copied / "two-routes" / "README.md", copied / "overview.svg"]
    note.write_text("# Long?\n" + "a line\n" * 6)
    assert "at most 5 lines" in invoke(owma.report.__main__.main, copied, "--pages").refused()
    for flags in (["--check", "--pages"], ["--check", "--remake"]):
        assert "the one changes nothing" in invoke(owma.report.__main__.main, copied, *flags).refused()


def test_a_transfer_of_several_seeds_is_held_against_their_baselines(tmp_path: Path) -> None:
    """The table that is kept is that of `benchmarks/transfer_table.py`, which has them."""
    folder, beside = tmp_path / "hopper-jump", []
    shutil.copytree(REFERENCE / "hopper-jump", folder)
    parts = [RunFolder(path) for path in sorted(folder.glob("seed*"))]
    rows = [row for part in parts for row in part.read_jsonl("episodes.jsonl")]
    for part in parts:
        unknown = dict.fromkeys(("value", "promise_gap", "kl", "nfe", "ms_p50", "ms_p95"))
        row = part.read_jsonl("episodes.jsonl")[0] | unknown | {"planner": "random_actions", "return": 3.5}
        part.write_jsonl("baselines.jsonl", [row])
        beside.append(row)
    remake(tmp_path)
    table = (folder / "table.md").read_text()
    assert "| random_actions | " in table and table == transfer_markdown(rows, beside)


def test_that_table_is_what_the_program_writes_to_standard_output() -> None:
    folder = REFERENCE / "hopper-jump"
    program, parts = CHECKOUT / "benchmarks" / "transfer_table.py", sorted(folder.glob("seed*"))
    done = subprocess.run([sys.executable, program, *parts], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout == (folder / "table.md").read_text(), done.stderr


def test_rows_of_single_seeds_are_one_experiment(tmp_path: Path) -> None:
    """Rows without a task, in a folder a seed, are tabulated as they are in one folder."""
    folder = RunFolder(REFERENCE / "two-routes")
    few = ("online_adaptation", "random_shooting", "adaptation_off")
    rows = [row for row in folder.read_jsonl("episodes.jsonl") if row["planner"] in few]
    for seed in {row["seed"] for row in rows}:
        part = tmp_path / "apart" / "two-routes" / f"seed{seed}"
        part.mkdir(parents=True)
        RunFolder(part).write_jsonl("episodes.jsonl", [row for row in rows if row["seed"] == seed])
    together = tmp_path / "together" / "two-routes"
    together.mkdir(parents=True)
    RunFolder(together).write_jsonl("episodes.jsonl", rows)
    blocks = "<!-- planners of all/two-routes -->\n<!-- end --><!-- experiments of all -->\n<!-- end -->"
    pages = []
    for name in ("together", "apart"):
        (tmp_path / name).rename(tmp_path / "all")
        pages.append(with_tables(blocks, tmp_path))
        (tmp_path / "all").rename(tmp_path / name)
    assert "\n| random_shooting |" in pages[0] and "| random_shooting " in pages[0].partition("<!-- experiments")[2]
    assert pages[0] == pages[1]


def test_a_table_is_of_the_experiment_that_its_block_names(tmp_path: Path) -> None:
    row = {"planner": "static", "seed": 1, "value": 0.0, "promise_gap": 0.0, "kl": 0.0, "nfe": 1}
    row |= {"ms_p50": None, "ms_p95": None, "fallbacks": 0, "overruns": 0, "clipped": 0, "steps": 1, "success": True}
    rows = [row | {"skew": skew, "episode": i, "return": 70 + i + skew} for skew in (0, 20) for i in range(2)]
    RunFolder(tmp_path).write_jsonl("episodes.jsonl", rows)
    table = with_tables("<!-- planners of . at data.skew = 20: static -->\n<!-- end -->", tmp_path)
    assert "| 90.5 [" in table and "| 70.5 [" not in table
    for unclear in ("", " at data.skew = 2"):
        with pytest.raises(ConfigError, match="'data.skew = 0', 'data.skew = 20': name one"):
            with_tables(f"<!-- planners of .{unclear} -->\n<!-- end -->", tmp_path)


def test_a_task_is_ogbenchs_by_its_whole_name(tmp_path: Path) -> None:
    """Not one that ends in its number, such as a function of an own module."""
    path = tmp_path / "reference" / "ogbench-cube-five"
    shutil.copytree(REFERENCE / "ogbench-cube-five" / "seed1", path)
    folder = RunFolder(path)
    rows, before = folder.read_jsonl("episodes.jsonl"), folder.read_json("results.json")["ogbench"]
    more = [
        row | {"task": "owma.envs.ogbench:pointmaze_medium_task1", "success": True}
        for row in rows
        if " 1" in row["task"]
    ]
    folder.write_jsonl("episodes.jsonl", rows + more)
    remake(tmp_path)
    assert folder.read_json("results.json")["ogbench"] == before


def test_a_folder_without_rows_is_refused(tmp_path: Path, invoke) -> None:
    assert "name a folder of results" in invoke(owma.report.__main__.main, tmp_path, "--check").refused()
