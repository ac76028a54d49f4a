"""Planners: which outcome to bring about, behind one interface."""

from typing import TypeAlias

from owma.planners.base import (
    AbstractPlanner as AbstractPlanner,
    AbstractPlannerConfig as AbstractPlannerConfig,
    AgentModel as AgentModel,
    PlanInfo as PlanInfo,
    PlanResult as PlanResult,
)
from owma.planners.cem import CEM as CEM, CEMPlanner as CEMPlanner
from owma.planners.compared import PLANNERS as PLANNERS
from owma.planners.fk_steering import FKSteering as FKSteering, FKSteeringPlanner as FKSteeringPlanner
from owma.planners.guided_diffusion import (
    GuidedDiffusion as GuidedDiffusion,
    GuidedDiffusionPlanner as GuidedDiffusionPlanner,
)
from owma.planners.noise_optimization import (
    NoiseOptimization as NoiseOptimization,
    NoiseOptimizationPlanner as NoiseOptimizationPlanner,
)
from owma.planners.online_adaptation import (
    PUBLISHED as PUBLISHED,
    OnlineAdaptation as OnlineAdaptation,
    OnlineAdaptationPlanner as OnlineAdaptationPlanner,
)
from owma.planners.random_shooting import (
    RandomShooting as RandomShooting,
    RandomShootingPlanner as RandomShootingPlanner,
)
from owma.planners.static import Static as Static, StaticPlanner as StaticPlanner
from owma.planners.svdd import SVDD as SVDD, SVDDPlanner as SVDDPlanner
from owma.planners.tilted_resampling import (
    TiltedResampling as TiltedResampling,
    TiltedResamplingPlanner as TiltedResamplingPlanner,
)
from owma.planners.twisted_smc import TwistedSMC as TwistedSMC, TwistedSMCPlanner as TwistedSMCPlanner

PlannerConfig: TypeAlias = (
    OnlineAdaptation
    | GuidedDiffusion
    | RandomShooting
    | TiltedResampling
    | FKSteering
    | TwistedSMC
    | SVDD
    | NoiseOptimization
    | CEM
    | Static
)
"""The planners that commands can name."""
