"""The steps of a sweep. Each is keyed by its folder and goes on from what is there, so that it can be run again.

They know nothing of who runs them: in turn, or as tasks of a cluster whose machines share the folders.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import CheckpointError, ConfigError, OwmaError
from owma.config.experiment import EvaluationConfig, ExperimentConfig
from owma.config.json import from_json, to_json
from owma.config.sweep import Point
from owma.data.load import load_dataset
from owma.envs import find_env
from owma.eval.evaluate import evaluate_planners
from owma.eval.judge import judge_of
from owma.eval.setup import setup_of_run
from owma.planners import AbstractPlannerConfig
from owma.results.baselines import FILE as BASELINES, read_baselines
from owma.results.tables import summarise
from owma.runs import checkpoint
from owma.runs.dataset import require_same_dataset
from owma.runs.folder import RunFolder, versions
from owma.runs.labels import keep_labels, kept_task
from owma.runs.load import SavedRun, load_run
from owma.train.experiment import Experiment
from owma.train.inputs import prepare_experiment


@contextlib.contextmanager
def silent(label: str, total: int, done: int) -> Iterator[Callable[..., None]]:
    """No progress: that of single steps would be shown by several processes at once."""
    del label, total, done
    yield lambda *_, **__: None


def collect(config: ExperimentConfig, sweep: Path) -> str:
    """The id of the experiment's dataset, which is collected if it is not there."""
    with _alone(sweep, "data"):
        return load_dataset(config.data, silent).dataset_id


def is_trained(config: ExperimentConfig, runs: Path, sweep: Path) -> bool:
    """Whether the sweep has a finished run of this training. What is left to do with it reads no dataset, unless it is
    a run from before the environment was kept."""
    folder = _noted(config, runs, sweep)
    return folder is not None and checkpoint.latest(folder.path / "models") is not None


def train(config: ExperimentConfig, runs: Path, sweep: Path, dataset_id: str | None) -> Path:
    """A finished run of this training: one that is there, whatever its name, or else `runs/NAME/v<N>`, new.

    `dataset_id` is what `collect` gave: whoever waits for it has the steps in order. `None` where `is_trained`.

    **Returns:** its folder. The sweep remembers which it was, in `trained/NAME.json`.
    """
    del dataset_id
    with _alone(sweep, config.name):
        folder = _noted(config, runs, sweep)
        if folder is None:
            folder = _finished(config, runs) or RunFolder.create(runs, config.name)
            note = RunFolder(sweep / "trained")
            note.path.mkdir(exist_ok=True)
            note.write_json(f"{config.name}.json", {"run": str(folder.path.relative_to(runs))})
        elif checkpoint.latest(folder.path / "models") is None:
            require_same_dataset(folder, config.data, load_dataset(config.data, silent))
        if checkpoint.latest(folder.path / "models") is None:
            folder.write_json("config.json", to_json(config))
            folder.write_json("versions.json", versions())
            if kept_task(config.task, folder.path) == config.task:  # a run that begins
                keep_labels(config.task, folder.path)
            kept = dataclasses.replace(config, task=kept_task(config.task, folder.path))
            Experiment(config, prepare_experiment(kept, silent), folder, silent).train()
        return folder.path


def evaluate_point(point: Point, run: Path, sweep: Path) -> dict[str, Any]:
    """The row of a point; its episodes, traces and pictures go to `evaluations/EXPERIMENT/PLANNER`."""
    folder = RunFolder(sweep / "evaluations" / point.key)
    with _alone(sweep, point.key.replace("/", "--")):
        if is_evaluated(point, sweep):
            return folder.read_json("row.json")
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_json("config.json", to_json(point))
        # In the sweep nothing is timed: what runs beside a decision would be timed with it.
        config = dataclasses.replace(point.experiment.evaluation, timed_decisions=0)
        warned: list[str] = []
        loaded = load_run(run)
        _evaluate(loaded, {point.name: point.planner}, folder, config, point.experiment, warned.append)
        _add_baselines(loaded, point.experiment, sweep, warned.append)
        # A worker goes on to other points, whose programs are others: kept, each is 150 MB.
        jax.clear_caches()
        means = summarise(folder.read_jsonl("episodes.jsonl"))["planners"][point.name]
        means = {key: value for key, value in means.items() if key not in ("seeds", "missing")}
        row = {**identity(point), "run": f"{run.parent.name}/{run.name}", **means}
        row |= {"warnings": list(dict.fromkeys(warned))} if warned else {}  # for whoever runs the sweep to show once
        folder.write_json("row.json", row)
        return row


def _add_baselines(run: SavedRun, experiment: ExperimentConfig, sweep: Path, warn: Callable[[str], None]) -> None:
    """Random actions and the dataset's episodes, once for all planners of an experiment: `baselines.jsonl`."""
    folder = RunFolder(sweep / "evaluations" / experiment.name)
    with _alone(sweep, f"{experiment.name}--baselines"):
        if not read_baselines(folder):
            _evaluate(run, {}, folder, experiment.evaluation, experiment, warn, baselines=True)


