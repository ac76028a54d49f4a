"""What a sweep compares, worked out before anything runs: experiments, and the planners that act in each."""

import dataclasses
import itertools
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from owma._internal.errors import ConfigError
from owma.config.experiment import ExperimentConfig
from owma.config.fields import Choice, check_seeds, label_changes, override, parse_axis, spell
from owma.config.json import from_json, to_json
from owma.config.names import check_run_name
from owma.config.planners import COMPARED, NAMED, OnlineAdaptation, PlannerConfig
from owma.config.planners.budgets import kl_coef_notes
from owma.config.presets import PRESETS, fit_preset_to_data


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """A grid over fields of the experiment and of its planners, times seeds, times planners.

    A field is dotted: `data.skew` is the experiment's, `online_adaptation.kl_coef` a planner's, by the planner's name.
    """

    name: str = "sweep"
    """The sweep goes to runs/NAME/v<N>."""
    base: str = "two-routes"
    """The preset of `owma.train` that it varies."""
    overrides: tuple[str, ...] = ()
    """FIELD=VALUE: what is other than in the preset, for every point."""
    grid: tuple[str, ...] = ()
    """FIELD=VALUE,VALUE,...: axes, all combinations of which are run. FIELD:FIELD=VALUE:VALUE,... moves fields
    together."""
    each: tuple[str, ...] = ()
    """Axes as well, of which one at a time leaves its default."""
    seeds: tuple[int, ...] = (0,)
    planners: tuple[str, ...] = ("online_adaptation",)
    """Which act in every experiment."""
    timed_decisions: int = 16
    """Decisions of each planner that are timed at the end, when nothing else runs; 0 leaves them untimed."""

    def __post_init__(self) -> None:
        check_run_name(self.name)
        if self.base not in PRESETS:
            raise ConfigError(f"base={self.base!r}: there is no such preset; choose from {', '.join(PRESETS)}.")
        unknown = [name for name in self.planners if name not in NAMED]
        if unknown or not self.planners:
            raise ConfigError(f"planners={unknown}: choose from {', '.join(NAMED)}.")
        check_seeds(*self.seeds, name="seeds")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds={list(self.seeds)}: name each seed once.")
        if self.timed_decisions < 0:
            raise ConfigError(f"timed_decisions={self.timed_decisions}: must not be negative.")


@dataclasses.dataclass(frozen=True)
class Point:
    """One planner in one experiment: a row of the sweep."""

    experiment: ExperimentConfig
    """Its name is its own among the experiments of the sweep."""
    planner: PlannerConfig
    name: str
    """The planner's, with what was varied of it."""
    base: str
    """The planner's, without."""
    settings: dict[str, Any]
    """What was varied of the experiment, by field."""
    planner_settings: dict[str, Any]
    """What was varied of the planner, by its own field."""

    @property
    def key(self) -> str:
        """Its place among the sweep's files."""
        return f"{self.experiment.name}/{self.name}"


def points(config: SweepConfig, warn: Callable[[str], None] | None = None) -> tuple[Point, ...]:
    """Every row that the sweep will have, in order; what would be run twice is there once.

    `warn` is given each sentence, once, that `fit_preset_to_data` and `kl_coef_notes` say of the experiments.

    Raises `ConfigError`, before anything has run, for a field that there is not and for a value that it does not take.
    """
    base, overrides = _base(config)
    combinations = _combinations(config)
    fields = {field for combination in combinations for choice in combination for field in choice.fields}
    _check_fields(fields, config.planners)
    set_ones = fields | {field for text in config.overrides for choice in parse_axis(text) for field in choice.fields}

    def is_flag_given(field: str) -> bool:
        return any(other == field or other.startswith(f"{field}.") for other in set_ones)

    notes: dict[str, None] = {}
    by_key: dict[str, Point] = {}
    for combination, seed in itertools.product(combinations, config.seeds):
        ours = [choice for choice in combination if choice.shown.split(".")[0] not in config.planners]
        settings = {field: value for choice in ours for field, value in choice.fields.items()}
        label = "".join(f"-{_label(choice.shown, fields)}{spell(choice.fields[choice.shown])}" for choice in ours)
        experiment = override(base, settings | {"name": f"{base.name}{label}-seed{seed}", "seed": seed})
        experiment, said_of_it = fit_preset_to_data(experiment, is_flag_given)
        if is_flag_given("evaluation.kl_coef"):
            said_of_it += kl_coef_notes(config.planners, experiment.evaluation.kl_coef)
        notes |= dict.fromkeys(said_of_it)
        for name in config.planners:
            planner = override(
                experiment.evaluation.settled(name, typing.cast(PlannerConfig, NAMED[name])), overrides[name]
            )
            theirs = [choice for choice in combination if choice.shown.split(".")[0] == name]
            changes = {
                field.removeprefix(f"{name}."): value for choice in theirs for field, value in choice.fields.items()
            }
            varied = override(planner, changes)
            if varied == planner:
                # The default among an axis's values: the row is that of the planner itself.
                changes = {}
            point = Point(experiment, varied, name + label_changes(changes), name, settings, changes)
            if by_key.setdefault(point.key, point) != point:
                raise ConfigError(f"Two points of the sweep are called {point.key!r}; vary their fields in two sweeps.")
    if warn is not None:
        for note in notes:
            warn(note)
    return tuple(by_key.values())


