"""`python -m owma.report`: one file that needs no other, and says first how adaptation stands against its rivals."""

import base64
import json
import re
import shutil
from pathlib import Path

import pytest
from browser import CONTRASTS, browser

import owma.report.__main__
import owma.report.source
from owma.planners import OnlineAdaptation

REFERENCE = Path(__file__).parent.parent.parent / "runs" / "reference"


@pytest.fixture
def report(invoke, smoke_run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a trained run, with decisions of few steps to explore."""
    few = OnlineAdaptation(adaptation_steps=3, n_adaptation_samples=8)
    monkeypatch.setattr(owma.report.source, "PLANNERS", {"online_adaptation": few})
    shutil.copytree(smoke_run.folder, elsewhere / "runs" / "smoke" / "v1")
    done = invoke(owma.report.__main__.main, "runs/smoke", "--states", "2", "--draws", "8")
    assert done.code == 0 and done.stdout == "runs/smoke/v1/report.html\n", done.stderr
    return elsewhere / "runs" / "smoke" / "v1" / "report.html"


def test_the_report_of_a_run_holds_everything_itself(report: Path) -> None:
    text = report.read_text()
    assert report.stat().st_size < 3e6
    targets = re.findall(r"(?:src|href)=[\"']([^\"']*)", text)
    assert targets and all(target.startswith(("data:", "#")) for target in targets)
    assert "https://" not in text and str(report.parent.parent.parent.parent) not in text
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings[:3] == ["Adaptation against its rivals", "Results", "One decision"]
    assert {"Comparisons", "Promises", "The course of decisions", "Trajectories", "Training"} <= set(headings)
    assert headings[-1] == "How to reproduce" and "python -m owma.train smoke" in text
    data = json.loads(re.findall(r'id="decision-data">(.*?)</script>', text)[0])
    assert len(data["states"]) == 2 and data["kl_coefs"] == [5.0, 2.0, 1.0, 0.5, 0.25, 0.1] and data["own"] == 4
    for state in data["states"]:
        for plan in state["plans"]:
            # Before the first step nothing is adapted; two ways to compute one mean differ by rounding.
            assert len(plan["kl"]) == len(plan["objective"]) == 4 and abs(plan["kl"][0]) < 1e-9
            assert len(base64.b64decode(plan["draws"]["codes"])) == 2 * 4 * 8
            assert len(base64.b64decode(plan["values"]["codes"])) == 4 * 8
        # What the trained model expects is the same at every λ.
        assert len({plan["value"][0] for plan in state["plans"]}) == 1
        shares = [optimum["rare_share"] for optimum in state["optimum"]]
        assert shares == sorted(shares)  # a higher price leaves less on what is rare


def test_the_browsers_complaints_are_heard(tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text("<script>nothing.here()</script>")
    with browser() as page:
        page.go((tmp_path / "bad.html").as_uri())
        assert len(page.complaints) == 1 and "nothing is not defined" in page.complaints[0]


def test_a_browser_shows_it_wide_and_narrow_without_an_error(report: Path) -> None:
    told = "document.getElementById('decision-told').textContent"
    with browser() as page:
        for width in (1280, 400):
            page.show(width, 900, prefers_reduced_motion="reduce")
            page.go(report.as_uri())
            assert page.js("document.documentElement.scrollHeight") <= 3 * 900  # until details are unfolded
            page.js("document.querySelector('details[data-folds]').open = true")  # as it is where there is room
            # Nothing sticks out: what is wide scrolls by itself.
            assert page.js("innerWidth") == width and page.js("document.documentElement.scrollWidth") <= width
            assert page.js(told).startswith("λ = 0.25, step 3 of 3: E[V] = ")
            ways = page.js("document.querySelectorAll('#decision-map .way').length")
            assert 3 <= ways <= 8 + 8 + 1  # before, after and the chosen one; draws may be of one way
            page.js("document.getElementById('decision-step').focus()")
            page.press("Home")
            assert page.js(told).startswith("λ = 0.25, step 0 of 3") and "0.0 nats" in page.js(told)
            assert page.js("document.querySelectorAll('#decision-map .way.after').length") == 0
            page.js("document.getElementById('decision-lambda').focus()")
            page.press("ArrowLeft")
            assert page.js(told).startswith("λ = 0.5, ")
            page.js("document.querySelectorAll('#decision-map .state')[1].focus()")
            page.press("Enter")
            assert page.js("document.getElementById('decision-state').value") == "1"
            page.js("document.getElementById('decision-play').focus()")
            page.press("Enter")
            assert page.js(told).startswith("λ = 0.5, step 3 of 3")  # at once, where motion is not wanted
            assert min(ratio for ratio, _ in page.js(CONTRASTS)) >= 4.5
        assert not page.complaints


@pytest.mark.slow
def test_committed_rows_of_three_seeds_say_first_that_there_is_no_verdict(invoke, elsewhere: Path) -> None:
    done = invoke(owma.report.__main__.main, REFERENCE / "skew-linear", "--out", "made/report.html")
    assert done.code == 0 and done.stdout == "made/report.html\n"
    text = Path("made/report.html").read_text()
    first = text[text.index("Adaptation against its rivals</h2>") : text.index("Results</h2>")]
    assert "No verdict in 104 of them (3 seeds, 5 are needed)." in first and "104 paired comparisons" in first
    assert "FALSE" not in text and ">holds<" not in text and '<tr class="loses">' not in text
    assert "<td>62 [0, 100]</td><td>0 / 94 / 94</td>" in text
    assert "models, which are not beside these rows" in text and str(REFERENCE) not in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["runs/none"], "no run at runs/none"),
        (["empty"], "no episodes to report on; evaluate first"),
        (["runs/none", "--draws", "1"], "draws=1: at least 0 states and 2 draws"),
    ],
)
def test_refusals(arguments: list[str], sentence: str, invoke, elsewhere: Path) -> None:
    Path("empty/v1").mkdir(parents=True)
    assert re.search(sentence, invoke(owma.report.__main__.main, *arguments).refused())
