"""The planners that a training run compares, by the names that its tables give them."""

from collections.abc import Mapping

from owma.planners.base import AbstractPlannerConfig
from owma.planners.guided_diffusion import GuidedDiffusion
from owma.planners.online_adaptation import PUBLISHED, OnlineAdaptation
from owma.planners.random_shooting import RandomShooting
from owma.planners.static import Static
from owma.planners.tilted_resampling import TiltedResampling
from owma.planners.twisted_smc import TwistedSMC

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
