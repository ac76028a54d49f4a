"""Planners by the names that tables give them: one registry, in which a name means one thing in every command."""

import dataclasses
from collections.abc import Mapping

from owma.config_fields import label_changes
from owma.planners_config.base import AbstractPlannerConfig
from owma.planners_config.matched import matched
from owma.planners_config.online_adaptation import ADAPTATION_ADAM
from owma.planners_config.rivals import GuidedDiffusion, TwistedSMC

NAMED: Mapping[str, AbstractPlannerConfig] = {
    **matched(),
    "adaptation_adam": ADAPTATION_ADAM,
    "guided_diffusion_single": GuidedDiffusion(),
    "twisted_smc_256": TwistedSMC(num_particles=256),
}
"""All that commands can be asked for: every planner at about equal budgets, the method with Adam's steps, and two cheap
ones, a single guided draw and half the particles of twisted SMC."""

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
    class it is the one from which the fewest settings differ. A planner of another class has the name of that class.
    """
    found: list[tuple[int, str, str]] = []
    for place, (name, named) in enumerate(NAMED.items()):
        if type(named) is type(config) and dataclasses.is_dataclass(config):
            fields = [field.name for field in dataclasses.fields(config)]
            changes = {field: getattr(config, field) for field in fields}
            changes = {field: value for field, value in changes.items() if value != getattr(named, field)}
            found.append((len(changes) * len(NAMED) + place, name, label_changes(changes)))
    if not found:
        return type(config).__name__
    _, name, changed = min(found)
    return name + changed
