"""The configuration of the readout policy."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PolicyConfig:
    """The readout policy pi(a|s,psi)."""

    width: int = 96
    """Units in each hidden layer."""
    depth: int = 3
    """Hidden layers."""
    embed_width: int = 64
    """Width of the layers that turn (noise level, context) into scales and shifts."""
    solver_steps: int = 5
    """DDIM steps for one action."""
    noise_floor: float = 0.05
    """sigma/alpha at which the sampler stops."""
