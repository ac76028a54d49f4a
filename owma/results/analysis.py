"""What rows say beyond their means: robust centres, comparisons, calibration, trends. Rows in, plain numbers out."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from owma._internal.types import Float
from owma.results.baselines import summarise_with_baselines
from owma.results.intervals import Weights, indexed_interval, interval, lacking, verdict, widened_quantiles
from owma.results.tables import by_episode, paired_difference, with_known_success

Rows = Sequence[Mapping[str, Any]]

OURS = "online_adaptation"
FORMS = "adaptation_"
"""How other forms of the method are called, which are no rivals."""
NO_RIVALS = ("random_actions", "no_action", "data")
"""Nor are what planners are held against."""
_RESAMPLES = 5000


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows of one experiment, all seeds: planners in it can be compared episode by episode.

    Its numbers are computed when they are first asked for, and once.
    """

    settings: dict[str, Any]
    """What was varied of the experiment."""
    rows: list[Mapping[str, Any]]
    baselines: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)
    """Rows of what its planners are held against; see `owma.results.baselines`."""

    @property
    def label(self) -> str:
        """The settings in words; empty where nothing was varied."""
        return label(self.settings)

    @functools.cached_property
    def results(self) -> dict[str, Any]:
        """What `owma.results.tables.summarise` says of it, with the `baselines` that there are."""
        return summarise_with_baselines(self.rows, self.baselines)

    @functools.cached_property
    def comparisons(self) -> list[dict[str, Any]]:
        """`OURS` against its rivals; see `comparisons`."""
        return _compared(self, OURS)


def label(settings: Mapping[str, Any]) -> str:
    """What was varied of an experiment, in words; empty where nothing was."""
    return ", ".join(f"{field} = {value:g}" for field, value in settings.items() if _is_number(value)) or (
        ", ".join(f"{field} = {value}" for field, value in settings.items())
    )


def groups(rows: Rows, baselines: Rows = ()) -> list[Group]:
    """Rows by what was varied of the experiment, in order of first appearance, each with its baselines.

    Rows of a sweep say so under `settings`, rows of `benchmarks/skew.py` under `skew`; those of a run were not varied.
    """
    by_settings: dict[str, Group] = {}
    for row in rows:
        settings = _settings(row)
        by_settings.setdefault(repr(settings), Group(settings, [])).rows.append(row)
    return [
        Group(
            group.settings,
            with_known_success(group.rows),
            [row for row in baselines if _settings(row) == group.settings],
        )
        for group in by_settings.values()
    ]


def _settings(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"data.skew": row["skew"]} if "skew" in row else dict(row.get("settings", {}))


def interquartile_mean(values: Float[np.ndarray, "*batch n"], axis: int = -1) -> Float[np.ndarray, "*batch"]:
    """The mean of the middle half (Agarwal et al., arXiv 2108.13264): neither an outlier's nor blind as a median."""
    from scipy.stats import trim_mean

    return np.asarray(trim_mean(values, 0.25, axis=axis))


def robust(rows: Rows, key: str = "return") -> dict[str, dict[str, Any]]:
    """For each planner the interquartile mean of a metric over all episodes, `iqm`, its 95 % `interval` over seeds and
    episodes within them (`owma.results.intervals.interval`), and `by_seed`, that of each seed."""
    by_planner = {}
    for name, group in _by_planner(rows).items():
        values, seeds = _column(group, key), _seeds(group)
        by_planner[name] = {
            "iqm": float(interquartile_mean(values)),
            "interval": interval(values, seeds, _resampled_iqm),
            "by_seed": [float(interquartile_mean(values[seeds == seed])) for seed in np.unique(seeds)],
        }
    return by_planner


def of_tasks(experiments: Sequence[Group]) -> dict[str, Float[np.ndarray, "tasks seeds"]]:
    """Mean success of every run, by planner: a row an experiment, a column a seed.

    Of planners that have been evaluated with as many seeds in each experiment; empty where there is one experiment, or
    one seed. Variations of planners are left out.
    """
    by_planner: dict[str, list[list[float]]] = {}
    for group in experiments:
        for name, entry in group.results["planners"].items():
            means = entry.get("by_seed", {}).get("success", {}).values()
            if "-" not in name and means and None not in means:
                by_planner.setdefault(name, []).append(list(means))
    most = max((len(runs) for runs in by_planner.values()), default=0)
    whole = {name: runs for name, runs in by_planner.items() if len(runs) == most}
    seeds = {len(of_task) for runs in whole.values() for of_task in runs}
    if most < 2 or len(seeds) != 1 or seeds == {1}:
        return {}
    return {name: np.array(runs) for name, runs in whole.items()}


