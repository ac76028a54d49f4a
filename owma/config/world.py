"""The configuration of the world model."""

import dataclasses

from owma._internal.errors import ConfigError
from owma.config.features import FeaturesConfig
from owma.config.json import later_field


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
    terminal_dims: int = later_field(8, before=0)
    """At most this many of the coordinates are for what terminal states add to outcomes, where the other coordinates
    would lose it: beside the sums over long episodes it varies little. One coordinate at least is for the others."""
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
        if self.terminal_dims < 0:
            raise ConfigError(f"terminal_dims={self.terminal_dims}: must not be negative.")
        if self.solver_steps < 1:
            raise ConfigError(f"solver_steps={self.solver_steps}: the chain needs at least one step.")
