"""`owma.evaluate`: planners compared from Python, by what `python -m owma.eval` calls."""

import dataclasses
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError
from owma._internal.progress import Progress, ProgressCallback, shown_progress
from owma.config.experiment import EvaluationConfig, imported_modules
from owma.config.json import to_json
from owma.config.names import check_run_name
from owma.config.planners import AbstractPlannerConfig, planner_name
from owma.config.task import LabelledTaskConfig, RewardTaskConfig, TaskConfig, is_of_session
from owma.envs import check_env, limit_note, pays, statistics_note
from owma.envs.given import EnvLike, given_env
from owma.eval import evaluate as of_folder
from owma.eval.courses import Judge, judge_of
from owma.outcomes.tasks import AbstractRewardTask
from owma.planners import AbstractPlanner
from owma.results.baselines import kept_data_row
from owma.runs.folder import RunFolder, versions
from owma.runs.labels import kept_task
from owma.runs.load import Run
from owma.runs.rows import EpisodeRow

Planner: TypeAlias = str | AbstractPlannerConfig | AbstractPlanner
"""A planner: by the name that training knows it by, as a configuration, or built."""

Planners: TypeAlias = Planner | Sequence[Planner] | Mapping[str, Planner]
"""One planner, several, or several by names of one's own."""


def evaluate(
    run: Run,
    planners: Planners = (),
    *,
    env: EnvLike | None = None,
    episodes: int | None = None,
    seed: int = 0,
    replan_every: int | None = None,
    timed_decisions: int | None = None,
    max_steps: int | None = None,
    kl_coef: float | None = None,
    value: Literal["decoder", "linear"] | None = None,
    deadline_ms: float | None = None,
    progress: bool | ProgressCallback = True,
) -> list[EpisodeRow]:
    """Episodes of each planner from the same start states, a row each.

    ```python
    rows = owma.evaluate(run, ["static", "online_adaptation"], episodes=16)
    pandas.DataFrame(rows).groupby("planner")["return"].mean()
    ```

    Rows, table and pictures are in a new version of `RUN/evaluations/NAME`, as of `python -m owma.eval`.

    **Arguments:**

    - `planners`: names (`"cem"`, ...), configurations, or either by names of your own; by default those of the run.
    - `env`: as of `owma.fit`; by default the run's.
    - `episodes`, `replan_every`, `timed_decisions`, `max_steps`, `kl_coef`: see `owma.EvaluationConfig`; by default
      those of the run. `kl_coef` is the price of planners that are given by name.
    - `seed`: of start states and of the planners' draws.
    - `value`: which of the run's values to act by; by default the one that its configuration names.
    - `deadline_ms`: milliseconds that a decision may take, for planners that work in steps.
    - `progress`: whether it is shown, or a function `progress(label, done, total, note)` that is told of it.

    **Raises:** `OwmaError` for a mistake in any of these, before an episode is begun.
    """
    given = {"episodes": episodes, "replan_every": replan_every, "timed_decisions": timed_decisions}
    given |= {"max_steps": max_steps, "kl_coef": kl_coef}
    chosen = {field: setting for field, setting in given.items() if setting is not None}
    config = dataclasses.replace(run.config.evaluation, **chosen)
    if config.episodes < 1:
        raise ConfigError(f"episodes={config.episodes}: an evaluation needs at least one.")
    named = _by_name(planners, config)
    where = run.env if env is None else given_env(env)
    check_run_env(run, where, flag="env=")
    notes = statistics_note(run.env_spec, "The run's dataset"), limit_note(where, config.max_steps, "max_steps")
    for note in filter(None, notes):
        _warn(note)
    judge = judge_of_run(run, where, (), warn=_warn, remedy="load it with owma.load(path, task=...)")
    described = {"evaluation": to_json(config), "seed": seed, "planners": {n: repr(p) for n, p in named.items()}}
    folder, _ = evaluate_run(
        run,
        named,
        config,
        env=where,
        judge=judge,
        described=described,
        seed=seed,
        value=value,
        deadline_ms=deadline_ms,
        progress=shown_progress(progress),
        warn=_warn,
    )
    rows: list[Any] = folder.read_jsonl("episodes.jsonl")
    return rows


