"""Configurations of the planners that leave the model as it is."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from owma._internal.errors import ConfigError
from owma.config.planners.base import AbstractPlannerConfig

if TYPE_CHECKING:
    from owma.planners.cem import CEMPlanner
    from owma.planners.fk_steering import FKSteeringPlanner
    from owma.planners.guided_diffusion import GuidedDiffusionPlanner
    from owma.planners.noise_optimization import NoiseOptimizationPlanner
    from owma.planners.random_shooting import RandomShootingPlanner
    from owma.planners.static import StaticPlanner
    from owma.planners.svdd import SVDDPlanner
    from owma.planners.tilted_resampling import TiltedResamplingPlanner
    from owma.planners.twisted_smc import TwistedSMCPlanner


@dataclasses.dataclass(frozen=True)
class Static(AbstractPlannerConfig):
    """One draw of the trained model: no planning."""

    def build(self) -> "StaticPlanner":
        from owma.planners.static import StaticPlanner

        return StaticPlanner()


@dataclasses.dataclass(frozen=True)
class RandomShooting(AbstractPlannerConfig):
    """The best of many draws of the trained model."""

    num_samples: int = 1000
    num_elites: int = 1
    """The plan is one of this many best draws, at random."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_elites <= self.num_samples:
            raise ConfigError(
                f"num_elites={self.num_elites}, num_samples={self.num_samples}: needs 1 <= num_elites <= num_samples."
            )

    def build(self) -> "RandomShootingPlanner":
        from owma.planners.random_shooting import RandomShootingPlanner

        return RandomShootingPlanner(self.num_samples, self.num_elites)


@dataclasses.dataclass(frozen=True)
class TiltedResampling(AbstractPlannerConfig):
    """Draws of the trained model, one of them chosen by exp(V / kl_coef)."""

    num_samples: int = 1000
    """Draws of the trained model."""
    kl_coef: float = 0.25
    """lambda, the price of one nat, in units of the value's standard deviation within a state."""

    def __post_init__(self) -> None:
        if self.num_samples < 1 or not self.kl_coef > 0:
            raise ConfigError(
                f"num_samples={self.num_samples}, kl_coef={self.kl_coef}: needs at least one sample and kl_coef > 0."
            )

    def build(self) -> "TiltedResamplingPlanner":
        import jax.numpy as jnp

        from owma.planners.tilted_resampling import TiltedResamplingPlanner

        return TiltedResamplingPlanner(jnp.asarray(self.kl_coef), self.num_samples)


@dataclasses.dataclass(frozen=True)
class GuidedDiffusion(AbstractPlannerConfig):
    """The trained model's chain, its score guided by the value."""

    guidance_coef: float = 4.0
    """Strength of the guidance in units of 1/value_scale; comparable to 1/kl_coef."""
    guidance: Literal["gradient", "constant"] = "gradient"
    """`gradient`: of V at the denoised outcome, at every level. `constant`: one vector for all levels, as published."""
    num_samples: int = 1
    """Draws of the guided chain, of which the best is the plan."""

    def __post_init__(self) -> None:
        if not self.guidance_coef >= 0:
            raise ConfigError(f"guidance_coef={self.guidance_coef}: must not be negative.")
        if self.num_samples < 1:
            raise ConfigError(f"num_samples={self.num_samples}: must be at least 1.")

    def build(self) -> "GuidedDiffusionPlanner":
        import jax.numpy as jnp

        from owma.planners.guided_diffusion import GuidedDiffusionPlanner

        return GuidedDiffusionPlanner(jnp.asarray(self.guidance_coef), self.guidance == "constant", self.num_samples)


@dataclasses.dataclass(frozen=True)
class FKSteering(AbstractPlannerConfig):
    """Particles of the trained chain, resampled on the way by the value of their denoised outcome."""

    num_particles: int = 256
    """Chains that are run together."""
    kl_coef: float = 0.25
    """lambda, the price of one nat, in units of the value's standard deviation within a state."""
    min_ess: float = 0.5
    """Share of the particles below which their effective number makes them resampled; 0 never, 1 always."""

    def __post_init__(self) -> None:
        _check_particles(self.num_particles, self.kl_coef, self.min_ess)

    def build(self) -> "FKSteeringPlanner":
        import jax.numpy as jnp

        from owma.planners.fk_steering import FKSteeringPlanner

        return FKSteeringPlanner(jnp.asarray(self.kl_coef), jnp.asarray(self.min_ess), self.num_particles)


