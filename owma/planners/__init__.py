"""Planners: which outcome to bring about, behind one interface."""

from typing import TypeAlias

from owma.planners.base import (
    AbstractPlanner as AbstractPlanner,
    AbstractPlannerConfig as AbstractPlannerConfig,
    AgentModel as AgentModel,
    PlanInfo as PlanInfo,
    PlanResult as PlanResult,
)
from owma.planners.choice import (
    AbstractChoice as AbstractChoice,
    BestDraw as BestDraw,
    PlainDraw as PlainDraw,
    WeightedDraw as WeightedDraw,
)
from owma.planners.guided_diffusion import (
    GuidedDiffusion as GuidedDiffusion,
    GuidedDiffusionPlanner as GuidedDiffusionPlanner,
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

PlannerConfig: TypeAlias = OnlineAdaptation | GuidedDiffusion | RandomShooting | Static
"""The planners that commands can name."""