def time_planners(points: Sequence[Point], run: Path, sweep: Path, decisions: int) -> None:
    """Milliseconds of every planner's decisions, one after the other, in one run; rows go to `timing`.

    To be called when nothing else runs. What a decision costs does not depend on what the model has learnt.
    """
    planners: dict[str, AbstractPlannerConfig] = {point.name: point.planner for point in points}
    folder = RunFolder(sweep / "timing")
    with _alone(sweep, "timing"):
        folder.path.mkdir(exist_ok=True)
        experiment = points[0].experiment
        config = dataclasses.replace(experiment.evaluation, episodes=1, timed_decisions=decisions)
        _evaluate(load_run(run), planners, folder, config, experiment)


def is_evaluated(point: Point, sweep: Path) -> bool:
    """Whether the point has its row. Raises `ConfigError` where the row is of another point of that name."""
    folder = RunFolder(sweep / "evaluations" / point.key)
    if not (folder.path / "row.json").exists():
        return False
    if from_json(Point, folder.read_json("config.json")) != point:
        raise ConfigError(f"{folder.path} holds a row of other settings; delete the folder, or start a new sweep.")
    return True


def identity(point: Point) -> dict[str, Any]:
    """What tells a row from others."""
    return {
        "experiment": point.experiment.name,
        "planner": point.name,
        "base": point.base,
        "seed": point.experiment.seed,
        "settings": point.settings,
        "planner_settings": point.planner_settings,
    }


def gather_rows(points: Sequence[Point], sweep: RunFolder) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of the points that have one, and those of their episodes; written as `rows.jsonl`, `episodes.jsonl`.

    Beside them is `baselines.jsonl`, what planners of each experiment are held against (`owma.results.baselines`). All
    files are made anew from the points' folders, so that nothing in them is there twice.
    """
    times: Mapping[str, Any] = {}
    if (sweep.path / "timing" / "episodes.jsonl").exists():
        timed = RunFolder(sweep.path / "timing").read_jsonl("episodes.jsonl", drop_torn=True)
        times = {row["planner"]: {key: row[key] for key in ("ms_p50", "ms_p95")} for row in timed}
    rows, episodes = [], []
    for point in points:
        if is_evaluated(point, sweep.path):
            folder = RunFolder(sweep.path / "evaluations" / point.key)
            known = times.get(point.name, {})
            rows.append(folder.read_json("row.json") | known)
            episodes += [identity(point) | row | known for row in folder.read_jsonl("episodes.jsonl")]
    experiments = {point.experiment.name: point for point in points}.values()
    beside = [
        {**row, "experiment": point.experiment.name, "settings": point.settings, "seed": point.experiment.seed}
        for point in experiments
        for row in read_baselines(RunFolder(sweep.path / "evaluations" / point.experiment.name))
    ]
    sweep.write_jsonl("rows.jsonl", rows)
    sweep.write_jsonl("episodes.jsonl", episodes)
    if beside:
        sweep.write_jsonl(BASELINES, beside)
    return rows, episodes


def _evaluate(
    run: SavedRun,
    planners: Mapping[str, AbstractPlannerConfig],
    folder: RunFolder,
    config: EvaluationConfig,
    experiment: ExperimentConfig,
    warn: Callable[[str], None] | None = None,
    *,
    baselines: bool = False,
) -> None:
    env = _env(run, experiment)
    judge = judge_of(kept_task(experiment.task, run.folder.path), env)
    setup = setup_of_run(run, config, env=env, judge=judge)
    if not baselines:
        setup = dataclasses.replace(setup, data_row=None, random_actions=False)
    evaluate_planners(planners, setup, folder, seed=experiment.seed, progress=silent, warn=warn)


def _env(run: SavedRun, experiment: ExperimentConfig) -> EnvSpec:
    named = experiment.evaluation.env
    if named is not None:
        return find_env(named)
    if run.env_spec is not None:
        return run.env_spec
    dataset = load_dataset(experiment.data, silent)
    if dataset.env_spec is None:
        refusal = dataset.env_refusal or "The dataset names no environment to evaluate in."
        raise ConfigError(f"{refusal} Pass --overrides evaluation.env=ID.")
    return dataset.env_spec


def _noted(config: ExperimentConfig, runs: Path, sweep: Path) -> RunFolder | None:
    """The run that the sweep remembers for this training, finished or not."""
    note = RunFolder(sweep / "trained")
    if not (note.path / f"{config.name}.json").exists():
        return None
    return RunFolder(runs / note.read_json(f"{config.name}.json")["run"])


def _finished(config: ExperimentConfig, runs: Path) -> RunFolder | None:
    """The first run below `runs` that was trained to the end as `config` says, on the dataset that is there now."""
    dataset = None
    for path in sorted(runs.glob("*/v*/config.json")):
        folder = RunFolder(path.parent)
        try:
            stored = from_json(ExperimentConfig, folder.read_json("config.json"))
        except OwmaError:
            continue  # of another version of owma, or no run's
        same = stored.training_fingerprint == config.training_fingerprint
        if not same or checkpoint.latest(folder.path / "models") is None:
            continue
        dataset = load_dataset(config.data, silent) if dataset is None else dataset
        try:
            require_same_dataset(folder, config.data, dataset)
        except CheckpointError:
            continue
        return folder
    return None


@contextlib.contextmanager
def _alone(sweep: Path, name: str) -> Iterator[None]:
    """Wait for whoever else is at this step: the workers of a driver that was killed may outlive it for a moment.

    The operating system lets go of the lock when its holder dies.
    """
    locks = sweep / "locks"
    locks.mkdir(exist_ok=True)
    with FileLock(locks / name):
        yield
