"""Every planner for the same problem, in about the time that online adaptation takes."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from owma._internal.errors import ConfigError
from owma.config.fields import label_changes
from owma.config.planners.base import AbstractPlannerConfig
from owma.config.planners.online_adaptation import ADAPTATION_ADAM, PUBLISHED, OnlineAdaptation
from owma.config.planners.own import OwnPlanner, class_planner_name
from owma.config.planners.rivals import (
    CEM,
    SVDD,
    FKSteering,
    GuidedDiffusion,
    NoiseOptimization,
    RandomShooting,
    Static,
    TiltedResampling,
    TwistedSMC,
)

PlannerT = TypeVar("PlannerT", bound=AbstractPlannerConfig)

Scaled = Callable[[float], AbstractPlannerConfig]
"""A planner with `scale` times the budget of online adaptation's default decision."""

_CHAINS = 1000
"""Draws of the trained model that take as long as the default decision of online adaptation. Its own network passes are
those of 704 draws, 32 samples × (10 steps × 2, and 2 to choose), but they wait for one another.
"""

_ADAPTATION = {0.25: (5, 16), 1.0: (10, 32), 4.0: (20, 64)}
"""Steps and samples that have about `scale` times the budget."""


def _times(scale: float, share: float = 1.0) -> int:
    return max(1, round(scale * share * _CHAINS))


def _adaptation(scale: float, **changes: object) -> OnlineAdaptation:
    steps, samples = _ADAPTATION[scale]
    return dataclasses.replace(OnlineAdaptation(adaptation_steps=steps, n_adaptation_samples=samples), **changes)


# A guided particle takes twice the passes of a draw, a guided draw with its measured path three times as many, a
# gradient through a draw twice as many; an outcome needs no pass after the last transition.
SCALED: Mapping[str, Scaled] = {
    "random_shooting": lambda scale: RandomShooting(num_samples=_times(scale)),
    "guided_diffusion": lambda scale: GuidedDiffusion(num_samples=_times(scale, 1 / 3)),
    "tilted_resampling": lambda scale: TiltedResampling(num_samples=_times(scale)),
    "fk_steering": lambda scale: FKSteering(num_particles=_times(scale)),
    "twisted_smc": lambda scale: TwistedSMC(num_particles=_times(scale, 1 / 2)),
    "svdd": lambda scale: SVDD(num_candidates=_times(scale, 11 / 10)),
    "noise_optimization": lambda scale: NoiseOptimization(
        num_steps=round((31 * scale**0.5 - 1) / 2), num_samples=round(32 * scale**0.5)
    ),
    "cem": lambda scale: CEM(num_samples=_times(scale, 1 / 5), num_elites=_times(scale, 1 / 40)),
    "online_adaptation": _adaptation,
}
"""Planners whose budget can be chosen."""


def matched() -> dict[str, AbstractPlannerConfig]:
    """All planners at equal budgets, each at its own λ; and what has no budget to choose."""
    return {
        "static": Static(),
        **{name: scaled(1.0) for name, scaled in SCALED.items()},
        "adaptation_draw": OnlineAdaptation(choice="draw"),
        "adaptation_all_levels": OnlineAdaptation(level_share=1.0),
        "adaptation_off": OnlineAdaptation(adaptation_steps=0),
        "published": PUBLISHED,
    }


def with_kl_coef(config: PlannerT, kl_coef: float) -> PlannerT:
    """The planner with another λ; one that does not weigh the divergence as it is.

    Raises `ConfigError` for a configuration that has no λ, of which it is not known how it weighs the divergence.
    """
    if isinstance(config, GuidedDiffusion):
        return dataclasses.replace(config, guidance_coef=1 / kl_coef)
    if isinstance(config, Static | RandomShooting):
        return config
    if not (dataclasses.is_dataclass(config) and "kl_coef" in {field.name for field in dataclasses.fields(config)}):
        raise ConfigError(
            f"{type(config).__name__} has no kl_coef, so that it cannot be given {kl_coef:g}; give it a field of that "
            "name, or leave kl_coef out."
        )
    return dataclasses.replace(config, kl_coef=kl_coef)


def kl_coef_notes(planners: Iterable[str], kl_coef: float | None) -> tuple[str, ...]:
    """What a user has to know who gives these planners one λ: a sentence, or none."""
    own = PUBLISHED.kl_coef
    if kl_coef is None or kl_coef == own or "published" not in planners:
        return ()
    return (f"published keeps its own kl_coef={own:g}; kl_coef={kl_coef:g} is for the other planners.",)


NAMED: Mapping[str, AbstractPlannerConfig] = {
    **matched(),
    "adaptation_adam": ADAPTATION_ADAM,
    "adaptation_no_proposals": OnlineAdaptation(proposals=0),
    "guided_diffusion_single": GuidedDiffusion(),
    "twisted_smc_256": TwistedSMC(num_particles=256),
}
"""All that commands can be asked for, beside a class of the user's (`planner:MODULE:Class`): every planner at about
equal budgets, the method with Adam's steps or without proposals from the data, and two cheap ones, a single guided draw
and half the particles of twisted SMC."""

PLANNERS: Mapping[str, AbstractPlannerConfig] = {
    name: NAMED[name]
    for name in (
        *("static", "random_shooting", "guided_diffusion_single", "tilted_resampling", "twisted_smc_256"),
        *("online_adaptation", "published"),
    )
}
"""What a training run compares: the usual planners, the published settings of adaptation, and its strongest rivals."""

COMPARED: Mapping[str, AbstractPlannerConfig] = {name: NAMED[name] for name in (*matched(), "adaptation_adam")}
"""What sweeps of planners compare: all at about equal budgets."""


def planner_name(config: AbstractPlannerConfig) -> str:
    """The name of a planner in rows and tables: that of `NAMED`, and what its settings have otherwise.

    `OnlineAdaptation(kl_coef=0.1)` is `online_adaptation-kl_coef=0.1`, as in a sweep. Of several names that are of its
    class it is the one from which the fewest settings differ. A planner of another class is called
    by it, `TopShare` as `top_share`.
    """
    candidates: list[tuple[int, str, str]] = []
    for place, (name, named) in enumerate(NAMED.items()):
        if type(named) is type(config) and dataclasses.is_dataclass(config):
            fields = [field.name for field in dataclasses.fields(config)]
            changes = {field: getattr(config, field) for field in fields}
            changes = {field: value for field, value in changes.items() if value != getattr(named, field)}
            candidates.append((len(changes) * len(NAMED) + place, name, label_changes(changes)))
    if not candidates:
        return config.name if isinstance(config, OwnPlanner) else class_planner_name(type(config).__name__)
    _, name, changed = min(candidates)
    return name + changed
