"""Training: cumulants where they are learned, the outcome model with its readout policy, then the value decoder."""

from owma.training.features import (
    AbstractFeatureObjective as AbstractFeatureObjective,
    DynamicsObjective as DynamicsObjective,
    FeatureState as FeatureState,
    FeatureTrainer as FeatureTrainer,
    HilbertObjective as HilbertObjective,
    LaplacianObjective as LaplacianObjective,
)
from owma.training.outcome import (
    OutcomeTrainer as OutcomeTrainer,
    TrainingState as TrainingState,
    split_episodes as split_episodes,
)
from owma.training.rows import OutcomeData as OutcomeData, OutcomeRows as OutcomeRows, sample_rows as sample_rows
from owma.training.value import (
    RewardFamily as RewardFamily,
    ValueTrainer as ValueTrainer,
    family_returns as family_returns,
)
from owma.training_config import TrainingConfig as TrainingConfig
