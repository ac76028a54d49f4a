"""Decisions under a deadline: as many steps as there is time for."""

import time

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Obs, PRNGKeyArray, Psi, PyTree
from owma.planners.base import AbstractAnytimePlanner, AgentModel, PlanInfo


class Pace(eqx.Module):
    """How long something takes: a running mean and mean deviation, in milliseconds, as a retransmission timer keeps
    them (Jacobson, *Congestion avoidance and control*, 1988).
    """

    mean: float
    deviation: float

    @classmethod
    def first(cls, ms: float) -> "Pace":
        """After one measurement, of which half is taken for deviation."""
        return cls(ms, ms / 2)

    def updated(self, ms: float) -> "Pace":
        """With one more measurement."""
        error = ms - self.mean
        return Pace(self.mean + error / 8, self.deviation + (abs(error) - self.deviation) / 4)

    def unmeasured(self) -> "Pace":
        """After a decision without a measurement: the deviation is forgotten, as if the mean had been met.

        Else a single pause of the machine, after which there is no time for a step, would be the last thing measured.
        """
        return Pace(self.mean, 0.75 * self.deviation)

    @property
    def bound(self) -> float:
        """What it will hardly exceed: the mean and four deviations."""
        return self.mean + 4 * self.deviation


class Paces(eqx.Module):
    """Of the parts of a decision whose time has to be known before they start."""

    step: Pace
    finish: Pace
    """From the last step to the plan."""


def plan_in_time(
    planner: AbstractAnytimePlanner,
    model: AgentModel,
    obs: Obs,
    state: PyTree,
    paces: Paces,
    *,
    began: float,
    deadline_ms: float,
    reserve_ms: float = 0.0,
    key: PRNGKeyArray,
) -> tuple[Psi, PyTree, PlanInfo, Paces]:
    """`AbstractPlanner.plan` within a time: steps as long as another, and what comes after it, will be over by then.

    A loop on the host, which waits for every step; not traceable.

    **Arguments:**

    - `began`: `time.perf_counter()` when the plan was asked for.
    - `deadline_ms`: milliseconds from then; `reserve_ms` of them are for what follows the plan.

    **Returns:** as `AbstractPlanner.plan`, and the paces with what was measured.
    """

    def elapsed() -> float:
        return 1e3 * (time.perf_counter() - began)

    def measured(ms: float) -> float:
        # A process that was stopped for an hour, or a clock that was set back: no step takes so long, or so little.
        return min(max(ms, 0.0), deadline_ms)

    until = deadline_ms - reserve_ms - paces.finish.bound
    decision, reached = jax.block_until_ready(_begin(planner, model, obs, state, key))
    pace, now = paces.step, elapsed()
    for i in range(planner.num_steps):
        if now + pace.bound > until:
            break
        # Whichever is further, steps or time: what is annealed has then cooled when either runs out.
        progress = max(i / planner.num_steps, now / until) if until > 0 else i / planner.num_steps
        reached = jax.block_until_ready(_advance(planner, decision, reached, jnp.asarray(progress, jnp.float32)))
        before, now = now, elapsed()
        pace = pace.updated(measured(now - before))
    if pace is paces.step:
        pace = pace.unmeasured()
    now = elapsed()
    proposed = jax.block_until_ready(_finish(planner, model, decision, reached))
    return *proposed, Paces(pace, paces.finish.updated(measured(elapsed() - now)))


def measure_paces(
    planner: AbstractAnytimePlanner, model: AgentModel, obs: Obs, state: PyTree, *, repeats: int = 5
) -> Paces:
    """Compile the parts of a decision, and time each `repeats` times; `state`: the planner's, as at the first one."""
    decision, reached = _begin(planner, model, obs, state, jax.random.key(0))

    def timed(function, *args: PyTree) -> Pace:
        jax.block_until_ready(function(*args))
        pace = None
        for _ in range(repeats):
            began = time.perf_counter()
            jax.block_until_ready(function(*args))
            ms = 1e3 * (time.perf_counter() - began)
            pace = Pace.first(ms) if pace is None else pace.updated(ms)
        assert pace is not None
        return pace

    finish = timed(_finish, planner, model, decision, reached)
    if planner.num_steps == 0:
        return Paces(Pace(0.0, 0.0), finish)
    return Paces(timed(_advance, planner, decision, reached, jnp.asarray(0.0, jnp.float32)), finish)


@eqx.filter_jit
def _begin(
    planner: AbstractAnytimePlanner, model: AgentModel, obs: Obs, state: PyTree, key: PRNGKeyArray
) -> tuple[PyTree, PyTree]:
    return planner.begin(model, obs, state, key=key)


@eqx.filter_jit
def _advance(planner: AbstractAnytimePlanner, decision: PyTree, reached: PyTree, progress: jax.Array) -> PyTree:
    return planner.advance(decision, reached, progress)


@eqx.filter_jit
def _finish(
    planner: AbstractAnytimePlanner, model: AgentModel, decision: PyTree, reached: PyTree
) -> tuple[Psi, PyTree, PlanInfo]:
    return planner.finish(model, decision, reached)
