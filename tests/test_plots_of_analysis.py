"""Figures of an analysis hold the numbers that they were given."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from owma.results import plots
from owma.results.tables import summarise


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures saved during a test."""
    figures: list[Figure] = []
    save = Figure.savefig

    def record(self: Figure, *args: Any, **kwargs: Any) -> None:
        if kwargs["format"] == "png":  # the same figure is an SVG, too
            figures.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", record)
    return figures


def _ys(figure: Figure, panel: int = 0) -> list[list[float]]:
    return [np.asarray(line.get_ydata(), float).tolist() for line in figure.axes[panel].lines]


def test_calibration_and_centres(tmp_path: Path, drawn: list[Figure]) -> None:
    by_planner = {"static": {"promised": [1.0, 2.0], "realised": [0.5, 3.0], "gap": -0.25, "interval": None}}
    assert plots.promised_against_realised(tmp_path / "a.png", by_planner).stat().st_size > 1000
    assert [0.5, 3.0] in _ys(drawn[0])
    centres = {"static": {"iqm": 3.0, "interval": [2.0, 4.0]}, "cem": {"iqm": 1.0, "interval": None}}
    plots.centres(tmp_path / "b.png", centres, label="return")
    assert [label.get_text() for label in drawn[1].axes[0].get_yticklabels()] == ["cem", "static"]


@pytest.mark.parametrize("values", [[0.1, 1.0, 5.0], ["path", "hybrid", "fisher"], [False, True, True]])
def test_ablation_along_numbers_and_words(values: list, tmp_path: Path, drawn: list[Figure]) -> None:
    row = {"planner": "a", "seed": 0, "return": 1.0, "promise_gap": 2.0, "kl": 3.0, "success": True}
    entry = summarise([row | {"episode": i} for i in range(3)])["planners"]["a"]
    plots.ablation(tmp_path / "a.png", values, [entry] * 3, field="knob")
    assert [axes.get_ylabel() for axes in drawn[0].axes] == ["success, %", "promise gap", "KL, nats"]
    assert _ys(drawn[0], 1)[0] == [2.0] * 3
    untold = summarise([row | {"episode": i, "success": None} for i in range(3)])["planners"]["a"]
    plots.ablation(tmp_path / "b.png", values, [untold] * 3, field="knob")
    assert [axes.get_ylabel() for axes in drawn[1].axes] == ["promise gap", "KL, nats"]


def test_the_course_of_decisions(tmp_path: Path, drawn: list[Figure]) -> None:
    nan = np.nan
    trace = {
        "decision_kl": np.array([[1.0, 3.0, nan], [3.0, nan, nan]]),
        "decision_value": np.array([[1.0, 2.0, nan], [1.0, nan, nan]]),
        "decision_prior_value": np.full((2, 3), nan),
        # Under a deadline: one decision made two steps, one three, none four.
        "first_objective": np.array([[0.0, 1.0, nan, nan], [0.0, 3.0, 4.0, nan]]),
        "first_value": np.zeros((2, 4)),
        "first_kl": np.ones((2, 4)),
    }
    plots.decisions(tmp_path / "a.png", {"static": trace})
    # Over the episodes that had not ended; nothing where all had.
    assert _ys(drawn[0])[0] == [2.0, 3.0]
    plots.convergence(tmp_path / "b.png", {"online_adaptation": trace})
    assert _ys(drawn[1])[0] == [0.0, 2.0, 4.0]
    assert plots.value_before_after(tmp_path / "c.png", {"static": trace}).stat().st_size > 1000


def test_promises_are_in_shares_of_themselves(tmp_path: Path, drawn: list[Figure]) -> None:
    promises: dict[str, Any] = {
        "one": {"promised": 10.0, "realised": 8.0, "by_seed": [0.7, 0.9]},
        "other": {"promised": 400.0, "realised": 100.0},
        "broken": {"promised": 1.0, "realised": -20.0},
        "nothing promised": {"promised": 0.0, "realised": 1.0},
    }
    plots.promises_kept(tmp_path / "a.png", promises, title="kept")
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["broken", "other", "one"]
    # What is lost reaches from the dot to the promise; far below zero stands an arrow with the number.
    assert [line for line in _ys(drawn[0]) if line == [2.0, 2.0]] and [70.0, 90.0] in _xs(drawn[0])
    assert [text.get_text() for text in axes.texts] == ["-2000 %", "25 %", "80 %"]
    assert [line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1] == ["<", "o", "o"]  # pyright: ignore


def _xs(figure: Figure) -> list[list[float]]:
    return [np.asarray(line.get_xdata(), float).tolist() for line in figure.axes[0].lines]


def test_success_of_seeds_are_dots_and_adaptation_is_on_top(tmp_path: Path, drawn: list[Figure]) -> None:
    row = {"return": 1.0, "promise_gap": 2.0, "kl": 3.0, "value": 4.0}
    share = {("static", 0): 4, ("static", 1): 3, ("online_adaptation", 0): 1, ("online_adaptation", 1): 0}
    rows = [
        row | {"planner": planner, "seed": seed, "episode": i, "success": i < count}
        for (planner, seed), count in share.items()
        for i in range(4)
    ]
    plots.successes(tmp_path / "a.png", {"maze": summarise(rows)})
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["static", "online adaptation"]
    assert [100.0, 75.0] in _xs(drawn[0]) and [25.0, 0.0] in _xs(drawn[0])
    assert axes.get_title(loc="left") == "Online adaptation 12 %;\nbest rival, static, 88 %"


def test_what_a_nat_buys(tmp_path: Path, drawn: list[Figure]) -> None:
    ends = {"success": [0.1, 0.9], "promise_gap": [0.0, 3.0]}
    entries = [{"kl": kl, "success": kl / 10, "promise_gap": kl / 5, "intervals": ends} for kl in (1.0, 4.0)]
    plots.trade_off(tmp_path / "a.png", [1.0, 0.25], entries, title="a price")
    success, gap = drawn[0].axes
    assert np.array_equal(success.lines[0].get_xydata(), [[1, 10], [4, 40]])  # pyright: ignore
    assert np.allclose(np.asarray(gap.lines[0].get_xydata()), [[1, 0.2], [4, 0.8]])
    assert [text.get_text() for text in success.texts] == ["λ = 1", "λ = 0.25"]


def test_a_profile_is_the_share_of_runs_above(tmp_path: Path, drawn: list[Figure]) -> None:
    """One task with seeds at 0.25 and 0.75, one with seeds at 1: tasks count alike."""
    scores = {"static": np.array([[25.0, 75.0], [100.0, 100.0]])}
    plots.profiles(tmp_path / "a.png", scores, label="success, %")
    x, y = np.asarray(drawn[0].axes[0].lines[0].get_xydata()).T
    at = [float(y[np.argmin(np.abs(x - tau))]) for tau in (10, 50, 90, 100)]
    assert at == [100.0, 75.0, 50.0, 0.0]
