"""Online adaptation: the world model itself bends toward the task, at every decision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from owma._internal.tree import all_finite, select
from owma._internal.types import Array, Float, Int, Key, Obs, PRNGKeyArray, Psi, Scalar
from owma.adaptation import (
    AbstractCorrection,
    Adaptation,
    AdaptationCurves,
    AdaptationState,
    Choice,
    DecisionProblem,
    Resample,
    pooled,
)
from owma.diffusion import PathSample
from owma.planners.base import AbstractAnytimePlanner, AgentModel, PlanInfo, PlanResult, not_below

_CARRIED = 0.95
"""Where the schedules of price and step go on for a Δφ that was carried over.

It has left the common mode already: at the low price and with the long steps of the beginning it would leave the mode
that it has found, too. Chosen on the two-route models of seeds 100 and 101, as `benchmarks/anytime.py` measures.
"""


class _Decision(eqx.Module):
    """What stays the same during a decision."""

    problem: DecisionProblem
    """Prepared."""
    fresh: AdaptationState
    noise: Float[Array, "steps n draws x"]
    keys: Key[Array, " steps"]
    finish_key: PRNGKeyArray


class _Reached(eqx.Module):
    """How far a decision is."""

    state: AdaptationState
    curves: AdaptationCurves
    steps: Int[Array, ""]


class OnlineAdaptationPlanner(AbstractAnytimePlanner):
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
        return self._open(model, anywhere)[1]

    def plan(
        self, model: AgentModel, obs: Obs, state: AdaptationState | None, *, key: PRNGKeyArray
    ) -> tuple[Psi, AdaptationState | None, PlanInfo]:
        run_key, finish_key = jr.split(key)
        problem, fresh = self._open(model, obs)
        adapted, curves = self.adaptation.run(problem, fresh if state is None else state, key=run_key)
        return self._choose(problem, fresh, adapted, curves, jnp.asarray(self.num_steps), key=finish_key)

    @property
    def num_steps(self) -> int:
        return self.adaptation.num_steps

    def begin(
        self, model: AgentModel, obs: Obs, state: AdaptationState | None, *, key: PRNGKeyArray
    ) -> tuple[_Decision, _Reached]:
        run_key, finish_key = jr.split(key)
        problem, fresh = self._open(model, obs)
        noise, keys = self.adaptation.randomness(problem, key=run_key)
        nothing = jnp.full(self.num_steps, jnp.nan)
        reached = _Reached(
            fresh if state is None else state, AdaptationCurves(nothing, nothing, nothing), jnp.asarray(0)
        )
        return _Decision(problem, fresh, noise, keys, finish_key), reached

    def advance(self, decision: _Decision, reached: _Reached, progress: Scalar) -> _Reached:
        i = reached.steps
        state, entry = self.adaptation.step(
            decision.problem, reached.state, decision.noise[i], progress, key=decision.keys[i]
        )
        curves = jax.tree.map(lambda curve, value: curve.at[i].set(value), reached.curves, entry)
        return _Reached(state, curves, i + 1)

    def finish(
        self, model: AgentModel, decision: _Decision, reached: _Reached
    ) -> tuple[Psi, AdaptationState | None, PlanInfo]:
        del model
        return self._choose(
            decision.problem, decision.fresh, reached.state, reached.curves, reached.steps, key=decision.finish_key
        )

    def _open(self, model: AgentModel, obs: Obs) -> tuple[DecisionProblem, AdaptationState]:
        """The problem in the coordinates that adapt, and Δφ = 0."""
        problem = self.adaptation.prepare(model.problem(obs, self.kl_coef))
        return problem, self.adaptation.init(problem)

    def _choose(
        self,
        problem: DecisionProblem,
        fresh: AdaptationState,
        adapted_state: AdaptationState,
        curves: AdaptationCurves,
        steps: Int[Array, ""],
        *,
        key: PRNGKeyArray,
    ) -> tuple[Psi, AdaptationState | None, PlanInfo]:
        """The plan among draws of the adapted and of the trained model."""
        noise_key, divergence_key, choice_key = jr.split(key, 3)
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
        # A fall of J is no failure where the trained model's own draws are among those that are weighed.
        improved = not_below(objective, prior_objective) | self.defensive
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
            nfe=self._nfe(problem, steps),
            result=result,
            prior_values=prior_values,
            values=values,
            ess=choice.ess,
            curves=curves,
        )
        return chosen.psi, self._next_state(kept, adapted_state, fresh), info

    def _next_state(self, kept: Array, adapted: AdaptationState, fresh: AdaptationState) -> AdaptationState | None:
        """What the next decision begins with."""
        if not self.warm_start:
            return None
        carried = eqx.tree_at(
            lambda state: state.schedule_offset, adapted, jnp.full_like(adapted.schedule_offset, _CARRIED)
        )
        return select(kept, carried, fresh)

    def _nfe(self, problem: DecisionProblem, steps: Int[Array, ""]) -> Int[Array, ""]:
        per_draw = problem.chain.num_transitions
        # The draws to choose from, of φ + Δφ and of φ, each with the other beside it. A divergence that does not read
        # the paths is evaluated before and after.
        divergence = self.adaptation.divergence
        passes = 2 if self.adaptation.delta_filter.shares_hidden else 4
        passes += 0 if divergence.needs_paths else 2 * divergence.extra_nfe[0]
        return steps * self.adaptation.nfe_per_step(per_draw) + passes * self.adaptation.num_samples * per_draw


def _at(samples: PathSample, index: Int[Array, ""]) -> PathSample:
    return jax.tree.map(lambda leaf: leaf[index], samples)
