"""`python -m owma.diagnose`: what it writes, and which data it refuses."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import owma
import owma.diagnose.__main__
import owma.train.__main__
import owma.train.held_out
from owma._internal.errors import ConfigError
from owma._internal.progress import shown_progress
from owma.config.experiment import EvaluationConfig
from owma.config.task import RewardTaskConfig
from owma.diagnose.planning import knee_of
from owma.diagnose.recorded import task_of
from owma.outcomes.tasks import RecordedTask
from owma.results.diagnosis import Finding
from owma.runs.folder import RunFolder
from owma.runs.load import load_run
from owma.train.held_out import doubts
from owma.train.inputs import prepare_experiment

_FEW = {"states": 40, "draws": 8, "actions": 4, "neighbours": 4, "starts": 2}


@pytest.fixture
def run(smoke_run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A copy of the run that is trained for all tests, with its dataset."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(smoke_run.runs.parent / "datasets"))
    return RunFolder(Path(shutil.copytree(smoke_run.folder, elsewhere / "runs" / "mine" / "v1")))


def test_it_writes_figures_and_a_page_and_says_what_it_found(invoke, run: RunFolder) -> None:
    flags = [word for name, value in _FEW.items() for word in (f"--{name}", value)]
    done = invoke(owma.diagnose.__main__.main, "runs/mine", *flags, "--kl-coefs", "1", "4")
    assert done.code == 0, done.stderr
    page = Path(done.stdout.splitlines()[-1])
    assert page.as_posix() == "runs/mine/v1/diagnosis.html"
    text, told = page.read_text(), run.read_json("diagnosis.json")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text) and "<figure>" in text
    about = [finding["about"] for finding in told["findings"]]
    assert about == [
        *("outcomes", "calibration", "spread", "policy", "value", "value in a state", "support", "value of the best"),
        *("the best drawn", "promise", "prices"),
    ]
    for finding in told["findings"]:
        assert finding["sentence"].endswith(".") and finding["sentence"].split(";")[0][:40] in " ".join(
            done.stdout.split()
        )
    assert told["verdict"] in {finding["verdict"] for finding in told["findings"]}
    outcomes, prices = told["figures"]["outcomes"], told["figures"]["promises"]["prices"]
    assert outcomes["states"] == 40 and outcomes["energy_score"] > 0 and outcomes["energy_score_neighbours"] > 0
    assert np.array(outcomes["histograms"]).sum(axis=1) == pytest.approx(1)
    assert [row["kl_coef"] for row in prices] == [0.25, 1.0, 4.0]
    assert prices[0]["promise"] >= prices[2]["promise"] and prices[0]["kl"] >= prices[2]["kl"]
    support = told["figures"]["support"]
    assert support["near_best"] >= 1 and support["near_best_mean"] >= support["near_best_return"]
    assert support["near_best_value"] <= max(support["near_best_values"].values())  # it is a bound

    # From Python it is the same.
    found = owma.load(run.path).diagnose(progress=False, **_FEW, kl_coefs=(1.0, 4.0))
    assert json.loads(json.dumps(found.findings, default=vars)) == told["findings"]


def test_training_ends_with_a_warning_of_what_is_bad(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = owma.load(run.path)
    transitions = trained.read_data().transitions
    assert all(finding.verdict == "bad" for finding in doubts(trained.parts.world, transitions, trained.config))
    config = dataclasses.replace(trained.config, evaluation=EvaluationConfig(episodes=0))
    inputs = prepare_experiment(config, shown_progress(False))
    bad = Finding("spread", "bad", "It has collapsed.")
    monkeypatch.setattr(owma.train.held_out, "doubts", lambda *_: [bad])
    for few, expected in ((10_000, False), (1, True)):
        monkeypatch.setattr(owma.train.__main__, "_FEW_UPDATES", few)
        owma.train.__main__._run(config, inputs, run, ())
        assert ("warning: It has collapsed. `python -m owma.diagnose" in capsys.readouterr().err) == expected


def test_other_data_are_refused(invoke, run: RunFolder) -> None:
    digest = run.read_json("dataset.json")
    run.write_json("dataset.json", digest | {"transitions": 7})
    said = invoke(owma.diagnose.__main__.main, "runs/mine").refused()
    assert "is not the dataset that the run runs/mine/v1 was begun with" in said
    assert not (run.path / "diagnosis.json").exists()


def test_a_folder_does_not_choose_the_code_of_a_task(run: RunFolder) -> None:
    trained = load_run(run.path)
    config = dataclasses.replace(trained.config, task=RewardTaskConfig("theirs:reward"))
    foreign = dataclasses.replace(trained, config=config)
    with pytest.raises(ConfigError, match="theirs:reward.*pass --trust theirs"):
        task_of(foreign, ())
    assert task_of(dataclasses.replace(foreign, task=RecordedTask()), ()) == RecordedTask()  # given in this process


def test_a_knee_is_where_a_curve_bends() -> None:
    def curve(*points: tuple[float, float, float]) -> list[dict[str, float]]:
        return [dict(zip(("kl_coef", "kl", "promise"), point)) for point in points]

    assert knee_of(curve((4.0, 0.0, 1.0), (1.0, 2.0, 9.0), (0.5, 5.0, 9.5), (0.1, 10.0, 10.0))) == 1.0
    assert knee_of(curve((4.0, 0.0, 1.0), (1.0, 5.0, 2.0), (0.1, 10.0, 3.0))) is None  # straight
    assert knee_of(curve((4.0, 0.0, 1.0), (1.0, 5.0, 2.0))) is None
