"""Analysis of rows, against numbers worked out by hand."""

from typing import Any

import numpy as np
import pytest

from owma.planners import OnlineAdaptation
from owma.results import analysis


def _rows(planner: str, returns: list[float], **fields: Any) -> list[dict[str, Any]]:
    return [
        {
            "planner": planner,
            "seed": 0,
            "episode": i,
            "success": value > 2,
            "return": value,
            "value": 10.0 + value,
            "promise_gap": 10.0,
            "kl": 1.0,
            "nfe": 10,
            "ms_p50": None,
            "ms_p95": None,
        }
        | fields
        for i, value in enumerate(returns)
    ]


def test_an_outlier_does_not_own_the_interquartile_mean() -> None:
    assert analysis.interquartile_mean(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1e9])) == pytest.approx(3.5)
    entry = analysis.robust(_rows("a", [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1e9]))["a"]
    assert entry["iqm"] == pytest.approx(3.5) and entry["interval"][0] < 3.5 < entry["interval"][1]


def test_probability_of_improvement_by_hand() -> None:
    rows = _rows("a", [1.0, 2.0, 3.0]) + _rows("b", [0.0, 2.0, 2.5])
    # Of nine pairs a is better in 1 + 1 + 3, and level in one.
    probability = analysis.probability_of_improvement(rows, "a", "b")
    assert probability["probability"] == pytest.approx(5.5 / 9)
    assert probability["interval"][0] <= 5.5 / 9 <= probability["interval"][1]
    certain = analysis.probability_of_improvement(_rows("a", [5.0] * 4) + _rows("b", [1.0] * 4), "a", "b")
    assert certain["probability"] == 1.0 and certain["interval"] == pytest.approx([4 / (4 + 1.959964**2), 1.0])
    with pytest.raises(ValueError, match="same episodes"):
        analysis.probability_of_improvement(_rows("a", [1.0]) + _rows("b", [1.0, 2.0]), "a", "b")


def test_where_ours_loses_is_said_for_each_group() -> None:
    rows = _rows("elsewhere", [9.0], skew=0.1)
    for seed in range(5):
        rows += _rows("online_adaptation", [1.0, 1.5, 1.1], skew=0.1, seed=seed)
        rows += _rows("rival", [3.0 + 0.1 * seed, 3.5, 3.3], skew=0.1, seed=seed)
    rows += _rows("online_adaptation", [3.0, 3.1], skew=0.5) + _rows("rival", [3.0, 3.2], skew=0.5)
    compared = {(c["group"], c["rival"], c["metric"]): c for c in analysis.comparisons(rows)}
    assert len(compared) == 4  # not with the planner that other episodes were run of
    lost = compared["data.skew = 0.1", "rival", "return"]
    assert lost["verdict"] == "loses" and lost["mean"] == pytest.approx(-6.4 / 3) and lost["pairs"] == 15
    assert lost["seeds"] == 5 and lost["lacking"] == ""
    assert compared["data.skew = 0.1", "rival", "success"]["theirs"] == 1.0
    assert compared["data.skew = 0.5", "rival", "return"]["verdict"] == "none"
    assert compared["data.skew = 0.5", "rival", "return"]["lacking"] == (
        "no verdict: 1 seed, 5 are needed; 2 pairs, 10 are needed"
    )


def test_the_interquartile_mean_of_resamples_is_that_of_their_values() -> None:
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=11), rng.multinomial(11, np.full(11, 1 / 11), size=50).astype(float)
    expected = [analysis.interquartile_mean(np.repeat(values, w.astype(int))) for w in weights]
    np.testing.assert_allclose(analysis._resampled_iqm(values, weights), expected)


def test_the_probability_of_improvement_of_seeds_that_disagree() -> None:
    rows = [
        row
        for seed, ours in ((0, 2.0), (1, 2.0), (2, 0.0))
        for name, middle in (("a", ours), ("b", 1.0))
        for row in _rows(name, [middle, middle + 0.1, middle + 0.2], seed=seed)
    ]
    probability = analysis.probability_of_improvement(rows, "a", "b")
    assert probability["by_seed"] == [1.0, 1.0, 0.0] and probability["probability"] == pytest.approx(2 / 3)
    assert probability["interval"] == [0.0, 1.0]


