"""`adapt`: maximise J(Δφ) for any denoiser and any value, without a run, an agent or an environment."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.tree import all_finite
from owma._internal.types import Array, Int, PRNGKeyArray, PyTree, Scalar
from owma.adaptation import Adaptation, AdaptationCurves, BothDraws, DecisionProblem
from owma.config.planners import OnlineAdaptation
from owma.diffusion import AbstractDenoiser
from owma.planners.base import PlanResult, not_below


class Adapted(eqx.Module):
    """The result of `adapt`."""

    delta: PyTree
    """Δφ, in the parameters of `problem.denoiser`; `None` where a leaf does not adapt."""
    curves: AdaptationCurves
    """J, E[V] and KL before each step."""
    draws: BothDraws
    """Outcomes of φ + Δφ and of φ from the same fresh noise, which no step of the ascent has used."""
    objective: Scalar
    """J(Δφ) on `draws`, in units of `value_scale`."""
    kl: Scalar
    """The divergence of φ + Δφ from φ on `draws`, in nats."""
    result: Int[Array, ""]
    """A `PlanResult`: `PLANNED`, or `NOT_FINITE`, or `NOT_IMPROVED` where J(Δφ) is lower than J(0) on `draws`."""
    problem: DecisionProblem
    """The problem in the coordinates that `delta` is in (see `Adaptation.prepare`)."""

    @property
    def denoiser(self) -> AbstractDenoiser:
        """φ + Δφ."""
        return self.problem.adapted(self.delta)


def adapt(
    problem: DecisionProblem,
    config: OnlineAdaptation | Adaptation = OnlineAdaptation(),  # noqa: B008  (frozen)
    *,
    key: PRNGKeyArray,
) -> Adapted:
    r"""Ascend $J(\Delta\phi) = E_{p_{\phi+\Delta\phi}}[V]/\text{scale} - \lambda\,\mathrm{KL}$ from Δφ = 0.

    ```python
    problem = DecisionProblem(denoiser, Chain.calibrated(errors, num_steps=10), context, value, value_scale, kl_coef)
    adapted = owma.adapt(problem, owma.OnlineAdaptation(adaptation_steps=10), key=jax.random.key(0))
    ```

    Compiled, and traceable: `jax.vmap` it over problems or keys.

    **Arguments:** `config`: the configuration of the planner, whose `kl_coef` is ignored (λ is `problem.kl_coef`), or
    an `owma.adaptation.Adaptation` with parts of your own.

    **Raises:** `ValueError` if nothing in the denoiser is of the kind that the delta filter adapts.
    """
    adaptation = config if isinstance(config, Adaptation) else config.build().adaptation
    return _adapt(adaptation, problem, key)


@eqx.filter_jit
def _adapt(adaptation: Adaptation, problem: DecisionProblem, key: PRNGKeyArray) -> Adapted:
    run_key, noise_key, divergence_key = jax.random.split(key, 3)
    problem = adaptation.prepare(problem)
    start = adaptation.init(problem)
    state, curves = adaptation.run(problem, start, key=run_key)
    noise = problem.noise(adaptation.num_samples, key=noise_key)
    draws = problem.draw_both(state.delta, noise)
    divergence = adaptation.divergence
    kl = divergence(problem, state.delta, draws.samples, draws.values, noise, key=divergence_key)
    # An estimated divergence may differ from 0 even at Δφ = 0.
    kl_at_start = divergence(problem, start.delta, draws.prior, draws.prior_values, noise, key=divergence_key)
    objective = problem.objective(draws.values, kl)
    at_start = problem.objective(draws.prior_values, kl_at_start)
    finite = all_finite((state.delta, draws, objective))
    improved = not_below(objective, at_start)
    result = jnp.select([~finite, ~improved], [PlanResult.NOT_FINITE, PlanResult.NOT_IMPROVED], PlanResult.PLANNED)
    return Adapted(state.delta, curves, draws, objective, kl, result, problem)
