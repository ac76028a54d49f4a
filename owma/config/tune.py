"""The configuration of a tuning: which settings of which planners are tried, and on how many start states."""

import dataclasses
import itertools
from typing import Any

from owma._internal.errors import ConfigError
from owma.config.fields import check_seeds, label_changes, override, parse_axis
from owma.config.planners import NAMED, AbstractPlannerConfig
from owma.config.planners.budgets import with_kl_coef
from owma.config.value import ValueKind


@dataclasses.dataclass(frozen=True)
class TuneConfig:
    """Settings, and the start states that they are tried on."""

    planners: tuple[str, ...] = ("online_adaptation",)
    """Each is tuned for itself, on the same start states."""
    kl_coefs: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
    """Values of lambda, the price of a nat, beside the one that the planner has; guided diffusion is given 1/lambda."""
    knobs: tuple[str, ...] = ()
    """FIELD=VALUE,VALUE,...: other settings of the planners, each tried with every lambda."""
    first_episodes: int = 4
    """Start states of the first round, which all settings play; each round has twice as many, for half of them."""
    episodes: int = 16
    """Start states of the last round, with those of the rounds before it."""
    report_episodes: int = 32
    """Other start states, on which what was found is compared with what the planner had."""
    replan_every: int | None = None
    """Steps for which a plan is followed; by default that of the run's evaluation."""
    max_steps: int | None = None
    """Steps after which an episode is cut; by default that of the run's evaluation."""
    env: str | None = None
    """Gymnasium id; by default the run's."""
    value: ValueKind | None = None
    """Which of the run's values to act by; by default the one that its configuration names."""
    seed: int = 10_000
    """Of start states, which are to be others than those that are reported: those of an evaluation begin at 0."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.planners if name not in NAMED]
        if unknown or not self.planners or len(set(self.planners)) < len(self.planners):
            raise ConfigError(
                f"planners={self.planners}: name one or more different ones of those that have a price: "
                f"{', '.join(priced())}."
            )
        if not all(kl_coef > 0 for kl_coef in self.kl_coefs):
            raise ConfigError(f"kl_coefs={self.kl_coefs}: must be positive.")
        if not 1 <= self.first_episodes <= self.episodes or self.report_episodes < 2:
            raise ConfigError(
                f"first_episodes={self.first_episodes}, episodes={self.episodes}, report_episodes="
                f"{self.report_episodes}: needs 1 <= first_episodes <= episodes and report_episodes >= 2."
            )
        check_seeds(self.seed, self.seed + _REPORT)
        for name in self.planners:
            if len(self.candidates(name, NAMED[name])) < 2:
                raise ConfigError(
                    f"{name}: nothing of it is to be tuned; name one of {', '.join(priced())}, or --knobs."
                )

    @property
    def report_seed(self) -> int:
        """Of the start states on which what was found is reported."""
        return self.seed + _REPORT

    def candidates(self, name: str, planner: AbstractPlannerConfig) -> dict[str, AbstractPlannerConfig]:
        """The settings of a planner that are tried, by the names of their rows; first the planner as it is."""
        priced = [planner, *(with_kl_coef(planner, kl_coef) for kl_coef in self.kl_coefs)]
        combinations = [
            {field: value for choice in choices for field, value in choice.fields.items()}
            for choices in itertools.product(*map(parse_axis, self.knobs))
        ]
        tried = [planner, *(override(config, changes) for changes in combinations for config in priced)]
        found: dict[str, AbstractPlannerConfig] = {}
        for config in tried:
            found.setdefault(name + label_changes(changed(planner, config)), config)
        return found


_REPORT = 500


def price_of(planner: AbstractPlannerConfig) -> float | None:
    """λ of a planner, or the inverse of its guidance; `None` of one that has none."""
    guidance = getattr(planner, "guidance_coef", None)
    return getattr(planner, "kl_coef", None) if guidance is None else 1 / guidance if guidance else None


def changed(planner: AbstractPlannerConfig, other: AbstractPlannerConfig) -> dict[str, Any]:
    """The fields of `other`, a planner of the same class, in which it differs."""
    assert dataclasses.is_dataclass(planner) and dataclasses.is_dataclass(other)
    fields = {field.name: getattr(other, field.name) for field in dataclasses.fields(planner)}
    return {name: value for name, value in fields.items() if value != getattr(planner, name)}


def priced() -> list[str]:
    """The planners that weigh the divergence."""
    return [name for name, planner in NAMED.items() if with_kl_coef(planner, 0.1) != planner]
