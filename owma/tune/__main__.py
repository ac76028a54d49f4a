"""`python -m owma.tune RUN`: the price of a nat that suits a trained run, found in its environment.

What computes is imported when the flags have been read, so that `--help` and a mistake in a flag are answered at once.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from owma._internal.command import (
    command,
    enable_compilation_cache,
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
from owma.config.experiment import imported_modules
from owma.config.flags import command_with
from owma.config.json import from_json, to_json
from owma.config.task import describe_task
from owma.config.tune import TuneConfig
from owma.results.description import describe_env
from owma.results.intervals import interval_text
from owma.results.show import show_setup, show_table
from owma.runs.folder import RunFolder, require_models

if TYPE_CHECKING:
    from rich.table import Table


@dataclasses.dataclass(frozen=True)
class Tune:
    """Finds settings of a run's planners by successive halving over start states, writes them into the run, by which
    its planners act from then on, and reports them on other start states.
    """

    run: tyro.conf.Positional[Path | None] = None
    """runs/NAME (its newest version) or runs/NAME/v<N>; not needed with --resume."""
    config: Annotated[TuneConfig, tyro.conf.arg(name="")] = TuneConfig()
    resume: Path | None = None
    """Go on with this folder (RUN/tunings/tune or one version of it), by its own configuration; all other flags are
    ignored."""
    trust: tuple[str, ...] = ()
    """Modules of yours that the run's reward function is imported from, or that register its environment; the folder
    alone, which may be somebody else's, is not believed."""

    def __post_init__(self) -> None:
        if self.run is None and self.resume is None:
            raise ConfigError("There is no run: name one (runs/NAME), or pass --resume with the folder of a tuning.")


_OFTEN = (
    "--planners",
    "--kl-coefs",
    "--knobs",
    "--episodes",
    "--report-episodes",
    "--replan-every",
    "--seed",
    "--resume",
)
"""The flags that `--help` shows."""


def main() -> None:
    """Parse, tune, print the folder."""
    arguments = parse(Tune, prog="python -m owma.tune", often=_OFTEN)
    if arguments.run is not None and arguments.resume is None:
        require_models(arguments.run)  # a mistake is answered before what computes is imported
    enable_compilation_cache()
    require_platform()
    from owma.envs import find_env, import_modules
    from owma.eval.setup import check_run_env, judge_of_run
    from owma.runs.load import load_run
    from owma.tune.tuning import new_tuning_folder, tune_run

    folder, path, resume_command = None, arguments.run, same_command("owma.tune")
    if arguments.resume is not None:
        folder, trust = RunFolder.open(arguments.resume), arguments.trust
        arguments = from_json(Tune, folder.read_json("config.json"))
        resume_command = command_with("tune", Tune(resume=folder.path, trust=trust))
        require_trust(_imports(arguments), trust, command_with("tune", Tune(resume=folder.path)))
        path = folder.path.absolute().parents[2]
    assert path is not None  # `Tune` has seen to it
    import_modules(_imports(arguments))
    config, run = arguments.config, load_run(path)
    env = run.env if config.env is None else find_env(config.env)
    check_run_env(run, env, flag="--env")
    known = "unnamed (the run is from an earlier version)" if run.dataset is None else run.dataset.dataset_id
    show_setup(f"{known}, which the run was trained on", [describe_task(run.config.task)], describe_env(env))
    judge = judge_of_run(run, env, arguments.trust, warn=show_warning, remedy="pass --trust {names}")
    if folder is None:
        folder = new_tuning_folder(run, to_json(arguments))
        resume_command = command_with("tune", Tune(resume=folder.path, trust=arguments.trust))
    with resumable(resume_command):
        results = tune_run(run, config, folder, env=env, judge=judge, progress=open_progress)
    for name, result in results.items():
        show_table(_table(name, result))
        show_result(_verdict(name, result, run.folder.path))
    show_result(folder.path)


def _imports(arguments: Tune) -> tuple[str, ...]:
    return imported_modules((), arguments.config.env, arguments.trust)


def _table(name: str, result: Mapping[str, Any]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(title=f"{name}, on tuning start states", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("setting")
    for heading in ("rounds", "episodes", "success %", "return", "nats", "promise gap"):
        table.add_column(heading, justify="right")
    for candidate, entry in result["tried"].items():
        numbers = (
            interval_text(None if entry["success"] is None else 100 * entry["success"], None, ".0f"),
            *(interval_text(entry[key], None) for key in ("return", "kl", "promise_gap")),
        )
        shown = candidate.removeprefix(name).removeprefix("-") or "as it was"
        is_winner = candidate == result["winner"]
        row = (f"{shown} *" if is_winner else shown, str(entry["last_round"]), str(entry["episodes"]), *numbers)
        table.add_row(*row, style="bold" if is_winner else None)
    return table


def _verdict(name: str, result: Mapping[str, Any], run: Path) -> str:
    """What was found, and what it is worth on other start states."""
    if not result["settings"]:
        return f"{name} stays as it was: nothing that was tried is better by more than a standard error."
    found = ", ".join(
        f"{field}={value:g}" if isinstance(value, float) else f"{field}={value}"
        for field, value in result["settings"].items()
    )
    said = [f"{name} acts with {found} from now on ({run / 'tuned.json'}; remove it to undo this)."]
    entry = result["report"]["planners"][result["winner"]]
    shown = [
        f"{label} {interval_text(difference['mean'], difference['interval'], '+.3g', scale)}"
        for (key, difference), (label, scale) in (
            (item, ("success, points:", 100.0) if item[0] == "success" else ("return:", 1.0))
            for item in result["report"]["difference"].items()
        )
    ]
    said.append(f"On {entry['episodes']} other start states, beside what it was: {'; '.join(shown)}.")
    worse = [key for key, difference in result["report"]["difference"].items() if difference["mean"] < 0]
    if worse:
        said.append(f"There it has less {' and '.join(worse)}, so that the gain does not hold; try more --episodes.")
    return " ".join(said)


if __name__ == "__main__":
    command(main)
