"""`owma demo --run RUN`: the page of a model of one's own; and what the command refuses."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import owma.demo.__main__
import owma.demo.told
import owma.report.explorer
from owma.demo.told import route
from owma.envs import GOAL_CELL, START_CELL, cell_center, corner_cell
from owma.planners import OnlineAdaptation


@pytest.mark.slow
def test_the_page_of_a_run(invoke, smoke_run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=8)
    monkeypatch.setattr(owma.demo.told, "PLANNERS", {"online_adaptation": few})
    monkeypatch.setattr(owma.demo.told, "MOST_STEPS", 12)
    monkeypatch.setattr(owma.demo.told, "TIMED", 2)
    monkeypatch.setattr(owma.report.explorer, "KL_COEFS", (1.0,))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(smoke_run.runs.parent / "datasets"))
    done = invoke(owma.demo.__main__.main, "--run", smoke_run.folder, "--no-open", "--out", "made/page.html")
    assert done.code == 0 and done.stdout == "made/page.html\n", done.stderr
    text = Path("made/page.html").read_text()
    told = json.loads(re.findall(r'id="told">(.*?)</script>', text)[0])
    # The planner's own λ stands among the others; every one has its balls.
    assert told["kl_coefs"] == [1.0, 0.25] and told["own"] == 1
    assert len(told["episodes"]["after"]) == 2 and told["episodes"]["before"]["of"] == 8
    assert told["ms"] > 0
    # Of the smoke preset's 20 recordings a fifth go the lower way, by chance.
    assert told["recorded"]["episodes"] == 20 == told["recorded"]["shown"] and 0 < told["recorded"]["lower"] < 0.5
    assert f"{100 * told['recorded']['lower']:.2g} of 100 recordings take the lower way" in text
    for plan in told["states"][0]["plans"]:
        assert len(plan["lower"]) == len(plan["kl"]) == 3 and abs(plan["kl"][0]) < 1e-6


def test_a_route_is_the_corner_that_is_visited_first() -> None:
    start, goal = cell_center(*START_CELL), cell_center(*GOAL_CELL)
    low, high = (cell_center(*corner_cell(way)) for way in ("lower", "upper"))
    assert route(np.array([start, low, goal])) == "lower"
    assert route(np.array([start, high, goal, low])) == "upper"
    assert route(np.array([start])) is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--act", "-1"], "act=-1: a number of episodes"),
        (["--gif", "hero.png"], "a GIF file ends with .gif"),
        (["--drawing", "decision.png"], "an SVG file ends with .svg"),
        (["--run", "runs/none", "--no-open"], "no run at runs/none"),
    ],
)
def test_refused(arguments: list[str], sentence: str, invoke, elsewhere: Path) -> None:
    assert re.search(sentence, invoke(owma.demo.__main__.main, *arguments).refused())
    assert not list(elsewhere.iterdir())
