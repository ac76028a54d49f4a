"""Planners by the names that tables give them: those that a training run compares, and all that it can be asked for."""

from collections.abc import Mapping

from owma.planners_config.base import AbstractPlannerConfig
from owma.planners_config.matched import matched
from owma.planners_config.online_adaptation import ADAPTATION_ADAM, PUBLISHED, OnlineAdaptation
from owma.planners_config.rivals import GuidedDiffusion, RandomShooting, Static, TiltedResampling, TwistedSMC

PLANNERS: Mapping[str, AbstractPlannerConfig] = {
    "static": Static(),
    "random_shooting": RandomShooting(),
    "guided_diffusion": GuidedDiffusion(),
    "tilted_resampling": TiltedResampling(),
    "twisted_smc": TwistedSMC(num_particles=256),
    "online_adaptation": OnlineAdaptation(),
    "published": PUBLISHED,
}
"""The usual planners, the published settings of adaptation, and its strongest rivals."""

NAMED: Mapping[str, AbstractPlannerConfig] = {
    **matched(),
    "adaptation_adam": ADAPTATION_ADAM,
    **PLANNERS,
}
"""Those, and the rest of the methods for the same problem, each in about the time that online adaptation takes."""
