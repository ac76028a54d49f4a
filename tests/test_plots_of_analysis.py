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