def _base(config: SweepConfig) -> tuple[ExperimentConfig, dict[str, dict[str, Any]]]:
    """The experiment with the overrides, and those of each planner."""
    base, planners = PRESETS[config.base][1], {name: {} for name in config.planners}
    for text in config.overrides:
        choices = parse_axis(text)
        if len(choices) != 1:
            raise ConfigError(f"{text!r}: an override has one value; make it an axis with --grid or --each.")
        _check_fields(choices[0].fields, config.planners)
        for field, value in choices[0].fields.items():
            name, _, rest = field.partition(".")
            if name in planners:
                planners[name][rest] = value
            else:
                base = override(base, {field: value})
    return base, planners


def _combinations(config: SweepConfig) -> list[tuple[Choice, ...]]:
    products = list(itertools.product(*map(parse_axis, config.grid)))
    single = [(), *((choice,) for text in config.each for choice in parse_axis(text))]
    return [first + second for first in products for second in single]


def _check_fields(fields: Iterable[str], planners: Iterable[str]) -> None:
    of_experiment = tuple(field.name for field in dataclasses.fields(ExperimentConfig))
    for field in fields:
        first = field.split(".")[0]
        if field in ("name", "seed"):
            raise ConfigError(f"{field!r} is no axis: give --seeds, and --name for the sweep's folder.")
        if first not in (*of_experiment, *planners):
            raise ConfigError(
                f"There is no field {field!r}: it begins with one of {', '.join(of_experiment)}, or with a planner of "
                f"the sweep ({', '.join(planners)})."
            )


def _label(field: str, fields: set[str]) -> str:
    """A field's last name, or all of it where another field has the same."""
    last = field.split(".")[-1]
    return field if sum(other.split(".")[-1] == last for other in fields) > 1 else last


def read_points(rows: Iterable[Mapping[str, Any]]) -> tuple[Point, ...]:
    """Points from what `write_points` made of them."""
    return tuple(from_json(Point, row) for row in rows)


def write_points(points: Iterable[Point]) -> list[dict[str, Any]]:
    """Points as JSON: a sweep goes on with the configurations that it began with, whatever defaults have become."""
    return [to_json(point) for point in points]


def _all_of(field: str) -> str:
    """An axis of every choice that a field of online adaptation has."""
    choices = typing.get_args(typing.get_type_hints(OnlineAdaptation)[field])
    return f"online_adaptation.{field}={','.join(choices)}"


SWEEPS: Mapping[str, tuple[str, SweepConfig]] = {
    "planners": (
        "Every planner at about equal numbers of network passes.",
        SweepConfig(name="planners", planners=tuple(COMPARED), seeds=(1, 2, 3)),
    ),
    "ablations": (
        "What each part and knob of online adaptation does; models are trained once a seed.",
        SweepConfig(
            name="ablations",
            planners=("online_adaptation", "adaptation_adam", "adaptation_off", "random_shooting", "static"),
            seeds=(1, 2, 3),
            each=(
                "online_adaptation.kl_coef=0.1,0.5,1,2,5",
                "online_adaptation.adaptation_steps=5,10,15,20",
                "online_adaptation.n_adaptation_samples=16,32,64",
                "online_adaptation.level_share=0.2,0.4,0.6,0.8,1",
                *(_all_of(field) for field in ("divergence", "adapt", "choice")),
                "online_adaptation.warm_start=false,true",
                "adaptation_adam.delta_phi_lr=1e-4,5e-4,1e-3,5e-3",
            ),
        ),
    ),
    "skew": (
        "Every planner as the route that pays becomes rarer; at 0 it was never recorded.",
        SweepConfig(
            name="skew",
            planners=tuple(COMPARED),
            seeds=(1, 2, 3),
            # At least four episodes take the rare route: with less data of it than that, chance decides.
            grid=("data.skew:data.episodes=0.5:1000,0.1:1000,0.02:1000,0.005:1000,0.001:4000,0:1000",),
        ),
    ),
    "own": ("Nothing but what the flags say.", SweepConfig()),
}
"""Named sweeps, for `python -m owma.sweep PRESET`."""