@dataclasses.dataclass(frozen=True)
class TwistedSMC(AbstractPlannerConfig):
    """Particles guided by the value's gradient, corrected by their weights."""

    num_particles: int = 64
    """Chains that are run together."""
    kl_coef: float = 0.25
    """lambda, the price of one nat, in units of the value's standard deviation within a state."""
    min_ess: float = 0.5
    """Share of the particles below which their effective number makes them resampled; 0 never, 1 always."""
    max_shift: float = 3.0
    """Longest move of a proposal's mean, in widths of the transition."""

    def __post_init__(self) -> None:
        _check_particles(self.num_particles, self.kl_coef, self.min_ess)
        if not self.max_shift >= 0:
            raise ConfigError(f"max_shift={self.max_shift}: must not be negative.")

    def build(self) -> "TwistedSMCPlanner":
        import jax.numpy as jnp

        from owma.planners.twisted_smc import TwistedSMCPlanner

        return TwistedSMCPlanner(
            jnp.asarray(self.kl_coef), jnp.asarray(self.min_ess), jnp.asarray(self.max_shift), self.num_particles
        )


@dataclasses.dataclass(frozen=True)
class SVDD(AbstractPlannerConfig):
    """One chain, each of its transitions chosen among candidates by the value of their denoised outcome."""

    num_candidates: int = 256
    """Draws of each transition."""
    kl_coef: float = 0.25
    """lambda, the price of one nat, in units of the value's standard deviation within a state."""

    def __post_init__(self) -> None:
        if self.num_candidates < 1 or not self.kl_coef > 0:
            raise ConfigError(
                f"num_candidates={self.num_candidates}, kl_coef={self.kl_coef}: needs a candidate and kl_coef > 0."
            )

    def build(self) -> "SVDDPlanner":
        import jax.numpy as jnp

        from owma.planners.svdd import SVDDPlanner

        return SVDDPlanner(jnp.asarray(self.kl_coef), self.num_candidates)


@dataclasses.dataclass(frozen=True)
class NoiseOptimization(AbstractPlannerConfig):
    """Moves the mean of the chain's noise by gradients through the sampler."""

    num_steps: int = 10
    """Gradient steps."""
    num_samples: int = 32
    """Draws for each gradient, and draws to choose the plan from."""
    kl_coef: float = 0.25
    """lambda, the price of one nat, in units of the value's standard deviation within a state."""
    learning_rate: float = 0.1
    """Adam's step size, in standard deviations of the noise."""

    def __post_init__(self) -> None:
        if self.num_steps < 0 or self.num_samples < 1 or not self.kl_coef > 0 or not self.learning_rate > 0:
            raise ConfigError(
                f"num_steps={self.num_steps}, num_samples={self.num_samples}, kl_coef={self.kl_coef}, learning_rate="
                f"{self.learning_rate}: steps must not be negative, at least one sample is needed, the others are > 0."
            )

    def build(self) -> "NoiseOptimizationPlanner":
        import jax.numpy as jnp

        from owma.planners.noise_optimization import NoiseOptimizationPlanner

        return NoiseOptimizationPlanner(
            jnp.asarray(self.kl_coef), jnp.asarray(self.learning_rate), self.num_steps, self.num_samples
        )


@dataclasses.dataclass(frozen=True)
class CEM(AbstractPlannerConfig):
    """The cross-entropy method on the chain's noise."""

    num_iterations: int = 4
    """Times that the law of the noise is fitted."""
    num_samples: int = 128
    """Draws in each, and draws to choose the plan from."""
    num_elites: int = 16
    """Best draws that the law is fitted to."""
    kl_coef: float = 0.25
    """lambda, the price of one nat, in units of the value's standard deviation within a state."""
    momentum: float = 0.5
    """Share of the former law that is kept."""
    min_std: float = 0.3
    """Least standard deviation of the noise."""

    def __post_init__(self) -> None:
        if self.num_iterations < 0 or not 1 <= self.num_elites <= self.num_samples:
            raise ConfigError(
                f"num_iterations={self.num_iterations}, num_elites={self.num_elites}, num_samples={self.num_samples}: "
                "needs num_iterations >= 0 and 1 <= num_elites <= num_samples."
            )
        if not self.kl_coef > 0 or not 0 <= self.momentum < 1 or not self.min_std > 0:
            raise ConfigError(
                f"kl_coef={self.kl_coef}, momentum={self.momentum}, min_std={self.min_std}: needs kl_coef > 0, "
                "momentum in [0, 1) and min_std > 0."
            )

    def build(self) -> "CEMPlanner":
        import jax.numpy as jnp

        from owma.planners.cem import CEMPlanner

        return CEMPlanner(
            kl_coef=jnp.asarray(self.kl_coef),
            momentum=jnp.asarray(self.momentum),
            min_std=jnp.asarray(self.min_std),
            num_iterations=self.num_iterations,
            num_samples=self.num_samples,
            num_elites=self.num_elites,
        )


def _check_particles(num_particles: int, kl_coef: float, min_ess: float) -> None:
    """Raises `ConfigError` on settings that sequential Monte Carlo cannot run with."""
    if num_particles < 1 or not kl_coef > 0:
        raise ConfigError(f"num_particles={num_particles}, kl_coef={kl_coef}: needs a particle and kl_coef > 0.")
    if not 0 <= min_ess <= 1:
        raise ConfigError(f"min_ess={min_ess}: is a share of the particles, from 0 to 1.")
