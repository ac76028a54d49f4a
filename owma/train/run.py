"""Create a run's folder, find an earlier run to resume, and evaluate a trained run.

Flags are read in `__main__.py`, and Python's arguments in `owma/api/fit.py`; both then call this.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from owma._internal.errors import OwmaError
from owma._internal.progress import Progress
from owma.config.experiment import ExperimentConfig
from owma.config.json import from_json, to_json
from owma.data import difference, digest_of, is_digest
from owma.eval.evaluate import evaluate_planners
from owma.eval.judge import judge_of
from owma.eval.setup import EvaluationSetup
from owma.outcomes.tasks import AbstractTask
from owma.results.baselines import data_row, kept_data_row
from owma.runs.folder import RunFolder, versions
from owma.runs.labels import keep_labels, kept_task
from owma.runs.parts import TrainedParts
from owma.train.inputs import Inputs
from owma.train.logs import MetricsLog


def create_run(runs: Path, config: ExperimentConfig, task: AbstractTask | None = None) -> RunFolder:
    """A new folder with all that says what the run is; `task`: what `config.task` describes, if it is there.

    Raises `ConfigError` where the folder cannot be made.
    """
    folder = RunFolder.create(runs, config.name)
    folder.write_json("config.json", to_json(config))
    folder.write_json("versions.json", versions())
    keep_labels(config.task, folder.path, task)
    return folder


def find_resumable_run(runs: Path, config: ExperimentConfig, inputs: Inputs) -> RunFolder | None:
    """The newest run of that name, if it was begun with the same configuration, data and rewards; else `None`."""
    try:
        folder = RunFolder.open(runs / config.name)
        before = from_json(ExperimentConfig, folder.read_json("config.json"))
        if before.training_fingerprint != config.training_fingerprint:
            return None
        if not (folder.path / "dataset.json").exists():  # it was stopped before it began to train
            return folder
        digest, row = folder.read_json("dataset.json"), kept_data_row(folder)
    except OwmaError:  # no run, or one that cannot be resumed
        return None
    if not is_digest(digest) or difference(digest, digest_of(inputs.dataset)) is not None:
        return None
    return folder if row is None or _has_same_rewards(row, inputs) else None


def _has_same_rewards(row: dict[str, Any], inputs: Inputs) -> bool:
    """Whether the data row is that of `inputs`; a reward function may have changed under the same name."""
    now = data_row(inputs.dataset.transitions, inputs.rewards, np.zeros(1), inputs.success_reward)
    return all(now[key] == row[key] for key in ("episodes", "return", "success", "intervals"))


def evaluate_trained(
    parts: TrainedParts,
    config: ExperimentConfig,
    inputs: Inputs,
    folder: RunFolder,
    progress: Progress,
    logs: Sequence[MetricsLog] = (),
    *,
    warn: Callable[[str], None],
) -> dict[str, Any] | None:
    """The results of the planners that the configuration names, in the run's own folder; `None` without episodes."""
    if inputs.env is None or not config.evaluation.episodes:
        return None
    setup = EvaluationSetup(
        model=parts.agent_model(config.value.kind),
        config=config.evaluation,
        env=inputs.env,
        obs_keys=inputs.dataset.obs_keys,
        judge=judge_of(kept_task(config.task, folder.path), inputs.env),
        data_row=kept_data_row(folder),
        dataset=inputs.dataset.origin,
    )
    planners = config.evaluation.named_planners()
    results = evaluate_planners(planners, setup, folder, seed=config.seed, progress=progress, warn=warn)
    for log in logs:
        for name, entry in results["planners"].items():
            log.log({"phase": f"evaluation/{name}"} | entry)
    return results
