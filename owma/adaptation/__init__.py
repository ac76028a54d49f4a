"""The adaptation of a world model inside one decision."""

from owma.adaptation.delta import (
    AbstractDeltaFilter as AbstractDeltaFilter,
    AllParameters as AllParameters,
    FiLMParameters as FiLMParameters,
    OutputParameters as OutputParameters,
    TrunkParameters as TrunkParameters,
)
from owma.adaptation.divergence import (
    AbstractDivergence as AbstractDivergence,
    HybridKL as HybridKL,
    PathKL as PathKL,
)
from owma.adaptation.loop import (
    Adaptation as Adaptation,
    AdaptationCurves as AdaptationCurves,
    AdaptationState as AdaptationState,
)
from owma.adaptation.objective import DecisionProblem as DecisionProblem
