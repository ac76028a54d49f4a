"""Online adaptation: at every decision the world model's parameters ascend the objective of the task."""

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
    joined,
    pooled,
    recorded_proposals,
)
from owma.outcomes.pessimism import recorded_outcomes
from owma.planners.base import AbstractAnytimePlanner, AgentModel, PlanInfo, PlanResult, not_below

_WARM_OFFSET = 0.95
"""The `schedule_offset` of a warm-started Δφ.

It has left the common mode already; with the small λ and the long steps of the start it would leave its present mode,
too. Chosen on the two-route models of seeds 100 and 101 (`benchmarks/anytime.py`).
"""


class _Decision(eqx.Module):
    """The constants of a decision."""

    problem: DecisionProblem
    """The prepared problem."""
    fresh: AdaptationState
    """Δφ = 0, at the start of the schedules."""
    noise: Float[Array, "steps n draws x"]
    keys: Key[Array, " steps"]
    finish_key: PRNGKeyArray


class _Reached(eqx.Module):
    """The state of a decision between two steps."""

    state: AdaptationState
    curves: AdaptationCurves
    steps: Int[Array, ""]


class OnlineAdaptationPlanner(AbstractAnytimePlanner):
    r"""$\Delta\phi$ ascends $E_{p_{\phi+\Delta\phi}}[V] - \lambda\,\mathrm{KL}$; ψ* is chosen from draws of the adapted
    model.

    Draws of the adapted and of the trained model share their noise. The plan falls back to a draw of the trained model,
    resampled by exp(V/λ), if the objective on these draws is not finite, or (unless `defensive`) lower than that of
    Δφ = 0, or if the effective sample size is too small; `info.result` tells which.
    """

    kl_coef: Scalar
    adaptation: Adaptation
    correction: AbstractCorrection
    min_ess: Scalar
    """The plan falls back if the effective sample size is a smaller fraction of the weighted draws."""
    defensive: bool = eqx.field(static=True)
    """Whether draws of the trained model are pooled with the adapted ones (`owma.adaptation.pooled`)."""
    proposals: int = eqx.field(static=True)
    """How many draws, led to recorded outcomes, are beside them (`owma.adaptation.recorded_proposals`)."""
    warm_start: bool = eqx.field(static=True)

    def __check_init__(self) -> None:
        if self.defensive and not isinstance(self.correction, Resample):
            raise ValueError(
                f"defensive=True needs correction=Resample(), got {type(self.correction).__name__}; "
                "set defensive=False."
            )
        if self.proposals and not isinstance(self.correction, Resample):
            raise ValueError(
                f"proposals={self.proposals} needs correction=Resample(), got {type(self.correction).__name__}; "
                "set proposals=0."
            )

    def init(self, model: AgentModel) -> AdaptationState | None:
        if not self.warm_start:
            return None
        any_obs = jnp.zeros_like(model.world.observation.mean)
        return self._start(model, any_obs)[1]

    def plan(
        self, model: AgentModel, obs: Obs, state: AdaptationState | None, *, key: PRNGKeyArray
    ) -> tuple[Psi, AdaptationState | None, PlanInfo]:
        run_key, finish_key = jr.split(key)
        problem, fresh = self._start(model, obs)
        adapted, curves = self.adaptation.run(problem, fresh if state is None else state, key=run_key)
        return self._choose(problem, fresh, adapted, curves, jnp.asarray(self.num_steps), key=finish_key)

    @property
    def num_steps(self) -> int:
        return self.adaptation.num_steps

    def begin(
        self, model: AgentModel, obs: Obs, state: AdaptationState | None, *, key: PRNGKeyArray
    ) -> tuple[_Decision, _Reached]:
        run_key, finish_key = jr.split(key)
        problem, fresh = self._start(model, obs)
        noise, keys = self.adaptation.randomness(problem, key=run_key)
        unset = jnp.full(self.num_steps, jnp.nan)
        reached = _Reached(fresh if state is None else state, AdaptationCurves(unset, unset, unset), jnp.asarray(0))
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

    def _start(self, model: AgentModel, obs: Obs) -> tuple[DecisionProblem, AdaptationState]:
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
        """Choose the plan from draws of the adapted model or, as a fallback, of the trained one."""
        noise_key, divergence_key, choice_key = jr.split(key, 3)
        proposal_key = jr.fold_in(key, 3)
        delta = adapted_state.delta
        noise = problem.noise(self.adaptation.num_samples, key=noise_key)
        draws = problem.draw_both(delta, noise)
        samples, values, prior_samples, prior_values = draws.samples, draws.values, draws.prior, draws.prior_values
        divergence = self.adaptation.divergence
        objective = problem.objective(values, divergence(problem, delta, samples, values, noise, key=divergence_key))
        prior_objective = problem.objective(
            prior_values, divergence(problem, fresh.delta, prior_samples, prior_values, noise, key=divergence_key)
        )
        candidates, candidate_values = joined(
            *(pooled(draws) if self.defensive else (samples, values)),
            recorded_proposals(problem, self.proposals, key=proposal_key),
        )
        choice = self.correction(problem, candidates, candidate_values, key=choice_key)

        finite = all_finite((delta, candidates, candidate_values, objective, choice))
        # A decrease of J is no failure if the trained model's draws are among the weighted ones.
        improved = not_below(objective, prior_objective) | self.defensive
        ess_suffices = choice.ess >= self.min_ess * candidate_values.shape[0]
        accepted = finite & improved & ess_suffices
        result = jnp.select(
            [~finite, ~improved, ~ess_suffices],
            [PlanResult.NOT_FINITE, PlanResult.NOT_IMPROVED, PlanResult.LOW_ESS],
            PlanResult.PLANNED,
        )
        # λ = 0 has no tilted law; a very small λ chooses the best draw.
        positive_kl_coef = eqx.tree_at(lambda p: p.kl_coef, problem, jnp.maximum(self.kl_coef, 1e-6))
        tilted = Resample()(positive_kl_coef, prior_samples, prior_values, key=choice_key)
        first = Choice(jnp.asarray(0), jnp.asarray(0.0), jnp.asarray(1.0))
        prior_choice = select(all_finite((prior_values, tilted)), tilted, first)
        choice, (psi, denoised), value, values = select(
            accepted,
            (choice, _at(candidates.psi, candidates.mean, choice.index), candidate_values[choice.index], values),
            (
                prior_choice,
                _at(prior_samples.psi, prior_samples.mean, prior_choice.index),
                prior_values[prior_choice.index],
                prior_values,
            ),
        )
        info = PlanInfo(
            denoised=denoised,
            value=value,
            kl=choice.kl,
            nfe=self._nfe(problem, steps),
            result=result,
            prior_values=prior_values,
            values=values,
            ess=choice.ess,
            curves=curves,
        )
        return psi, self._next_state(accepted, adapted_state, fresh), info

    def _next_state(self, accepted: Array, adapted: AdaptationState, fresh: AdaptationState) -> AdaptationState | None:
        """The state that a warm start hands to the next decision: the adapted one, if it was accepted."""
        if not self.warm_start:
            return None
        carried = eqx.tree_at(
            lambda state: state.schedule_offset, adapted, jnp.full_like(adapted.schedule_offset, _WARM_OFFSET)
        )
        return select(accepted, carried, fresh)

    def _nfe(self, problem: DecisionProblem, steps: Int[Array, ""]) -> Int[Array, ""]:
        per_draw = problem.chain.num_transitions
        # The last draws, of φ + Δφ and of φ, each with the other model as the reference. A divergence that does not use
        # the paths is evaluated once for Δφ and once for Δφ = 0.
        divergence = self.adaptation.divergence
        passes = 2 if self.adaptation.delta_filter.shares_hidden else 4
        passes += 0 if divergence.needs_paths else 2 * divergence.extra_nfe[0]
        final = passes * self.adaptation.num_samples * per_draw
        recorded = recorded_outcomes(problem.value)
        if recorded is not None and self.proposals:
            # The model is their reference and finishes them, in one evaluation. Where not all are drawn, each was
            # judged at one level.
            kept = recorded.shape[0]
            final += kept * per_draw if self.proposals >= kept else self.proposals * per_draw + kept
        return steps * self.adaptation.nfe_per_step(per_draw) + final


def _at(psi: Float[Array, "n psi"], mean: Float[Array, "n psi"], index: Int[Array, ""]) -> tuple[Psi, Psi]:
    return psi[index], mean[index]