def aggregate(scores: Mapping[str, Float[np.ndarray, "tasks seeds"]]) -> dict[str, dict[str, Any]]:
    """For each planner the interquartile mean over runs, `iqm`, and its 95 % `interval`: a stratified bootstrap, which
    resamples the seeds within each task (Agarwal et al., arXiv 2108.13264), widened for few seeds.
    """
    found = {}
    for name, runs in scores.items():
        tasks, seeds = runs.shape
        chosen = np.random.default_rng(0).integers(0, seeds, (_RESAMPLES, tasks, seeds))
        resampled = runs[np.arange(tasks)[None, :, None], chosen].reshape(_RESAMPLES, -1)
        ends = widened_quantiles(interquartile_mean(resampled), seeds)
        found[name] = {"iqm": float(interquartile_mean(runs.reshape(-1))), "interval": ends, "by_seed": []}
    return found


def _resampled_iqm(values: Float[np.ndarray, " n"], weights: Weights) -> Float[np.ndarray, " resamples"]:
    """`interquartile_mean` of each resample, in which values are there as often as their weights say."""
    order = np.argsort(values)
    ends = np.cumsum(weights[:, order], axis=1)
    total = ends[:, -1:]
    cut = np.floor(0.25 * total)  # as many are left out on each side as `scipy.stats.trim_mean` leaves out
    kept = np.clip(ends, cut, total - cut)
    kept = np.diff(kept, axis=1, prepend=cut)
    return kept @ values[order] / kept.sum(axis=1)


def probability_of_improvement(rows: Rows, a: str, b: str, key: str = "return") -> dict[str, Any]:
    """How likely an episode of `a` is better than one of `b`, ties counted half.

    **Returns:** `{"probability", "interval", "by_seed"}`. The interval resamples seeds, then pairs of episodes that
    start alike, which keeps what they share; it is `None` for one pair, and no point where one planner is always better
    (`owma.results.intervals.interval`). Raises `ValueError` where the two have other episodes.
    """
    seeds, left, right = _paired(rows, a, b, key)
    better = 0.5 + 0.5 * np.sign(left[:, None] - right[None, :])
    ends = None
    if len(left) > 1 and np.ptp(better) == 0:
        ends = interval(np.full(len(left), better[0, 0]), seeds, bounds=(0.0, 1.0))
    elif len(left) > 1:
        ends = indexed_interval(seeds, lambda w: np.sum((w @ better) * w, axis=1) / w.sum(axis=1) ** 2)
    parts = [seeds == seed for seed in np.unique(seeds)]
    by_seed = [float(better[np.ix_(part, part)].mean()) for part in parts]
    return {"probability": float(better.mean()), "interval": ends, "by_seed": by_seed}


def comparisons(rows: Rows, ours: str = OURS) -> list[dict[str, Any]]:
    """`ours` minus every planner that is not a variation of it, in every group, paired by seed and episode.

    **Returns:** mappings with `group` (its label), `rival`, `metric`, `ours`, `theirs` (means), `mean` and `interval`
    of the difference, `pairs`, `seeds`, and `verdict`: `"loses"`, `"wins"` or `"open"` by the interval, or `"none"`
    where seeds or pairs are too few for any, with what is missing in words under `lacking`. Rivals that were evaluated
    on other episodes are left out, and so is a metric that one of the two does not have (success, where the environment
    does not say).
    """
    return [comparison for group in groups(rows) for comparison in _compared(group, ours)]


def _compared(group: Group, ours: str) -> list[dict[str, Any]]:
    compared = []
    planners = _by_planner(group.rows)
    for rival, theirs in planners.items():
        # Rows of a transfer have no base, and a variation's name says what it is one of.
        is_variation = theirs[0].get("base", rival.partition("-")[0]) == ours
        if is_variation or ours not in planners or _episodes(ours, planners) != _episodes(rival, planners):
            continue
        for key in ("success", "return"):
            if any(all(row[key] is None for row in its) for its in (planners[ours], theirs)):
                continue
            difference = paired_difference(group.rows, ours, rival, key)
            means = {"ours": _column(planners[ours], key).mean(), "theirs": _column(theirs, key).mean()}
            sizes = {"seeds": difference["seeds"], "pairs": difference["pairs"]}
            place = {"group": group.label, "rival": rival, "metric": key}
            compared.append(place | {name: float(mean) for name, mean in means.items()} | difference)
            compared[-1] |= {"verdict": verdict(difference["interval"], **sizes), "lacking": lacking(**sizes)}
    return compared