def evaluate_run(
    run: Run,
    planners: Mapping[str, AbstractPlannerConfig],
    config: EvaluationConfig,
    *,
    env: EnvSpec,
    judge: Judge,
    described: Mapping[str, Any],
    seed: int,
    value: Literal["decoder", "linear"] | None,
    deadline_ms: float | None,
    progress: Progress,
    warn: Callable[[str], None],
) -> tuple[RunFolder, dict[str, Any]]:
    """Let planners act with a run, in a new folder of its evaluations; the folder, and the results.

    **Arguments:** `described`: what the folder's `config.json` says. The others: see `owma.eval.evaluate.evaluate`.
    """
    data = run.data_row or kept_data_row(run.folder) if judge.knows_promise else None  # it is of the task
    name = "planners" if len(planners) > 1 else next(iter(planners))
    folder = RunFolder.create(run.folder.path / "evaluations", name)
    folder.write_json("config.json", described)
    folder.write_json("versions.json", versions())
    results = of_folder.evaluate(
        run.model if value is None else run.parts.agent_model(value),
        planners,
        folder,
        config,
        env=env,
        obs_keys=run.obs_keys,
        seed=seed,
        progress=progress,
        judge=judge,
        data=data,
        deadline_ms=deadline_ms,
        dataset=run.dataset,
        warn=warn,
    )
    return folder, results


def check_run_env(run: Run, env: EnvSpec, *, flag: str) -> None:
    """Raises `ConfigError` where an environment cannot be stepped, or is of another form than the run's data."""
    world, policy = run.parts.world, run.parts.policy
    dims = {"obs_dim": world.observation.mean.shape[0], "action_dim": policy.action.mean.shape[0]}
    check_env(env, run.obs_keys, **dims, flag=flag)


def judge_of_run(
    run: Run, env: EnvSpec, trusted: Collection[str], *, warn: Callable[[str], None], remedy: str
) -> Judge:
    """The run's task where it was given in this process; else `trusted_judge` of what its folder says of it."""
    if run.task is None:
        kept = kept_task(run.config.task, run.folder.path)
        return trusted_judge(kept, env, run.folder.path, trusted, warn=warn, remedy=remedy)
    is_paid = isinstance(run.config.task, RewardTaskConfig) and pays(env, run.config.task.reward)
    return Judge(run.task) if isinstance(run.task, AbstractRewardTask) and not is_paid else Judge()


def trusted_judge(
    task: TaskConfig, env: EnvSpec, folder: Path, trusted: Collection[str], *, warn: Callable[[str], None], remedy: str
) -> Judge:
    """The task that a run's folder names, where it can be had and code that it needs is trusted; else the environment,
    with a warning.

    **Arguments:** `remedy`: what the user is to do where the reward function's module is not trusted.
    """
    is_paid = isinstance(task, RewardTaskConfig) and pays(env, task.reward)
    if isinstance(task, RewardTaskConfig) and not is_paid:
        missing = set(imported_modules((task,), None)) - set(trusted)
        if is_of_session(task):
            warn(
                f"returns and success are the environment's own, and the promise is not checked: the run's reward, "
                f"{task.reward.partition(':')[2]}, was given to a Python session, and no module holds it; give it "
                f"again: owma.load({str(folder)!r}, task=function)."
            )
            return Judge(knows_promise=False)
        if missing:
            names = " ".join(sorted(missing | set(trusted)))
            warn(
                f"returns and success are the environment's own, and the promise is not checked: the run's reward is "
                f"{task.reward}, whose code would run; if it is yours, {remedy.format(names=names)} to be shown the "
                "task's."
            )
            return Judge(knows_promise=False)
    if isinstance(task, LabelledTaskConfig) and task.file.parent != folder:
        # The folder may be somebody else's, and does not choose what is read; nor is it known to be the same file.
        warn(
            f"returns and success are the environment's own, and the promise is not checked: the run has no copy of "
            f"its labels, {task.file}; train it again to be shown the task's."
        )
        return Judge(knows_promise=False)
    return judge_of(task, env)


@dataclasses.dataclass(frozen=True)
class _Built(AbstractPlannerConfig):
    """The configuration of a planner that was built by hand."""

    planner: AbstractPlanner

    def build(self) -> AbstractPlanner:
        return self.planner


def _by_name(planners: Planners, config: EvaluationConfig) -> dict[str, AbstractPlannerConfig]:
    if isinstance(planners, Mapping):
        named = {name: _config(planner, config) for name, planner in planners.items()}
    else:
        several = planners if isinstance(planners, Sequence) and not isinstance(planners, str) else [planners]
        named = {_name(planner): _config(planner, config) for planner in several}
        if len(named) < len(several):
            raise ConfigError("Two of the planners are of one name; give them by names of your own: {name: planner}.")
    for name in named:
        check_run_name(name)
    return named or config.named_planners()


def _name(planner: Planner) -> str:
    if isinstance(planner, str):
        return planner
    return planner_name(planner) if isinstance(planner, AbstractPlannerConfig) else type(planner).__name__


def _config(planner: Planner, config: EvaluationConfig) -> AbstractPlannerConfig:
    if isinstance(planner, str):
        return dataclasses.replace(config, planners=(planner,)).named_planners()[planner]
    return planner if isinstance(planner, AbstractPlannerConfig) else _Built(planner)


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=3)
