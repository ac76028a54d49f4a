"""`python -m owma.sweep PRESET`: grids over configurations, seeds and planners, on Ray; a killed sweep goes on."""

import dataclasses
import functools
import importlib.util
import logging
import operator
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import tyro

from owma._internal.command import (
    PLATFORM_VARIABLES,
    command,
    enable_compilation_cache,
    parse,
    require_trust,
    resumable,
    show_warning,
)
from owma._internal.cores import usable_cores
from owma._internal.errors import ConfigError, OwmaError
from owma._internal.json import replace_text
from owma._internal.progress import progress, stoppable
from owma._internal.stdout import show_result
from owma.config.flags import command_with
from owma.config.json import from_json, to_json
from owma.config.sweep import SWEEPS, Point, SweepConfig, points, read_points, write_points
from owma.config.task import describe_task
from owma.results.show import show_results
from owma.runs.folder import RunFolder, versions

_Preset: Any = functools.reduce(
    operator.or_,
    (
        Annotated[SweepConfig, tyro.conf.subcommand(name, default=config, description=description)]
        for name, (description, config) in SWEEPS.items()
    ),
)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Trains a model for every experiment and seed, once, and lets planners act in each; on Ray (`owma[sweep]`)."""

    preset: Annotated[_Preset, tyro.conf.arg(name="")] = SWEEPS["planners"][1]  # pyright: ignore[reportInvalidTypeForm]
    """The sweep to start from; every field of it is a flag."""
    resume: Path | None = None
    """Go on with this sweep (runs/NAME or runs/NAME/v<N>), as it was begun; flags of the preset are ignored."""
    runs: Path = Path("runs")
    """Where trained runs are, or go, and the sweep's own folder."""
    ray_address: str | None = None
    """Of a cluster whose machines share these folders (`auto` for the one that this machine is part of); by default
    Ray is started here, for this sweep."""
    parallel: int | None = None
    """Steps at once, where Ray is started here; by default one a core."""
    gpus: float = 0.0
    """Share of a GPU that a step takes."""
    dry_run: bool = False
    """Print the points, one a line, and stop."""
    trust: tuple[str, ...] = ()
    """With --resume: modules of yours that rewards, environments or planners of the sweep are imported from. The
    folder alone, which may be somebody else's, is not believed."""


_OFTEN = (
    *("--base", "--grid", "--each", "--overrides", "--seeds", "--planners", "--parallel", "--gpus", "--dry-run"),
    "--resume",
)
"""The flags that `--help` shows."""


def main() -> None:
    """Parse, run, print the folder."""
    arguments = parse(Sweep, prog="python -m owma.sweep", often=_OFTEN)
    if arguments.resume is None:
        planned = points(arguments.preset, show_warning)
        if arguments.dry_run:
            show_result("\n".join(point.key for point in planned))
            return
        _need_ray()
        folder = RunFolder.create(arguments.runs, arguments.preset.name)
        folder.write_json("config.json", to_json(arguments.preset))
        # The points as they are now: when the sweep goes on, a default may have become another.
        folder.write_jsonl("points.jsonl", write_points(planned))
    else:
        _need_ray()
        folder = RunFolder.open(arguments.resume)
        from_json(SweepConfig, folder.read_json("config.json"))
        planned = read_points(folder.read_jsonl("points.jsonl"))
        require_trust(_imports(planned), arguments.trust, command_with("sweep", Sweep(resume=folder.path)))
    resume_command = command_with("sweep", Sweep(resume=folder.path, trust=tuple(_imports(planned))))
    print(f"sweep {folder.path}: {len(planned)} points", file=sys.stderr)
    for task in dict.fromkeys(describe_task(point.experiment.task) for point in planned):
        print(f"task: {task}", file=sys.stderr)
    with resumable(resume_command):
        failures = _run(planned, folder, arguments)
    _finish(planned, folder)
    if failures:
        raise OwmaError(
            f"{len(failures)} steps of the sweep failed, the first with: {failures[0]} Mend that, and go on with "
            f"`{resume_command}`."
        )
    show_result(folder.path)


def _imports(points: Sequence[Point]) -> list[str]:
    return sorted({name for point in points for name in point.experiment.imports})


def _need_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("A sweep runs on Ray, which is not installed: `pip install 'owma[sweep]'`.")
    if any(os.environ.get(name) for name in PLATFORM_VARIABLES):
        # In a process of its own: JAX starts threads when it is asked for its devices, and Ray forks.
        script = "from owma._internal.command import command, require_platform; command(require_platform)"
        asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        if asked.returncode == 2:
            raise ConfigError(asked.stderr.strip().splitlines()[-1].removeprefix("owma: error: "))


