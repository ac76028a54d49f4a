"""One decision at a time: what adaptation does to the outcomes that the model expects, step by step."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Float, Obs, PRNGKeyArray, PyTree, Scalar
from owma.adaptation import AbstractAscent, AbstractMetric, DecisionProblem, effective_sample_size, log_mean_exp
from owma.agent.act import Agent
from owma.diffusion import PathSample
from owma.envs.make import vector_env
from owma.eval.rollout import run_episodes
from owma.planners import AgentModel, OnlineAdaptation, Static
from owma.runs.load import SavedRun

KL_COEFS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
"""The λ at which the optimum is told, in units of `value_scale`."""

TOP = 0.02
"""The share of the trained model's most valuable draws whose weight in q* is told."""


class _Recorded(AbstractAscent):
    """An ascent that keeps every Δφ that it passes through."""

    ascent: AbstractAscent
    num_steps: int = eqx.field(static=True)

    def init(self, delta: PyTree) -> PyTree:
        kept = jax.tree.map(lambda leaf: jnp.zeros((self.num_steps + 1, *leaf.shape), leaf.dtype), delta)
        return self.ascent.init(delta), kept, jnp.asarray(0)

    def step(
        self,
        problem: DecisionProblem,
        delta: PyTree,
        gradient: PyTree,
        samples: PathSample,
        state: PyTree,
        progress: Scalar,
        *,
        metric: AbstractMetric,
        key: PRNGKeyArray,
    ) -> tuple[PyTree, PyTree]:
        inner, kept, number = state
        move, inner = self.ascent.step(problem, delta, gradient, samples, inner, progress, metric=metric, key=key)
        kept = jax.tree.map(lambda all_, d, m: all_.at[number + 1].set(d + m), kept, delta, move)
        return move, (inner, kept, number + 1)

    def nfe_per_state(self, metric: AbstractMetric) -> int:
        return self.ascent.nfe_per_state(metric)


def explore(run: SavedRun, config: OnlineAdaptation, *, states: int, draws: int, seed: int = 0) -> dict[str, Any]:
    """What the explorer of a report shows, as plain JSON data.

    **Arguments:**

    - `run`: a run with an environment; the states are evenly spaced along one of its episodes, planned without
        adaptation.
    - `config`: the planner whose adaptation is shown.
    - `states`, `draws`: how many of each; all steps are shown on the same noise, so that draws can be followed.

    **Returns:** `kl_coef`, `value_scale` and, for each of `states`, its `position` and environment `step`, and for
    every adaptation step from 0 `psi` (the first two principal directions of each draw), `values`, `kl` and
    `objective`; `plan` is what the planner chose; `optimum` tells of q* at other λ.
    """
    with vector_env(run.env, 1) as envs:
        agent = run.agent(Static(), replan_every=run.config.evaluation.replan_every)
        visited = run_episodes(agent, envs, planner_name="static", seed=seed, timed_decisions=0).observations[0]
    # Not the last ones: the goal is reached, and nothing is decided any more.
    steps = np.linspace(0, 0.8 * (len(visited) - 1), states).astype(int)
    obs = jnp.asarray(visited[steps])
    key = jax.random.key(seed)
    plans = [_decide(run.model, run.agent(config), config.kl_coef, one, draws, key) for one in obs]
    return {
        "kl_coef": config.kl_coef,
        "value_scale": float(run.model.value_scale),
        "states": [
            {"step": int(step), "position": _rounded(visited[step][:2])} | plan for step, plan in zip(steps, plans)
        ],
    }


def _decide(model: AgentModel, agent: Agent, kl_coef: float, obs: Obs, draws: int, key: PRNGKeyArray) -> dict[str, Any]:
    psi, values, kl, objective = _course(model, agent.planner, obs, draws, key)
    decision = agent.decide(obs, agent.init(), key=key).decision
    chosen, info = decision.psi, decision.info
    prior = _prior_values(model, obs, key)
    return {
        "psi": _rounded(psi),
        "values": _rounded(values),
        "kl": _rounded(kl),
        "objective": _rounded(objective),
        "plan": {"psi": _rounded(chosen[:2]), "value": _rounded(info.value), "kl": _rounded(info.kl)},
        "optimum": [_optimum(prior, kl_coef) for kl_coef in KL_COEFS],
    }


@eqx.filter_jit
def _course(
    model: AgentModel, planner: Any, obs: Obs, draws: int, key: PRNGKeyArray
) -> tuple[Float[Array, "steps n 2"], Float[Array, "steps n"], Float[Array, " steps"], Float[Array, " steps"]]:
    run_key, noise_key, divergence_key = jax.random.split(key, 3)
    adaptation = planner.adaptation
    recorded = eqx.tree_at(lambda a: a.ascent, adaptation, _Recorded(adaptation.ascent, adaptation.num_steps))
    problem = recorded.prepare(model.problem(obs, planner.kl_coef))
    adapted, _ = recorded.run(problem, recorded.init(problem), key=run_key)
    noise = problem.noise(draws, key=noise_key)

    def at(delta: PyTree) -> tuple[Float[Array, "n 2"], Float[Array, " n"], Scalar, Scalar]:
        samples, values = problem.draw(delta, noise, with_reference=True)
        kl = adaptation.divergence(problem, delta, samples, values, noise, key=divergence_key)
        # Whitened outcomes are by falling variance: these two are the first principal directions.
        return samples.psi[:, :2], values, kl, problem.objective(values, kl)

    return jax.lax.map(at, adapted.ascent[1])


@eqx.filter_jit
def _prior_values(model: AgentModel, obs: Obs, key: PRNGKeyArray, num: int = 4096) -> Float[Array, " n"]:
    """Of draws of the trained model, in units of `value_scale`."""
    problem = model.problem(obs, jnp.asarray(1.0))

    def batch(key: PRNGKeyArray) -> Float[Array, " n"]:
        return problem.scaled(problem.draw(None, problem.noise(512, key=key), with_reference=False)[1])

    return jax.lax.map(batch, jax.random.split(key, num // 512)).reshape(-1)


def _optimum(values: Float[Array, " n"], kl_coef: float) -> dict[str, Any]:
    """q* ∝ p_φ exp(V/λ) by the weights of draws of p_φ; to be believed where `ess` is large."""
    logits = values / kl_coef
    weights = jax.nn.softmax(logits)
    top = values >= jnp.quantile(values, 1 - TOP)
    value = jnp.sum(weights * values)
    best = kl_coef * log_mean_exp(logits)
    return {
        "kl_coef": kl_coef,
        "objective": _rounded(best),
        "value": _rounded(value),
        "kl": _rounded((value - best) / kl_coef),
        "rare_share": _rounded(jnp.sum(jnp.where(top, weights, 0.0))),
        "ess": _rounded(effective_sample_size(logits)),
    }


def _rounded(values: Any) -> Any:
    """To four digits, which is more than a picture shows."""
    array = np.asarray(values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = 3 - np.floor(np.log10(np.abs(array)))
    digits = np.where(np.isfinite(digits), digits, 0)
    rounded = np.vectorize(lambda value, places: round(float(value), int(places)))(array, digits)
    return rounded.tolist()
