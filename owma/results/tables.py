"""From per-episode rows to the numbers of `results.json`, and from those to a table for people."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from owma.results.intervals import counted, interval, lacking
from owma.runs.former_names import TODAY

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
benchmarks report (see `owma.results.scores`)."""

WIDE_SCORES: Mapping[str, str] = SCORES | {"dense_return": "dense return [95 %]"}
"""The same of a wide table."""

_WITH_INTERVAL = ("success", "return", "value", "promise_gap", "kl")
_COUNTS = ("fallbacks", "overruns", "clipped")
_BOUNDS = {"success": (0.0, 1.0), "env_success": (0.0, 1.0)}
"""Of metrics whose interval is never a point; see `owma.results.intervals.interval`."""
_MOST_SEEDS = 8
"""That are listed one by one."""

_CHEAP_BEFORE: Mapping[str, int] = {"guided_diffusion": 500, "twisted_smc": 800}
"""Names that rows of before had for a cheap variant too (`owma.runs.former_names`), and how many draws' network calls
it has at most, which the planner of that name has more than.

Rows of before also count one draw of the trained model more than rows of today for guided diffusion, twisted SMC, FK
steering, SVDD, noise optimisation and CEM, which then made one at every decision in case their plan were not finite.
"""

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
    `seeds` (how many), `value_kind` (which value `value` is of, where rows say so), `missing` (metric to the number of
    episodes without it, where there are some), `intervals`: 95 % intervals `[low, high]` of success, return, value,
    promise_gap and kl, and `by_seed`: of the same metrics the mean of each seed, by the seed in words. A metric that no
    episode has is `None`.

    The intervals are those of `owma.results.intervals.interval`: seeds are resampled, then episodes within them, and
    where there is one seed, episodes only; they are widened for few. Where all values agree the interval is that point,
    except for success, whose interval is then Wilson's (0 of 10 episodes of one seed is [0, 0.28]); one single value
    has none (`None`).

    Raises `ValueError` where an episode occurs twice for a planner, or a return is not a number.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in with_known_success(rows):
        groups.setdefault(row["planner"], []).append(row)
    return {"planners": {name: _summary(name, group) for name, group in groups.items()}}


def with_known_success(
    rows: Sequence[Mapping[str, Any]], beside: Sequence[Mapping[str, Any]] = ()
) -> list[Mapping[str, Any]]:
    """Rows of one environment: if any of them knows of success, those that do not had none; and so with `env_success`.

    Many environments speak of success only when it comes. `beside`: further rows of it that may know, and are not
    returned. By those no `env_success` comes to rows from before there was one.
    """
    copies = list(rows)
    for key in _BOUNDS:
        knows = any(row.get(key) is not None for row in copies)
        if knows or any(row.get(key) is not None for row in beside):
            copies = [{**row, key: False} if row.get(key) is None and (knows or key in row) else row for row in copies]
    return copies


