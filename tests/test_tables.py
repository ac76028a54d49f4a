"""Summaries of evaluations: against numbers worked out by hand, and intervals that stay honest at the edges."""

import io
import json
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from owma.results.tables import paired_difference, results_markdown, results_table, summarise


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
    by_planner = summarise(_rows("b", [0.0, 1.0, 2.0, 5.0]) + _rows("a", [1.0]))["planners"]
    assert list(by_planner) == ["b", "a"]
    assert by_planner["b"]["success"] == 0.75 and by_planner["b"]["return"] == 2.0 and by_planner["b"]["value"] == 4.0
    assert by_planner["b"]["ms_p50"] == 5.5 and by_planner["b"]["nfe"] == 320.0
    assert by_planner["b"]["episodes"] == 4 and by_planner["b"]["seeds"] == 2
    assert by_planner["b"]["fallbacks"] == 4 and by_planner["b"]["clipped"] == 8
    low, high = by_planner["b"]["intervals"]["return"]
    assert 0.0 <= low < 2.0 < high <= 5.0
    assert by_planner["b"]["intervals"]["kl"] == [0.5, 0.5]  # all equal: the point
    assert by_planner["a"]["intervals"]["return"] is None  # one episode says nothing about the spread
    assert "missing" not in by_planner["b"]
    json.dumps(by_planner, allow_nan=False)


def test_a_table_says_which_value_promises_are_of() -> None:
    bound, linear = _rows("a", [1.0, 2.0], value_kind="pessimistic"), _rows("b", [1.0, 2.0], value_kind="linear")
    assert "first decision (V: pessimistic) minus" in results_markdown(summarise(bound))
    assert "first decision (V: pessimistic or linear) minus" in results_markdown(summarise(bound + linear))
    assert "first decision minus" in results_markdown(summarise(_rows("a", [1.0, 2.0])))


