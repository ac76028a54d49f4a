"""`python -m owma.eval RUN planner:...`: let a trained run act with a planner of your choice.

What computes is imported when the flags have been read, so that `--help` and a mistake in a flag are answered at once.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from owma._internal.command import (
    command,
    enable_compilation_cache,
    is_flag_given,
    parse,
    require_platform,
    show_warning,
)
from owma._internal.errors import ConfigError
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma.config.experiment import EvaluationConfig, imported_modules
from owma.config.fields import check_seeds
from owma.config.json import later_field, to_json
from owma.config.planners import (
    NAMED,
    AbstractPlannerConfig,
    OnlineAdaptation,
    OwnPlanner,
    PlannerConfig,
    Static,
    check_own,
    planner_name,
)
from owma.config.planners.budgets import kl_coef_notes
from owma.config.task import describe_task
from owma.config.value import ValueKind
from owma.results.description import describe_env
from owma.results.show import show_results, show_setup
from owma.runs.folder import require_models


@dataclasses.dataclass(frozen=True)
class Eval:
    """Evaluates a planner on a trained run, or several by name (--planners); rows, table and pictures go to a folder of
    their own.
    """

    run: tyro.conf.Positional[Path]
    """runs/NAME (its newest version) or runs/NAME/v<N>."""
    planner: PlannerConfig = OnlineAdaptation()
    evaluation: Annotated[EvaluationConfig, tyro.conf.arg(name="")] = EvaluationConfig(planners=())
    value: ValueKind | None = None
    """Which of the run's values to act by; by default the one that its configuration names."""
    deadline_ms: float | None = None
    """Milliseconds that a decision may take: adaptation stops when they are gone, and overruns are counted."""
    seed: int = 0
    """Of start states and of the planner's draws."""
    trust: tuple[str, ...] = later_field(())
    """Modules of yours that the run's reward function is imported from, so that it judges the episodes, or that
    register its environment; the folder alone, which may be somebody else's, is not believed."""
    video: bool = False
    """Also a film of one episode beside one of static, video.gif, and video.mp4 where ffmpeg is: drawn by the simulator
    where it can, mazes from above, and on a map elsewhere."""

    def __post_init__(self) -> None:
        if self.evaluation.episodes < 1:
            raise ConfigError(f"--episodes={self.evaluation.episodes}: an evaluation needs at least one.")
        named = self.evaluation.planners
        if self.evaluation.kl_coef is not None and not named:
            raise ConfigError("kl_coef: one planner has its own; pass --planner.kl-coef, or --planner.guidance-coef.")
        if self.video and len(named) > 1:
            raise ConfigError(f"--video shows one planner, and --planners names {len(named)}; name one of them.")
        if self.deadline_ms is not None and not self.deadline_ms > 0:
            raise ConfigError(f"deadline_ms={self.deadline_ms}: must be positive.")
        steps = OnlineAdaptation, OwnPlanner  # one's own are asked when they are built
        if self.deadline_ms is not None and not all(isinstance(p, steps) for p in self.acting().values()):
            raise ConfigError("deadline_ms: only planner:online-adaptation works in steps that can be cut short.")
        check_seeds(self.seed)

    def acting(self, of_run: EvaluationConfig | None = None) -> dict[str, AbstractPlannerConfig]:
        """The planners by name: `planner`, or those of --planners; where flags say nothing of them, as `of_run` has
        them.
        """
        if not self.evaluation.planners:
            planner = self.planner if of_run is None else _as_of_run(self.planner, of_run)
            return {planner_name(planner): planner}
        named = self.evaluation
        if of_run is not None and named.kl_coef is None:
            named = dataclasses.replace(named, kl_coef=of_run.kl_coef, settings=of_run.settings)
            named = named.with_settings(self.evaluation.settings)
        return named.named_planners()


def _as_of_run(planner: AbstractPlannerConfig, of_run: EvaluationConfig) -> AbstractPlannerConfig:
    """The one planner, its fields that no flag sets as the run's evaluation has them."""
    settled = _settled(planner, of_run)
    given = {f.name for f in dataclasses.fields(settled) if is_flag_given(f"planner.{f.name}")}
    return dataclasses.replace(settled, **{field: getattr(planner, field) for field in given})


def _settled(planner: AbstractPlannerConfig, of_run: EvaluationConfig) -> Any:
    name = planner_name(planner).partition("-")[0]
    return of_run.settled(name, planner) if name in NAMED else planner


def _notes_on_price(arguments: Eval, of_run: EvaluationConfig) -> list[str]:
    """What a user has to know whose planners are settled by the run, or are not."""
    if arguments.evaluation.planners:
        return (
            [] if arguments.evaluation.kl_coef or not of_run.settings else [f"{_BY_RUN}: {', '.join(of_run.settings)}."]
        )
    settled, acts = _settled(arguments.planner, of_run), _as_of_run(arguments.planner, of_run)
    changes = {f.name: getattr(acts, f.name) for f in dataclasses.fields(settled)}
    by_run = {field: value for field, value in changes.items() if value != getattr(arguments.planner, field)}
    other = {field: getattr(settled, field) for field, value in changes.items() if value != getattr(settled, field)}
    of_price = {field: value for field, value in other.items() if field in ("kl_coef", "guidance_coef")}
    said = [f"{_BY_RUN}: {_spelled(by_run)}; --planner.* sets others."] if by_run else []
    return said + ([f"The planners of the run have {_spelled(of_price)}; this one has another."] if of_price else [])


