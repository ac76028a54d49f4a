"""`python -m owma.train`: collect if need be, train, evaluate every planner, write the run.

What computes is imported when the flags have been read, so that `--help` and a mistake in a flag are answered at once.
"""

import dataclasses
import functools
import operator
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from owma._internal.command import (
    command,
    disable_optimisations,
    enable_compilation_cache,
    is_flag_given,
    parse,
    require_platform,
    require_trust,
    resumable,
    same_command,
    show_warning,
)
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma.config.data import MEMORY_GIB
from owma.config.experiment import ExperimentConfig
from owma.config.flags import command_with
from owma.config.json import from_json, to_json
from owma.config.planners import check_own
from owma.config.planners.budgets import kl_coef_notes
from owma.config.presets import PRESETS, fit_preset_to_data
from owma.config.task import describe_task
from owma.results.description import describe_data, describe_env
from owma.results.show import show_fit, show_results, show_setup
from owma.runs.folder import RunFolder
from owma.train.job import (
    JobConfig,
    collective_section,
    main_process_first,
    open_shared_progress,
    require_same,
    run_distributed,
)
from owma.train.logs import LogKind, MetricsLog, check_logs, open_logs

if TYPE_CHECKING:
    from owma.train.inputs import Inputs

_Preset: Any = functools.reduce(
    operator.or_,
    (
        Annotated[ExperimentConfig, tyro.conf.subcommand(name, default=config, description=description)]
        for name, (description, config) in PRESETS.items()
    ),
)


_OFTEN = (
    *("--resume", "--seed", "--world.discount", "--training.updates", "--training.batch-size", "--value.kind"),
    *("--evaluation.env", "--evaluation.planners", "--evaluation.episodes", "--evaluation.kl-coef"),
)
"""The flags that `--help` shows."""

_FEW_UPDATES = 1_000
"""A run of fewer takes longer to optimise than to execute."""


@dataclasses.dataclass(frozen=True)
class Train:
    """Trains an outcome model, a readout policy and a value, then lets every planner act with them."""

    preset: Annotated[_Preset, tyro.conf.arg(name="")] = PRESETS["two-routes"][1]  # pyright: ignore[reportInvalidTypeForm]
    """The configuration to start from; every field of it is a flag."""
    resume: Path | None = None
    """Go on with this run (runs/NAME or runs/NAME/v<N>), by its own configuration; all other flags are ignored."""
    runs: Path = Path("runs")
    """Where run folders go."""
    memory_gib: float = MEMORY_GIB
    """GiB that transitions may take in memory; larger datasets are copied to the user's cache folder once, and read
    from there in batches. Coordinates and values are then fitted to 100,000 transitions."""
    log: tuple[LogKind, ...] = ()
    """Where metrics go beside metrics.jsonl: `tensorboard` (owma[tensorboard]), `wandb` (owma[wandb]), or both."""
    trust: tuple[str, ...] = ()
    """Modules of yours that register the environment which the dataset names and, with --resume, that the run's reward,
    environment or planners are imported from. Data and folders alone, which may be somebody else's, import nothing."""
    job: JobConfig = JobConfig()
    """Where several processes train together; what they compute is the same."""


def main() -> None:
    """Parse, run, print the folder."""
    arguments = parse(Train, prog="python -m owma.train", often=_OFTEN, kl_coef_flag="--evaluation.kl-coef")
    check_logs(arguments.log)
    run_distributed(arguments.job, lambda: _train(arguments))


