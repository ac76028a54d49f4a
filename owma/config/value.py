"""The configuration of the value."""

import dataclasses
from typing import Literal, TypeAlias

from owma._internal.errors import ConfigError
from owma.config.json import later_field

ValueKind: TypeAlias = Literal["pessimistic", "decoder", "linear"]


@dataclasses.dataclass(frozen=True)
class ValueConfig:
    """The value of outcomes, V(psi)."""

    kind: ValueKind = "pessimistic"
    """What the agent acts by: `linear`, ridge regression on psi; `decoder`, the mean of the decoders V(psi, z*); or
    `pessimistic`, a lower bound over all of these, each trusted as far as it explains episodes that it was not fitted
    to. All are fitted and reported."""
    members: int = later_field(4, before=1)
    """Decoders, each trained on episodes drawn with replacement; 1 is trained on all of them, and tested on none."""
    pessimism: Literal["minimum", "deviation", "quantile"] = later_field("deviation")
    """The lower bound: the smallest value, the mean less `pessimism_level` standard deviations, or the quantile."""
    pessimism_level: float = later_field(1.0)
    """Standard deviations of `deviation`, or the level of `quantile`."""
    kernels: int = later_field(256, before=0)
    """Recorded outcomes about which a kernel corrects the linear value within the bound, where they contradict it, and
    to which `OnlineAdaptation` then leads draws: for ways that one episode in hundreds goes. 0 for the linear value."""
    num_tasks: int = 64
    """Random reward functions in the family that the decoder is trained on."""
    num_labels: int = 10_000
    """Labelled samples (psi, return) from which a task is inferred."""
    embedding_size: int = 16
    """Coordinates of a task embedding z."""
    width: int = 64
    """Units in each hidden layer of a decoder."""
    depth: int = 2
    """Hidden layers of a decoder."""
    dropout: float = 0.05
    """Share of units dropped in training."""
    psi_noise: float = 0.05
    """Standard deviation of the noise added to psi in training, in whitened units."""
    embedding_prior: float = 1e-3
    """Weight of |z|^2, in training and in inference."""
    updates: int = 2_000
    """Gradient steps of the decoders."""
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
        if self.kernels < 0:
            raise ConfigError(f"kernels={self.kernels}: must not be negative.")
        if self.members < (2 if self.kind == "pessimistic" else 1):
            raise ConfigError(f"members={self.members}: a pessimistic value needs at least 2 decoders; others need 1.")
        if not self.pessimism_level >= 0 or (self.pessimism == "quantile" and self.pessimism_level > 1):
            raise ConfigError(
                f"pessimism_level={self.pessimism_level}: must not be negative, and a quantile's is at most 1."
            )
