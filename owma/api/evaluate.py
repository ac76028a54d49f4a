"""`owma.evaluate`: planners compared from Python, by what `python -m owma.eval` calls."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from owma._internal.errors import ConfigError
from owma._internal.progress import ProgressCallback, shown_progress
from owma.config.experiment import EvaluationConfig
from owma.config.json import to_json
from owma.config.names import check_run_name
from owma.config.planners import AbstractPlannerConfig, OwnPlanner, check_own, own_planner, planner_name
from owma.config.planners.budgets import kl_coef_notes
from owma.config.planners.own import class_planner_name
from owma.config.value import ValueKind
from owma.envs import limit_note, statistics_note
from owma.envs.given import EnvLike, given_env
from owma.eval.evaluate import evaluate_planners
from owma.eval.setup import check_run_env, judge_of_run, new_evaluation_folder, setup_of_run
from owma.planners import AbstractPlanner
from owma.runs.load import SavedRun
from owma.runs.rows import EpisodeRow

Planner: TypeAlias = str | AbstractPlannerConfig | AbstractPlanner
"""A planner: a name of `--planners` (`"cem"`, `"planner:MODULE:Class"`), a configuration, or a built planner."""

Planners: TypeAlias = Planner | Sequence[Planner] | Mapping[str, Planner]
"""One planner, several, or several by names of one's own."""


def evaluate(
    run: SavedRun,
    planners: Planners = (),
    *,
    env: EnvLike | None = None,
    episodes: int | None = None,
    seed: int = 0,
    replan_every: int | None = None,
    timed_decisions: int | None = None,
    max_steps: int | None = None,
    kl_coef: float | None = None,
    value: ValueKind | None = None,
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

    - `run`: of `owma.fit` or `owma.load`.
    - `planners`: names (`"cem"`, ...), configurations, or either by names of your own; by default those of the run.
    - `env`: as of `owma.fit`; by default the run's.
    - `episodes`, `replan_every`, `timed_decisions`, `max_steps`, `kl_coef`: see `owma.EvaluationConfig`; by default
      those of the run. `kl_coef` is λ of planners given by name; configurations keep their own.
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
    if kl_coef is not None:  # in place of one that was tuned
        config = dataclasses.replace(config, settings=tuple(s for s in config.settings if s not in run.tuned))
    if config.episodes < 1:
        raise ConfigError(f"episodes={config.episodes}: an evaluation needs at least one.")
    named = _by_name(planners, config, trusted=run.trusts_planners)
    where = run.env if env is None else given_env(env)
    check_run_env(run, where, flag="env=")
    notes = statistics_note(run.env_spec, "The run's dataset"), limit_note(where, config.max_steps, "max_steps")
    for note in filter(None, (*notes, *kl_coef_notes(named, kl_coef))):
        _warn(note)
    judge = judge_of_run(run, where, (), warn=_warn, remedy="load it with owma.load(path, task=...)")
    described = {"evaluation": to_json(config), "seed": seed, "planners": {n: repr(p) for n, p in named.items()}}
    setup = setup_of_run(run, config, env=where, judge=judge, value=value, deadline_ms=deadline_ms)
    for planner in named.values():
        setup.agent(planner)  # one that cannot keep a deadline is refused before there is a folder
    folder = new_evaluation_folder(run, named, described)
    evaluate_planners(named, setup, folder, seed=seed, progress=shown_progress(progress), warn=_warn)
    rows: list[Any] = folder.read_jsonl("episodes.jsonl")
    return rows


@dataclasses.dataclass(frozen=True)
class _Built(AbstractPlannerConfig):
    """The configuration of a planner that was built by hand."""

    planner: AbstractPlanner

    def build(self) -> AbstractPlanner:
        return self.planner


def _by_name(planners: Planners, config: EvaluationConfig, *, trusted: bool) -> dict[str, AbstractPlannerConfig]:
    if isinstance(planners, Mapping):
        named = {name: _config(planner, config) for name, planner in planners.items()}
    else:
        several = planners if isinstance(planners, Sequence) and not isinstance(planners, str) else [planners]
        named = {_name(planner): _config(planner, config) for planner in several}
        if len(named) < len(several):
            raise ConfigError("Two of the planners are of one name; give them by names of your own: {name: planner}.")
    for name in named:
        check_run_name(name)
    if named:
        check_own(named.values())
        return named
    # The run's own, perhaps of a folder that may be somebody else's.
    own = [planner.spec for planner in config.named_planners().values() if isinstance(planner, OwnPlanner)]
    if own and not trusted:
        raise ConfigError(
            f"The run compares {', '.join(own)}, whose code would run; if it is yours, name the planners: "
            f"run.evaluate({list(config.planners)})."
        )
    return config.named_planners()


def _name(planner: Planner) -> str:
    if isinstance(planner, str):
        own = own_planner(planner)
        return planner if own is None else own.name
    if isinstance(planner, AbstractPlannerConfig):
        return planner_name(planner)
    return class_planner_name(type(planner).__name__)


def _config(planner: Planner, config: EvaluationConfig) -> AbstractPlannerConfig:
    if isinstance(planner, str):
        return next(iter(dataclasses.replace(config, planners=(planner,)).named_planners().values()))
    return planner if isinstance(planner, AbstractPlannerConfig) else _Built(planner)


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=3)
