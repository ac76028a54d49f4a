"""The steps of a sweep, in turn: a trained run is found and not made again, a row is written once."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import owma.sweep.__main__
from owma._internal.errors import ConfigError
from owma.config.json import to_json
from owma.config.sweep import Point, SweepConfig, points
from owma.runs.folder import RunFolder
from owma.sweep import steps as work

QUICK = ("evaluation.episodes=2",)


@pytest.fixture
def runs(smoke_run, elsewhere: Path) -> Path:
    """Runs with a trained one among them, and a sweep beside it."""
    shutil.copytree(smoke_run.runs, elsewhere / "runs")
    (elsewhere / "runs" / "sweep" / "v1").mkdir(parents=True)
    return elsewhere / "runs"


def _points(*axes: str) -> tuple[Point, ...]:
    return points(SweepConfig(base="smoke", grid=axes, planners=("static", "random_shooting"), overrides=QUICK))


def test_a_trained_run_is_used_whatever_its_name(runs: Path) -> None:
    sweep, experiment = runs / "sweep" / "v1", _points()[0].experiment
    assert experiment.name == "smoke-seed0"
    folder = work.train(experiment, runs, sweep, "any")
    assert folder == runs / "smoke" / "v1" and not (runs / "smoke-seed0").exists()
    assert RunFolder(sweep / "trained").read_json("smoke-seed0.json") == {"run": "smoke/v1"}
    # It stays with the run that it began with, though another one has appeared.
    shutil.copytree(runs / "smoke" / "v1", runs / "another" / "v1")
    assert work.train(experiment, runs, sweep, "any") == folder


def test_rows_are_written_once(runs: Path) -> None:
    sweep = RunFolder(runs / "sweep" / "v1")
    planned = _points("random_shooting.num_samples=4,8")
    assert [point.name for point in planned] == [
        "static",
        "random_shooting-num_samples=4",
        "random_shooting-num_samples=8",
    ]
    for point in planned[:2]:
        row = work.evaluate_point(point, runs / "smoke" / "v1", sweep.path)
        assert row["planner"] == point.name and row["episodes"] == 2 and row["run"] == "smoke/v1"
    kept = sweep.path / "evaluations" / planned[0].key / "row.json"
    before = kept.stat().st_mtime_ns
    work.evaluate_point(planned[0], runs / "smoke" / "v1", sweep.path)
    work.time_planners(planned[:2], runs / "smoke" / "v1", sweep.path, 2)
    rows: list[dict] = []
    for _ in range(2):
        rows, episodes = work.gather_rows(planned, sweep)
        assert [row["planner"] for row in rows] == ["static", "random_shooting-num_samples=4"]
        assert all(row["ms_p50"] > 0 for row in rows) and len(episodes) == 4
        assert sweep.read_jsonl("rows.jsonl") == rows and sweep.read_jsonl("episodes.jsonl") == episodes
    assert kept.stat().st_mtime_ns == before
    assert rows[1]["base"] == "random_shooting" and rows[1]["planner_settings"] == {"num_samples": 4}


def test_a_sweep_has_the_scores_of_the_dataset_of_its_runs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep, run = RunFolder(runs / "sweep" / "v1"), RunFolder(runs / "smoke" / "v1")
    shapes = run.read_json("shapes.json")
    origin = shapes["dataset"] | {"dataset_id": "hopper_medium-v2", "references": [0, 400]}
    run.write_json("shapes.json", shapes | {"dataset": origin})
    row = work.evaluate_point(_points()[0], run.path, sweep.path)
    assert row["minari_normalized_score"] == pytest.approx(row["return"] / 400) and row["dense_return"] > 200
    work.evaluate_point(_points()[1], run.path, sweep.path)
    capsys.readouterr()
    owma.sweep.__main__._finish(_points(), sweep)
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("owma: warning: ")]
    (of_scores,) = [line for line in warnings if "score" in line]
    assert "no D4RL normalized score is given: that of hopper-medium-v2" in of_scores
    table = (sweep.path / "table.md").read_text()
    assert "| Minari normalized score [95 %] | dense return [95 %] |" in table


@pytest.mark.slow
def test_a_point_that_was_killed_ends_the_same(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of writing the rows of its episodes."""
    sweep, point = runs / "sweep" / "v1", _points()[1]
    whole = work.evaluate_point(point, runs / "smoke" / "v1", sweep)
    (runs / "sweep" / "v2").mkdir()
    folder = RunFolder(runs / "sweep" / "v2" / "evaluations" / point.key)
    original = RunFolder.append_jsonl

    def killed(self: RunFolder, name: str, row: Mapping[str, Any]) -> None:
        if row.get("episode") == 1:
            with (self.path / name).open("a") as file:
                file.write('{"planner": "random_sh')
            raise KeyboardInterrupt
        original(self, name, row)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append_jsonl", killed)
        with pytest.raises(KeyboardInterrupt):
            work.evaluate_point(point, runs / "smoke" / "v1", runs / "sweep" / "v2")
    assert not (folder.path / "row.json").exists()
    assert work.evaluate_point(point, runs / "smoke" / "v1", runs / "sweep" / "v2") == whole
    rows = [RunFolder(f).read_jsonl("episodes.jsonl") for f in (folder.path, sweep / "evaluations" / point.key)]
    assert rows[0] == rows[1] and len(rows[0]) == 2


def test_a_row_of_other_settings_is_refused(runs: Path) -> None:
    sweep, point = RunFolder(runs / "sweep" / "v1"), _points()[0]
    folder = RunFolder(sweep.path / "evaluations" / point.key)
    folder.path.mkdir(parents=True)
    other = points(SweepConfig(base="smoke", planners=("static",), overrides=("evaluation.episodes=3",)))[0]
    folder.write_json("config.json", to_json(other))
    folder.write_json("row.json", {})
    with pytest.raises(ConfigError, match="holds a row of other settings; delete the folder"):
        work.evaluate_point(point, runs / "smoke" / "v1", sweep.path)
