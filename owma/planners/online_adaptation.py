"""Online adaptation: the world model itself bends toward the task, at every decision."""

import dataclasses
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from owma._errors import ConfigError
from owma._tree import all_finite, select
from owma._types import Array, Int, Obs, PRNGKeyArray, Psi, Scalar
from owma.adaptation import (
    Adaptation,
    AdaptationState,
    AllParameters,
    DecisionProblem,
    FiLMParameters,
    HybridKL,
    OutputParameters,
    PathKL,
    TrunkParameters,
)
from owma.planners.base import AbstractPlanner, AbstractPlannerConfig, AgentModel, PlanInfo, PlanResult
from owma.planners.choice import AbstractChoice, BestDraw, PlainDraw, WeightedDraw


class OnlineAdaptationPlanner(AbstractPlanner):
    r"""$\Delta\phi$ ascends $E_{p_{\phi+\Delta\phi}}[V] - \lambda\,\mathrm{KL}$; ψ* is chosen from draws of the result.

    Draws of the adapted and of the trained model share their noise. If the objective on them is not finite, or lower
    than that of Δφ = 0, the plan is chosen from the trained model's draws, and `info.result` says so.
    """

    kl_coef: Scalar
    adaptation: Adaptation
    choice: AbstractChoice
    warm_start: bool = eqx.field(static=True)

    def init(self, model: AgentModel) -> AdaptationState | None:
        return self.adaptation.init(model.world.denoiser) if self.warm_start else None

    def plan(
        self, model: AgentModel, obs: Obs, state: AdaptationState | None, *, key: PRNGKeyArray
    ) -> tuple[Psi, AdaptationState | None, PlanInfo]:
        run_key, noise_key, divergence_key, choice_key = jr.split(key, 4)
        problem = model.problem(obs, self.kl_coef)
        fresh = self.adaptation.init(problem.denoiser)
        adapted_state, curves = self.adaptation.run(problem, fresh if state is None else state, key=run_key)
        delta = adapted_state.delta

        noise = problem.noise(self.adaptation.num_samples, key=noise_key)
        prior_samples, prior_values = problem.draw(None, noise, with_reference=False)
        samples, values = problem.draw(delta, noise, with_reference=True)
        divergence = self.adaptation.divergence
        objective = problem.objective(values, divergence(problem, delta, samples, values, noise, key=divergence_key))
        prior_objective = problem.objective(
            prior_values, divergence(problem, fresh.delta, prior_samples, prior_values, noise, key=divergence_key)
        )
        finite = all_finite((delta, samples, values, objective))
        # Two ways of computing one number differ by rounding; a tie is not a failure.
        rounding = 1e-5 * (1 + jnp.abs(prior_objective))
        kept = finite & (objective >= prior_objective - rounding)
        result = jnp.where(kept, PlanResult.PLANNED, jnp.where(finite, PlanResult.NOT_IMPROVED, PlanResult.NOT_FINITE))

        samples, values = select(kept, (samples, values), (prior_samples, prior_values))
        choice = self.choice(problem, samples, values, key=choice_key)
        info = PlanInfo(
            value=values[choice.index],
            kl=choice.kl,
            evaluations=self._evaluations(problem),
            result=result,
            prior_values=prior_values,
            values=values,
            ess=choice.ess,
            curves=curves,
        )
        next_state = select(kept, adapted_state, fresh) if self.warm_start else None
        return samples.psi[choice.index], next_state, info

    def _evaluations(self, problem: DecisionProblem) -> Int[Array, ""]:
        per_step = 2  # φ + Δφ, and φ: beside it for the path, or on draws of its own for the surrogate.
        draws = self.adaptation.num_samples * (per_step * self.adaptation.num_steps + 3)
        return jnp.asarray(draws * problem.chain.num_evaluations)


@dataclasses.dataclass(frozen=True)
class OnlineAdaptation(AbstractPlannerConfig):
    """Adapts the world model at every decision."""

    adaptation_steps: int = 10
    """Gradient steps on the increment of the parameters; 0 holds it at zero."""
    n_adaptation_samples: int = 32
    """Draws for each gradient, and draws to choose the plan from."""
    delta_phi_lr: float = 1e-3
    """Adam's step size."""
    kl_coef: float = 1.0
    """lambda, the price of one nat, in units of the value's standard deviation within a state."""
    divergence: Literal["path", "hybrid"] = "path"
    """`path`: the exact KL of the chain's path. `hybrid`: the published surrogate."""
    adapt: Literal["film", "all", "trunk", "output"] = "film"
    """Which parameters adapt: the conditioning map, all, the layers that see samples, or the last layer."""
    choice: Literal["best", "draw", "weighted"] = "best"
    """The plan among the adapted draws: the most valuable, a plain draw, or one by the path weights."""
    fresh_noise: bool = True
    """New noise at each gradient step; otherwise all steps ascend one sample average."""
    warm_start: bool = False
    """Carry the increment and the optimiser over to the next decision."""

    def __post_init__(self) -> None:
        if not self.kl_coef >= 0:
            raise ConfigError(
                f"kl_coef={self.kl_coef}: must not be negative, or distance from the data would be a reward; "
                "use a small positive value."
            )
        if self.kl_coef == 0 and self.choice == "weighted":
            raise ConfigError("choice=weighted needs kl_coef > 0: the weights are exp(V / kl_coef).")
        if self.adaptation_steps < 0 or self.n_adaptation_samples < 1:
            raise ConfigError(
                f"adaptation_steps={self.adaptation_steps}, n_adaptation_samples={self.n_adaptation_samples}: "
                "steps must not be negative and at least one sample is needed."
            )
        if not self.delta_phi_lr > 0:
            raise ConfigError(f"delta_phi_lr={self.delta_phi_lr}: must be positive.")

    def build(self) -> OnlineAdaptationPlanner:
        divergences = {"path": PathKL(), "hybrid": HybridKL()}
        filters = {
            "film": FiLMParameters(),
            "all": AllParameters(),
            "trunk": TrunkParameters(),
            "output": OutputParameters(),
        }
        choices = {"best": BestDraw(), "draw": PlainDraw(), "weighted": WeightedDraw()}
        adaptation = Adaptation(
            learning_rate=jnp.asarray(self.delta_phi_lr),
            divergence=divergences[self.divergence],
            delta_filter=filters[self.adapt],
            num_steps=self.adaptation_steps,
            num_samples=self.n_adaptation_samples,
            fresh_noise=self.fresh_noise,
        )
        return OnlineAdaptationPlanner(jnp.asarray(self.kl_coef), adaptation, choices[self.choice], self.warm_start)


PUBLISHED = OnlineAdaptation(
    adaptation_steps=10, n_adaptation_samples=32, delta_phi_lr=1e-3, kl_coef=1.0, divergence="hybrid", adapt="all"
)
"""The published settings of the method."""
