"""The configuration of the readout policy."""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from owma._internal.types import Float, HostArray, PRNGKeyArray
    from owma.outcomes.policy import ReadoutPolicy
    from owma.outcomes.transitions import Transitions


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

    def build(
        self,
        transitions: "Transitions",
        psi_dim: int,
        *,
        low: "Float[HostArray, ' act']",
        high: "Float[HostArray, ' act']",
        key: "PRNGKeyArray",
    ) -> "ReadoutPolicy":
        """An untrained policy whose units are fitted to `transitions`."""
        from owma.outcomes.policy import untrained_policy

        return untrained_policy(self, transitions, psi_dim, low=low, high=high, key=key)

    def skeleton(self, obs_dim: int, action_dim: int, psi_dim: int, *, key: "PRNGKeyArray") -> "ReadoutPolicy":
        """An untrained policy in unit coordinates; also what a checkpoint is restored into."""
        from owma.outcomes.policy import policy_skeleton

        return policy_skeleton(self, obs_dim, action_dim, psi_dim, key=key)
