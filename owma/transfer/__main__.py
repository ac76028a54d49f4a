"""`python -m owma.transfer RUN --task ...`: one pretrained run, many tasks, no retraining.

`python -m owma.transfer RUN --ogbench-tasks`: OGBench's five tasks, and OGBench's metric over them.

What computes is imported when the flags have been read, so that `--help` and a mistake in a flag are answered at once.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from owma._internal.command import (
    command,
    enable_compilation_cache,
    is_flag_given,
    parse,
    require_platform,
    require_trust,
    resumable,
    same_command,
    show_warning,
)
from owma._internal.errors import ConfigError
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma.config.data import MEMORY_GIB
from owma.config.experiment import EvaluationConfig, ExperimentConfig, imported_modules
from owma.config.flags import command_with
from owma.config.json import from_json, later_field, to_json
from owma.config.names import check_run_name
from owma.config.planners import OwnPlanner, check_own
from owma.config.planners.budgets import kl_coef_notes
from owma.config.task import describe_task, parse_task
from owma.config.transfer import TransferConfig
from owma.results.description import describe_data, describe_env
from owma.results.show import show_setup, show_table
from owma.runs.folder import RunFolder, require_models, versions


@dataclasses.dataclass(frozen=True)
class Transfer:
    """Tells a trained run of other tasks by a few labels, and lets planners act on each; nothing is trained again."""

    run: tyro.conf.Positional[Path | None] = None
    """runs/NAME (its newest version) or runs/NAME/v<N>; not needed with --resume."""
    config: Annotated[TransferConfig, tyro.conf.arg(name="")] = TransferConfig()
    evaluation: Annotated[EvaluationConfig, tyro.conf.arg(name="")] = EvaluationConfig(
        planners=("online_adaptation",), episodes=16, timed_decisions=0
    )
    name: str = "transfer"
    """Rows, table and pictures go to RUN/transfers/NAME/v<N>."""
    memory_gib: float = later_field(MEMORY_GIB)
    """GiB that transitions may take in memory; of larger datasets, whose copies are in the user's cache folder, tasks
    are told by the 100,000 transitions that training fitted its values to."""
    resume: Path | None = None
    """Go on with this folder (RUN/transfers/NAME or one version of it), by its own configuration; all other flags are
    ignored."""
    trust: tuple[str, ...] = later_field(())
    """Modules of yours that register the run's environment and, with --resume, that rewards and planners are
    imported from. A folder alone, which may be somebody else's, is not believed."""

    def __post_init__(self) -> None:
        check_run_name(self.name)
        if self.resume is not None:
            return
        if self.run is None:
            raise ConfigError("There is no run: name one (runs/NAME), or pass --resume with the folder of a transfer.")
        if not self.config.task and self.config.goals == "none" and not self.config.ogbench_tasks:
            raise ConfigError("There is no task: pass --task with one or more, --goals all, or --ogbench-tasks.")
        if self.evaluation.episodes < 1 or not self.evaluation.planners:
            raise ConfigError("A transfer needs at least one of --planners and of --episodes.")
        self.config.acting_planners(self.evaluation)  # raises where --each names no field of theirs


_OFTEN = (
    *("--task", "--goals", "--ogbench-tasks", "--labels", "--planners", "--kl-coef", "--episodes", "--fits"),
    *("--seed", "--resume"),
)
"""The flags that `--help` shows."""


