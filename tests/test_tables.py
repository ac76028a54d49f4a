"""Summaries of evaluations: against numbers worked out by hand, and intervals that stay honest at the edges."""

import io
import json
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from owma.tables import paired_difference, results_markdown, results_table, summarise


def _rows(planner: str, returns: list[float], **fields: Any) -> list[dict[str, Any]]:
    return [
        {
            "planner": planner,
            "seed": i % 2,
            "episode": i // 2,
            "success": value > 0,
            "return": value,
            "value": 2.0 * value,
            "promise_gap": value,
            "kl": 0.5,
            "nfe": 320,
            "ms_p50": 4.0 + i,
            "ms_p95": 8.0,
            "fallbacks": 1,
            "overruns": 0,
            "clipped": 2,
        }
        | fields
        for i, value in enumerate(returns)
    ]


def test_summary_by_hand() -> None:
    found = summarise(_rows("b", [0.0, 1.0, 2.0, 5.0]) + _rows("a", [1.0]))["planners"]
    assert list(found) == ["b", "a"]
    assert found["b"]["success"] == 0.75 and found["b"]["return"] == 2.0 and found["b"]["value"] == 4.0
    assert found["b"]["ms_p50"] == 5.5 and found["b"]["nfe"] == 320.0
    assert found["b"]["episodes"] == 4 and found["b"]["seeds"] == 2
    assert found["b"]["fallbacks"] == 4 and found["b"]["clipped"] == 8
    low, high = found["b"]["intervals"]["return"]
    assert 0.0 <= low < 2.0 < high <= 5.0
    assert found["b"]["intervals"]["kl"] == [0.5, 0.5]  # all equal: the point
    assert found["a"]["intervals"]["return"] is None  # one episode says nothing about the spread
    assert "missing" not in found["b"]
    json.dumps(found, allow_nan=False)


