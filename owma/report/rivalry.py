"""What adaptation has more than its best rival, and more than with Δφ held at zero, problem by problem."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from owma._internal.errors import ConfigError
from owma.results.analysis import FORMS, NO_RIVALS, OURS, Group, comparisons, groups
from owma.results.baselines import read_baselines
from owma.results.intervals import interval_text
from owma.results.tables import of_each_seed, with_known_success
from owma.runs.folder import RunFolder

_OFF = "adaptation_off"
_MOST_VARIATIONS = 3
"""Of adaptation in one experiment; where there are more, as in ablations, the default alone is compared."""


@dataclasses.dataclass(frozen=True)
class Rivalry:
    """Adaptation beside the rival with the highest mean of one metric, in one experiment."""

    place: str
    """What was varied, or the task; empty where an experiment is of one problem."""
    metric: str
    """`success`, or `return`."""
    ours: Mapping[str, Any]
    """The entry of adaptation; see `owma.results.tables.summarise`."""
    best: str
    """The rival."""
    theirs: Mapping[str, Any]
    """Its entry."""
    off: Mapping[str, Any] | None
    """The entry of adaptation with Δφ held at zero, where it acted too."""
    versus_best: Mapping[str, Any]
    """The comparison with the rival; see `owma.results.analysis.comparisons`."""
    versus_off: Mapping[str, Any] | None

    @property
    def metric_text(self) -> str:
        """With its unit."""
        return "success %" if self.metric == "success" else "return"

    @property
    def ours_text(self) -> str:
        """Mean, interval, and the mean of each seed."""
        mean = _text(self.ours[self.metric], self.ours["intervals"][self.metric], self.metric)
        return f"{mean} ({of_each_seed(self.ours, self.metric)})"

    @property
    def best_text(self) -> str:
        """The rival, its mean, and the mean of each seed."""
        mean = _text(self.versus_best["theirs"], None, self.metric)
        return f"{self.best} {mean} ({of_each_seed(self.theirs, self.metric)})"

    @property
    def difference_text(self) -> str:
        """Adaptation minus the rival."""
        return _text(self.versus_best["mean"], self.versus_best["interval"], self.metric, "+")

    @property
    def off_text(self) -> str:
        """Adaptation minus itself with Δφ held at zero."""
        c = self.versus_off
        return "–" if c is None else _text(c["mean"], c["interval"], self.metric, "+")


def rivalries(path: Path, groups_of: Callable[[Path], list[Group]]) -> list[Rivalry]:
    """Of each problem in a folder of rows, or of folders of single seeds; none where adaptation has no rival there.

    By success, or by return where nobody knows of success; by both where adaptation and rival always succeed.

    `groups_of`: of a folder, resolved, what `owma.report.source.read_groups` returns; a cache may.
    """
    if not any(path.glob("episodes.jsonl")) and not any(path.glob("seed*/episodes.jsonl")):
        return []  # it measured something else
    found: list[Rivalry] = []
    for label, group in experiments(path, groups_of):
        episodes = [(row["planner"], row["seed"], row["episode"]) for row in group.rows]
        # Of several draws of labels an episode is there more than once, and is no pair of another's.
        if len(set(episodes)) == len(episodes):
            found += _of_group(label, group)
    return found


def experiments(path: Path, groups_of: Callable[[Path], list[Group]]) -> list[tuple[str, Group]]:
    """Those whose planners can be compared, by name: of a sweep by what was varied, of transfers by task.

    Raises `ConfigError` where there are no rows.
    """
    # Of a folder, or of the folders of single seeds in it.
    folders = [path] if (path / "episodes.jsonl").exists() else sorted(path.glob("seed*"))
    rows = [row for folder in folders for row in RunFolder(folder).read_jsonl("episodes.jsonl", drop_torn=True)]
    if not rows:
        raise ConfigError(f"{path} has no rows; a page names it.")
    if "task" not in rows[0]:
        if folders == [path]:
            return [(group.label, group) for group in groups_of(path.resolve())]
        beside = [row for folder in folders for row in read_baselines(RunFolder(folder))]
        return [(group.label, group) for group in groups(rows, beside)]
    several = len({row["fit"] for row in rows}) > 1
    by_task: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_task.setdefault(f"{row['task']}, {row['fit']}" if several else row["task"], []).append(row)
    alone = len(by_task) == 1  # what it is of, the folder says
    return [("" if alone else name, Group({}, with_known_success(rows))) for name, rows in by_task.items()]


def _of_group(label: str, group: Group) -> Iterator[Rivalry]:
    planners = group.results["planners"]
    variations = [each for each in planners if each.partition("-")[0] == OURS]
    for ours in variations if len(variations) <= _MOST_VARIATIONS else [OURS]:
        place = ", ".join(part for part in (label, ours.partition("-")[2]) if part)
        means: dict[str, dict[str, Any]] = {}
        for c in group.comparisons if ours == OURS else comparisons(group.rows, ours):
            means.setdefault(c["rival"], {})[c["metric"]] = c
        rivals = [each for each in means if not each.startswith((FORMS, OURS)) and each not in NO_RIVALS]
        if not rivals:
            continue
        knows = all("success" in means[rival] for rival in rivals)
        for key in ("success", "return") if knows else ("return",):
            # Among those that succeed alike, the one with the highest return.
            best = max(rivals, key=lambda rival: (means[rival][key]["theirs"], means[rival]["return"]["theirs"]))
            c, off = means[best][key], means.get(_OFF, {}).get(key)
            off_entry = planners[_OFF] if off else None
            yield Rivalry(place, key, planners[ours], best, planners[best], off_entry, c, off)
            if key == "success" and not c["ours"] == c["theirs"] == 1:
                break


def _text(middle: float, ends: Any, key: str, sign: str = "") -> str:
    scale, form = (100.0, ".0f") if key == "success" else (1.0, ".3g")
    return interval_text(middle, ends, sign + form, scale)
