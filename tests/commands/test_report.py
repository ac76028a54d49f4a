"""`python -m owma.report`: one file that needs no other, and says first how adaptation stands against its rivals."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

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
    assert len(data["states"]) == 2
    for state in data["states"]:
        # Before the first step nothing is adapted; two ways to compute one mean differ by rounding.
        assert len(state["kl"]) == len(state["objective"]) == 4 and abs(state["kl"][0]) < 1e-9
        assert [len(draws) for draws in state["psi"]] == [8] * 4 and len(state["values"]) == 4
        shares = [optimum["rare_share"] for optimum in state["optimum"]]
        assert shares == sorted(shares, reverse=True)  # a higher price leaves less on what is rare


_PROBE = """
<!doctype html><html><body style="margin:0"><iframe id="page" style="border:0;height:900px;width:{width}px" src="{src}">
</iframe><script>
document.getElementById("page").addEventListener("load", (event) => {{
  const view = event.target.contentWindow, page = view.document;
  const told = () => page.getElementById("decision-told").textContent;
  const dots = () => page.querySelectorAll("#decision-psi circle").length;
  const slider = page.getElementById("decision-step"), chooser = page.getElementById("decision-state");
  const seen = [told()];
  slider.value = "1";
  slider.dispatchEvent(new view.Event("input"));
  seen.push(told());
  page.querySelectorAll("#decision-map .state")[1].dispatchEvent(new view.Event("click"));
  seen.push(told());
  document.title = JSON.stringify({{
    width: view.innerWidth, scroll: page.documentElement.scrollWidth, seen, state: chooser.value, dots: dots() }});
}});
</script></body></html>
"""


def _browse(url: str, *flags: str) -> tuple[str, list[str]]:
    """The document after its scripts have run, and what the console said."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium here (Debian: apt-get install chromium)")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", *flags]
    command += ["--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_console_is_listened_to(tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text("<script>nothing.here()</script>")
    _, said = _browse((tmp_path / "bad.html").as_uri())
    assert len(said) == 1 and "nothing is not defined" in said[0]


def test_a_browser_shows_it_wide_and_narrow_without_an_error(report: Path) -> None:
    for width in (1280, 400):
        probe = report.parent / f"probe{width}.html"
        probe.write_text(_PROBE.format(width=width, src=report.as_uri()))
        shown, said = _browse(probe.as_uri(), "--window-size=1400,1000")
        assert not said
        measured = json.loads(re.findall(r"<title>(.*?)</title>", shown)[0].replace("&quot;", '"'))
        # Nothing sticks out: what is wide scrolls by itself.
        assert measured["width"] == width and measured["scroll"] <= width
        assert measured["seen"][0].startswith("step 3 of 3") and measured["seen"][1].startswith("step 1 of 3")
        assert measured["seen"][2] != measured["seen"][1] and measured["state"] == "1" and measured["dots"] == 16


@pytest.mark.slow
def test_committed_rows_of_three_seeds_say_first_that_there_is_no_verdict(invoke, elsewhere: Path) -> None:
    done = invoke(owma.report.__main__.main, REFERENCE / "skew", "--out", "made/report.html")
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
