"""From per-episode rows to the numbers of `results.json`, and from those to a table for people."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from owma._types import Float

if TYPE_CHECKING:
    from rich.table import Table

_CENTRES: dict[str, Callable[[np.ndarray], Any]] = {
    "success": np.mean,
    "return": np.mean,
    "value": np.mean,
    "promise_gap": np.mean,
    "kl": np.mean,
    "nfe": np.mean,
    "ms_p50": np.median,
    "ms_p95": np.median,
}
"""How episodes become one number; the median for times, since one pause of the machine would own a mean."""

SCORES: Mapping[str, str] = {
    "env_success": "env success % [95 %]",
    "env_return": "env return [95 %]",
    "d4rl_normalized_score": "D4RL normalized score [95 %]",
    "minari_normalized_score": "Minari normalized score [95 %]",
}
"""Metrics that some rows have, and their headings: what the environment says of episodes that a task judges, and what
benchmarks report (see `owma.scores`)."""

WIDE_SCORES: Mapping[str, str] = SCORES | {"dense_return": "dense return [95 %]"}
"""The same of a wide table."""

_WITH_INTERVAL = ("success", "return", "value", "promise_gap", "kl")
_PROPORTIONS = ("success", "env_success")
_COUNTS = ("fallbacks", "overruns", "clipped")
_CONFIDENCE = 0.95
_RESAMPLES = 5000

HEADINGS = (
    "planner",
    "success % [95 %]",
    "return [95 %]",
    "V(ψ*)",
    "promise gap",
    "KL (nats)",
    "network calls",
    "ms p50",
    "ms p95",
)
"""Of the table of planners."""

_SCORES_AT = 3
"""After success and return."""

COUNTS = ("fallbacks", "late", "clipped")
"""Of the further columns of a wide table: plans that fell back on the trained model, decisions after their deadline,
actions that had to be moved into the action space."""


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarise evaluation rows, one an episode, for each planner, in the order in which planners first appear.

    **Arguments:**

    - `rows`: mappings with the keys of `episodes.jsonl` (planner, seed, episode, success, return, value, promise_gap,
        kl, nfe, ms_p50, ms_p95, fallbacks, overruns, clipped). `None` or NaN stands for "not measured". They may have
        keys of `WIDE_SCORES` too, and are then summarised by mean and interval.

    **Returns:** `{"planners": {NAME: {...}}}`. Each planner has the mean of success, return, value, promise_gap, kl
    and nfe, the median over episodes of ms_p50 and ms_p95, the sums of fallbacks, overruns and clipped, `episodes` and
    `seeds` (how many), `missing` (metric to the number of episodes without it, where there are some) and `intervals`:
    95 % intervals `[low, high]` of success, return, value, promise_gap and kl. A metric that no episode has is `None`.

    The intervals come from a bias-corrected and accelerated bootstrap over all episodes of all seeds. Two cases have
    none that is honest: where all values agree the interval is that point, except for success, whose interval is then
    Wilson's (0 of 10 is [0, 0.28], not [0, 0]); one single value has no interval (`None`).

    Raises `ValueError` where an episode occurs twice for a planner, or a return is not a number.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in with_known_success(rows):
        groups.setdefault(row["planner"], []).append(row)
    return {"planners": {name: _summary(name, group) for name, group in groups.items()}}


def with_known_success(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows of one environment: if any of them knows of success, those that do not had none; and so with `env_success`.

    Many environments speak of success only when it comes.
    """
    found = list(rows)
    for key in _PROPORTIONS:
        if any(row.get(key) is not None for row in found):
            found = [{**row, key: False} if row.get(key) is None else row for row in found]
    return found


