"""`python -m owma.tune`: what it finds is written into the run, by which its planners then act."""

import shutil
from pathlib import Path

import owma
import owma.eval.__main__
import owma.tune.__main__
from owma.config.planners import OnlineAdaptation
from owma.runs.folder import RunFolder
from owma.runs.tuned import keep_tuned


def _kl_coef(agent: owma.Agent) -> float:
    assert isinstance(agent.planner, owma.OnlineAdaptationPlanner)
    return float(agent.planner.kl_coef)


def test_a_run_acts_by_what_was_found(invoke, smoke_run, elsewhere: Path) -> None:
    run = RunFolder(Path(shutil.copytree(smoke_run.folder, elsewhere / "runs" / "mine" / "v1")))
    few = ["--first-episodes", "1", "--episodes", "2", "--report-episodes", "2", "--replan-every", "200"]
    flags = ["runs/mine", "--planners", "tilted_resampling", "--kl-coefs", "0.25", "100", *few]
    done = invoke(owma.tune.__main__.main, *flags)
    assert done.code == 0, done.stderr
    folder = RunFolder(Path(done.stdout.splitlines()[-1]))
    assert folder.path.as_posix() == "runs/mine/v1/tunings/tune/v1"
    rows = folder.read_jsonl("episodes.jsonl")
    tried = ("tilted_resampling", "tilted_resampling-kl_coef=100")
    assert [(row["planner"], row["round"], row["seed"]) for row in rows[:2]] == [(name, "1", 10_000) for name in tried]
    assert {row["seed"] for row in rows if row["round"] == "report"} == {10_500}
    result = folder.read_json("results.json")["tilted_resampling"]
    assert result["winner"] in tried and set(result["tried"]) == set(tried)
    assert (folder.plots / "tilted_resampling_prices.png").stat().st_size > 1000
    # Gone on with, nothing is played again, and all ends alike.
    invoke(owma.tune.__main__.main, "--resume", str(folder.path))
    assert folder.read_jsonl("episodes.jsonl") == rows
    assert folder.read_json("results.json")["tilted_resampling"] == result

    keep_tuned(run, "online_adaptation", ["online_adaptation.kl_coef=3", "online_adaptation.adaptation_steps=1"], {})
    loaded = owma.load(run.path)
    assert _kl_coef(loaded.agent()) == 3.0
    assert _kl_coef(loaded.agent(OnlineAdaptation())) == 0.25
    flags = ["runs/mine", "--episodes", "1", "--timed-decisions", "0", "--replan-every", "200"]
    done = invoke(owma.eval.__main__.main, flags[0], "planner:online-adaptation", "--planner.kl-coef", "1", *flags[1:])
    assert done.code == 0, done.stderr
    assert "as it was tuned: adaptation_steps=1;" in done.stderr and "have kl_coef=3.0; this one has" in done.stderr
    assert Path(done.stdout.splitlines()[-1]).parent.name == "online_adaptation-adaptation_steps=1-kl_coef=1"
