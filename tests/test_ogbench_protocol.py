"""OGBench's protocol from rows: its metric, what is published beside it, and goals that are told as a state."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from owma.outcomes.features import IdentityFeatures
from owma.outcomes.goals import StateGoalTask
from owma.outcomes.whitening import Standardisation
from owma.report.derived import remake, stale
from owma.results.analysis import groups
from owma.results.ogbench import METHODS, PUBLISHED, ogbench_protocol
from owma.results.scores import ogbench_success

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def _rows(planner: str, seed: int, shares: dict[int, float], episodes: int = 4, **more: Any) -> list[dict[str, Any]]:
    unknown = dict.fromkeys(("value", "promise_gap", "kl", "nfe", "ms_p50", "ms_p95"))
    return [
        {
            "ogbench_task": task,
            "planner": planner,
            "seed": seed,
            "episode": (task - 1) * episodes + i,
            **unknown,
            **more,
        }
        | {"success": i < share * episodes, "return": float(i < share * episodes)}
        for task, share in shares.items()
        for i in range(episodes)
    ]


@pytest.fixture
def evaluated() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    shares = {1: 0.5, 2: 1.0, 3: 0.25, 4: 0.0, 5: 0.75}
    rows = [row for seed in (1, 2) for row in _rows("online_adaptation", seed, shares)]
    rows += [row for seed in (1, 2) for row in _rows("static", seed, dict.fromkeys(shares, 0.25))]
    nothing = [row for seed in (1, 2) for row in _rows("no_action", seed, dict.fromkeys(shares, 0.0))]
    return rows, [row | {"solved_at_start": row["ogbench_task"] == 5} for row in nothing]


def test_the_mean_is_ogbenchs_own_and_published_numbers_are_marked(evaluated) -> None:
    rows, baselines = evaluated
    results, table = ogbench_protocol("pointmaze-medium-stitch", groups(rows, baselines)[0])
    ours = [row for row in rows if row["planner"] == "online_adaptation"]
    own = ogbench_success(
        {task: [row["success"] for row in ours if row["ogbench_task"] == task] for task in range(1, 6)}
    )
    assert results["planners"]["online_adaptation"]["success"] == pytest.approx(own["ogbench_success"]) == 0.5
    assert results["tasks"]["online_adaptation"] == own["tasks"]
    assert results["solved_at_start"] == pytest.approx(0.2) and "Of all starts 20 % are solved already." in table
    lines = table.splitlines()
    assert next(line for line in lines if line.startswith("| online_adaptation")).endswith("| 50 | 100 | 25 | 0 | 75 |")
    assert next(line for line in lines if line.startswith("| no_action")).endswith("| 0 | 0 | 0 | 0 | 0 |")
    published = [line for line in lines if "published*" in line]
    assert [line.split(" | ")[:2] for line in published] == [
        [f"| *{method}, published*", f"*{percent}*"]
        for method, percent in zip(METHODS, PUBLISHED["pointmaze-medium-stitch"], strict=True)
    ]
    assert "arXiv 2410.20092), not run here" in table and len({line.count("|") for line in lines if "|" in line}) == 1
    _, without = ogbench_protocol("scene-play", groups(rows, baselines)[0])
    assert "published*" not in without and "No published numbers of these data are kept here." in without


def test_its_page_shows_the_table_and_follows_from_the_rows(evaluated, tmp_path: Path) -> None:
    folder = tmp_path / "reference" / "ogbench-pointmaze-medium-stitch"
    folder.mkdir(parents=True)
    for name, rows in zip(("episodes.jsonl", "baselines.jsonl"), evaluated):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.json").write_text(json.dumps({"dataset": "pointmaze-medium-stitch"}))
    (folder / "note.md").write_text("# Beside what others publish?\n")
    remake(folder.parent, paged=True)
    page = (folder / "README.md").read_text()
    assert "*QRL, published* | *80*" in page and "adaptation 50" in page and "<details>" not in page
    assert stale(folder.parent) == []


def test_a_goal_is_as_far_as_its_cumulants() -> None:
    task = StateGoalTask(np.array([3.0, 4.0], np.float32), Standardisation.identity(2), IdentityFeatures())
    states = np.array([[3.0, 4.0], [0.0, 0.0], [3.0, 0.0]], np.float32)
    rewards = task.judge(np.zeros((3, 2)), np.zeros((3, 1)), states)
    np.testing.assert_allclose(rewards, [0.0, -5.0, -4.0], atol=1e-6)
    np.testing.assert_array_equal(task.of_cumulants(task.cumulants(states)), rewards)


def test_a_dataset_of_another_name_is_refused_with_those_that_there_are(monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import ogbench_protocol as benchmark  # pyright: ignore[reportMissingImports]

    with pytest.raises(ValueError, match="'antmaze-medium-navigate'.*pointmaze-medium-navigate, .*cube-single-noisy"):
        benchmark.Protocol("antmaze-medium-navigate")
    assert all(data.steps == 1_000_000 for data in benchmark.DATASETS.values())
    assert set(PUBLISHED) <= set(benchmark.DATASETS)


@pytest.mark.slow
def test_the_whole_of_it(monkeypatch, tmp_path: Path) -> None:
    """Collects, trains, tells the goals and acts; a second call finds all rows there."""
    pytest.importorskip("ogbench")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import ogbench_protocol as benchmark  # pyright: ignore[reportMissingImports]

    out = tmp_path / "out" / "summary.json"
    words = ("pointmaze-medium-stitch", "--quick", "--runs", str(tmp_path / "runs"), "--json", str(out))
    monkeypatch.setattr(sys, "argv", ["ogbench_protocol.py", *words])
    benchmark.main()
    rows = [json.loads(line) for line in (out.parent / "episodes.jsonl").read_text().splitlines()]
    assert {row["planner"] for row in rows} == {"static", "online_adaptation", "told_outcome"}
    assert sorted(row["episode"] for row in rows if row["planner"] == "static") == list(range(5))
    shutil.rmtree(tmp_path / "runs")
    benchmark.main()
    assert not (tmp_path / "runs").exists()