def paired_difference(rows: Sequence[Mapping[str, Any]], a: str, b: str, key: str) -> dict[str, Any]:
    """The mean of `a` minus `b` in one metric, paired by seed and episode.

    **Arguments:**

    - `rows`: as for `summarise`.
    - `a`, `b`: names of planners evaluated on the same episodes.
    - `key`: the metric, e.g. `"return"`.

    **Returns:** `{"mean", "interval", "pairs", "seeds"}`, the 95 % interval of `owma.results.intervals.interval` over
    the pairs, by their seeds (`None` for one pair).

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
    seeds = [seed for seed, _ in left]
    if np.isnan(differences).any():
        raise ValueError(f"paired_difference: {int(np.isnan(differences).sum())} episodes have no `{key}`.")
    low, high = _BOUNDS.get(key, (0.0, 0.0))
    ends = interval(differences, seeds, bounds=(low - high, high - low) if key in _BOUNDS else None)
    counts = {"pairs": len(differences), "seeds": len(set(seeds))}
    return {"mean": float(differences.mean()), "interval": ends} | counts


def results_table(results: Mapping[str, Any], *, name_width: int | None = None) -> "Table":
    """The table that an evaluation ends with, one row a planner; `results` is what `summarise` returns, with the
    `baselines` that there are: they are the last rows.

    Names of more than `name_width` characters go on to a second line at a `_`, `-` or `=`, if there is such a width.
    """
    from rich import box
    from rich.table import Table

    # Headings and intervals go to a second line, so that eighty columns do; no name or number is ever cut short.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption=caption(results))
    table.caption_justify = "left"
    if results["planners"]:  # beside the others there is no room for these
        shown = "; ".join(f"{name} {' / '.join(counts(entry))}" for name, entry in results["planners"].items())
        table.caption = f"{caption(results)}\n{' / '.join(COUNTS)}: {shown}"
    for key in scores_in(results):  # nor for these
        of_all = with_baselines(results).items()
        of_planners = (f"{name} {_score(entry, key)}" for name, entry in of_all if name != "data" or key in entry)
        table.caption = f"{table.caption}\n{SCORES[key]}: {'; '.join(of_planners)}"
    if has_seeds(results):
        key = _seeds_metric(results)
        of_planners = (f"{name} {of_each_seed(entry, key)}" for name, entry in results["planners"].items())
        table.caption = f"{table.caption}\n{seeds_heading(results)}: {'; '.join(of_planners)}"
    for heading in HEADINGS:
        is_name = heading == "planner"
        narrow = heading.replace(" ", "\n", 1)
        table.add_column(narrow, justify="left" if is_name else "right", no_wrap=True)
    successes = [e["success"] for e in results["planners"].values() if e["success"] is not None]
    for name, entry in with_baselines(results).items():
        is_best = name in results["planners"] and entry["success"] is not None
        is_best = is_best and min(successes) < entry["success"] == max(successes)
        shown, *others = (cell.replace(" [", "\n[") for cell in _cells(name, entry, ()))
        table.add_row(_on_lines(shown, name_width), *others, style="bold" if is_best else None)
    return table


def _on_lines(name: str, width: int | None) -> str:
    lines = [""]
    for part in re.findall(r"[^_=-]*[_=-]|[^_=-]+", name):
        if width is not None and lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def results_markdown(results: Mapping[str, Any], *, wide: bool = False, without: Collection[str] = ()) -> str:
    """The same table as Markdown. `wide`: with `WIDE_SCORES` and `COUNTS`; `without`: headings that are left out."""
    columns, rows = columns_and_rows(results, wide=wide)
    kept = [place for place, heading in enumerate(columns) if heading not in without]
    headings, *cells = ("| " + " | ".join(row[place] for place in kept) + " |" for row in (columns, *rows))
    return "\n".join([headings, "|-" + "|-:" * (len(kept) - 1) + "|", *cells, "", caption(results), ""])


def columns_and_rows(results: Mapping[str, Any], *, wide: bool = False) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the table of planners. Where there are several seeds, with the mean of each seed."""
    scores, planners = scores_in(results, wide=wide), with_baselines(results)
    headings = [*HEADINGS[:_SCORES_AT], *(WIDE_SCORES[key] for key in scores), *HEADINGS[_SCORES_AT:]]
    rows = [_cells(name, entry, scores) for name, entry in planners.items()]
    if has_seeds(results):
        place = 2 if _seeds_metric(results) == "success" else 3  # beside the interval of the same metric
        headings.insert(place, seeds_heading(results))
        for row, entry in zip(rows, planners.values()):
            row.insert(place, of_each_seed(entry, _seeds_metric(results)))
    if wide:
        headings += COUNTS
        rows = [row + counts(entry) for row, entry in zip(rows, planners.values())]
    return headings, rows


def has_seeds(results: Mapping[str, Any]) -> bool:
    """Whether a planner was evaluated on several seeds, whose means are shown; results of older versions lack them."""
    return any(len(entry.get("by_seed", {}).get("return", ())) > 1 for entry in results["planners"].values())


