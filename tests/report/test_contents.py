"""The report of a sweep: what was varied, which claims are false, how to make each row again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import escape

from owma.config.json import to_json
from owma.config.presets import PRESETS
from owma.config.sweep import Point, SweepConfig, points, write_points
from owma.report.contents import build
from owma.report.page import explorer
from owma.report.source import Source
from owma.runs.folder import RunFolder
from owma.sweep.steps import identity

_QUANTITIES = ("kl", "value", "prior_value")

SWEEP = SweepConfig(
    planners=("online_adaptation", "random_shooting"),
    seeds=(1, 2, 3, 4, 5),
    grid=("data.skew=0.001,0",),
    each=("online_adaptation.kl_coef=0.1,1,5",),
)


def _row(point: Point, episode: int) -> dict[str, Any]:
    """Adaptation succeeds in one of four where it is possible, shooting always; a higher price narrows the gap."""
    possible = point.settings["data.skew"] > 0
    success = possible and (point.base == "random_shooting" or episode == 0)
    price = getattr(point.planner, "kl_coef", 10.0)
    return identity(point) | {
        "episode": episode,
        "success": success,
        "return": 100.0 * success + episode,
        "value": 120.0 / (1 + price),
        "promise_gap": 20.0 / (1 + price) + 0.1 * episode,
        "kl": 8.0 / (1 + price),
        "nfe": 100,
        "ms_p50": 3.0,
        "ms_p95": 4.0,
    }


@pytest.fixture
def sweep(tmp_path: Path) -> RunFolder:
    folder = RunFolder.create(tmp_path, "sweep")
    planned = points(SWEEP)
    folder.write_json("config.json", to_json(SWEEP))
    folder.write_jsonl("points.jsonl", write_points(planned))
    folder.write_jsonl("episodes.jsonl", [_row(point, episode) for point in planned for episode in range(4)])
    for point in planned:
        if point.experiment.seed == 1 and not point.planner_settings:
            traces = folder.path / "evaluations" / point.key / "traces"
            traces.mkdir(parents=True)
            way = np.zeros((4, 5, 2), np.float32)
            of_decisions: dict[str, Any] = {f"decision_{key}": np.ones((4, 3)) for key in _QUANTITIES}
            np.savez(traces / f"{point.name}.npz", positions=way, **of_decisions)
    return folder


def _section(text: str, title: str) -> str:
    start = text.index(f"<h2>{title}</h2>")
    return text[start : text.index("</section>", start)]


def test_a_sweep(sweep: RunFolder) -> None:
    text = build(Source.read(sweep.path), None)
    first = _section(text, "Adaptation against its rivals")
    assert "4 paired comparisons of online_adaptation with a rival. Below in 2, above in 0, open in 2." in first
    assert first.count('<tr class="loses"><td>random_shooting</td><td>data.skew = 0.001</td>') == 2
    # Two claims of the skew curve are false; the negative control and the ablation of λ hold.
    assert first.count('class="false">FALSE') == 2 and "Below: random_shooting at 0.001." in first
    assert first.count('class="true">holds') == 1 + 2 * 2 and "nobody knows the way" in first
    # One axis, in two experiments: against the nats that it costs, and metric by metric.
    assert _section(text, "Knobs").count("<img") == 2 * 2
    assert _section(text, "Trajectories").count("<img") == 2
    assert "Highest mean success at the same milliseconds or less: random_shooting." in _section(text, "Results")
    made = _section(text, "How to reproduce")
    assert "python -m owma.sweep own --grid data.skew=0.001,0 --each online_adaptation.kl_coef=0.1,1,5" in made
    assert "python -m owma.train two-routes --name two-routes-skew0-seed2 --seed 2 --data.skew 0" in made
    assert "planner:online-adaptation --planner.kl-coef 5" in made
    assert str(sweep.path.parent) not in text


def test_a_sweep_of_too_few_seeds_pronounces_no_verdict(sweep: RunFolder) -> None:
    rows = [row for row in sweep.read_jsonl("episodes.jsonl") if row["seed"] < 3]
    sweep.write_jsonl("episodes.jsonl", rows)
    text = build(Source.read(sweep.path), None)
    first = _section(text, "Adaptation against its rivals")
    assert "No verdict in 4 of them (2 seeds, 5 are needed; 8 pairs, 10 are needed)." in first
    assert "FALSE" not in first and ">holds<" not in first and 'class="loses"' not in text
    assert "No verdict: 2 seeds, 5 are needed." in _section(text, "Results")
    assert "<th>success % by seed</th>" in text and "<td>100 / 100</td>" in text


def test_a_sweep_whose_environment_says_nothing_of_success(sweep: RunFolder) -> None:
    rows = [row | {"success": None} for row in sweep.read_jsonl("episodes.jsonl")]
    sweep.write_jsonl("episodes.jsonl", rows)
    text = build(Source.read(sweep.path), None)
    first, results = _section(text, "Adaptation against its rivals"), _section(text, "Results")
    assert (
        "2 paired comparisons" in first
        and "Below in 1, above in 0, open in 1." in first
        and "success unknown" in first
        and "success %</td>" not in first
    )
    assert "0.1 % to 2 % of the data" not in first  # a claim about success
    assert "<img" not in results and "Highest mean success" not in results
    assert (
        "<th>success" not in results and results.count("<td>random_shooting</td>") == 2
    )  # a column that knows nothing


def test_what_benchmarks_report_has_columns_of_its_own(sweep: RunFolder) -> None:
    assert "dense return" not in _section(build(Source.read(sweep.path), None), "Results")
    rows = sweep.read_jsonl("episodes.jsonl")
    sweep.write_jsonl("episodes.jsonl", [row | {"dense_return": 212.0, "d4rl_normalized_score": 92.8} for row in rows])
    results = _section(build(Source.read(sweep.path), None), "Results")
    assert "<th>D4RL normalized score [95 %]</th><th>dense return [95 %]</th>" in results
    assert "<td>92.8 [92.8, 92.8]</td><td>212 [212, 212]</td>" in results


def test_rows_alone_are_enough(sweep: RunFolder) -> None:
    for name in ("config.json", "points.jsonl"):
        (sweep.path / name).unlink()
    text = build(Source.read(sweep.path), None)
    assert "These rows came without a configuration" in text and "<h2>Knobs</h2>" not in text


def test_a_run_whose_first_row_is_torn_has_no_rows_yet(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    folder.write_json("config.json", to_json(PRESETS["smoke"][1]))
    (folder.path / "episodes.jsonl").write_text('{"planner": "sta')
    text = build(Source.read(folder.path), None)
    assert "python -m owma.train smoke" in _section(text, "How to reproduce")


def test_markup_in_rows_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    evil = "</script><script>alert('1')</script><img src=x>"
    point = points(SWEEP)[0]
    rows = [_row(point, episode) | {"settings": {"name": evil}} for episode in range(2)]
    folder = RunFolder.create(tmp_path, "rows")
    folder.write_jsonl("episodes.jsonl", [row | {"planner": f"{evil}{i}"} for i in range(2) for row in rows])
    folder.write_json("versions.json", {evil: evil})
    text = build(Source.read(folder.path), None)
    # One script, the page's own.
    assert text.count("<script") == 1 and evil not in text and "<img src=x>" not in text
    assert f"<td>{escape(evil)}1</td>" in text and f"<h3>name = {escape(evil)}</h3>" in text


def test_a_tag_in_the_explorers_data_does_not_end_its_script() -> None:
    held = {"states": [{"plans": [], "name": "</script><b>"}]}
    text = explorer(held, ["λ"], "")
    assert text.count("<script") == text.count("</script>") == 2 and "<b>" not in text
    data = json.loads(text.partition('id="decision-data">')[2].partition("</script>")[0])
    assert data == held
