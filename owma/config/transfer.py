"""The configuration of a transfer: which tasks one pretrained run is given, and from how many labels."""

import dataclasses
from typing import Any, Literal, TypeAlias

from owma._internal.errors import ConfigError
from owma.config.experiment import EvaluationConfig
from owma.config.fields import check_seeds, label_changes, override, parse_axis
from owma.config.json import later_field
from owma.config.planners import AbstractPlannerConfig, OwnPlanner
from owma.config.task import parse_task
from owma.config.value import ValueKind

FitKind: TypeAlias = ValueKind
"""How a task is inferred from labels: z* by gradient through V(psi, z), w by ridge regression, or both and a lower
bound over them."""


@dataclasses.dataclass(frozen=True)
class TransferConfig:
    """Tasks, and how they are told."""

    task: tuple[str, ...] = ()
    """One or more of `recorded`, `goal:X,Y` (or `goal:X,Y@RADIUS,FALLOFF`), `regions:WEIGHT,X0,Y0,X1,Y1;...`, a
    FILE.npz of labelled samples, `hopper-forward` (`-backward`, `-stand`, `-jump`), or the `module:function` of a
    reward r(obs, action, next_obs) over arrays; `owma.envs.ogbench:pointmaze_medium_task2` and so on are judged in the
    environment of that task."""
    goals: Literal["none", "all"] = "none"
    """`all`: every free cell of the run's maze is a goal, one after the other."""
    ogbench_tasks: bool = later_field(False)
    """OGBench's five tasks, each from its own start to its own goal and judged by its own environment, and over them
    OGBench's metric, `ogbench_success`. For runs on data of an environment of OGBench."""
    goal_radius: float = 0.45
    """Metres within which a cell's centre counts as reached; that of gymnasium-robotics' mazes."""
    goal_falloff: float = later_field(0.0)
    """Metres over which the reward falls off beyond. Of `ogbench_tasks` it is in units of the observation (metres in
    mazes, tenths of a metre of a cube), and 0 stands for that of the goal that the run was trained for, if it has one:
    of a reward that falls at once a value tells little."""
    labels: tuple[int, ...] = (10_000,)
    """How many labelled samples (outcome, return) a task is told by; several make the few-shot curve."""
    draws: int = 1
    """Sets of labels drawn for each count."""
    fits: tuple[FitKind, ...] = ("pessimistic", "decoder", "linear")
    """`decoder`: z* by gradient through V(psi, z). `linear`: w by ridge regression on psi. `pessimistic`: a lower bound
    over both, which a run with one decoder has not; such runs leave it out."""
    each: tuple[str, ...] = later_field(())
    """PLANNER.FIELD=VALUE,VALUE,...: beside the planner as it is, it acts with each of these values, one at a time, and
    is called PLANNER-FIELD=VALUE in rows and tables. PLANNER.FIELD:PLANNER.FIELD=VALUE:VALUE,... moves two together."""
    seed: int = 0
    """Of labels, start states and the planners' draws."""

    def __post_init__(self) -> None:
        for spec in self.task:
            parse_task(spec)
        if len(set(self.task)) < len(self.task):
            raise ConfigError(f"task={self.task}: one is there twice.")
        if not self.labels or min(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise ConfigError(f"labels={self.labels}: give one or more different numbers, each at least 2.")
        if not self.fits or len(set(self.fits)) < len(self.fits):
            raise ConfigError(f"fits={self.fits}: give one or more of `pessimistic`, `decoder` and `linear`.")
        if self.draws < 1:
            raise ConfigError(f"draws={self.draws}: must be at least 1.")
        if not self.goal_radius > 0:
            raise ConfigError(f"goal_radius={self.goal_radius}: must be positive.")
        if not self.goal_falloff >= 0:
            raise ConfigError(f"goal_falloff={self.goal_falloff}: must not be negative.")
        check_seeds(self.seed)

    def acting_planners(self, evaluation: EvaluationConfig) -> dict[str, AbstractPlannerConfig]:
        """The planners that the evaluation names, and after each what `each` varies of it.

        Raises `ConfigError` for a field that none of them has, for a value that it does not take, for what is not to be
        varied of a class of the user's own, and for two that are told apart by no name.
        """
        usual = evaluation.named_planners()
        varied: dict[str, list[dict[str, Any]]] = {name: [] for name in usual}
        for choice in (choice for text in self.each for choice in parse_axis(text)):
            owners = {field.partition(".")[0] for field in choice.fields}
            if len(owners) > 1 or not owners <= set(usual):
                raise ConfigError(
                    f"each: {', '.join(choice.fields)} is no field of one of the planners, {', '.join(usual)}; write "
                    "PLANNER.FIELD=VALUE,VALUE,..."
                )
            owner, changes = owners.pop(), {field.partition(".")[2]: value for field, value in choice.fields.items()}
            own = usual[owner]
            # Its other fields say which code is imported.
            if isinstance(own, OwnPlanner) and set(changes) != {"kl_coef"}:
                raise ConfigError(
                    f"each: of {own.spec} only kl_coef can be varied, not {', '.join(changes)}; for another setting, "
                    "write another class and name it in --planners."
                )
            varied[owner].append(changes)
        planners: dict[str, AbstractPlannerConfig] = {}
        for name, planner in usual.items():
            planners[name] = planner
            for changes in varied[name]:
                # With what it has already it is the planner itself.
                other = override(planner, changes)
                label = name if other == planner else name + label_changes(changes)
                if planners.setdefault(label, other) != other:
                    raise ConfigError(f"each: two settings are called {label!r}; give them in two transfers.")
        return planners
