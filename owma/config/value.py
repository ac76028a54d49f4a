"""The configuration of the value."""

import dataclasses
from typing import Literal

from owma._internal.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class ValueConfig:
    """The value of outcomes, V(psi)."""

    kind: Literal["decoder", "linear"] = "linear"
    """What the agent acts by: ridge regression on psi, or the decoder V(psi, z*). Both are fitted and reported; where
    the reward is nearly linear in the features (R^2 says), the linear one extrapolates with less surprise."""
    num_tasks: int = 64
    """Random reward functions in the family that the decoder is trained on."""
    num_labels: int = 10_000
    """Labelled samples (psi, return) from which a task is inferred."""
    embedding_size: int = 16
    """Coordinates of a task embedding z."""
    width: int = 128
    """Units in each hidden layer of the decoder."""
    depth: int = 3
    """Hidden layers of the decoder."""
    dropout: float = 0.05
    """Share of units dropped in training."""
    psi_noise: float = 0.05
    """Standard deviation of the noise added to psi in training, in whitened units."""
    embedding_prior: float = 1e-3
    """Weight of |z|^2, in training and in inference."""
    updates: int = 4_000
    """Gradient steps of the decoder."""
    batch_size: int = 512
    """(outcome, task) pairs in each."""
    learning_rate: float = 1e-3
    """Peak of a cosine that ends at zero."""
    ema_decay: float = 0.995
    """Of the averaged weights, which judge plans."""
    report_every: int = 500
    """Updates between two rows of metrics."""
    ridge: float = 1e-2
    """Penalty of the linear value."""

    def __post_init__(self) -> None:
        for name in ("num_tasks", "num_labels", "updates", "batch_size", "report_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: must be at least 1.")