def test_interval_covers_as_often_as_it_says() -> None:
    """Of the mean of 40 exponentials of one seed: covers 0.88 to 0.99 of the time (percentiles are a little narrow)."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        rows = [row | {"seed": 0, "episode": i} for i, row in enumerate(_rows("a", list(rng.exponential(size=40))))]
        low, high = summarise(rows)["planners"]["a"]["intervals"]["return"]
        covered += low <= 1.0 <= high
    assert 88 <= covered <= 99


def test_success_of_all_or_none_has_wilsons_interval() -> None:
    # Wilson at 0 of n: [0, z²/(n + z²)], z = 1.959964, so 3.8415/13.8415 at n = 10.
    ten = [{"seed": 0, "episode": i} for i in range(10)]
    none = summarise([row | place for row, place in zip(_rows("a", [0.0] * 10), ten)])["planners"]["a"]
    assert none["success"] == 0.0
    assert none["intervals"]["success"] == pytest.approx([0.0, 0.27753], abs=1e-4)
    every = summarise([row | place for row, place in zip(_rows("a", [1.0] * 10), ten)])["planners"]["a"]
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
    by_planner = summarise(rows)["planners"]
    assert by_planner["static"]["kl"] is None and by_planner["static"]["missing"] == {"kl": 2}
    assert by_planner["other"]["kl"] == 0.5 and by_planner["other"]["missing"] == {"kl": 1}
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
    by_planner = summarise(rows + _rows("silent", [1.0, 2.0], success=None))["planners"]
    assert (by_planner["x"]["success"], by_planner["silent"]["success"]) == (0.5, 0)
    assert rows[1]["success"] is None


def test_rows_written_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="`a` has 6 rows for 4 episodes"):
        summarise(_rows("a", [1.0, 2.0, 3.0, 4.0]) + _rows("a", [1.0, 2.0]))


def test_pairing_removes_what_episodes_share() -> None:
    """Episodes differ by 100, planners by 1: only the paired interval can tell."""
    rng = np.random.default_rng(2)
    shared = 100.0 * rng.normal(size=30)
    rows = _rows("a", list(shared + 1.0 + 0.1 * rng.normal(size=30))) + _rows("b", list(shared))[::-1]
    difference = paired_difference(rows, "a", "b", "return")
    assert difference["pairs"] == 30 and difference["mean"] == pytest.approx(1.0, abs=0.1)
    assert 0.9 < difference["interval"][0] < difference["mean"] < difference["interval"][1] < 1.1
    assert paired_difference(rows, "b", "a", "return")["mean"] == -difference["mean"]


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
        assert all(cell in text for cell in ("75", "50 / 100", "0 / 0", "–", "320", "4 episodes of 2 seeds"))
        assert "resamples seeds, then episodes" in " ".join(text.split())
        assert "No verdict: 2 seeds, 5 are needed." in " ".join(text.split())
    header, rule, *body = markdown.splitlines()
    assert header.count("|") == rule.count("|") == body[0].count("|") == 11


def test_counters_of_all_episodes_are_shown() -> None:
    rows = _rows("a", [0.0, 1.0], fallbacks=2, overruns=1, clipped=30) + _rows("b", [0.0, 1.0])
    results = summarise(rows)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(results_table(results))
    assert "fallbacks / late / clipped: a 4 / 2 / 60; b" in " ".join(console.export_text().split())
    header, rule, first, *_ = results_markdown(results, wide=True).splitlines()
    assert header.endswith("| fallbacks | late | clipped |") and first.endswith("| 4 | 2 | 60 |")
    assert header.count("|") == rule.count("|") == first.count("|") == 14


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
    for table, columns in ((narrow, 12), (wide, 16)):
        assert {line.count("|") for line in table.splitlines()[:4]} == {columns + 1}
    assert table.splitlines()[3].startswith("| static | 50 [0, 100] | 0 / 100 | 0.5 [0, 1] | – | – | – | ")


def test_three_seeds_of_which_one_fails_are_not_48_episodes() -> None:
    """ρ = 0.001 of the reference rows: 0, 94 and 94 %. Taken as independent they would give 62 [48, 75]."""
    rows = [
        _rows("a", [0.0])[0] | {"seed": seed, "episode": episode, "success": episode < successes}
        for seed, successes in ((1, 0), (2, 15), (3, 15))
        for episode in range(16)
    ]
    results = summarise(rows)
    low, high = results["planners"]["a"]["intervals"]["success"]
    assert (low, high) == (0, 1)
    assert results["planners"]["a"]["by_seed"]["success"] == {"1": 0.0, "2": 0.9375, "3": 0.9375}
    assert "| 62 [0, 100] | 0 / 94 / 94 | " in results_markdown(results)


def test_a_table_of_one_seed_says_that_it_is_of_one() -> None:
    table = results_markdown(summarise([row | {"seed": 7} for row in _rows("a", [1.0, 2.0])[:1]]))
    assert "1 episode of 1 seed. [95 %]: bootstrap over episodes of one seed: says nothing of other trainings." in table
    assert "by seed" not in table


def test_differences_that_all_agree_are_no_certainty() -> None:
    rows = _rows("a", [1.0] * 20) + _rows("b", [1.0] * 20) + _rows("c", [0.0] * 20)
    for rival, mean in (("b", 0.0), ("c", 1.0)):
        difference = paired_difference(rows, "a", rival, "success")
        assert difference["mean"] == mean and difference["seeds"] == 2 and difference["pairs"] == 20
        assert (
            difference["interval"][0] < difference["interval"][1]
            and -1 <= difference["interval"][0]
            and difference["interval"][1] <= 1
        )


def test_no_planner_at_all() -> None:
    assert summarise([]) == {"planners": {}}
    assert "No episodes" in results_markdown(summarise([]))
    results_table(summarise([]))


def test_former_names_are_noted_where_they_are_shown() -> None:
    """`guided_diffusion` was one draw in a run and 333 in a sweep: 44 network calls or 11,000 where a draw has 11."""
    for nfe, noted in ((44, True), (11_000, False)):
        rows = _rows("static", [1.0, 2.0], nfe=11) + _rows("guided_diffusion", [1.0, 2.0], nfe=nfe)
        note = "guided_diffusion is a name from earlier versions: guided_diffusion_single today."
        assert (note in results_markdown(summarise(rows))) == noted
