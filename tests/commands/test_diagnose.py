"""`python -m owma.diagnose`: what it writes, and which data it refuses."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import owma
import owma.diagnose.__main__
from owma.diagnose.planning import knee_of
from owma.runs.folder import RunFolder

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
        *("outcomes", "calibration", "spread", "policy", "value", "value in a state", "support", "the best drawn"),
        *("promise", "prices"),
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
    assert told["figures"]["support"]["near_best"] >= 1

    # From Python it is the same.
    found = owma.load(run.path).diagnose(progress=False, **_FEW, kl_coefs=(1.0, 4.0))
    assert json.loads(json.dumps(found.findings, default=vars)) == told["findings"]


def test_other_data_are_refused(invoke, run: RunFolder) -> None:
    digest = run.read_json("dataset.json")
    run.write_json("dataset.json", digest | {"transitions": 7})
    said = invoke(owma.diagnose.__main__.main, "runs/mine").refused()
    assert "is not the dataset that the run runs/mine/v1 was begun with" in said
    assert not (run.path / "diagnosis.json").exists()


def test_a_knee_is_where_a_curve_bends() -> None:
    def curve(*points: tuple[float, float, float]) -> list[dict[str, float]]:
        return [dict(zip(("kl_coef", "kl", "promise"), point)) for point in points]

    assert knee_of(curve((4.0, 0.0, 1.0), (1.0, 2.0, 9.0), (0.5, 5.0, 9.5), (0.1, 10.0, 10.0))) == 1.0
    assert knee_of(curve((4.0, 0.0, 1.0), (1.0, 5.0, 2.0), (0.1, 10.0, 3.0))) is None  # straight
    assert knee_of(curve((4.0, 0.0, 1.0), (1.0, 5.0, 2.0))) is None
