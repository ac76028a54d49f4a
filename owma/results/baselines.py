"""What planners are held against, by the same judge: the dataset's episodes, random actions, and doing nothing."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from owma._internal.errors import CheckpointError
from owma._internal.types import Float, HostArray
from owma.outcomes.transitions import Transitions
from owma.results.tables import summarise, with_known_success
from owma.runs.folder import RunFolder

RANDOM, NO_ACTION, DATA = "random_actions", "no_action", "data"
"""Their names in the column of planners."""

FILE = "baselines.jsonl"
"""Of a folder with rows: one an episode of `RANDOM` and of `NO_ACTION`, where that was tried, and one of `DATA`."""

_RUN_FILE = "data.json"


def data_row(
    transitions: Transitions,
    rewards: Float[np.ndarray, " n"],
    returns: Float[HostArray, " k"],
    success_reward: float | None,
) -> dict[str, Any]:
    """What the recorded episodes come to by a task.

    **Arguments:** `rewards`: of the task, one a transition. `returns`: discounted, of all or some transitions.
    `success_reward`: as a task has it.

    **Returns:** `planner` (`DATA`), `episodes` (how many), their mean `return` and `steps`, `success` (the share, or
    `None` where the task does not know it), the 95 % `intervals` of return and success over episodes, which are taken
    to be independent, and `discounted`, the smallest and the largest of `returns`.
    """
    starts = transitions.episode_starts
    sums = np.add.reduceat(rewards, starts, dtype=np.float64)
    success = None if success_reward is None else np.maximum.reduceat(rewards, starts) >= success_reward
    return {
        "planner": DATA,
        "episodes": len(starts),
        "success": None if success is None else float(success.mean()),
        "return": float(sums.mean()),
        "steps": len(transitions) / len(starts),
        "intervals": {"return": _of_mean(sums), "success": None if success is None else _of_share(success)},
        "discounted": [float(np.min(returns)), float(np.max(returns))],
    }


def keep_data_row(folder: RunFolder, row: Mapping[str, Any]) -> None:
    """Leave it with a run, whose dataset may be elsewhere when the run is evaluated."""
    folder.write_json(_RUN_FILE, row)


def kept_data_row(folder: RunFolder) -> dict[str, Any] | None:
    """What `keep_data_row` left there; `None` of runs from before it was kept.

    Raises `CheckpointError` if it is something else.
    """
    if not (folder.path / _RUN_FILE).exists():
        return None
    row = folder.read_json(_RUN_FILE)
    if not (isinstance(row, dict) and row.get("planner") == DATA and _is_data_row(row)):
        raise CheckpointError(
            f"{folder.path / _RUN_FILE} is not of the form that training writes. Restore it, or delete it to do "
            "without the data's own returns."
        )
    return row


def read_baselines(folder: RunFolder) -> list[dict[str, Any]]:
    """The rows of `FILE`; none of folders from before there was one. Rows without a return are left out: they were
    written before an environment that gives none under random actions was refused.
    """
    rows = folder.read_jsonl(FILE, drop_torn=True) if (folder.path / FILE).exists() else []
    return [row for row in rows if row["return"] is not None]


def summarise_with_baselines(
    rows: Sequence[Mapping[str, Any]], baselines: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What `owma.results.tables.summarise` says of the rows of planners, and `baselines` where there are some.

    An environment of which one row says that it speaks of success spoke of it to all, planners and random actions.
    """
    summary = summarise(with_known_success(rows, episodes_among(baselines)))
    beside = summarise_baselines(baselines, rows)
    return summary | ({"baselines": beside} if beside else {})


def episodes_among(baselines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that are of episodes in the planners' environment: all but those of `DATA`."""
    return [row for row in baselines if row["planner"] in (RANDOM, NO_ACTION)]


def summarise_baselines(
    rows: Sequence[Mapping[str, Any]], planners: Sequence[Mapping[str, Any]] = ()
) -> dict[str, dict[str, Any]]:
    """The baselines by name, each as `owma.results.tables.summarise` has planners; those that rows lack are left out.

    Of `DATA` it is the row; where rows of several datasets, or seeds, differ, the means over all their episodes.
    `planners`: rows of the planners beside them, by which it may be known that the environment speaks of success.
    """
    by_planner = dict(summarise(with_known_success(episodes_among(rows), planners))["planners"])
    keys = ("episodes", "success", "return", "steps", "intervals", "discounted")
    of_data = [{key: row[key] for key in keys} for row in rows if row["planner"] == DATA]
    if of_data:
        by_planner[DATA] = of_data[0] if all(row == of_data[0] for row in of_data) else _together(of_data)
    return by_planner


def _together(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    weights = [row["episodes"] for row in rows]

    def mean(key: str) -> float | None:
        values = [row[key] for row in rows]
        return None if None in values else float(np.average(values, weights=weights))

    low, high = zip(*(row["discounted"] for row in rows))
    means = {key: mean(key) for key in ("success", "return", "steps")}
    unknown = {"return": None, "success": None}
    return {"episodes": sum(weights), **means, "intervals": unknown, "discounted": [min(low), max(high)]}


def _of_mean(values: Float[np.ndarray, " n"]) -> list[float] | None:
    """Student's interval: a bootstrap of a million episodes takes hours."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    margin = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return [float(values.mean()) - margin, float(values.mean()) + margin]


def _of_share(successes: np.ndarray) -> list[float]:
    from scipy.stats import binomtest

    limits = binomtest(int(successes.sum()), len(successes)).proportion_ci(0.95, method="wilson")
    return [float(limits.low), float(limits.high)]


def _is_data_row(row: Mapping[str, Any]) -> bool:
    """Whether all is there that `summarise_baselines` and tables read."""
    intervals, success = row.get("intervals"), row.get("success", "absent")
    return (
        type(row.get("episodes")) is int
        and row["episodes"] > 0
        and all(_is_number(row.get(key)) for key in ("return", "steps"))
        and (success is None or _is_number(success))
        and isinstance(intervals, dict)
        and {"return", "success"} <= set(intervals)
        and all(interval is None or _is_range(interval) for interval in intervals.values())
        and _is_range(row.get("discounted"))
    )


def _is_number(value: Any) -> bool:
    """A finite one, and no boolean, which is an `int` in Python."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