@contextmanager
def _ray(arguments: Sweep) -> Iterator[Any]:
    # Ray would report its use over the network.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # It would run the steps at a niceness of 15, so that whatever else runs starves them, and slows what is timed.
    os.environ.setdefault("RAY_worker_niceness", "0")
    enable_compilation_cache()
    import jax
    import ray

    # Programs that one worker has compiled, the others load.
    programs = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    kept = {"JAX_COMPILATION_CACHE_DIR": programs, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    options: dict[str, Any] = {"address": arguments.ray_address}
    if arguments.ray_address is None:
        cores = arguments.parallel or usable_cores()
        options |= {"num_cpus": cores, "include_dashboard": False}
    environment = {"env_vars": kept if programs else {}}
    ray.init(**options, runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
    try:
        with stoppable():  # Ray has a handler of its own, which ends the process
            yield ray
    finally:
        ray.shutdown()


def _run(points: Sequence[Point], folder: RunFolder, arguments: Sweep) -> list[str]:
    """Every step that is not done, as a task of Ray; what went wrong, in sentences."""
    from owma.sweep import steps as work

    config = from_json(SweepConfig, folder.read_json("config.json"))
    sweep = folder.path.resolve()
    runs = sweep.parent.parent
    missing = [point for point in points if not work.is_evaluated(point, sweep)]
    if not missing and (config.timed_decisions == 0 or (sweep / "timing" / "results.json").exists()):
        return []
    failures: list[str] = []
    with _ray(arguments) as ray:
        if not folder.versions_json.exists():
            # Not before Ray is there: it forks, and asking JAX for its devices starts threads.
            folder.write_json("versions.json", versions())
        task = functools.partial(ray.remote, num_cpus=1, num_gpus=arguments.gpus)
        collect, train = task()(work.collect), task()(work.train)
        evaluate, timing = task()(work.evaluate_point), task()(work.time_planners)
        # A dataset is collected once, a model trained once, whatever is varied of those who act with it.
        data: dict[Any, Any] = {}
        models: dict[str, Any] = {}
        # The sweep remembers a model by the first of its experiments, also where that one's points are done.
        trainings = {point.experiment.training_fingerprint: point.experiment for point in reversed(points)}
        for fingerprint in dict.fromkeys(point.experiment.training_fingerprint for point in missing or points[:1]):
            experiment, awaited = trainings[fingerprint], None
            if not work.is_trained(experiment, runs, sweep):
                if experiment.data not in data:
                    data[experiment.data] = collect.remote(experiment, sweep)
                awaited = data[experiment.data]
            models[fingerprint] = train.remote(experiment, runs, sweep, awaited)
        # One seed after another: what is compiled for one, the next loads if its model is of the same size.
        in_turn = sorted(missing, key=lambda point: config.seeds.index(point.experiment.seed))
        rows = [evaluate.remote(point, models[point.experiment.training_fingerprint], sweep) for point in in_turn]
        waiting = [*models.values(), *rows]
        times = config.timed_decisions > 0
        total = len(points) + len(models) + times
        with progress(
            "sweep", total, done=total - times - len(waiting), waiting="the first steps compile and train"
        ) as advance:
            while waiting:
                # A step may take an hour, and all that is done of it is on disk: a stop does not wait for it.
                done, waiting = ray.wait(waiting, timeout=1.0)
                if not done:
                    advance(0)
                    continue
                failures += _failure(ray, done[0])
                work.gather_rows(points, folder)
                advance(1, note=f"{len(failures)} failed" if failures else "")
            if times and not failures:
                # Alone, now that all else is done.
                last = timing.remote(points, next(iter(models.values())), sweep, config.timed_decisions)
                failures += _failure(ray, last)
                advance(1)
    # A step that failed takes down those that need it, with the same words.
    return list(dict.fromkeys(failures))


def _failure(ray: Any, reference: Any) -> list[str]:
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error
        while isinstance(cause, ray.exceptions.RayTaskError) and cause.cause is not None:
            cause = cause.cause
        # A user's mistake is a sentence; anything else keeps its traceback.
        return [str(cause) if isinstance(cause, OwmaError) else str(error)]
    except ray.exceptions.RayError as error:
        return [f"{type(error).__name__}: {error}"]
    return []


def _finish(points: Sequence[Point], folder: RunFolder) -> None:
    """Results and tables of the rows that there are, for each experiment that was varied."""
    from owma.results.analysis import groups, label
    from owma.results.baselines import read_baselines
    from owma.results.summaries import sweep_summary
    from owma.sweep import steps as work

    rows, episodes = work.gather_rows(points, folder)
    for sentence in dict.fromkeys(said for row in rows for said in row.get("warnings", ())):
        show_warning(sentence)
    results, table = sweep_summary(groups(episodes, read_baselines(folder)))
    for summary in results["groups"]:
        show_result(f"\n{label(summary['settings'])}")
        show_results(summary)
    folder.write_json("results.json", results)
    replace_text(folder.path / "table.md", table)


if __name__ == "__main__":
    command(main)
