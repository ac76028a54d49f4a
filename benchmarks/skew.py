"""Success against the skew of the data: every planner at about equal budgets, paired by seed and start state.

    python benchmarks/skew.py --json runs/reference/skew/summary.json

Trains one run for each skew and seed (kept under --runs), evaluates every planner of `matched.py` in it from the same
start states, and writes the rows, a table for each skew, the paired differences and the skew curve. Goes on where it
was stopped.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from matched import matched, settle, two_routes

from owma._internal.command import command, enable_compilation_cache, parse
from owma._internal.errors import ConfigError
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma.config.experiment import EvaluationConfig, ExperimentConfig
from owma.config.json import to_json
from owma.config.planners.budgets import NAMED
from owma.config.presets import PRESETS
from owma.eval.evaluate import evaluate_planners
from owma.eval.setup import EvaluationSetup
from owma.planners import AbstractPlannerConfig, OnlineAdaptation, Static
from owma.results import plots
from owma.results.analysis import groups
from owma.results.baselines import FILE as BASELINES, kept_data_row, read_baselines
from owma.results.summaries import skew_summary
from owma.runs.folder import RunFolder, versions

_OURS = "online_adaptation"


@dataclasses.dataclass(frozen=True)
class Skew:
    """Closed-loop success of every planner at several skews."""

    skews: tuple[float, ...] = (0.5, 0.1, 0.02, 0.005, 0.001, 0.0)
    """Share of the episodes that take the rare route."""
    seeds: tuple[int, ...] = (4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
    """Reported seeds; settings were chosen on seeds 100 to 110."""
    planners: tuple[str, ...] = tuple(matched())
    """Which are compared; another call adds to the rows that are there."""
    episodes: int = 16
    """Of each planner, seed and skew."""
    quick: bool = False
    """The smoke preset, one seed, one skew, two planners: that it runs, not what it shows."""
    runs: Path = Path("runs")
    """Where the trained runs are, or go."""
    json: Path = Path("runs/skew/summary.json")
    """The baseline; rows, tables and the picture go beside it."""


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(Skew, prog="python benchmarks/skew.py", description=__doc__)
    enable_compilation_cache()
    known: Mapping[str, AbstractPlannerConfig] = NAMED
    if unknown := [name for name in arguments.planners if name not in known]:
        raise ConfigError(f"planners={unknown}: choose from {', '.join(known)}.")
    planners = {name: known[name] for name in arguments.planners}
    if arguments.quick:
        arguments = dataclasses.replace(arguments, skews=(0.2,), seeds=arguments.seeds[:1], episodes=2)
        few = OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=8)
        planners = {"static": Static(), _OURS: few}
    preset = PRESETS["smoke" if arguments.quick else "two-routes"][1]
    out = RunFolder(arguments.json.parent)
    out.path.mkdir(parents=True, exist_ok=True)
    settle(_rows(arguments, out), {"episodes": arguments.episodes, "preset": to_json(preset)})
    # One by one: another planner may join those whose rows are there.
    for name, planner in planners.items():
        settle(_rows(arguments, out), to_json(planner), f"{name}.json")
    # Rare routes first: that is where planners differ.
    rows: list[dict[str, Any]] = []
    baselines: list[dict[str, Any]] = []
    for skew in sorted(arguments.skews):
        for seed in arguments.seeds:
            of_planners, beside = _one_run(preset, skew, seed, planners, arguments, out)
            rows += of_planners
            baselines += beside
            out.write_jsonl("episodes.jsonl", rows)
            out.write_jsonl(BASELINES, baselines)
    _write(out, arguments, planners, rows, baselines)
    show_result(arguments.json)


def _one_run(
    preset: ExperimentConfig,
    skew: float,
    seed: int,
    planners: Mapping[str, AbstractPlannerConfig],
    arguments: Skew,
    out: RunFolder,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the planners, and of what they are held against."""
    trained = two_routes(preset, skew, seed, arguments.runs, open_progress)
    assert trained.inputs.env is not None  # the presets evaluate
    # A folder of its own: the run's own evaluation has other planners.
    folder = RunFolder(_rows(arguments, out).path / f"skew{skew:g}-seed{seed}")
    folder.path.mkdir(parents=True, exist_ok=True)
    # What a decision costs is timed by `attainment.py`, where planners take turns.
    config = EvaluationConfig(episodes=arguments.episodes, timed_decisions=0)
    setup = EvaluationSetup(
        trained.run.model,
        config,
        trained.inputs.env,
        trained.run.obs_keys,
        data_row=kept_data_row(trained.folder),
    )
    evaluate_planners(planners, setup, folder, seed=seed, progress=open_progress)
    # Models of other sizes have programs of their own, and a process may only hold so many.
    jax.clear_caches()
    rows = [{"skew": skew} | row for row in folder.read_jsonl("episodes.jsonl") if row["planner"] in planners]
    return rows, [{"skew": skew} | row for row in read_baselines(folder)]


def _rows(arguments: Skew, out: RunFolder) -> RunFolder:
    """Where the rows of single runs are kept, to go on with."""
    return RunFolder(arguments.runs / f"{out.path.name}-rows")


def _write(
    out: RunFolder,
    arguments: Skew,
    planners: Mapping[str, AbstractPlannerConfig],
    rows: Sequence[Mapping[str, Any]],
    baselines: Sequence[Mapping[str, Any]],
) -> None:
    """Summary, tables, paired differences and the picture, all from the rows."""
    results, table = skew_summary(groups(rows, baselines))
    metrics = [
        {"key": f"{key}/skew-{skew}/{name}", "value": entry[key], "unit": unit, "better": better}
        for skew, entries in results.items()
        for name, entry in entries["planners"].items()
        for key, unit, better in (("success", "share", "higher"), ("promise_gap", "return", "lower"))
    ]
    config = {name: to_json(planner) for name, planner in planners.items()}
    settings = {"seeds": list(arguments.seeds), "episodes": arguments.episodes, "planners": config}
    out.write_json("results.json", results)
    (out.path / "table.md").write_text(table)
    summary = {"metrics": metrics, "machine": versions(), "config": settings}
    arguments.json.write_text(json.dumps(summary, indent=1) + "\n")
    plots.skew_curve(out.path / "skew_curve.png", results)


if __name__ == "__main__":
    command(main)
