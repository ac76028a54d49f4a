"""Online adaptation: the world model itself bends toward the task, at every decision."""

import dataclasses
import math
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from owma._errors import ConfigError
from owma._tree import all_finite, select
from owma._types import Array, Int, Obs, PRNGKeyArray, Psi, Scalar
from owma.adaptation import (
    AbstractAscent,
    AbstractCorrection,
    AbstractDeltaFilter,
    AbstractGradient,
    AdamAscent,
    Adaptation,
    AdaptationState,
    AdjointMatching,
    AllParameters,
    BestDraw,
    Choice,
    DecisionProblem,
    FiLMParameters,
    FisherKL,
    HybridKL,
    LevelParameters,
    LowRankParameters,
    NaturalAscent,
    NoCorrection,
    OutputParameters,
    PathKL,
    ReadoutMetric,
    ReadoutParameters,
    Reparameterised,
    Resample,
    RewardWeighted,
    SampledMetric,
    Truncated,
    TrunkParameters,
    pooled,
)
from owma.diffusion import PathSample
from owma.planners.base import AbstractPlanner, AbstractPlannerConfig, AgentModel, PlanInfo, PlanResult


class OnlineAdaptationPlanner(AbstractPlanner):
    r"""$\Delta\phi$ ascends $E_{p_{\phi+\Delta\phi}}[V] - \lambda\,\mathrm{KL}$; ψ* is chosen from draws of the result.

    Draws of the adapted and of the trained model share their noise. If the objective on them is not finite, or (unless
    `defensive`) lower than that of Δφ = 0, or if the weights of the correction are too uneven, the plan is one of the
    trained model's draws, resampled by exp(V/λ), and `info.result` says so.
    """

    kl_coef: Scalar
    adaptation: Adaptation
    correction: AbstractCorrection
    min_ess: Scalar
    """Where the effective sample size is a smaller share of the draws that are weighed, the plan falls back."""
    defensive: bool = eqx.field(static=True)
    """Whether the trained model's draws are weighed beside the adapted ones."""
    warm_start: bool = eqx.field(static=True)

    def __check_init__(self) -> None:
        if self.defensive and not isinstance(self.correction, Resample):
            raise ValueError(
                f"defensive=True needs correction=Resample(), got {type(self.correction).__name__}; "
                "set defensive=False."
            )

    def init(self, model: AgentModel) -> AdaptationState | None:
        if not self.warm_start:
            return None
        anywhere = jnp.zeros_like(model.world.observation.mean)
        return self.adaptation.init(self.adaptation.prepare(model.problem(anywhere, self.kl_coef)))

    def plan(
        self, model: AgentModel, obs: Obs, state: AdaptationState | None, *, key: PRNGKeyArray
    ) -> tuple[Psi, AdaptationState | None, PlanInfo]:
        run_key, noise_key, divergence_key, choice_key = jr.split(key, 4)
        problem = self.adaptation.prepare(model.problem(obs, self.kl_coef))
        fresh = self.adaptation.init(problem)
        adapted_state, curves = self.adaptation.run(problem, fresh if state is None else state, key=run_key)
        delta = adapted_state.delta

        noise = problem.noise(self.adaptation.num_samples, key=noise_key)
        draws = problem.draw_both(delta, noise)
        samples, values, prior_samples, prior_values = draws.samples, draws.values, draws.prior, draws.prior_values
        divergence = self.adaptation.divergence
        objective = problem.objective(values, divergence(problem, delta, samples, values, noise, key=divergence_key))
        prior_objective = problem.objective(
            prior_values, divergence(problem, fresh.delta, prior_samples, prior_values, noise, key=divergence_key)
        )
        candidates, candidate_values = pooled(draws) if self.defensive else (samples, values)
        choice = self.correction(problem, candidates, candidate_values, key=choice_key)

        finite = all_finite((delta, candidates, candidate_values, objective, choice))
        # Two ways of computing one number differ by rounding; a tie is not a failure. Nor is a fall of J where the
        # trained model's own draws are among those that are weighed.
        improved = (objective >= prior_objective - 1e-5 * (1 + jnp.abs(prior_objective))) | self.defensive
        enough = choice.ess >= self.min_ess * candidate_values.shape[0]
        kept = finite & improved & enough
        result = jnp.select(
            [~finite, ~improved, ~enough],
            [PlanResult.NOT_FINITE, PlanResult.NOT_IMPROVED, PlanResult.LOW_ESS],
            PlanResult.PLANNED,
        )
        # A price of zero has no tilt; a very small one is the best of the draws.
        priced = eqx.tree_at(lambda p: p.kl_coef, problem, jnp.maximum(self.kl_coef, 1e-6))
        tilted = Resample()(priced, prior_samples, prior_values, key=choice_key)
        first = Choice(jnp.asarray(0), jnp.asarray(0.0), jnp.asarray(1.0))
        prior_choice = select(all_finite((prior_values, tilted)), tilted, first)
        choice, chosen, value, values = select(
            kept,
            (choice, _at(candidates, choice.index), candidate_values[choice.index], values),
            (prior_choice, _at(prior_samples, prior_choice.index), prior_values[prior_choice.index], prior_values),
        )
        info = PlanInfo(
            denoised=chosen.mean,
            value=value,
            kl=choice.kl,
            nfe=self._nfe(problem),
            result=result,
            prior_values=prior_values,
            values=values,
            ess=choice.ess,
            curves=curves,
        )
        next_state = select(kept, adapted_state, fresh) if self.warm_start else None
        return chosen.psi, next_state, info

    def _nfe(self, problem: DecisionProblem) -> Int[Array, ""]:
        per_draw = problem.chain.num_transitions
        # The draws to choose from, of φ + Δφ and of φ, each with the other beside it. A divergence that does not read
        # the paths is evaluated before and after.
        divergence = self.adaptation.divergence
        passes = 2 if self.adaptation.delta_filter.shares_hidden else 4
        passes += 0 if divergence.needs_paths else 2 * divergence.passes[0]
        return jnp.asarray(self.adaptation.passes(per_draw) + passes * self.adaptation.num_samples * per_draw)


