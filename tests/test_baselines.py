"""What planners are held against, worked out by hand; and which promises are said to be doubtful."""

from pathlib import Path

import numpy as np
import pytest

from owma._internal.errors import CheckpointError
from owma.outcomes.transitions import Transitions
from owma.results.baselines import data_row, keep_data_row, kept_data_row, summarise_baselines, summarise_with_baselines
from owma.results.promises import doubtful_promises
from owma.runs.folder import RunFolder


def _episodes(*lengths: int) -> Transitions:
    n = sum(lengths)
    ends = np.zeros(n, bool)
    ends[np.cumsum(lengths) - 1] = True
    zeros = np.zeros((n, 2), np.float32)
    return Transitions(zeros, zeros, np.zeros(n, np.float32), zeros, np.zeros(n, bool), ends)


def test_the_datas_own_return_by_hand() -> None:
    """Episodes of 1, 2 and 3 steps, of returns 1, 1 and 7; the last alone comes to a reward of 4."""
    rewards = np.array([1, 2, -1, 1, 2, 4], np.float32)
    row = data_row(_episodes(1, 2, 3), rewards, np.array([5.0, -2.0, 9.0]), 4.0)
    assert (row["planner"], row["episodes"], row["steps"], row["return"]) == ("data", 3, 2.0, 3.0)
    assert row["success"] == pytest.approx(1 / 3) and row["discounted"] == [-2.0, 9.0]
    # Student's t of two degrees of freedom at 97.5 % is 4.3027; the standard error is sqrt(12/3).
    assert row["intervals"]["return"] == pytest.approx([3 - 4.3027 * 2, 3 + 4.3027 * 2], rel=1e-4)
    low, high = row["intervals"]["success"]
    assert 0.05 < low < 1 / 3 < high < 0.8
    one = data_row(_episodes(6), rewards, rewards, None)
    assert (one["return"], one["success"]) == (9.0, None) and one["intervals"] == {"return": None, "success": None}


def test_a_run_keeps_it_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert kept_data_row(folder) is None  # of a run from before
    row = data_row(_episodes(2, 2), np.ones(4, np.float32), np.ones(4), None)
    keep_data_row(folder, row)
    assert kept_data_row(folder) == row
    folder.write_json("data.json", [1])
    with pytest.raises(CheckpointError, match="not of the form that training writes"):
        kept_data_row(folder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"episodes": None},
        {"episodes": True},
        {"steps": "2"},
        {"intervals": {"return": None}},
        {"intervals": {"return": [1.0], "success": None}},
        {"discounted": [False, True]},
        {"return": float("nan")},
    ],
)
def test_a_row_of_which_a_part_is_damaged_is_refused_before_episodes(wrong: dict, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    keep_data_row(folder, data_row(_episodes(2, 2), np.ones(4, np.float32), np.ones(4), None) | wrong)
    with pytest.raises(CheckpointError, match="not of the form that training writes"):
        kept_data_row(folder)


def test_the_data_of_several_seeds_are_one_row_where_they_are_the_same() -> None:
    row = data_row(_episodes(2, 2), np.array([1, 1, 2, 2], np.float32), np.array([0.0, 4.0]), None)
    other = row | {"return": 6.0, "episodes": 6, "discounted": [-1.0, 3.0]}
    same = summarise_baselines([row | {"seed": 1}, row | {"seed": 2}])["data"]
    assert same == {key: value for key, value in row.items() if key != "planner"}
    entry = summarise_baselines([row, other])["data"]
    assert (entry["return"], entry["episodes"], entry["discounted"]) == (5.25, 8, [-1.0, 4.0])
    assert entry["intervals"]["return"] is None and summarise_baselines([]) == {}


def _spoken(planner: str, successes: list[bool | None]) -> list[dict]:
    """Episodes of an environment that may speak of success, or of none (`None`)."""
    unknown = dict.fromkeys(("value", "promise_gap", "kl", "nfe", "ms_p50", "ms_p95"))
    about = {"planner": planner, "seed": 1, "return": 1.0, **unknown}
    return [about | {"episode": i, "success": success} for i, success in enumerate(successes)]


@pytest.mark.cases
@pytest.mark.parametrize(("planner", "random"), [((True, None), (0.5, 0.0)), ((None, None), (None, None))])
def test_who_never_heard_of_success_had_none_where_another_did(planner: tuple, random: tuple) -> None:
    silent = _spoken("random_actions", [None, None])
    summary = summarise_with_baselines(_spoken("static", list(planner)), silent)
    assert (summary["planners"]["static"]["success"], summary["baselines"]["random_actions"]["success"]) == random
    # And the other way: only random actions came upon it.
    lucky = [row | {"planner": "random_actions"} for row in _spoken("static", list(planner))]
    summary = summarise_with_baselines(_spoken("static", [None, None]), lucky)
    assert (summary["baselines"]["random_actions"]["success"], summary["planners"]["static"]["success"]) == random
    # What the dataset says of itself is not of these episodes, and rows from before have no `env_success` to be filled.
    data = data_row(_episodes(2, 2), np.ones(4, np.float32), np.ones(4), 1.0)
    assert summarise_with_baselines(silent, [data])["planners"]["random_actions"]["success"] is None
    told = [row | {"env_success": True} for row in silent]
    assert "env_success" not in summarise_with_baselines(_spoken("static", [None]), told)["planners"]["static"]


def _promise(value: float | None, gap: float | None, low: float = -50.0, high: float = 0.0) -> list[str]:
    planners = {"p": {"value": value, "promise_gap": gap}}
    return doubtful_promises({"planners": planners, "baselines": {"data": {"discounted": [low, high]}}})


@pytest.mark.cases
def test_a_promise_beyond_all_returns_of_the_data_is_doubted() -> None:
    (beyond,) = _promise(61.0, 5.0)
    assert "[-50, 0]: p 61;" in beyond and "evaluation.kl_coef" in beyond and "value.kind" in beyond
    assert _promise(-90.0, None) and not _promise(1.0, None)  # a twentieth of the range is left to errors of V
    assert not _promise(-8.0, 5.0) and not _promise(None, None)
    assert doubtful_promises({"planners": {"p": {"value": 61.0, "promise_gap": 99.0}}}) == []


@pytest.mark.cases
def test_a_promise_of_which_most_does_not_come_is_doubted() -> None:
    (unkept,) = _promise(36.0, 20.0, 0.0, 60.0)
    assert "p 20 of 36" in unkept and "worst return being 0" in unkept
    assert not _promise(36.0, 17.0, 0.0, 60.0) and not _promise(36.0, -20.0, 0.0, 60.0)
    # Costs: from the worst to the promise there are 45, of which 7 are not much.
    assert not _promise(-5.0, 7.0) and _promise(-5.0, 30.0)
    assert len(_promise(118.0, 108.0)) == 2
