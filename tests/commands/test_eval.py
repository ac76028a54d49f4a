"""`python -m owma.eval`: one planner on a trained run, beside what the run holds already."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest

import owma.eval.__main__
import owma.train.__main__
from owma.runs.folder import RunFolder


def test_evaluates_into_a_folder_of_its_own(invoke, smoke_run, elsewhere: Path) -> None:
    run = Path(shutil.copytree(smoke_run.folder, elsewhere / "runs" / "mine" / "v3"))
    flags = ["planner:random-shooting", "--planner.num-samples", "8", "--episodes", "2", "--timed-decisions", "1"]
    for number in (1, 2):
        done = invoke(owma.eval.__main__.main, "runs/mine", *flags, "--seed", "5")
        assert done.code == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"runs/mine/v3/evaluations/random_shooting-num_samples=8/v{number}"
        folder = Path(done.stdout.splitlines()[-1])
        rows = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
        assert [(row["planner"], row["seed"], row["episode"]) for row in rows] == [
            ("random_shooting-num_samples=8", 5, i) for i in (0, 1)
        ]
        assert all(row["nfe"] == 8 * 5 and row["ms_p50"] > 0 for row in rows)
        assert list(json.loads((folder / "results.json").read_text())["planners"]) == ["random_shooting-num_samples=8"]
        config = json.loads((folder / "config.json").read_text())
        assert config["planner"]["num_samples"] == 8 and config["seed"] == 5
        assert {path.name for path in (folder / "plots").iterdir()} >= {"trajectories.png"}
        # The table is a result, whole though the output is no terminal; what goes on meanwhile is none.
        (heading,) = [line for line in done.stdout.splitlines() if line.startswith(" planner ")]
        assert heading.split()[-2:] == ["p50", "p95"] and "\n random_shooting-num_samples=8 " in done.stdout
        assert "p50" not in done.stderr and "\ndata: " not in done.stdout and "evaluating" not in done.stdout
    kept = (run / "results.json", run / "episodes.jsonl", run / "config.json")
    assert all(path.read_bytes() == (smoke_run.folder / path.name).read_bytes() for path in kept)


@pytest.mark.cases
def test_planners_by_name_are_evaluated_side_by_side(invoke, smoke_run, elsewhere: Path) -> None:
    run = RunFolder(Path(shutil.copytree(smoke_run.folder, elsewhere / "runs" / "mine" / "v1")))
    config = run.read_json("config.json")
    run.write_json("config.json", config | {"evaluation": config["evaluation"] | {"kl_coef": 0.5, "max_steps": 700}})
    flags = ["--planners", "static", "guided_diffusion", "--episodes", "1", "--timed-decisions", "0"]
    done = invoke(owma.eval.__main__.main, "runs/mine", *flags)
    assert done.code == 0, done.stderr
    folder = RunFolder(Path(done.stdout.splitlines()[-1]))
    assert folder.path.parent.name == "planners" and "the planners of the run have" not in done.stderr.lower()
    assert [row["planner"] for row in folder.read_jsonl("episodes.jsonl")] == ["static", "guided_diffusion"]
    # They have the run's own price, as they had in its table.
    flags[1:3] = ["guided_diffusion"]
    done = invoke(owma.eval.__main__.main, "runs/mine", *flags, "--kl-coef", "0.5")
    assert (
        folder.read_jsonl("episodes.jsonl")[1]
        == RunFolder(Path(done.stdout.splitlines()[-1])).read_jsonl("episodes.jsonl")[0]
    )
    subject = done.stderr.splitlines()[:3]
    assert subject[0].startswith("data: owma/two-routes-skew0p2-20x200-seed0-v0") and subject[1:] == [
        "task: the reward function owma.envs:preferred_route_reward",
        "environment: owma/TwoRoutes-v0, 300 steps",
    ]
    for others, sentence in (
        (["planner:static"], "give one of the two"),
        (["--planner.kl-coef", "1"], "give one of the two"),
        (["--deadline-ms", "50"], "only planner:online-adaptation"),
    ):
        assert sentence in invoke(owma.eval.__main__.main, "runs/mine", *flags, *others).refused()


def test_one_planner_has_a_price_of_its_own(invoke, smoke_run, elsewhere: Path) -> None:
    run = RunFolder(Path(shutil.copytree(smoke_run.folder, elsewhere / "runs" / "mine" / "v1")))
    config = run.read_json("config.json")
    run.write_json("config.json", config | {"evaluation": config["evaluation"] | {"kl_coef": 0.5, "max_steps": 700}})
    flags = ["--episodes", "1", "--timed-decisions", "0"]
    assert "--planner.kl-coef" in invoke(owma.eval.__main__.main, "runs/mine", *flags, "--kl-coef", "0.5").refused()
    # It may be another than that of the run's table, beside which its rows will be read.
    tilted = ["planner:tilted-resampling", "--planner.num-samples", "8"]
    for price, warns in (("1", True), ("0.5", False)):
        done = invoke(owma.eval.__main__.main, "runs/mine", *tilted, "--planner.kl-coef", price, *flags)
        assert done.code == 0 and ("planners of the run have kl_coef=0.5" in done.stderr) == warns, done.stderr
    # Episodes are cut where those of the run's table were.
    kept = [json.loads(path.read_text()) for path in run.path.glob("evaluations/*/v*/config.json")]
    assert [config["evaluation"]["max_steps"] for config in kept] == [700, 700]


def test_what_benchmarks_report_is_shown_beside_the_return(invoke, smoke_run, elsewhere: Path) -> None:
    """Of a run that was trained on a file of D4RL's, in an environment that is not its, and on Minari's references."""
    run = RunFolder(Path(shutil.copytree(smoke_run.folder, elsewhere / "runs" / "mine" / "v1")))
    shapes = run.read_json("shapes.json")
    origin = shapes["dataset"] | {"dataset_id": "hopper_medium-v2", "references": [0, 400]}
    run.write_json("shapes.json", shapes | {"dataset": origin})
    flags = ["planner:static", "--episodes", "2", "--timed-decisions", "0"]
    done = invoke(owma.eval.__main__.main, "runs/mine", *flags)
    assert done.code == 0, done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("owma: warning: ") and "score" in line]
    assert "that of hopper-medium-v2 is for Hopper, which owma/TwoRoutes-v0 is not" in warning
    folder = RunFolder(Path(done.stdout.splitlines()[-1]))
    rows, entry = folder.read_jsonl("episodes.jsonl"), folder.read_json("results.json")["planners"]["static"]
    assert all(row["minari_normalized_score"] == row["return"] / 400 for row in rows)
    assert f"{entry['minari_normalized_score']:.3g}" in done.stdout and "Minari" in done.stdout
    # Of 300 steps between the goal and 6 m from it.
    assert all(300 * math.exp(-6 / 20) < row["dense_return"] < 300 for row in rows)
    assert entry["intervals"]["dense_return"] is not None and "dense" not in done.stdout


def test_resuming_a_finished_run_changes_nothing(invoke, smoke_run, elsewhere: Path, monkeypatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(smoke_run.runs.parent / "datasets"))
    run = Path(shutil.copytree(smoke_run.folder, elsewhere / "runs" / "smoke" / "v1"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.suffix != ".png"}
    done = invoke(owma.train.__main__.main, "--resume", "runs/smoke")
    assert done.code == 0 and done.stdout.splitlines()[-1] == "runs/smoke/v1"
    assert {path: path.read_bytes() for path in before} == before
    # A stage of work says how much of it is done: "4 of 4 episodes".
    assert not re.search(r"^(evaluating|training)\b.*: [\d,]+ of [\d,]+ ", done.stderr, re.MULTILINE)
