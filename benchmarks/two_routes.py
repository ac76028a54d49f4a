"""Three seeds of the two-route task, every planner, paired by start state.

    python benchmarks/two_routes.py --json runs/reference/two-routes/summary.json

Trains one run a seed (each kept under --runs, and gone on with if this is interrupted), evaluates every planner and the
controls of the method (no gradient step; a plain draw), and writes the raw rows, the table and the paired differences.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import tyro

from owma._command import command, open_progress, show_results
from owma.config_json import to_json
from owma.evaluation import PLANNERS, draw, evaluate
from owma.experiment import Experiment, ExperimentConfig
from owma.planners import AbstractPlannerConfig, OnlineAdaptation, RandomShooting
from owma.presets import PRESETS
from owma.runs import RunFolder, versions
from owma.tables import paired_difference, results_markdown, summarise

CONTROLS: Mapping[str, AbstractPlannerConfig] = {
    "random_shooting_32": RandomShooting(num_samples=32),
    "random_shooting_256": RandomShooting(num_samples=256),
    "adaptation_off": OnlineAdaptation(adaptation_steps=0),
    "adaptation_draw": OnlineAdaptation(choice="draw"),
}
"""Beside the planners that every run compares."""

PAIRS = (
    ("online_adaptation", "adaptation_off"),
    ("adaptation_draw", "static"),
    ("online_adaptation", "random_shooting"),
    ("online_adaptation", "random_shooting_32"),
    ("online_adaptation", "published"),
)
"""Which differences are reported, paired by seed and start state."""


@dataclasses.dataclass(frozen=True)
class TwoRoutes:
    """Trains and evaluates the two-routes preset for several seeds."""

    seeds: tuple[int, ...] = (1, 2, 3)
    """Reported seeds; settings were chosen on seed 100."""
    quick: bool = False
    """The smoke preset and one seed: that it runs, not what it shows."""
    runs: Path = Path("runs")
    """Where the trained runs go."""
    out: Path | None = None
    """Folder for rows, table and picture; by default beside --json."""
    json: Path = Path("runs/two-routes-benchmark/summary.json")


def main() -> None:
    """Parse, run, print the file."""
    arguments = tyro.cli(TwoRoutes, prog="python benchmarks/two_routes.py")
    seeds = arguments.seeds[:1] if arguments.quick else arguments.seeds
    preset = PRESETS["smoke" if arguments.quick else "two-routes"][1]
    out = RunFolder(arguments.out or arguments.json.parent)
    out.path.mkdir(parents=True, exist_ok=True)
    rows = [row for seed in seeds for row in _one_seed(preset, seed, arguments.runs)]
    results = summarise(rows)
    differences = {
        f"{a} - {b}": {key: paired_difference(rows, a, b, key) for key in ("success", "return", "promise_gap")}
        for a, b in PAIRS
    }
    out.write_jsonl("episodes.jsonl", rows)
    out.write_json("results.json", results | {"paired": differences})
    out.write_json("versions.json", versions())
    out.write_json("config.json", to_json(preset))
    (out.path / "table.md").write_text(results_markdown(results))
    draw(out, results, env_id="")
    metrics = [
        {"key": f"{metric}/two-routes/{name}", "value": entry[metric], "unit": unit, "better": better}
        for name, entry in results["planners"].items()
        for metric, unit, better in (("success", "share", "higher"), ("promise_gap", "return", "lower"))
    ]
    summary = {"metrics": metrics, "machine": versions(), "config": to_json(preset) | {"seeds": list(seeds)}}
    arguments.json.write_text(json.dumps(summary, indent=1) + "\n")
    show_results(results)
    for name, difference in differences.items():
        print(f"{name}: success {difference['success']['mean']:+.3f} {difference['success']['interval']}")
    print(arguments.json)


def _one_seed(preset: ExperimentConfig, seed: int, runs: Path) -> list[dict]:
    config = dataclasses.replace(preset, name=f"{preset.name}-seed{seed}", seed=seed)
    try:
        folder = RunFolder.open(runs / config.name)
    except ValueError:
        folder = RunFolder.create(runs, config.name)
        folder.write_json("config.json", to_json(config))
        folder.write_json("versions.json", versions())
    material = config.gather(open_progress)
    assert material.env is not None  # the preset evaluates
    parts = Experiment(config, material, folder, open_progress).train()
    evaluate(
        parts.agent_model(config.value.kind),
        {**PLANNERS, **CONTROLS},
        folder,
        config.evaluation,
        env=material.env,
        obs_keys=material.dataset.obs_keys,
        seed=seed,
        progress=open_progress,
    )
    return folder.read_jsonl("episodes.jsonl")


if __name__ == "__main__":
    command(main)