def seeds_heading(results: Mapping[str, Any]) -> str:
    """Of the column of `of_each_seed`: success, or return where nobody knows of success."""
    return "success % by seed" if _seeds_metric(results) == "success" else "return by seed"


def of_each_seed(entry: Mapping[str, Any], key: str) -> str:
    """A planner's mean success (in %) or return on each seed, in order, such as `0 / 94 / 94`."""
    scale, form = (100.0, ".0f") if key == "success" else (1.0, ".3g")
    means = [mean for mean in entry.get("by_seed", {}).get(key, {}).values() if mean is not None]
    shown = [_formatted(mean, form, scale) for mean in means]
    if len(means) > _MOST_SEEDS:
        return f"{_formatted(min(means), form, scale)} to {_formatted(max(means), form, scale)}"
    return " / ".join(shown) or "–"


def _seeds_metric(results: Mapping[str, Any]) -> str:
    told = any(entry["success"] is not None for entry in results["planners"].values())
    return "success" if told else "return"


def _summary(name: str, rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    by_episode(name, rows)
    summary: dict[str, Any] = {}
    intervals: dict[str, list[float] | None] = {}
    missing: dict[str, int] = {}
    by_seed: dict[str, dict[str, float | None]] = {}
    seeds = np.array([row["seed"] for row in rows])
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
            intervals[key] = interval(values, seeds[~np.isnan(column)], bounds=_BOUNDS.get(key))
            by_seed[key] = {str(seed): _mean(column[seeds == seed]) for seed in np.unique(seeds)}
    summary |= {key: sum(int(row.get(key) or 0) for row in rows) for key in _COUNTS}
    summary |= {"episodes": len(rows), "seeds": len(np.unique(seeds)), "intervals": intervals, "by_seed": by_seed}
    kinds = {row["value_kind"] for row in rows if "value_kind" in row}
    known = {"value_kind": " and ".join(sorted(kinds))} if kinds else {}
    return summary | known | ({"missing": missing} if missing else {})


def by_episode(name: str, rows: list[Mapping[str, Any]]) -> dict[tuple[int, int], Mapping[str, Any]]:
    """A planner's rows by seed and episode. Raises `ValueError` where one of them is there twice."""
    episodes = {(row["seed"], row["episode"]): row for row in rows}
    if len(episodes) < len(rows):
        raise ValueError(f"`{name}` has {len(rows)} rows for {len(episodes)} episodes: some were written twice.")
    return episodes


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _mean(column: np.ndarray) -> float | None:
    known = column[~np.isnan(column)]
    return float(known.mean()) if len(known) else None


def scores_in(results: Mapping[str, Any], *, wide: bool = False) -> tuple[str, ...]:
    """The keys of `SCORES`, or of `WIDE_SCORES`, that some planner has: of results of older versions none."""
    entries = results["planners"].values()
    return tuple(key for key in (WIDE_SCORES if wide else SCORES) if any(key in entry for entry in entries))


def _cells(name: str, entry: Mapping[str, Any], scores: Sequence[str]) -> list[str]:
    return [
        name,
        _with_interval(entry, "success", ".0f", 100.0),
        _with_interval(entry, "return"),
        *(_score(entry, key) for key in scores),
        _formatted(entry.get("value"), ".3g"),
        _formatted(entry.get("promise_gap"), ".3g"),
        _formatted(entry.get("kl"), ".3g"),
        _formatted(entry.get("nfe"), ".0f"),
        _formatted(entry.get("ms_p50"), ".3g"),
        _formatted(entry.get("ms_p95"), ".3g"),
    ]


def counts(entry: Mapping[str, Any]) -> list[str]:
    """A planner's numbers under `COUNTS`, over all its episodes; rows of older versions may lack them."""
    return [str(entry.get(key, "–")) for key in _COUNTS]


def _score(entry: Mapping[str, Any], key: str) -> str:
    return _with_interval(entry, key, ".0f", 100.0) if key in _BOUNDS else _with_interval(entry, key)


def _with_interval(entry: Mapping[str, Any], key: str, form: str = ".3g", scale: float = 1.0) -> str:
    ends = entry.get("intervals", {}).get(key)
    middle = _formatted(entry.get(key), form, scale)
    return (
        middle if ends is None else f"{middle} [{_formatted(ends[0], form, scale)}, {_formatted(ends[1], form, scale)}]"
    )


def _formatted(value: float | None, form: str, scale: float = 1.0) -> str:
    if value is None:
        return "–"
    scaled = value * scale
    return f"{scaled:.0f}" if form.endswith("g") and 1e3 <= abs(scaled) < 1e6 else f"{scaled:{form}}"


def with_baselines(results: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The rows of a table: planners, then what they are held against (see `owma.results.baselines`), which is no
    rival.
    """
    return results["planners"] | results.get("baselines", {})


def of_baselines(results: Mapping[str, Any]) -> str:
    """A sentence on what the rows of baselines are; begins with a space where there are any."""
    said = []
    for name, entry in results.get("baselines", {}).items():
        if "steps" in entry:
            count = "one recorded episode" if entry["episodes"] == 1 else f"{entry['episodes']:,} recorded episodes"
            said.append(f"{name}: {count}, of {entry['steps']:.0f} steps in the mean, by the same rewards")
        else:
            done = "an action of zeros" if name == "no_action" else "drawn uniformly"
            said.append(f"{name}: {done}, from the same start states")
    return f" {'; '.join(said)}." if said else ""


def caption(results: Mapping[str, Any]) -> str:
    """What the numbers of the table are, and over how many episodes and seeds."""
    sizes = {(entry["episodes"], entry["seeds"]) for entry in results["planners"].values()}
    old = infer_former_names(results)
    shown = "; ".join(f"{counted(episodes, 'episode')} of {counted(n, 'seed')}" for episodes, n in sorted(sizes))
    return (
        f"{shown or 'No episodes'}. {kind_of_interval(n for _, n in sizes)}Network calls and ms are per decision; the "
        f"promise gap is V(ψ*) of the first decision{_valued_by(results)} minus the discounted return then realised."
        f"{of_baselines(results)}"
        + "".join(f" {name} is a name from earlier versions: {now} today." for name, now in old.items())
    )


def _valued_by(results: Mapping[str, Any]) -> str:
    """Which value promises are of; empty of rows from before they said."""
    kinds = dict.fromkeys(entry.get("value_kind") for entry in results["planners"].values())
    known = " or ".join(kind for kind in kinds if kind)
    return f" (V: {known})" if known else ""


def infer_former_names(results: Mapping[str, Any]) -> dict[str, str]:
    """Planners of older rows that have another name today, to that name; told by their network calls."""
    planners = results["planners"]
    known = [(name, draws) for name, draws in (("static", 1), ("random_shooting", 1000)) if name in planners]
    renamed = {}
    for name, most in _CHEAP_BEFORE.items():
        if known and name in planners and planners[name].get("nfe") is not None:
            reference, draws = known[0]
            one_draw = (planners[reference].get("nfe") or 0) / draws
            if planners[name]["nfe"] < most * one_draw:
                renamed[name] = TODAY[name]
    return renamed


def kind_of_interval(seeds: Iterable[int]) -> str:
    """A sentence, or two, on the intervals of results of so many seeds; ends with a space where there is one."""
    seeds = list(seeds)
    if not seeds:
        return ""
    if max(seeds) == 1:
        return "[95 %]: bootstrap over episodes of one seed: says nothing of other trainings. "
    missing = lacking(seeds=min(seeds))
    return (
        "[95 %]: bootstrap that resamples seeds, then episodes within them, widened for few seeds; where all episodes "
        f"agree on success, Wilson's of an effective number of episodes. {missing and missing.capitalize() + '. '}"
    )
