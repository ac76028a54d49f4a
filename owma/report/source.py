"""What a folder holds to report on: a run, a sweep, or the rows of a campaign."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from owma._internal.npz import read_run_arrays
from owma.config.experiment import ExperimentConfig
from owma.config.json import from_json
from owma.config.sweep import Point, SweepConfig, read_points
from owma.data import TwoRoutesCollect
from owma.planners import PLANNERS, AbstractPlannerConfig, OnlineAdaptation, PlannerConfig
from owma.results.analysis import OURS, Group, groups
from owma.results.baselines import read_baselines
from owma.runs import checkpoint
from owma.runs.folder import RunFolder, rows_folder

Traces = Mapping[str, Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Source:
    """Rows, and what is known of how they came about; `read` finds it."""

    folder: RunFolder
    rows: list[dict[str, Any]]
    """One an episode."""
    groups: list[Group]
    """The rows by experiment, with their baselines: all numbers of a report are theirs."""
    experiment: ExperimentConfig | None = None
    """Of a run."""
    sweep: SweepConfig | None = None
    points: tuple[Point, ...] = ()
    """Of a sweep."""

    @classmethod
    def read(cls, path: Path, groups_of: Callable[[Path], list[Group]] | None = None) -> "Source":
        """`runs/NAME`, `runs/NAME/v<N>`, or any folder with an `episodes.jsonl`.

        `groups_of`: of a folder, resolved, what `read_groups` returns; a cache may.

        Raises `CheckpointError` where there are no rows.
        """
        folder = rows_folder(path)
        rows = folder.read_jsonl("episodes.jsonl", drop_torn=True)
        experiments = (groups_of or read_groups)(folder.path.resolve())
        if (folder.path / "points.jsonl").exists():
            config = from_json(SweepConfig, folder.read_json("config.json"))
            points = read_points(folder.read_jsonl("points.jsonl"))
            return cls(folder, rows, experiments, sweep=config, points=points)
        config = folder.read_json("config.json") if folder.config_json.exists() else {}
        if config.get("class") == "ExperimentConfig":
            return cls(folder, rows, experiments, experiment=from_json(ExperimentConfig, config))
        return cls(folder, rows, experiments)

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """Of all experiments; see `owma.results.analysis.comparisons`."""
        return [comparison for group in self.groups for comparison in group.comparisons]

    @property
    def title(self) -> str:
        """Of the page."""
        kind = "sweep" if self.sweep else "run" if self.experiment else "rows"
        path = self.folder.path
        return f"{kind} {path.parent.name}/{path.name}"

    @property
    def versions(self) -> dict[str, Any] | None:
        """Packages, commit and machine, where they were kept."""
        return self.folder.read_json("versions.json") if self.folder.versions_json.exists() else None

    def usual(self, settings: Mapping[str, Any]) -> dict[str, PlannerConfig]:
        """The sweep's planners by name in experiments of these settings, without what was varied of them."""
        points = [point for point in self.points if point.settings == settings and not point.planner_settings]
        return {point.base: point.planner for point in points}

    def traces(self) -> dict[str, Traces]:
        """What pictures of decisions are drawn from: for each group of rows, by its label, that of its first seed."""
        if self.sweep is None:
            arrays = _arrays(self.folder.path / "traces")
            return {"": arrays} if arrays else {}
        kept: dict[str, dict[str, Mapping[str, np.ndarray]]] = {}
        for group in self.groups:
            first = group.rows[0]["experiment"]
            for name in dict.fromkeys(row["planner"] for row in group.rows if not row["planner_settings"]):
                folder = self.folder.path / "evaluations" / first / name / "traces"
                kept.setdefault(group.label, {}).update(_arrays(folder))
        return {label: arrays for label, arrays in kept.items() if arrays}

    @property
    def on_two_routes(self) -> bool:
        """Whether positions are those of the two-route maze."""
        experiment = self.experiment or (self.points[0].experiment if self.points else None)
        if experiment is None:
            return False
        return isinstance(experiment.data, TwoRoutesCollect) and experiment.evaluation.env is None

    @property
    def adapting(self) -> AbstractPlannerConfig | None:
        """Adaptation as it acted in a run; `None` of a sweep."""
        return None if self.experiment is None else self.experiment.evaluation.settled(OURS, PLANNERS[OURS])

    def trained(self) -> tuple[Path, OnlineAdaptation] | None:
        """A run whose models are at hand, with the adapting planner that acted in it."""
        if self.experiment is not None:
            path, planner = self.folder.path, self.adapting
        else:
            rows = [row for row in self.rows if row.get("base") == OURS and not row["planner_settings"]]
            note = self.folder.path / "trained" / f"{rows[0]['experiment']}.json" if rows else None
            if note is None or not note.exists():
                return None
            run = RunFolder(note.parent).read_json(note.name)["run"]
            path, planner = self.folder.path.parent.parent / run, self.usual(rows[0]["settings"])[OURS]
        has_models = (path / "models").is_dir() and checkpoint.latest(path / "models") is not None
        return (path, planner) if has_models and isinstance(planner, OnlineAdaptation) else None


def read_groups(path: Path) -> list[Group]:
    """The rows of a folder by experiment, with their baselines."""
    folder = RunFolder(path)
    return groups(folder.read_jsonl("episodes.jsonl", drop_torn=True), read_baselines(folder))


def _arrays(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    return {path.stem: read_run_arrays(path) for path in sorted(folder.glob("*.npz"))}
