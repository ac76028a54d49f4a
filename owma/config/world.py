"""The configuration of the world model."""

import dataclasses
from typing import TYPE_CHECKING

from owma._internal.errors import ConfigError
from owma.config.features import FeaturesConfig
from owma.config.json import later_field

if TYPE_CHECKING:
    from owma._internal.types import PRNGKeyArray, Psi
    from owma.diffusion import Chain, ErrorCurve
    from owma.outcomes.features import AbstractFeatures
    from owma.outcomes.transitions import Transitions
    from owma.outcomes.world import WorldModel


@dataclasses.dataclass(frozen=True)
class WorldConfig:
    """The outcome model p(psi|s)."""

    features: FeaturesConfig = FeaturesConfig()
    discount: float = 0.98
    """gamma of the outcomes, in (0, 1)."""
    min_variance: float = 3e-3
    """Principal directions of the dataset's outcomes with less than this share of the largest variance are dropped."""
    max_dims: int = 32
    """At most this many whitened coordinates."""
    count_terminal: bool = later_field(True, before=False)
    """Whether outcomes count the state in which an episode terminates, once, and not only the states that are left."""
    width: int = 96
    """Units in each hidden layer."""
    depth: int = 3
    """Hidden layers."""
    embed_width: int = 64
    """Width of the layers that turn (noise level, context) into scales and shifts."""
    solver_steps: int = 10
    """K: steps of the chain that defines p(psi|s)."""
    noise_floor: float = 0.05
    """sigma/alpha at which the chain makes its last draw."""

    def __post_init__(self) -> None:
        if not 0 < self.discount < 1:
            raise ConfigError(f"discount={self.discount}: must lie strictly between 0 and 1.")
        if self.solver_steps < 1:
            raise ConfigError(f"solver_steps={self.solver_steps}: the chain needs at least one step.")

    def chain(self, errors: "ErrorCurve", data_range: "tuple[Psi, Psi]") -> "Chain":
        from owma.diffusion import Chain

        return Chain.calibrated(errors, num_steps=self.solver_steps, min_ratio=self.noise_floor, data_range=data_range)

    def build(
        self, transitions: "Transitions", *, key: "PRNGKeyArray", features: "AbstractFeatures | None" = None
    ) -> "WorldModel":
        """An untrained model whose coordinates are fitted to `transitions`; `features`: learned ones, trained."""
        from owma.outcomes.world import untrained_world

        return untrained_world(self, transitions, features, key=key)

    def skeleton(self, obs_dim: int, psi_dim: int, *, key: "PRNGKeyArray") -> "WorldModel":
        """A model of the right structure and shapes, its numbers meaningless: what a checkpoint is restored into."""
        from owma.outcomes.world import world_skeleton

        return world_skeleton(self, obs_dim, psi_dim, key=key)