def calibration(rows: Rows) -> dict[str, dict[str, Any]]:
    """What each planner promised and what came of it, by episode.

    **Returns:** for each planner `promised` and `realised` (lists), and the mean `gap`.
    """
    by_planner = {}
    for name, of_planner in _by_planner(rows).items():
        promised, gap = _column(of_planner, "value"), _column(of_planner, "promise_gap")
        realised = promised - gap
        by_planner[name] = {"promised": promised.tolist(), "realised": realised.tolist(), "gap": float(gap.mean())}
    return by_planner


def pareto(results: Mapping[str, Any]) -> list[str]:
    """Planners that no other one beats in success at the same milliseconds or less, the quickest first.

    `results` is what `owma.results.tables.summarise` returns; planners that were not timed, or have no success, are
    left out.
    """
    entries = results["planners"].items()
    timed = {name: entry for name, entry in entries if entry["ms_p50"] and entry["success"] is not None}
    front, best = [], -1.0
    for name, entry in sorted(timed.items(), key=lambda item: (item[1]["ms_p50"], -item[1]["success"])):
        if entry["success"] > best:
            front.append(name)
            best = entry["success"]
    return front


@dataclasses.dataclass(frozen=True)
class Axis:
    """One knob of one planner, all else as it is by default."""

    group: str
    """The label of the experiment."""
    base: str
    field: str
    values: list[Any]
    entries: list[dict[str, Any]]
    """Of `owma.results.tables.summarise`, one a value."""

    def trend(self, key: str) -> float | None:
        """Spearman's correlation of a metric's mean with a number that is varied; `None` where there is none."""
        numbers = [entry[key] for entry in self.entries]
        usable = len(numbers) > 2 and all(map(_is_number, self.values)) and None not in numbers and np.ptp(numbers) > 0
        return _correlation(self.values, numbers) if usable else None


def ablations(experiments: Sequence[Group], usual: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> list[Axis]:
    """The axes along which planners were varied one field at a time.

    `experiments`: what `groups` returns. `usual`: of the settings of a group, the configuration of each planner by its
    name, from which the value is read that the planner has where it is not varied.
    """
    axes = []
    for group in experiments:
        known = [row for row in group.rows if "planner_settings" in row]
        names = {row["planner"]: (row["base"], row["planner_settings"]) for row in known}
        entries = group.results["planners"] if known else {}
        varied = [(base, field) for base, settings in names.values() for field in settings if len(settings) == 1]
        for base, field in dict.fromkeys(varied):
            points = [
                (settings[field] if settings else getattr(usual(group.settings)[base], field), entries[name])
                for name, (its_base, settings) in names.items()
                if its_base == base and set(settings) <= {field}
            ]
            if all(_is_number(value) for value, _ in points):
                points.sort(key=lambda point: point[0])
            values, found_entries = [value for value, _ in points], [entry for _, entry in points]
            axes.append(Axis(group.label, base, field, values, found_entries))
    return axes


def _by_planner(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    by_planner: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_planner.setdefault(row["planner"], []).append(row)
    return by_planner


def _episodes(name: str, planners: Mapping[str, list[Mapping[str, Any]]]) -> set[tuple[int, int]]:
    return set(by_episode(name, planners[name]))


def _column(rows: Rows, key: str) -> Float[np.ndarray, " n"]:
    return np.array([float(row[key]) for row in rows])


def _seeds(rows: Rows) -> np.ndarray:
    return np.array([row["seed"] for row in rows])


def _paired(rows: Rows, a: str, b: str, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seeds and both planners' values of the pairs, in the order of their seeds and episodes."""
    left, right = (by_episode(name, [row for row in rows if row["planner"] == name]) for name in (a, b))
    if left.keys() != right.keys() or not left:
        raise ValueError(f"`{a}` and `{b}` were not evaluated on the same episodes, so they cannot be compared.")
    pairs = sorted(left)
    seeds = np.array([seed for seed, _ in pairs])
    return seeds, _column([left[pair] for pair in pairs], key), _column([right[pair] for pair in pairs], key)


def _correlation(x: Any, y: Any) -> float:
    """Spearman's."""
    from scipy.stats import spearmanr

    correlation: Any = spearmanr(x, y)  # its annotation hides the fields of the result
    return float(correlation.statistic)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
