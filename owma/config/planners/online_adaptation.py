"""The configuration of online adaptation."""

import dataclasses
import math
from typing import TYPE_CHECKING, Literal

from owma._internal.errors import ConfigError
from owma.config.json import later_field
from owma.config.planners.base import AbstractPlannerConfig

if TYPE_CHECKING:
    from owma.planners.online_adaptation import OnlineAdaptationPlanner


@dataclasses.dataclass(frozen=True)
class OnlineAdaptation(AbstractPlannerConfig):
    """Adapts the world model at every decision."""

    adaptation_steps: int = 10
    """Gradient steps on the increment of the parameters; 0 holds it at zero."""
    n_adaptation_samples: int = 32
    """Draws for each gradient, and draws to choose the plan from."""
    kl_coef: float = 0.25
    """lambda, the price of one nat, in units of the value's standard deviation within a state."""
    anneal: float = 0.1
    """lambda of the first step as a share of lambda, which it rises to; 1 for the same lambda at all steps."""
    ascent: Literal["natural", "adam"] = "natural"
    """`natural`: steps in the metric of the path KL. `adam`: with `delta_phi_lr`."""
    max_kl: float = 4.0
    """Nats that the first natural step may move the model by."""
    final_kl: float = 0.0
    """Share of `max_kl` that is left after the last step; the bound falls linearly."""
    damping: float = 0.3
    """Of the natural step, relative to the diagonal of the metric."""
    cg_steps: int = 0
    """Conjugate gradients of the natural step; 0 takes the metric to be diagonal."""
    delta_phi_lr: float = 1e-3
    """Adam's step size."""
    final_lr: float = 1.0
    """Share of Adam's step size that is left after the last step."""
    max_gradient: float | None = None
    """Longest gradient that Adam is given, in units of value_scale; none where it is not clipped."""
    gradient: Literal["reparameterised", "truncated", "adjoint", "weighted"] = "reparameterised"
    """Through the whole chain; through its last `gradient_steps`; adjoint matching; reward-weighted regression."""
    gradient_steps: int = 3
    """Transitions that the `truncated` gradient passes through."""
    divergence: Literal["path", "hybrid", "fisher"] = "path"
    """`path`: the exact KL of the chain's path. `hybrid`: the published surrogate. `fisher`: quadratic."""
    adapt: Literal["readout", "level", "film", "all", "trunk", "output", "low-rank"] = "readout"
    """What adapts: the last layer of each noise level, the conditioning of each level, the map to it, all parameters,
    the layers that see samples, the last layer of all levels, or factors of low rank at all weights."""
    level_share: float = 0.6
    """Of `readout` and `level`: the share of noise levels that adapt, noisiest first; the trained model finishes."""
    rank: int = 4
    """Of `low-rank`."""
    choice: Literal["best", "draw", "resample"] = "resample"
    """The plan among the adapted draws: the most valuable, a plain draw, or one by the paths' importance weights."""
    defensive: bool = True
    """With `resample`: weigh the trained model's draws beside the adapted ones; a bad increment then costs little."""
    proposals: int = later_field(32)
    """With `resample`: further draws among which the plan is chosen, led to the most promising of the recorded outcomes
    that the value keeps (`value.kernels` of the run), for ways that no draw of the model goes; 0 for none."""
    min_ess: float = 0.0
    """Share of the weighed draws; with a smaller effective number the plan is a tilted draw of the trained model."""
    fresh_noise: bool = True
    """New noise at each gradient step; otherwise all steps ascend one sample average."""
    warm_start: bool = False
    """Carry the increment and the state of the ascent over to the next decision."""

    def __post_init__(self) -> None:
        if not self.kl_coef >= 0:
            raise ConfigError(
                f"kl_coef={self.kl_coef}: must not be negative, or distance from the data would be a reward; "
                "use a small positive value."
            )
        if self.kl_coef == 0 and self.choice == "resample":
            raise ConfigError("choice=resample needs kl_coef > 0: the weights are exp(V / kl_coef).")
        if self.adaptation_steps < 0 or self.n_adaptation_samples < 1:
            raise ConfigError(
                f"adaptation_steps={self.adaptation_steps}, n_adaptation_samples={self.n_adaptation_samples}: "
                "steps must not be negative and at least one sample is needed."
            )
        for name in ("delta_phi_lr", "max_kl", "damping", "anneal", "max_gradient"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}={value}: must be positive.")
        for name, least in (("cg_steps", 0), ("proposals", 0), ("gradient_steps", 1), ("rank", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}: must be at least {least}.")
        if self.gradient in ("adjoint", "weighted") and self.divergence != "path":
            raise ConfigError(
                f"gradient={self.gradient} has the path KL built in and cannot charge another divergence; use "
                f"divergence=path, or gradient=reparameterised with divergence={self.divergence}."
            )
        if self.kl_coef == 0 and self.gradient == "weighted":
            raise ConfigError("gradient=weighted needs kl_coef > 0: the weights are exp(V / kl_coef).")
        if not 0 < self.level_share <= 1:
            raise ConfigError(f"level_share={self.level_share}: is a share of the noise levels, above 0 and at most 1.")
        if not 0 <= self.min_ess <= 1:
            raise ConfigError(f"min_ess={self.min_ess}: is a share of the draws, from 0 to 1.")
        for name in ("final_lr", "final_kl"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}={getattr(self, name)}: must not be negative.")

    def build(self) -> "OnlineAdaptationPlanner":
        import jax.numpy as jnp

        from owma import adaptation as parts
        from owma.planners.online_adaptation import OnlineAdaptationPlanner

        gradients: dict[str, parts.AbstractGradient] = {
            "reparameterised": parts.Reparameterised(),
            "truncated": parts.Truncated(self.gradient_steps),
            "adjoint": parts.AdjointMatching(),
            "weighted": parts.RewardWeighted(),
        }
        ascents: dict[str, parts.AbstractAscent] = {
            "natural": parts.NaturalAscent(self.max_kl, self.final_kl, self.damping, self.cg_steps),
            "adam": parts.AdamAscent(
                jnp.asarray(self.delta_phi_lr),
                self.final_lr,
                math.inf if self.max_gradient is None else self.max_gradient,
            ),
        }
        divergences = {"path": parts.PathKL(), "hybrid": parts.HybridKL(), "fisher": parts.FisherKL()}
        filters: dict[str, parts.AbstractDeltaFilter] = {
            "readout": parts.ReadoutParameters(self.level_share),
            "level": parts.LevelParameters(self.level_share),
            "film": parts.FiLMParameters(),
            "all": parts.AllParameters(),
            "trunk": parts.TrunkParameters(),
            "output": parts.OutputParameters(),
            "low-rank": parts.LowRankParameters(self.rank),
        }
        corrections = {"best": parts.BestDraw(), "draw": parts.NoCorrection(), "resample": parts.Resample()}
        adaptation = parts.Adaptation(
            gradient=gradients[self.gradient],
            ascent=ascents[self.ascent],
            divergence=divergences[self.divergence],
            delta_filter=filters[self.adapt],
            anneal=jnp.asarray(self.anneal),
            num_steps=self.adaptation_steps,
            num_samples=self.n_adaptation_samples,
            fresh_noise=self.fresh_noise,
        )
        return OnlineAdaptationPlanner(
            kl_coef=jnp.asarray(self.kl_coef),
            adaptation=adaptation,
            correction=corrections[self.choice],
            min_ess=jnp.asarray(self.min_ess),
            defensive=self.defensive and self.choice == "resample",
            proposals=self.proposals if self.choice == "resample" else 0,
            warm_start=self.warm_start,
        )


ADAPTATION_ADAM = OnlineAdaptation(ascent="adam")
"""With the steps of Adam, for comparison."""

PUBLISHED = OnlineAdaptation(
    adaptation_steps=10,
    n_adaptation_samples=32,
    delta_phi_lr=1e-3,
    kl_coef=1.0,
    anneal=1.0,
    ascent="adam",
    divergence="hybrid",
    adapt="all",
    choice="best",
)
"""The published settings of the method."""
