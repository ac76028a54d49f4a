"""Adaptation of a world model within one decision: gradient ascent of J(Δφ)."""

from owma.adaptation.ascent import (
    AbstractAscent as AbstractAscent,
    AdamAscent as AdamAscent,
    NaturalAscent as NaturalAscent,
)
from owma.adaptation.correction import (
    AbstractCorrection as AbstractCorrection,
    BestDraw as BestDraw,
    Choice as Choice,
    NoCorrection as NoCorrection,
    Resample as Resample,
    pooled as pooled,
)
from owma.adaptation.delta import (
    AbstractDeltaFilter as AbstractDeltaFilter,
    AllParameters as AllParameters,
    FiLMParameters as FiLMParameters,
    LevelParameters as LevelParameters,
    LowRankParameters as LowRankParameters,
    OutputParameters as OutputParameters,
    PredicateParameters as PredicateParameters,
    ReadoutParameters as ReadoutParameters,
    TrunkParameters as TrunkParameters,
)
from owma.adaptation.divergence import AbstractDivergence as AbstractDivergence, HybridKL as HybridKL, PathKL as PathKL
from owma.adaptation.fisher import FisherKL as FisherKL
from owma.adaptation.gradient import (
    AbstractGradient as AbstractGradient,
    AdjointMatching as AdjointMatching,
    Estimate as Estimate,
    Reparameterised as Reparameterised,
    RewardWeighted as RewardWeighted,
    Truncated as Truncated,
)
from owma.adaptation.likelihood_kl import LikelihoodKL as LikelihoodKL
from owma.adaptation.loop import (
    Adaptation as Adaptation,
    AdaptationCurves as AdaptationCurves,
    AdaptationState as AdaptationState,
)
from owma.adaptation.metric import (
    AbstractMetric as AbstractMetric,
    ReadoutMetric as ReadoutMetric,
    SampledMetric as SampledMetric,
)
from owma.adaptation.objective import BothDraws as BothDraws, DecisionProblem as DecisionProblem
from owma.adaptation.optimum import Optimum as Optimum, estimate_optimum as estimate_optimum
from owma.adaptation.path import scaled_means as scaled_means
from owma.adaptation.proposals import (
    LedDenoiser as LedDenoiser,
    joined as joined,
    recorded_proposals as recorded_proposals,
)
from owma.adaptation.weights import effective_sample_size as effective_sample_size, log_mean_exp as log_mean_exp