def _train(arguments: Train) -> None:
    enable_compilation_cache()
    require_platform()
    from owma.data.given import kept_data
    from owma.envs import import_modules
    from owma.runs.dataset import require_same_dataset
    from owma.runs.labels import kept_task
    from owma.train.devices import is_main_process

    def show_inputs(config: ExperimentConfig, notes: Sequence[str] = (), begun: RunFolder | None = None) -> "Inputs":
        from owma.train.inputs import prepare_experiment

        check = None if begun is None else functools.partial(require_same_dataset, begun, config.data)
        # A run goes on with the labels that it began with, and with the arrays that it was given.
        kept = config
        if begun is not None:
            task, data = kept_task(config.task, begun.path), kept_data(config.data, begun.path)
            kept = dataclasses.replace(config, task=task, data=data)
        inputs = main_process_first(
            lambda: prepare_experiment(kept, open_progress, memory_gib=arguments.memory_gib, check=check)
        )
        require_same(config.training_fingerprint, inputs)
        if is_main_process():
            show_setup(describe_data(inputs.dataset), [describe_task(config.task)], describe_env(inputs.env))
            for note in (*notes, *inputs.dataset.notes, *inputs.notes):
                show_warning(note)
        return inputs

    if arguments.resume is None:
        config, notes = fit_preset_to_data(arguments.preset, is_flag_given)
        if is_flag_given("evaluation.kl_coef"):
            notes += kl_coef_notes(config.evaluation.planners, config.evaluation.kl_coef)
        # First the inputs, so that a mistake in them leaves no folder behind.
        import_modules(arguments.trust)
        check_own(config.evaluation.named_planners().values())
        with resumable(same_command("owma.train")):
            inputs = show_inputs(config, notes)
        folder = _new_folder(arguments.runs, config)
        resume_command = _resume_command(folder.path, arguments, sorted({*config.imports, *arguments.trust}))
    else:
        folder = RunFolder.open(arguments.resume)
        config = from_json(ExperimentConfig, folder.read_json("config.json"))
        resume_command = _resume_command(folder.path, arguments, arguments.trust)
        require_trust(config.imports, arguments.trust, _resume_command(folder.path, arguments))
        import_modules(arguments.trust)
        check_own(config.evaluation.named_planners().values())
        with resumable(resume_command):
            inputs = show_inputs(config, begun=folder)
        config = _rename_planners(config, folder)
    if config.training.updates < _FEW_UPDATES and config.evaluation.timed_decisions == 0:
        disable_optimisations()
    if is_main_process():
        print(f"run {folder.path}", file=sys.stderr)
    with resumable(resume_command):
        with open_logs(arguments.log if is_main_process() else (), folder.path, to_json(config)) as logs:
            _run(config, inputs, folder, logs)
    if is_main_process():
        show_result(folder.path)


def _new_folder(runs: Path, config: ExperimentConfig) -> RunFolder:
    """The folder of a run that begins, which the first process of a job makes for all."""
    import jax.numpy as jnp

    from owma.train.devices import broadcast_from_process_0, is_main_process
    from owma.train.run import create_run

    if not is_main_process():
        return RunFolder(runs / config.name / f"v{int(broadcast_from_process_0(jnp.asarray(0)))}")
    folder = create_run(runs, config)
    broadcast_from_process_0(jnp.asarray(int(folder.path.name.removeprefix("v"))))
    return folder


def _rename_planners(config: ExperimentConfig, folder: RunFolder) -> ExperimentConfig:
    """A run's configuration with the names that planners have today, which its rows are then given too."""
    from owma.runs.former_names import former_names, rename_evaluated, rename_in_folder
    from owma.train.devices import is_main_process

    names = former_names(folder.read_json("config.json")["evaluation"], config.evaluation)
    if not names:
        return config
    config = dataclasses.replace(config, evaluation=rename_evaluated(config.evaluation, names))
    if is_main_process():
        show_warning(rename_in_folder(folder, names, config))
    return config


def _resume_command(folder: Path, arguments: Train, trust: Iterable[str] = ()) -> str:
    """The command that goes on with a run, as these arguments have it but for `trust`."""
    # A run that is begun with data on disk is fitted to a sample of them, and goes on with that only.
    kept = {"memory_gib": arguments.memory_gib, "log": arguments.log, "job": arguments.job}
    return command_with("train", Train(resume=folder, trust=tuple(trust), **kept))


def _run(config: ExperimentConfig, inputs: "Inputs", folder: RunFolder, logs: Sequence[MetricsLog]) -> None:
    from owma.train.devices import is_main_process
    from owma.train.experiment import Experiment
    from owma.train.held_out import doubts
    from owma.train.run import evaluate_trained

    with collective_section():
        parts = Experiment(config, inputs, folder, open_shared_progress, logs, warn=show_warning).train()
    if not is_main_process():
        return
    fit = next(row for row in folder.read_jsonl("metrics.jsonl") if row["phase"] == "task")
    show_fit(fit, config, obs_dim=inputs.dataset.transitions.obs.shape[1], kept=parts.world.whitening.dims)
    results = evaluate_trained(parts, config, inputs, folder, open_progress, logs, warn=show_warning)
    if results is not None:
        show_results(results)
    # Of a model that was hardly trained there is nothing to say.
    is_trained = config.training.updates >= _FEW_UPDATES
    if is_trained and (bad := doubts(parts.world, inputs.dataset.transitions, config)):
        said = " ".join(finding.sentence for finding in bad)
        show_warning(f"{said} `python -m owma.diagnose {folder.path}` looks at more.")


if __name__ == "__main__":
    command(main)
