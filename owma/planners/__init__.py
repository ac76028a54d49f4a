"""Planners: which outcome to bring about, behind one interface."""

from owma.config.planners import (
    CEM as CEM,
    NAMED as NAMED,
    PLANNERS as PLANNERS,
    PUBLISHED as PUBLISHED,
    SVDD as SVDD,
    AbstractPlannerConfig as AbstractPlannerConfig,
    FKSteering as FKSteering,
    GuidedDiffusion as GuidedDiffusion,
    NoiseOptimization as NoiseOptimization,
    OnlineAdaptation as OnlineAdaptation,
    PlannerConfig as PlannerConfig,
    RandomShooting as RandomShooting,
    Static as Static,
    TiltedResampling as TiltedResampling,
    TwistedSMC as TwistedSMC,
)
from owma.planners.base import (
    AbstractPlanner as AbstractPlanner,
    AgentModel as AgentModel,
    PlanInfo as PlanInfo,
    PlanResult as PlanResult,
)
from owma.planners.cem import CEMPlanner as CEMPlanner
from owma.planners.fk_steering import FKSteeringPlanner as FKSteeringPlanner
from owma.planners.guided_diffusion import GuidedDiffusionPlanner as GuidedDiffusionPlanner
from owma.planners.noise_optimization import NoiseOptimizationPlanner as NoiseOptimizationPlanner
from owma.planners.online_adaptation import OnlineAdaptationPlanner as OnlineAdaptationPlanner
from owma.planners.random_shooting import RandomShootingPlanner as RandomShootingPlanner
from owma.planners.static import StaticPlanner as StaticPlanner
from owma.planners.svdd import SVDDPlanner as SVDDPlanner
from owma.planners.tilted_resampling import TiltedResamplingPlanner as TiltedResamplingPlanner
from owma.planners.twisted_smc import TwistedSMCPlanner as TwistedSMCPlanner
