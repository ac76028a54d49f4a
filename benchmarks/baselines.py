"""What the planners of a sweep, or of the campaign over skews, are held against: the data's episodes, random actions.

    python benchmarks/baselines.py runs/reference/stitch runs/reference/skew

For rows from before evaluations wrote `baselines.jsonl` themselves. Nothing is trained: the dataset of each experiment
is read, or collected where it is not there, and random actions begin where the planners of each seed began. Both are
judged as those planners were, by what the environment pays. `python -m owma.report --remake FOLDER` then makes the
tables again.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro
from matched import two_routes_config

from owma._internal.command import command, parse
from owma._internal.errors import ConfigError
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma.config.experiment import ExperimentConfig
from owma.config.presets import PRESETS
from owma.config.sweep import read_points
from owma.config.task import GoalTaskConfig, RewardTaskConfig
from owma.envs import pays
from owma.envs.make import vector_env
from owma.eval.judge import Judge
from owma.eval.trajectories import random_rows, random_trajectories
from owma.results.baselines import FILE, data_row
from owma.runs.folder import RunFolder, versions
from owma.train.experiment import task_returns
from owma.train.inputs import Inputs, prepare_experiment


@dataclasses.dataclass(frozen=True)
class Baselines:
    """Writes `baselines.jsonl` beside rows."""

    folders: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Of sweeps, or of `benchmarks/skew.py`."""
    quick: bool = False
    """Two episodes of random actions on the smoke preset's data, and no folder: that it runs, not what it shows."""
    json: Path = Path("runs/baselines/summary.json")
    """Means, machine and configuration."""


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(Baselines, prog="python benchmarks/baselines.py", description=__doc__)
    if bool(arguments.folders) == arguments.quick:
        raise ConfigError("Name folders of rows, or pass --quick.")
    metrics = []
    if arguments.quick:
        metrics += _metrics("smoke", list(_beside(PRESETS["smoke"][1], 2, {})))
    for path in arguments.folders:
        folder = RunFolder(path)
        results = [row for config, episodes, about in _experiments(folder) for row in _beside(config, episodes, about)]
        folder.write_jsonl(FILE, results)
        metrics += _metrics(path.name, results)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    config = {"folders": [path.name for path in arguments.folders]}
    summary = {"metrics": metrics, "machine": versions(), "config": config}
    arguments.json.write_text(json.dumps(summary, indent=1) + "\n")
    show_result(arguments.json)


def _experiments(folder: RunFolder) -> Iterator[tuple[ExperimentConfig, int, dict[str, Any]]]:
    """Each trained run of the rows, the episodes that its planners had, and what its baselines' rows say of it."""
    rows = folder.read_jsonl("episodes.jsonl")
    episodes = 1 + max(row["episode"] for row in rows)
    if (folder.path / "points.jsonl").exists():
        points = read_points(folder.read_jsonl("points.jsonl"))
        for config, settings in {p.experiment.name: (p.experiment, p.settings) for p in points}.values():
            yield config, episodes, {"experiment": config.name, "settings": settings}
    elif "skew" in rows[0]:
        for skew, seed in dict.fromkeys((row["skew"], row["seed"]) for row in rows):
            yield two_routes_config(PRESETS["two-routes"][1], skew, seed), episodes, {"skew": skew}
    else:
        raise ConfigError(f"{folder.path} holds neither a sweep nor rows of benchmarks/skew.py; name one that does.")


def _beside(config: ExperimentConfig, episodes: int, about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    config = dataclasses.replace(config, task=_as_paid(config))
    inputs = prepare_experiment(config, open_progress)
    assert inputs.env is not None  # there would be no rows without
    if isinstance(config.task, RewardTaskConfig) and not pays(inputs.env, config.task.reward):
        raise ConfigError(f"{config.name}: {inputs.env.id} does not pay {config.task.reward}, its planners' task.")
    seed = {"seed": config.seed}
    yield from ({**row, **about} for row in _random(inputs, config.seed, episodes))
    transitions = inputs.dataset.transitions
    returns = task_returns(inputs.rewards, transitions, config.world.discount)
    yield {**data_row(transitions, inputs.rewards, returns, inputs.success_reward), **about, **seed}


def _as_paid(config: ExperimentConfig) -> Any:
    """The task as the environment pays it: a goal without the slope that V is told of."""
    return dataclasses.replace(config.task, falloff=0.0) if isinstance(config.task, GoalTaskConfig) else config.task


def _random(inputs: Inputs, seed: int, episodes: int) -> list[dict[str, Any]]:
    dataset = inputs.dataset
    assert inputs.env is not None
    with vector_env(inputs.env, episodes) as envs:
        low, high = dataset.action_low, dataset.action_high
        trajectories = random_trajectories(envs, seed=seed, obs_keys=dataset.obs_keys, low=low, high=high)
    return random_rows(trajectories, Judge(), seed=seed)


def _metrics(name: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    metrics = []
    for planner in dict.fromkeys(row["planner"] for row in rows):
        returns = [row["return"] for row in rows if row["planner"] == planner]
        mean = sum(returns) / len(returns)
        metrics.append({"key": f"return/{name}/{planner}", "value": mean, "unit": "return", "better": "higher"})
    return metrics


if __name__ == "__main__":
    command(main)