def paired_difference(rows: Sequence[Mapping[str, Any]], a: str, b: str, key: str) -> dict[str, Any]:
    """The mean of `a` minus `b` in one metric, paired by seed and episode.

    **Arguments:**

    - `rows`: as for `summarise`.
    - `a`, `b`: names of planners evaluated on the same episodes.
    - `key`: the metric, e.g. `"return"`.

    **Returns:** `{"mean", "interval", "pairs"}`, the 95 % interval by bootstrap over pairs (`None` for one pair).

    Raises `ValueError` where the two were not evaluated on the same episodes or an episode lacks the metric.
    """
    left, right = (by_episode(name, [row for row in rows if row["planner"] == name]) for name in (a, b))
    if left.keys() != right.keys() or not left:
        alone = sorted(left.keys() ^ right.keys())
        raise ValueError(
            f"paired_difference: `{a}` has {len(left)} episodes and `{b}` {len(right)}; they must be the same "
            f"(seed, episode) pairs{f', but {alone[0]} is in one only' if alone else ''}."
        )
    differences = np.array([_number(left[pair][key]) - _number(right[pair][key]) for pair in left])
    if np.isnan(differences).any():
        raise ValueError(f"paired_difference: {int(np.isnan(differences).sum())} episodes have no `{key}`.")
    return {"mean": float(differences.mean()), "interval": interval(differences), "pairs": len(differences)}


def results_table(results: Mapping[str, Any], *, name_width: int | None = None) -> "Table":
    """The table that an evaluation ends with, one row a planner; `results` is what `summarise` returns.

    Names of more than `name_width` characters go on to a second line at a `_`, `-` or `=`, if there is such a width.
    """
    from rich import box
    from rich.table import Table

    # Headings and intervals go to a second line, so that eighty columns do; no name or number is ever cut short.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption=_caption(results))
    table.caption_justify = "left"
    if results["planners"]:  # beside the others there is no room for these
        shown = "; ".join(f"{name} {' / '.join(counts(entry))}" for name, entry in results["planners"].items())
        table.caption = f"{_caption(results)}\n{' / '.join(COUNTS)}: {shown}"
    for key in scores_in(results):  # nor for these
        of_planners = (f"{name} {_score(entry, key)}" for name, entry in results["planners"].items())
        table.caption = f"{table.caption}\n{SCORES[key]}: {'; '.join(of_planners)}"
    for heading in HEADINGS:
        is_name = heading == "planner"
        narrow = heading.replace(" ", "\n", 1)
        table.add_column(narrow, justify="left" if is_name else "right", no_wrap=True)
    successes = [e["success"] for e in results["planners"].values() if e["success"] is not None]
    for name, entry in results["planners"].items():
        is_best = entry["success"] is not None and min(successes) < entry["success"] == max(successes)
        shown, *others = (cell.replace(" [", "\n[") for cell in cells(name, entry))
        table.add_row(_on_lines(shown, name_width), *others, style="bold" if is_best else None)
    return table


def _on_lines(name: str, width: int | None) -> str:
    lines = [""]
    for part in re.findall(r"[^_=-]*[_=-]|[^_=-]+", name):
        if width is not None and lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def results_markdown(results: Mapping[str, Any], *, wide: bool = False) -> str:
    """The same table as Markdown, for a README; ends with a line end. `wide`: with `WIDE_SCORES` and `COUNTS`."""
    scores = scores_in(results, wide=wide)
    columns = [*headings(scores), *(COUNTS if wide else ())]
    lines = ["| " + " | ".join(columns) + " |", "|-" + "|-:" * (len(columns) - 1) + "|"]
    for name, entry in results["planners"].items():
        row = cells(name, entry, scores) + (counts(entry) if wide else [])
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join([*lines, "", _caption(results), ""])