def test_a_success_that_nobody_tells_of_is_not_compared() -> None:
    rows = _rows("online_adaptation", [1.0, 1.5], success=None) + _rows("rival", [3.0, 3.5], success=None)
    assert [c["metric"] for c in analysis.comparisons(rows)] == ["return"]
    # Where anybody has it, those of whom it is not said had none.
    rows = _rows("online_adaptation", [1.0, 1.5], success=None) + _rows("rival", [3.0, 3.5], success=True)
    (success,) = [c for c in analysis.comparisons(rows) if c["metric"] == "success"]
    assert (success["ours"], success["theirs"], success["mean"]) == (0, 1, -1)


def test_variations_of_ours_are_no_rivals() -> None:
    variation = {"base": "online_adaptation", "planner_settings": {"kl_coef": 1.0}, "settings": {}}
    rows = _rows("online_adaptation", [1.0, 2.0], **variation) + _rows("online_adaptation-kl_coef=1", [5.0, 6.0])
    rows[2:] = [row | variation for row in rows[2:]]
    assert analysis.comparisons(rows) == []


def test_calibration() -> None:
    rows = _rows("a", [1.0, 2.0, 3.0, 4.0])
    entry = analysis.calibration(rows)["a"]
    assert entry["promised"] == [11.0, 12.0, 13.0, 14.0] and entry["realised"] == [1.0, 2.0, 3.0, 4.0]
    assert entry["gap"] == 10.0


def test_pareto_front() -> None:
    entries = {"quick": (1.0, 0.2), "dominated": (2.0, 0.2), "better": (3.0, 0.9), "slow": (9.0, 0.9), "no": (None, 1)}
    entries["untold"] = (0.5, None)
    results = {"planners": {name: {"ms_p50": ms, "success": success} for name, (ms, success) in entries.items()}}
    assert analysis.pareto(results) == ["quick", "better"]


def test_ablations_have_the_default_among_their_values() -> None:
    rows = []
    for value, kl in ((1.0, 0.5), (None, 2.0), (0.1, 4.0), (5.0, 0.1)):
        settings = {} if value is None else {"kl_coef": value}
        name = "online_adaptation" + ("" if value is None else f"-kl_coef={value}")
        rows += _rows(name, [1.0, 2.0], base="online_adaptation", planner_settings=settings, kl=kl)
    rows += _rows("static", [1.0, 2.0], base="static", planner_settings={})
    (axis,) = analysis.ablations(analysis.groups(rows), lambda _: {"online_adaptation": OnlineAdaptation()})
    assert (axis.base, axis.field, axis.values) == ("online_adaptation", "kl_coef", [0.1, 0.25, 1.0, 5.0])
    assert [entry["kl"] for entry in axis.entries] == [4.0, 2.0, 0.5, 0.1]
    assert axis.trend("kl") == pytest.approx(-1.0) and axis.trend("return") is None
    assert analysis.ablations(analysis.groups(_rows("a", [1.0])), lambda _: {}) == []


def test_ablations_keep_experiments_apart() -> None:
    rows = []
    for skew in (0.1, 0.2):
        for settings in ({}, {"kl_coef": 1.0}):
            name = "online_adaptation" + ("-kl_coef=1" if settings else "")
            more = {"settings": {"data.skew": skew}, "base": "online_adaptation", "planner_settings": settings}
            rows += _rows(name, [skew, skew], **more)
    # What is varied of the experiment may be the price of all its planners.
    price = {0.1: 0.25, 0.2: 0.5}
    axes = analysis.ablations(
        analysis.groups(rows),
        lambda settings: {"online_adaptation": OnlineAdaptation(kl_coef=price[settings["data.skew"]])},
    )
    assert [(axis.group, axis.values) for axis in axes] == [
        ("data.skew = 0.1", [0.25, 1.0]),
        ("data.skew = 0.2", [0.5, 1.0]),
    ]
    assert [entry["return"] for entry in axes[1].entries] == [0.2, 0.2]
