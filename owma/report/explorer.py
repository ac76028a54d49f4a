"""One decision at a time: what adaptation does to the outcomes that the model expects, step by step."""

import contextlib
import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.errors import OwmaError
from owma._internal.types import Array, Float, HostArray, Obs, PRNGKeyArray, PyTree, Scalar
from owma.adaptation import AbstractAscent, AbstractMetric, DecisionProblem, effective_sample_size, log_mean_exp
from owma.agent.act import Agent
from owma.config.task import GoalTaskConfig
from owma.diffusion import PathSample
from owma.envs import GOAL_RADIUS, maze_of, ogbench_name
from owma.envs.make import vector_env
from owma.eval.rollout import Episodes, run_episodes
from owma.planners import AgentModel, OnlineAdaptation
from owma.report.futures import MOST_FUTURES, POINTS, RecordedFutures, packed, packed_counts, resampled
from owma.runs.load import SavedRun

KL_COEFS = (5.0, 2.0, 1.0, 0.5, 0.25, 0.1)
"""The λ at which decisions are shown, in units of `value_scale`."""

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


def explore(
    run: SavedRun,
    config: OnlineAdaptation,
    *,
    states: int,
    draws: int,
    seed: int = 0,
    most_futures: int = MOST_FUTURES,
) -> dict[str, Any]:
    """What the explorer of a report shows, as plain JSON data.

    **Arguments:**

    - `run`: a run with an environment; the states are evenly spaced along one episode of `config`, until its goal is
        reached.
    - `config`: the planner whose adaptation is shown, at its own λ and at those of `KL_COEFS`.
    - `states`, `draws`: how many of each; all steps are shown on the same noise, so that draws can be followed.
    - `most_futures`: how many recorded futures the draws are compared with.

    **Returns:** see `explore_at`; without a `map` where states have no place on one, or the dataset is not there.
    """
    with vector_env(run.env, 1) as envs:
        agent = run.agent(config, replan_every=run.config.evaluation.replan_every)
        episodes = run_episodes(agent, envs, planner_name="online_adaptation", seed=seed, timed_decisions=0)
    visited, first = episodes.observations[0], place_of(run)
    goal = _goal(run, episodes)
    steps = np.unique(np.linspace(0, 0.9 * _arrival(visited, goal), states).astype(int))
    futures = None
    if first is not None:
        with contextlib.suppress(OwmaError):  # the dataset has gone, or is another one
            futures = RecordedFutures.read(run.model.world, run.read_data().transitions, first=first, most=most_futures)
    told, _ = explore_at(run, config, visited[steps], draws=draws, seed=seed, futures=futures)
    for state, step in zip(told["states"], steps):
        state["step"] = int(step)
        if first is not None:
            state["position"] = rounded(visited[step, first : first + 2])
    if futures is not None and goal is not None and goal.first == first:
        told["map"]["goal"] = rounded(goal.place[:2])
    return told


def explore_at(
    run: SavedRun,
    config: OnlineAdaptation,
    observations: Float[HostArray, "states obs"],
    *,
    draws: int,
    seed: int,
    futures: RecordedFutures | None,
) -> tuple[dict[str, Any], list[int]]:
    """Decisions at these observations, at every λ.

    **Returns:** `kl_coefs` (λ, falling), `own` (the number among them of the planner's own), `value_scale`, and for
    each of `states` its `optimum` (of q* at each λ) and its `plans`, one a λ. For every adaptation step from 0 a
    plan has `value` (E[V]), `kl`, `objective`, `rare` (the share of draws that are worth more than all but 2 % of the
    trained model's); for every draw of a step `values`, and either `draws` (the number of a path) or `psi` (the first
    two principal directions); and the outcome that was `chosen`. With `futures`, `map` holds the `walls`, the length
    of a cell's `side`, the `box` that all lies in, and the `paths`. And the futures that those paths are.
    """
    own = float(config.kl_coef)
    kl_coefs = sorted({*KL_COEFS, own}, reverse=True)
    key, used, found = jax.random.key(seed), {}, []
    for obs in jnp.asarray(observations):
        prior = _prior_values(run.model, obs, key)
        plans = []
        for kl_coef in kl_coefs:
            agent = run.agent(dataclasses.replace(config, kl_coef=kl_coef))
            plans.append(_decide(run.model, agent, prior, obs, draws, key, futures, used))
        found.append({"plans": plans, "optimum": [_optimum(prior, kl_coef) for kl_coef in kl_coefs]})
    told = {
        "kl_coefs": kl_coefs,
        "own": kl_coefs.index(own),
        "value_scale": float(run.model.value_scale),
        "states": found,
    }
    if futures is not None:
        ways = [resampled(futures.way(number)) for number in used]
        told["map"] = _map(run, futures, ways)
    return told, list(used)


def place_of(run: SavedRun) -> int | None:
    """The coordinate of a run's observations that is x on a map, followed by y; `None` where there is none.

    In mazes they come first; elsewhere they are what the cumulants look at, if that is a place.
    """
    features = run.config.world.features
    if features.coordinates in (2, 3):
        return features.first_coordinate
    in_maze = maze_of(run.env) is not None or "maze" in (ogbench_name(run.env) or "")
    return 0 if in_maze else None


