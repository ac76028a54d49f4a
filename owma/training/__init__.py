"""Training: the outcome model with its readout policy, then the value decoder."""

from owma.training.outcome import (
    OutcomeData as OutcomeData,
    OutcomeTrainer as OutcomeTrainer,
    TrainingState as TrainingState,
    split_episodes as split_episodes,
)
from owma.training.value import (
    RewardFamily as RewardFamily,
    ValueTrainer as ValueTrainer,
    family_returns as family_returns,
)
from owma.training_config import TrainingConfig as TrainingConfig