def _summary(name: str, rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    by_episode(name, rows)
    summary: dict[str, Any] = {}
    intervals: dict[str, list[float] | None] = {}
    missing: dict[str, int] = {}
    scores = {key: np.mean for key in WIDE_SCORES if any(row.get(key) is not None for row in rows)}
    for key, centre in (_CENTRES | scores).items():
        column = np.array([_number(row.get(key)) for row in rows])
        values = column[~np.isnan(column)]
        if len(values) < len(column):
            missing[key] = len(column) - len(values)
            if key == "return":
                raise ValueError(f"summarise: {missing[key]} episodes of `{name}` have no {key}; the rows are spoilt.")
        summary[key] = float(centre(values)) if len(values) else None
        if key in _WITH_INTERVAL or key in scores:
            intervals[key] = interval(values, proportion=key in _PROPORTIONS)
    summary |= {key: sum(int(row.get(key) or 0) for row in rows) for key in _COUNTS}
    summary |= {"episodes": len(rows), "seeds": len({row["seed"] for row in rows}), "intervals": intervals}
    return summary | ({"missing": missing} if missing else {})


def by_episode(name: str, rows: list[Mapping[str, Any]]) -> dict[tuple[int, int], Mapping[str, Any]]:
    """A planner's rows by seed and episode. Raises `ValueError` where one of them is there twice."""
    episodes = {(row["seed"], row["episode"]): row for row in rows}
    if len(episodes) < len(rows):
        raise ValueError(f"`{name}` has {len(rows)} rows for {len(episodes)} episodes: some were written twice.")
    return episodes


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def interval(
    values: Float[np.ndarray, " n"],
    statistic: Callable[..., Any] = np.mean,
    *,
    proportion: bool = False,
) -> list[float] | None:
    """The 95 % bootstrap interval of a statistic, by default the mean; see `summarise` for its edge cases."""
    if len(values) < 2 and not (proportion and len(values)):
        return None
    if np.ptp(values) == 0:
        return wilson(values) if proportion else [float(values[0])] * 2
    from scipy.stats import bootstrap

    # A fixed seed: the same rows give the same table. Batches bound the memory, which grows with n squared otherwise.
    found = bootstrap(
        (values,), statistic, confidence_level=_CONFIDENCE, n_resamples=_RESAMPLES, batch=200, method="BCa", rng=0
    ).confidence_interval
    return [float(found.low), float(found.high)]


def wilson(successes: Float[np.ndarray, " n"]) -> list[float]:
    """Wilson's 95 % interval of the share of successes, each 0 or 1: it is never a point."""
    from scipy.stats import binomtest

    found = binomtest(int(successes.sum()), len(successes)).proportion_ci(_CONFIDENCE, method="wilson")
    return [float(found.low), float(found.high)]


def scores_in(results: Mapping[str, Any], *, wide: bool = False) -> tuple[str, ...]:
    """The keys of `SCORES`, or of `WIDE_SCORES`, that some planner has: of results of older versions none."""
    entries = results["planners"].values()
    return tuple(key for key in (WIDE_SCORES if wide else SCORES) if any(key in entry for entry in entries))


def headings(scores: Sequence[str] = ()) -> list[str]:
    """`HEADINGS`, with those of `scores` after the return."""
    return [*HEADINGS[:_SCORES_AT], *(WIDE_SCORES[key] for key in scores), *HEADINGS[_SCORES_AT:]]


def cells(name: str, entry: Mapping[str, Any], scores: Sequence[str] = ()) -> list[str]:
    """A row of the table of planners, under `headings(scores)`."""
    return [
        name,
        _spread(entry, "success", ".0f", 100.0),
        _spread(entry, "return"),
        *(_score(entry, key) for key in scores),
        _shown(entry.get("value"), ".3g"),
        _shown(entry.get("promise_gap"), ".3g"),
        _shown(entry.get("kl"), ".3g"),
        _shown(entry.get("nfe"), ".0f"),
        _shown(entry.get("ms_p50"), ".3g"),
        _shown(entry.get("ms_p95"), ".3g"),
    ]


def counts(entry: Mapping[str, Any]) -> list[str]:
    """A planner's numbers under `COUNTS`, over all its episodes; rows of older versions may lack them."""
    return [str(entry.get(key, "–")) for key in _COUNTS]


def _score(entry: Mapping[str, Any], key: str) -> str:
    return _spread(entry, key, ".0f", 100.0) if key in _PROPORTIONS else _spread(entry, key)


def _spread(entry: Mapping[str, Any], key: str, form: str = ".3g", scale: float = 1.0) -> str:
    ends = entry.get("intervals", {}).get(key)
    middle = _shown(entry.get(key), form, scale)
    return middle if ends is None else f"{middle} [{_shown(ends[0], form, scale)}, {_shown(ends[1], form, scale)}]"


def _shown(value: float | None, form: str, scale: float = 1.0) -> str:
    if value is None:
        return "–"
    scaled = value * scale
    return f"{scaled:.0f}" if form.endswith("g") and 1e3 <= abs(scaled) < 1e6 else f"{scaled:{form}}"


def _caption(results: Mapping[str, Any]) -> str:
    sizes = {(entry["episodes"], entry["seeds"]) for entry in results["planners"].values()}
    counts = "; ".join(f"{episodes} episodes over {seeds} seeds" for episodes, seeds in sorted(sizes))
    return (
        f"{counts or 'No episodes'}. Network calls and ms are per decision; the promise gap is V(ψ*) of the first "
        "decision minus the discounted return then realised."
    )
