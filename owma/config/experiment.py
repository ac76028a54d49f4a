"""The configuration of a whole experiment."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from owma._internal.errors import ConfigError
from owma.config.data import TwoRoutesCollect
from owma.config.fields import check_seeds, override, parse_axis
from owma.config.json import fingerprint, later_field
from owma.config.names import check_run_name
from owma.config.planners import NAMED, PLANNERS, AbstractPlannerConfig, own_planner
from owma.config.planners.budgets import PlannerT, with_kl_coef
from owma.config.policy import PolicyConfig
from owma.config.task import DataConfig, RecordedTaskConfig, RewardTaskConfig, TaskConfig, is_of_session
from owma.config.training import TrainingConfig
from owma.config.value import ValueConfig
from owma.config.world import WorldConfig


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Episodes in the environment, the same start states for every planner."""

    env: str | None = None
    """Gymnasium id; by default that of the task if it is one of OGBench's, or else the one that the dataset names."""
    planners: tuple[str, ...] = tuple(PLANNERS)
    """Which are compared, as training knows them; `cem`, `svdd`, `fk_steering`, `noise_optimization`, `adaptation_off`
    and others can be named besides, and classes of your own as `planner:MODULE:Class`."""
    episodes: int = 32
    """0 trains only, for data without an environment."""
    replan_every: int = 10
    """Steps for which a plan is followed."""
    timed_decisions: int = 4
    """Single decisions timed in each episode; 0 leaves milliseconds unmeasured."""
    kl_coef: float | None = later_field(None)
    """lambda, the price of a nat, of all planners but `published`, so that they solve the same problem; guided
    diffusion is given its inverse. None leaves each its own, which is 0.25 for most."""
    max_steps: int = later_field(1000)
    """Steps after which an episode is cut, as truncated, in an environment that has no limit of its own."""
    settings: tuple[str, ...] = later_field(())
    """PLANNER.FIELD=VALUE: settings of a planner in place of its own, and of `kl_coef`; `owma tune` finds some."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.planners if name not in NAMED and own_planner(name) is None]
        if unknown:
            raise ConfigError(
                f"planners={unknown}: there is none of that name; choose from {', '.join(NAMED)}, or name a class of "
                "yours as planner:MODULE:Class."
            )
        own = [planner for spec in dict.fromkeys(self.planners) if (planner := own_planner(spec)) is not None]
        for i, planner in enumerate(own):
            if planner.name in {*NAMED, *(other.name for other in own[:i])}:
                raise ConfigError(f"{planner.spec}: rows of another planner are called {planner.name!r}; rename it.")
        if self.kl_coef is not None and not self.kl_coef > 0:
            raise ConfigError(f"kl_coef={self.kl_coef}: must be positive.")
        for name, fields in self._settings().items():
            override(NAMED[name], fields)
        for name, least in (("episodes", 0), ("replan_every", 1), ("timed_decisions", 0), ("max_steps", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}: must be at least {least}.")

    def named_planners(self) -> dict[str, AbstractPlannerConfig]:
        """The configurations of `planners` by their rows' names, each as `settled` has it. Imports nothing."""
        own = {spec: own_planner(spec) for spec in self.planners}
        named = {planner.name if planner else spec: planner or NAMED[spec] for spec, planner in own.items()}
        return {name: self.settled(name, planner) for name, planner in named.items()}

    def settled(self, name: str, planner: PlannerT) -> PlannerT:
        """The planner of this name with its `settings`, and at `kl_coef` if there is one; `published` keeps its own."""
        if self.kl_coef is not None and name != "published":
            planner = with_kl_coef(planner, self.kl_coef)
        fields = self._settings().get(name)
        return override(planner, fields) if fields else planner

    def with_settings(self, settings: Iterable[str]) -> "EvaluationConfig":
        """With these beside its own, in place of those of the same field."""
        added = tuple(settings)
        fields = {field for text in added for field in parse_axis(text)[0].fields}
        kept = [text for text in self.settings if not fields & set(parse_axis(text)[0].fields)]
        return dataclasses.replace(self, settings=(*kept, *added))

    def _settings(self) -> dict[str, dict[str, Any]]:
        """`settings` by planner. Raises `ConfigError` for one that is of none of ours, or has several values."""
        found: dict[str, dict[str, Any]] = {}
        for text in self.settings:
            choices = parse_axis(text)
            (field, value), *others = choices[0].fields.items()
            name, _, of_planner = field.partition(".")
            if others or len(choices) > 1 or name not in NAMED or not of_planner:
                raise ConfigError(
                    f"settings: {text!r} is no setting of a planner; write PLANNER.FIELD=VALUE, with one of "
                    f"{', '.join(NAMED)}."
                )
            found.setdefault(name, {})[of_planner] = value
        return found


def imported_modules(
    tasks: Iterable[TaskConfig], env: str | None, trusted: Iterable[str] = (), planners: Iterable[str] = ()
) -> tuple[str, ...]:
    """Modules outside owma that code is imported from: of reward functions, of an environment `MODULE:ID`, of planners
    `planner:MODULE:Class`, and those that the user's command line trusts besides.
    """
    named = [task.reward for task in tasks if isinstance(task, RewardTaskConfig) and not is_of_session(task)]
    named += [env] if ":" in (env or "") else []
    named += [own.module for spec in planners if (own := own_planner(spec)) is not None]
    named += trusted
    modules = (str(name).partition(":")[0] for name in named)
    return tuple(sorted({name for name in modules if name.partition(".")[0] != "owma"}))


_TASK_OF_TWO_ROUTES: TaskConfig = RewardTaskConfig()
"""The default of `ExperimentConfig.task`. With data of the two-route maze it stands in for every task equal to it; with
other data an equal task is one that somebody has named, and stays."""


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """A whole run: data, models, task, evaluation."""

    name: str = "two-routes"
    """The run goes to runs/NAME/v<N>."""
    seed: int = 0
    """Of models, training and evaluation; the dataset has a seed of its own."""
    data: DataConfig = TwoRoutesCollect()
    task: TaskConfig = _TASK_OF_TWO_ROUTES
    """By default the reward of the two-route maze, and of any other data the rewards recorded with them."""
    world: WorldConfig = WorldConfig()
    policy: PolicyConfig = PolicyConfig()
    training: TrainingConfig = TrainingConfig()
    value: ValueConfig = ValueConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    def __post_init__(self) -> None:
        check_run_name(self.name)
        check_seeds(self.seed)
        # This object, and not one equal to it, stands for "by default", also in a copy of a copy: where the data are of
        # the maze, whoever names the maze's reward and whoever does not have the same configuration.
        if isinstance(self.data, TwoRoutesCollect):
            if self.task == _TASK_OF_TWO_ROUTES:
                object.__setattr__(self, "task", _TASK_OF_TWO_ROUTES)
        elif self.task is _TASK_OF_TWO_ROUTES:
            object.__setattr__(self, "task", RecordedTaskConfig())

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, of `pickle` or `copy`, is made by the constructor, as one of `replace` and of JSON is."""
        return type(self), tuple(getattr(self, field.name) for field in dataclasses.fields(self))

    @property
    def training_fingerprint(self) -> str:
        """Of all that the trained parts depend on."""
        return fingerprint(self, without=("name", "evaluation"))

    @property
    def imports(self) -> tuple[str, ...]:
        """Modules outside owma that code is imported from: see `imported_modules`."""
        return imported_modules((self.task,), self.evaluation.env, planners=self.evaluation.planners)