def _at(samples: PathSample, index: Int[Array, ""]) -> PathSample:
    return jax.tree.map(lambda leaf: leaf[index], samples)


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
    max_kl: float = 2.0
    """Nats that one natural step may move the model by."""
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
    rank: int = 4
    """Of `low-rank`."""
    choice: Literal["best", "draw", "resample"] = "resample"
    """The plan among the adapted draws: the most valuable, a plain draw, or one by the paths' importance weights."""
    defensive: bool = True
    """With `resample`: weigh the trained model's draws beside the adapted ones; a bad increment then costs little."""
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
        for name, least in (("cg_steps", 0), ("gradient_steps", 1), ("rank", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}: must be at least {least}.")
        if self.gradient in ("adjoint", "weighted") and self.divergence != "path":
            raise ConfigError(
                f"gradient={self.gradient} has the path KL built in and cannot charge another divergence; use "
                f"divergence=path, or gradient=reparameterised with divergence={self.divergence}."
            )
        if self.kl_coef == 0 and self.gradient == "weighted":
            raise ConfigError("gradient=weighted needs kl_coef > 0: the weights are exp(V / kl_coef).")
        if not 0 <= self.min_ess <= 1:
            raise ConfigError(f"min_ess={self.min_ess}: is a share of the draws, from 0 to 1.")
        if not self.final_lr >= 0:
            raise ConfigError(f"final_lr={self.final_lr}: must not be negative.")

    def build(self) -> OnlineAdaptationPlanner:
        gradients: dict[str, AbstractGradient] = {
            "reparameterised": Reparameterised(),
            "truncated": Truncated(self.gradient_steps),
            "adjoint": AdjointMatching(),
            "weighted": RewardWeighted(),
        }
        metric = ReadoutMetric() if self.adapt == "readout" else SampledMetric()
        ascents: dict[str, AbstractAscent] = {
            "natural": NaturalAscent(self.max_kl, self.damping, self.cg_steps, metric),
            "adam": AdamAscent(
                jnp.asarray(self.delta_phi_lr),
                self.final_lr,
                math.inf if self.max_gradient is None else self.max_gradient,
            ),
        }
        divergences = {"path": PathKL(), "hybrid": HybridKL(), "fisher": FisherKL()}
        filters: dict[str, AbstractDeltaFilter] = {
            "readout": ReadoutParameters(),
            "level": LevelParameters(),
            "film": FiLMParameters(),
            "all": AllParameters(),
            "trunk": TrunkParameters(),
            "output": OutputParameters(),
            "low-rank": LowRankParameters(self.rank),
        }
        corrections = {"best": BestDraw(), "draw": NoCorrection(), "resample": Resample()}
        adaptation = Adaptation(
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
            warm_start=self.warm_start,
        )


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