def test_interval_covers_as_often_as_it_says() -> None:
    """A 95 % interval of the mean of 40 exponentials: covers 0.9 to 0.99 of the time (BCa is a little narrow)."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        low, high = summarise(_rows("a", list(rng.exponential(size=40))))["planners"]["a"]["intervals"]["return"]
        covered += low <= 1.0 <= high
    assert 88 <= covered <= 99


def test_success_of_all_or_none_has_wilsons_interval() -> None:
    # Wilson at 0 of n: [0, z²/(n + z²)], z = 1.959964, so 3.8415/13.8415 at n = 10.
    none = summarise(_rows("a", [0.0] * 10))["planners"]["a"]
    assert none["success"] == 0.0
    assert none["intervals"]["success"] == pytest.approx([0.0, 0.27753], abs=1e-4)
    every = summarise(_rows("a", [1.0] * 10))["planners"]["a"]
    assert every["intervals"]["success"] == pytest.approx([0.72247, 1.0], abs=1e-4)
    one = summarise(_rows("a", [1.0]))["planners"]["a"]
    assert one["intervals"]["success"] == pytest.approx([0.20654, 1.0], abs=1e-4)


def test_rare_success_has_an_interval_without_warnings() -> None:
    low, high = summarise(_rows("a", [1.0] + [0.0] * 199))["planners"]["a"]["intervals"]["success"]
    assert 0.0 <= low < 0.005 < high < 0.05


def test_the_same_rows_give_the_same_numbers() -> None:
    rows = _rows("a", list(np.random.default_rng(1).normal(size=30)))
    assert summarise(rows) == summarise(rows)


def test_what_was_not_measured_is_counted_not_invented() -> None:
    rows = _rows("static", [1.0, 2.0], kl=None) + _rows("other", [1.0, 2.0, 3.0, 4.0])
    rows[2]["kl"] = float("nan")
    found = summarise(rows)["planners"]
    assert found["static"]["kl"] is None and found["static"]["missing"] == {"kl": 2}
    assert found["other"]["kl"] == 0.5 and found["other"]["missing"] == {"kl": 1}
    with pytest.raises(ValueError, match="1 episodes of `x` have no return"):
        summarise(_rows("x", [1.0], **{"return": None}))


def test_success_that_nobody_tells_of_is_none_and_not_nought() -> None:
    rows = _rows("hopper", [1.0, 2.0, 3.0], success=None)
    results = summarise(rows)
    entry = results["planners"]["hopper"]
    assert entry["success"] is None and entry["intervals"]["success"] is None and entry["return"] == 2.0
    assert entry["missing"] == {"success": 3}
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(results_table(results))
    assert any(line.split()[:2] == ["hopper", "–"] for line in console.export_text().splitlines())
    assert "| hopper | – | 2 [" in results_markdown(results)


def test_silence_is_no_success_where_others_have_some() -> None:
    rows = [*_rows("x", [1.0, 2.0], success=True)[:1], *_rows("x", [1.0, 2.0], success=None)[1:]]
    found = summarise(rows + _rows("silent", [1.0, 2.0], success=None))["planners"]
    assert (found["x"]["success"], found["silent"]["success"]) == (0.5, 0)
    assert rows[1]["success"] is None


def test_rows_written_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="`a` has 6 rows for 4 episodes"):
        summarise(_rows("a", [1.0, 2.0, 3.0, 4.0]) + _rows("a", [1.0, 2.0]))


def test_pairing_removes_what_episodes_share() -> None:
    """Episodes differ by 100, planners by 1: only the paired interval can tell."""
    rng = np.random.default_rng(2)
    shared = 100.0 * rng.normal(size=30)
    rows = _rows("a", list(shared + 1.0 + 0.1 * rng.normal(size=30))) + _rows("b", list(shared))[::-1]
    found = paired_difference(rows, "a", "b", "return")
    assert found["pairs"] == 30 and found["mean"] == pytest.approx(1.0, abs=0.1)
    assert 0.9 < found["interval"][0] < found["mean"] < found["interval"][1] < 1.1
    assert paired_difference(rows, "b", "a", "return")["mean"] == -found["mean"]


def test_pairing_needs_the_same_episodes() -> None:
    rows = _rows("a", [1.0, 2.0, 3.0]) + _rows("b", [1.0, 2.0])
    with pytest.raises(ValueError, match=r"`a` has 3 episodes and `b` 2; .*\(0, 1\) is in one only"):
        paired_difference(rows, "a", "b", "return")
    with pytest.raises(ValueError, match="`c` 0"):
        paired_difference(rows, "a", "c", "return")
    with pytest.raises(ValueError, match="2 episodes have no `kl`"):
        paired_difference(rows[:2] + _rows("b", [1.0, 2.0], kl=None), "a", "b", "kl")


def test_both_tables_show_the_same_cells() -> None:
    results = summarise(_rows("online_adaptation", [0.0, 1.0, 2.0, 1234.0]) + _rows("static", [0.0] * 4, kl=None))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(results_table(results, name_width=10))
    printed, markdown = console.export_text(), results_markdown(results)
    assert "…" not in printed  # at eighty columns nothing is cut short
    for text in (printed, markdown):
        assert all(cell in text for cell in ("75", "[0, 49]", "–", "320", "4 episodes over 2 seeds"))
    header, rule, *body = markdown.splitlines()
    assert header.count("|") == rule.count("|") == body[0].count("|") == 10


def test_counters_of_all_episodes_are_shown() -> None:
    rows = _rows("a", [0.0, 1.0], fallbacks=2, overruns=1, clipped=30) + _rows("b", [0.0, 1.0])
    results = summarise(rows)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(results_table(results))
    assert "fallbacks / late / clipped: a 4 / 2 / 60; b" in " ".join(console.export_text().split())
    header, rule, first, *_ = results_markdown(results, wide=True).splitlines()
    assert header.endswith("| fallbacks | late | clipped |") and first.endswith("| 4 | 2 | 60 |")
    assert header.count("|") == rule.count("|") == first.count("|") == 13


def test_what_benchmarks_report_has_columns_where_there_is_any() -> None:
    scores = {"d4rl_normalized_score": 92.8, "minari_normalized_score": 0.925, "dense_return": 345.6}
    rows = _rows("online_adaptation", [0.0, 1.0, 2.0, 1234.0], **scores) + _rows("static", [0.0, 1.0])
    rows[0]["dense_return"] = None
    results = summarise(rows)
    entry = results["planners"]["online_adaptation"]
    assert {key: entry[key] for key in scores} == pytest.approx(scores) and entry["missing"] == {"dense_return": 1}
    assert entry["intervals"]["d4rl_normalized_score"] == [92.8, 92.8]
    assert not set(scores) & set(results["planners"]["static"]) and "missing" not in results["planners"]["static"]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(results_table(results, name_width=10))
    printed, narrow, wide = console.export_text(), results_markdown(results), results_markdown(results, wide=True)
    assert "…" not in printed and "dense" not in printed
    foot = "D4RL normalized score [95 %]: online_adaptation 92.8 [92.8, 92.8]; static – "
    assert foot + "Minari normalized score [95 %]: online_adaptation 0.925" in " ".join(printed.split())
    benchmarks = "| return [95 %] | D4RL normalized score [95 %] | Minari normalized score [95 %] "
    assert f"{benchmarks}| V(ψ*) |" in narrow and f"{benchmarks}| dense return [95 %] | V(ψ*) |" in wide
    assert "| 92.8 [92.8, 92.8] | 0.925 [0.925, 0.925] | 346 [346, 346] | " in wide
    for table, columns in ((narrow, 11), (wide, 15)):
        assert {line.count("|") for line in table.splitlines()[:4]} == {columns + 1}
    assert table.splitlines()[3].startswith("| static | 50 [0, 100] | 0.5 [0, 1] | – | – | – | ")


def test_no_planner_at_all() -> None:
    assert summarise([]) == {"planners": {}}
    assert "No episodes" in results_markdown(summarise([]))
    results_table(summarise([]))