def _spelled(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{field}={value}" for field, value in fields.items())


_BY_RUN = "As the run's own evaluation has it, or as it was tuned"

_OFTEN = (
    *("--planner.kl-coef", "--planner.adaptation-steps", "--planner.n-adaptation-samples", "--planners", "--kl-coef"),
    *("--episodes", "--env", "--deadline-ms", "--seed", "--video"),
)
"""The flags that `--help` shows."""


def _kl_coef_flag() -> str:
    """The flag that `--lambda` stands for: of the one planner, or of all that are named."""
    return "--kl-coef" if is_flag_given("planners") else "--planner.kl-coef"


def main() -> None:
    """Parse, evaluate, print the folder."""
    arguments = parse(Eval, prog="python -m owma.eval", often=_OFTEN, kl_coef_flag=_kl_coef_flag())
    if arguments.evaluation.planners and is_flag_given("planner"):
        raise ConfigError(
            "--planners are planners as a training run has them, and planner:NAME is one with settings of its own "
            "(--planner.*); give one of the two."
        )
    require_models(arguments.run)  # a mistake is answered before what computes is imported
    enable_compilation_cache()
    require_platform()
    from owma.envs import find_env, import_modules, limit_note, statistics_note
    from owma.eval.evaluate import evaluate_planners
    from owma.eval.setup import check_run_env, judge_of_run, new_evaluation_folder, setup_of_run
    from owma.eval.videos import find_renderer, record
    from owma.runs.load import load_run

    import_modules(arguments.trust)
    check_own(arguments.acting().values())
    run = load_run(arguments.run)
    arguments = _cut_as(run.config.evaluation, arguments)
    named, most_steps = arguments.evaluation.env, arguments.evaluation.max_steps
    env = run.env if named is None else find_env(named)
    # Before the simulator is imported, which is when it chooses how to draw.
    modules = imported_modules((), named, arguments.trust)
    renderer = find_renderer(env, modules) if arguments.video else None
    if renderer is not None:
        os.environ["MUJOCO_GL"] = renderer
    check_run_env(run, env, flag="--env")
    known = "unnamed (the run is from an earlier version)" if run.dataset is None else run.dataset.dataset_id
    show_setup(f"{known}, which the run was trained on", [describe_task(run.config.task)], describe_env(env))
    notes = statistics_note(run.env_spec, "The run's dataset"), limit_note(env, most_steps, "--max-steps")
    given = arguments.evaluation.planners, arguments.evaluation.kl_coef
    for note in filter(None, (*notes, *kl_coef_notes(*given))):
        show_warning(note)
    planners = arguments.acting(run.config.evaluation)
    for note in _notes_on_price(arguments, run.config.evaluation):
        show_warning(note)
    judge = judge_of_run(run, env, arguments.trust, warn=show_warning, remedy="pass --trust {names}")
    about = {"value": arguments.value, "deadline_ms": arguments.deadline_ms}
    setup = setup_of_run(run, arguments.evaluation, env=env, judge=judge, **about)
    for planner in planners.values():
        setup.agent(planner)  # one that cannot keep a deadline is refused before there is a folder
    folder = new_evaluation_folder(run, planners, to_json(arguments))
    results = evaluate_planners(planners, setup, folder, seed=arguments.seed, progress=open_progress, warn=show_warning)
    if arguments.video:
        (name,) = planners  # `Eval` has seen to it
        shown = {"static": Static()} | planners  # beside what it does without a plan
        agents = {_title(its, planner): setup.agent(planner) for its, planner in shown.items()}
        with open_progress("recording", setup.most_steps * len(agents), 0) as advance:
            to = {"seed": arguments.seed, "most_steps": most_steps, "rendered": renderer is not None}
            ours = _title(name, planners[name])
            files = record(agents, env, folder.path / "video.gif", ours=ours, **to, progress=advance)
        if len(files) == 1:
            show_warning(
                "There is a GIF and no MP4, which ffmpeg makes: install ffmpeg, or `pip install imageio-ffmpeg`."
            )
    show_results(results)
    show_result(folder.path)


def _title(name: str, planner: AbstractPlannerConfig) -> str:
    """Of a planner's part of a film: its name, and the price of a nat if it has one."""
    price = getattr(planner, "kl_coef", None)
    words = name.partition("-")[0].replace("_", " ")
    return f"{words}, λ = {price:g}" if isinstance(price, int | float) else words


def _cut_as(of_run: EvaluationConfig, arguments: Eval) -> Eval:
    """Episodes are cut where those of the run's own table are, unless the user says otherwise."""
    if is_flag_given("max_steps"):
        return arguments
    cut = dataclasses.replace(arguments.evaluation, max_steps=of_run.max_steps)
    return dataclasses.replace(arguments, evaluation=cut)


if __name__ == "__main__":
    command(main)
