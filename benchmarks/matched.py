"""What campaigns share: planners at equal budgets, the settings kept beside their rows, the runs they compare on."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from owma._internal.errors import ConfigError
from owma._internal.progress import Progress
from owma.config.experiment import ExperimentConfig
from owma.config.json import to_json
from owma.config.planners.budgets import (
    SCALED as SCALED,
    Scaled as Scaled,
    matched as matched,
    with_kl_coef as with_kl_coef,
)
from owma.data import TwoRoutesCollect
from owma.runs.folder import RunFolder, versions
from owma.runs.load import SavedRun, load_run
from owma.train.experiment import Experiment
from owma.train.inputs import Inputs, prepare_experiment


def settle(folder: RunFolder, settings: Mapping[str, Any], name: str = "config.json") -> None:
    """Keep the settings beside the rows that they lead to. Raises `ConfigError` where the rows there had others."""
    folder.path.mkdir(parents=True, exist_ok=True)
    # As JSON has it: no tuples.
    settings = json.loads(json.dumps(settings))
    if not (folder.path / name).exists():
        folder.write_json(name, settings)
    elif folder.read_json(name) != settings:
        raise ConfigError(f"{folder.path} holds rows of other settings; choose another --json, or delete the folder.")


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run with what it was trained on."""

    run: SavedRun
    config: ExperimentConfig
    inputs: Inputs
    folder: RunFolder


def two_routes_config(preset: ExperimentConfig, skew: float, seed: int) -> ExperimentConfig:
    """`preset` on data with this skew.

    At least four episodes take the rare route: with less data of it than that, chance decides.
    """
    data = preset.data
    assert isinstance(data, TwoRoutesCollect)
    episodes = data.episodes if skew == 0 else max(data.episodes, round(4 / skew))
    return dataclasses.replace(
        preset,
        name=f"{preset.name}-skew{skew:g}-seed{seed}",
        seed=seed,
        data=dataclasses.replace(data, skew=skew, episodes=episodes),
    )


def two_routes(preset: ExperimentConfig, skew: float, seed: int, runs: Path, progress: Progress) -> TrainedRun:
    """A run of `two_routes_config`, trained where `runs` does not have it yet."""
    return trained_run(two_routes_config(preset, skew, seed), runs, progress)


def trained_run(config: ExperimentConfig, runs: Path, progress: Progress) -> TrainedRun:
    """A run of this configuration, trained, or trained further, where `runs` does not have it whole yet."""
    try:
        folder = RunFolder.open(runs / config.name)
    except ValueError:
        folder = RunFolder.create(runs, config.name)
        folder.write_json("config.json", to_json(config))
        folder.write_json("versions.json", versions())
    inputs = prepare_experiment(config, progress)
    Experiment(config, inputs, folder, progress).train()
    return TrainedRun(load_run(folder.path), config, inputs, folder)