def main() -> None:
    """Parse, fit and evaluate, print the folder."""
    arguments = parse(Transfer, prog="python -m owma.transfer", often=_OFTEN, kl_coef_flag="--kl-coef")
    if arguments.run is not None and arguments.resume is None:
        require_models(arguments.run)  # a mistake is answered before what computes is imported
    enable_compilation_cache()
    require_platform()
    from owma.data.given import kept_data
    from owma.data.load import load_dataset
    from owma.envs import find_env, import_modules, limit_note
    from owma.eval.setup import EvaluationSetup, check_run_env
    from owma.runs.dataset import require_same_dataset
    from owma.runs.load import load_run
    from owma.train.rows import sample_rows
    from owma.transfer.episodes import transfer
    from owma.transfer.inference import TaskInference
    from owma.transfer.summary import doubtful_transfers, transfer_tables
    from owma.transfer.tasks import transfer_tasks

    if arguments.resume is None:
        assert arguments.run is not None  # `Transfer` has seen to it
        folder, path, resume_command = None, arguments.run, same_command("owma.transfer")
    else:
        folder, trust = RunFolder.open(arguments.resume), arguments.trust
        arguments = from_json(Transfer, folder.read_json("config.json"))
        require_trust(_imports(arguments), trust, command_with("transfer", Transfer(resume=folder.path)))
        path = folder.path.absolute().parents[2]
        resume_command = command_with("transfer", Transfer(resume=folder.path, trust=trust))
    # What a reward's module registers is known before environments are looked up.
    import_modules(_imports(arguments))
    usual = arguments.evaluation.named_planners()
    acting = arguments.config.acting_planners(arguments.evaluation)
    check_own(usual.values())
    check_own((planner for name, planner in acting.items() if name not in usual), need_kl_coef=True)
    run = load_run(path)
    if folder is None:
        arguments = _as_the_run(arguments, run.config)
    config, evaluation = arguments.config, arguments.evaluation
    env = run.env if evaluation.env is None else find_env(evaluation.env)
    with resumable(resume_command):
        kept = kept_data(run.config.data, run.folder.path)
        dataset = load_dataset(kept, open_progress, memory_gib=arguments.memory_gib)
        require_same_dataset(run.folder, run.config.data, dataset)
    transitions = dataset.transitions
    if transitions.is_mapped:
        transitions = transitions.ended_rows(sample_rows(transitions, seed=run.config.seed))
    check_run_env(run, env, flag="--env")
    show_setup(describe_data(dataset), _described_tasks(config), describe_env(env))
    given = kl_coef_notes(usual, evaluation.kl_coef if is_flag_given("kl_coef") else None)
    for note in filter(None, (*dataset.notes, limit_note(env, evaluation.max_steps, "--max-steps"), *given)):
        show_warning(note)
    # First all tasks: a mistake in one leaves no folder behind.
    tasks = transfer_tasks(config, transitions, env, trained_for=run.config.task)
    if folder is None:
        folder = RunFolder.create(run.folder.path / "transfers", arguments.name)
        folder.write_json("config.json", to_json(arguments))
        folder.write_json("versions.json", versions())
        resume_command = command_with("transfer", Transfer(resume=folder.path, trust=_imports(arguments)))
    else:
        arguments = _update_names(arguments, folder)
        config, evaluation = arguments.config, arguments.evaluation
    with resumable(resume_command):
        inference = TaskInference(run.parts, run.config, transitions, seed=config.seed)
        setup = EvaluationSetup(run.model, evaluation, env, run.obs_keys)
        results = transfer(inference, tasks, folder, config, setup, progress=open_progress, warn=show_warning)
    for table in transfer_tables(results):
        show_table(table)
    for sentence in doubtful_transfers(results):
        show_warning(sentence)
    show_result(folder.path)


def _described_tasks(config: TransferConfig) -> list[str]:
    told = [f"{spec}: {describe_task(parse_task(spec))}" for spec in config.task]
    told += ["OGBench's five"] if config.ogbench_tasks else []
    return told + ([f"every free cell of the maze, within {config.goal_radius:g}"] if config.goals == "all" else [])


def _as_the_run(arguments: Transfer, run: ExperimentConfig) -> Transfer:
    """With λ and the limit of steps of the run's own evaluation, where the command line has none, and without
    fits for which the run has no decoders.
    """
    evaluation, of_run, config = arguments.evaluation, run.evaluation, arguments.config
    if run.value.members == 1 and "pessimistic" in config.fits:
        fits = tuple(fit for fit in config.fits if fit != "pessimistic")
        if not fits:
            raise ConfigError(
                "--fits pessimistic needs a run with several decoders, and this one has one; pass --fits decoder or "
                "linear, or train it again."
            )
        show_warning(f"the run has one decoder, so that the fits are {' and '.join(fits)}, and not pessimistic.")
        config = dataclasses.replace(config, fits=fits)
    if evaluation.kl_coef is None:
        evaluation = dataclasses.replace(evaluation, kl_coef=of_run.kl_coef)
    if not is_flag_given("max_steps"):
        evaluation = dataclasses.replace(evaluation, max_steps=of_run.max_steps)
    return dataclasses.replace(arguments, config=config, evaluation=evaluation)


def _imports(arguments: Transfer) -> tuple[str, ...]:
    evaluation = arguments.evaluation
    tasks = map(parse_task, arguments.config.task)
    # Of all that will act: what `each` makes of a planner must not import more than what the user trusts.
    acting = arguments.config.acting_planners(evaluation).values()
    planners = [planner.spec for planner in acting if isinstance(planner, OwnPlanner)]
    return imported_modules(tasks, evaluation.env, arguments.trust, planners)


def _update_names(arguments: Transfer, folder: RunFolder) -> Transfer:
    """A transfer with the names that planners have today, in `--each` too, which its rows are then given."""
    from owma.runs.former_names import former_names, rename_evaluated, rename_in_folder, today

    names = former_names(folder.read_json("config.json")["evaluation"], arguments.evaluation)
    if not names:
        return arguments
    each = []
    for text in arguments.config.each:
        fields, equals, values = text.partition("=")
        each.append(":".join(today(field, names) for field in fields.split(":")) + equals + values)
    arguments = dataclasses.replace(
        arguments,
        config=dataclasses.replace(arguments.config, each=tuple(each)),
        evaluation=rename_evaluated(arguments.evaluation, names),
    )
    show_warning(rename_in_folder(folder, names, arguments))
    return arguments


if __name__ == "__main__":
    command(main)
