"""`python -m owma.train`: collect if need be, train, evaluate every planner, write the run.

What computes is imported when the flags have been read, so that `--help` and a mistake in a flag are answered at once.
"""

import dataclasses
import functools
import operator
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from owma._command import (
    command,
    compile_plainly,
    keep_programs,
    open_progress,
    parse,
    require_trust,
    resumable,
    same_command,
    show_fit,
    show_results,
    show_warning,
)
from owma.config_json import from_json, to_json
from owma.data_config import MEMORY_GIB
from owma.experiment_config import ExperimentConfig
from owma.logs import LogKind, MetricsLog, check_logs, open_logs
from owma.planners_config import PLANNERS
from owma.presets import PRESETS
from owma.runs import RunFolder, versions

if TYPE_CHECKING:
    from owma.material import Material

_Preset: Any = functools.reduce(
    operator.or_,
    (
        Annotated[ExperimentConfig, tyro.conf.subcommand(name, default=config, description=description)]
        for name, (description, config) in PRESETS.items()
    ),
)


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
    """With --resume: modules of yours that the run's reward or environment is imported from. The folder alone, which
    may be somebody else's, is not believed."""


def main() -> None:
    """Parse, run, print the folder."""
    arguments = parse(Train, prog="python -m owma.train")
    check_logs(arguments.log)
    keep_programs()
    if arguments.resume is None:
        config = arguments.preset
        # First the material: a mistake in it leaves no folder behind.
        with resumable(same_command("owma.train")):
            material = config.gather(open_progress, memory_gib=arguments.memory_gib)
        folder = RunFolder.create(arguments.runs, config.name)
        folder.write_json("config.json", to_json(config))
        folder.write_json("versions.json", versions())
        again = _again(folder.path, arguments, config.imports)
    else:
        folder = RunFolder.open(arguments.resume)
        config = from_json(ExperimentConfig, folder.read_json("config.json"))
        again = _again(folder.path, arguments, arguments.trust)
        require_trust(config.imports, arguments.trust, _again(folder.path, arguments, ()))
        with resumable(again):
            material = config.gather(open_progress, memory_gib=arguments.memory_gib)
    if config.training.updates < _FEW_UPDATES and config.evaluation.timed_decisions == 0:
        compile_plainly()
    print(f"run {folder.path}", file=sys.stderr)
    with resumable(again):
        with open_logs(arguments.log, folder.path, to_json(config)) as logs:
            _run(config, material, folder, logs)
    print(folder.path)


def _again(folder: Path, arguments: Train, trust: Sequence[str]) -> str:
    """The command that goes on with a run, as these arguments have it but for `trust`."""
    flags = ["--resume", str(folder)]
    # A run that is begun with data on disk is fitted to a sample of them, and goes on with that only.
    flags += ["--memory-gib", repr(arguments.memory_gib)] if arguments.memory_gib != MEMORY_GIB else []
    flags += ["--log", *arguments.log] if arguments.log else []
    flags += ["--trust", *trust] if trust else []
    return shlex.join(["python", "-m", "owma.train", *flags])


def _run(config: ExperimentConfig, material: "Material", folder: RunFolder, logs: Sequence[MetricsLog]) -> None:
    from owma.evaluation import evaluate
    from owma.experiment import Experiment

    parts = Experiment(config, material, folder, open_progress, logs, warn=show_warning).train()
    fit = next(row for row in folder.read_jsonl("metrics.jsonl") if row["phase"] == "task")
    show_fit(fit, config.value.kind)
    if material.env is None:
        return
    results = evaluate(
        parts.agent_model(config.value.kind),
        {name: PLANNERS[name] for name in config.evaluation.planners},
        folder,
        config.evaluation,
        env=material.env,
        obs_keys=material.dataset.obs_keys,
        seed=config.seed,
        progress=open_progress,
        dataset_id=material.dataset.dataset_id,
    )
    for log in logs:
        for name, entry in results["planners"].items():
            log.log({"phase": f"evaluation/{name}"} | entry)
    show_results(results)


if __name__ == "__main__":
    command(main)
