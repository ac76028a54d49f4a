"""Configurations of planners: plain numbers, read without JAX."""

from typing import TypeAlias

from owma.config.planners.base import AbstractPlannerConfig as AbstractPlannerConfig
from owma.config.planners.budgets import (
    COMPARED as COMPARED,
    NAMED as NAMED,
    PLANNERS as PLANNERS,
    planner_name as planner_name,
)
from owma.config.planners.online_adaptation import (
    ADAPTATION_ADAM as ADAPTATION_ADAM,
    PUBLISHED as PUBLISHED,
    OnlineAdaptation as OnlineAdaptation,
)
from owma.config.planners.own import (
    OwnPlanner as OwnPlanner,
    check_own as check_own,
    own_planner as own_planner,
)
from owma.config.planners.rivals import (
    CEM as CEM,
    SVDD as SVDD,
    FKSteering as FKSteering,
    GuidedDiffusion as GuidedDiffusion,
    NoiseOptimization as NoiseOptimization,
    RandomShooting as RandomShooting,
    Static as Static,
    TiltedResampling as TiltedResampling,
    TwistedSMC as TwistedSMC,
)

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