class _Goal(NamedTuple):
    place: np.ndarray
    radius: float
    first: int
    """The coordinate of an observation that is the first of `place`."""


def _goal(run: SavedRun, episodes: Episodes) -> _Goal | None:
    """Where the episode leads to: what the task says, or else the environment; `None` where neither does."""
    task = run.config.task
    if isinstance(task, GoalTaskConfig):
        return _Goal(np.asarray(task.goal), task.radius, task.first_coordinate)
    if episodes.goals is None:
        return None
    maze = maze_of(run.env)
    return _Goal(np.asarray(episodes.goals)[0], GOAL_RADIUS * (maze[1] if maze else 1.0), 0)


def _arrival(visited: Float[np.ndarray, "steps obs"], goal: _Goal | None) -> int:
    """The step at which the goal is reached, from which on nothing is decided; the last one if it is not."""
    if goal is None:
        return len(visited) - 1
    there = visited[:, goal.first : goal.first + len(goal.place)]
    reached = np.flatnonzero(np.linalg.norm(there - goal.place, axis=1) <= goal.radius)
    return int(reached[0]) if len(reached) else len(visited) - 1


def _map(run: SavedRun, futures: RecordedFutures, ways: list[Float[np.ndarray, "points 2"]]) -> dict[str, Any]:
    maze = maze_of(run.env)
    if maze is None:
        low, high = futures.now.min(axis=0), futures.now.max(axis=0)
        margin = 0.05 * float((high - low).max() or 1.0)
        box, walls, side = [*(low - margin), *(high + margin)], None, 1.0
    else:
        cells, side = maze
        half = np.array([len(cells[0]), len(cells)]) * side / 2
        box, walls = [*-half, *half], [[int(cell == 1) for cell in row] for row in cells]
    return {"box": rounded(box), "walls": walls, "side": side, "points": POINTS, "paths": packed(np.stack(ways))}


def _decide(
    model: AgentModel,
    agent: Agent,
    prior: Float[Array, " n"],
    obs: Obs,
    draws: int,
    key: PRNGKeyArray,
    futures: RecordedFutures | None,
    used: dict[int, int],
) -> dict[str, Any]:
    """A plan. `used`: the futures that are paths by now, with the numbers of these; more are added."""
    psi, values, kl, objective = (np.asarray(array) for array in _course(model, agent.planner, obs, draws, key))
    decision = agent.decide(obs, agent.init(), key=key).decision
    info, chosen = decision.info, np.asarray(decision.psi)
    rare = float(jnp.quantile(prior, 1 - TOP) * model.value_scale)
    told = {
        "value": rounded(values.mean(axis=1)),
        "kl": rounded(kl),
        "objective": rounded(objective),
        "rare": rounded((values > rare).mean(axis=1)),
        "values": packed(values, bits=8),
        "chosen": {"value": rounded(info.value), "kl": rounded(info.kl)},
    }
    if futures is None:
        return told | {"psi": packed(psi[..., :2]), "chosen": told["chosen"] | {"psi": rounded(chosen[:2])}}
    *numbers, last = futures.nearest(np.concatenate([psi.reshape(-1, psi.shape[-1]), chosen[None]]))
    paths = [used.setdefault(int(number), len(used)) for number in (*numbers, last)]
    told["chosen"]["path"] = paths.pop()
    return told | {"draws": packed_counts(paths)}


@eqx.filter_jit
def _course(
    model: AgentModel, planner: Any, obs: Obs, draws: int, key: PRNGKeyArray
) -> tuple[Float[Array, "steps n psi"], Float[Array, "steps n"], Float[Array, " steps"], Float[Array, " steps"]]:
    run_key, noise_key, divergence_key = jax.random.split(key, 3)
    adaptation = planner.adaptation
    recorded = eqx.tree_at(lambda a: a.ascent, adaptation, _Recorded(adaptation.ascent, adaptation.num_steps))
    problem = recorded.prepare(model.problem(obs, planner.kl_coef))
    adapted, _ = recorded.run(problem, recorded.init(problem), key=run_key)
    noise = problem.noise(draws, key=noise_key)

    def at(delta: PyTree) -> tuple[Float[Array, "n psi"], Float[Array, " n"], Scalar, Scalar]:
        samples, values = problem.draw(delta, noise, with_reference=True)
        kl = adaptation.divergence(problem, delta, samples, values, noise, key=divergence_key)
        return samples.psi, values, kl, problem.objective(values, kl)

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
        "objective": rounded(best),
        "value": rounded(value),
        "kl": rounded((value - best) / kl_coef),
        "rare_share": rounded(jnp.sum(jnp.where(top, weights, 0.0))),
        "ess": rounded(effective_sample_size(logits)),
    }


def rounded(values: Any) -> Any:
    """To four digits, which is more than a picture shows."""
    array = np.asarray(values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = 3 - np.floor(np.log10(np.abs(array)))
    digits = np.where(np.isfinite(digits), digits, 0)
    rounded = np.vectorize(lambda value, places: round(float(value), int(places)))(array, digits)
    return rounded.tolist()
