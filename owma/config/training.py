"""The configuration of training the outcome model and the readout policy."""

import dataclasses
from typing import Literal

from owma._internal.errors import ConfigError
from owma.config.json import later_field


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Training of p(psi|s) and pi(a|s,psi)."""

    target: Literal["td", "n_step", "monte_carlo"] = "n_step"
    """Where outcomes come from: one step and a bootstrap, `n_step` steps and a bootstrap, or all that was recorded."""
    n_step: int = 50
    """Steps summed before the bootstrap, for `target=n_step`."""
    updates: int = 6_000
    """Gradient steps."""
    batch_size: int = 512
    """Transitions in each."""
    learning_rate: float = 1e-3
    """Peak of a cosine that ends at zero."""
    warmup: int = 200
    """Updates of linear warm-up of the learning rate."""
    max_grad_norm: float = 1.0
    """Gradients of a larger global norm are scaled down to it."""
    ema_decay: float = 0.998
    """Decay of the averaged weights, which are used for the bootstrap and for acting."""
    bootstrap_steps: int = 4
    """Solver steps for the bootstrapped outcome."""
    after_truncation: Literal["bootstrap", "stay"] = later_field("bootstrap")
    """The rest of a truncated episode: a draw of the model, or its last state, taken to be absorbing (`stay`)."""
    obs_noise: float = later_field(0.0)
    """Standard deviation of noise added to the standardised states that p(psi|s) is trained on: against overfitting to
    the episodes, which `world_held_out_loss` in the metrics shows."""
    held_out: float = 0.05
    """Share of the episodes kept for calibration and validation."""
    hold_out: Literal["alike", "any"] = later_field("alike", before="any")
    """Which ones: any, or `alike`, where an episode that is like no other is trained on rather than held out."""
    report_every: int = 500
    """Updates between two rows of metrics; the chain is recalibrated as often."""

    def __post_init__(self) -> None:
        for name in ("updates", "batch_size", "n_step", "bootstrap_steps", "report_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: must be at least 1.")
        if not self.obs_noise >= 0:
            raise ConfigError(f"obs_noise={self.obs_noise}: a standard deviation; it must not be negative.")
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out={self.held_out}: must lie strictly between 0 and 1.")

    @property
    def horizon(self) -> int | None:
        """Steps summed before the bootstrap; `None`: to the end of the episode."""
        return {"td": 1, "n_step": self.n_step, "monte_carlo": None}[self.target]

    @property
    def bootstraps(self) -> bool:
        """Whether any outcome is completed by a draw of the model."""
        return self.horizon is not None or self.after_truncation == "bootstrap"
