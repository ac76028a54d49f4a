"""The numbers of the demo's page, from a run that was trained on the two routes."""

import base64
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from owma._internal.errors import ConfigError
from owma._internal.types import Float, HostArray
from owma.config.planners import OnlineAdaptation, Static
from owma.data import TwoRoutesCollect
from owma.envs import GOAL_CELL, GOAL_RADIUS, cell_center, corner_cell, paid_ground
from owma.envs.make import vector_env
from owma.envs.two_routes import TWO_ROUTES_ID, Route, cell_at
from owma.eval.rollout import Episodes, run_episodes
from owma.outcomes.transitions import Transitions
from owma.planners import PLANNERS, AbstractPlannerConfig
from owma.report.explorer import explore_at, rounded
from owma.report.futures import POINTS, RecordedFutures, packed, resampled
from owma.runs.load import SavedRun, load_run

RECORDINGS = 100
"""Recorded episodes that the page shows."""

DRAWS = 64
"""Outcomes that the page shows of each model."""

EPISODES = 8
"""Balls that go."""

TIMED = 100
"""Decisions of which the quickest is told."""

MOST_STEPS = 400
"""Of an episode: twice of what the way takes."""

_FRAMES = 120
"""Positions of each ball, evenly spaced in time until the last of them has arrived."""

_SECONDS_A_STEP = 0.01
"""Of the maze."""


def open_run(path: Path) -> SavedRun:
    """A run that the page can be of. Raises `ConfigError` for one of another task, and `CheckpointError` as `load`."""
    run = load_run(path)
    if run.env_id != TWO_ROUTES_ID or not isinstance(run.config.data, TwoRoutesCollect):
        raise ConfigError(
            f"{path} is a run in {run.env_id}, and the demo's page is about the two-route maze; train one there "
            "(`owma train two-routes`). A report of any run has an explorer of its decisions: "
            f"`owma report {path}`."
        )
    return run


def tell(run: SavedRun, *, seed: int = 0, episodes: int = EPISODES, draws: int = DRAWS) -> dict[str, Any]:
    """What the demo's page shows, as plain JSON data.

    Its first decision at every λ (`owma.report.explorer.explore_at`), with the `lower` share of every step; the
    `recorded` episodes; the `episodes` of the trained model `before` and `after` adaptation; the `ms` of a decision.

    **Arguments:** `seed`: of the episodes, and of the draws. `episodes`: balls that go. `draws`: of each model.
    """
    config = run.config.evaluation.settled("online_adaptation", PLANNERS["online_adaptation"])
    assert isinstance(config, OnlineAdaptation)
    transitions = run.read_data().transitions
    before = _go(run, Static(), seed, episodes)
    futures = RecordedFutures.read(run.model.world, transitions, first=0, most=len(transitions))
    start = before.observations[:1, 0]
    told, used = explore_at(run, config, start, draws=draws, seed=seed, futures=futures)
    after = [_go(run, dataclasses.replace(config, kl_coef=kl_coef), seed, episodes) for kl_coef in told["kl_coefs"]]
    lower = np.array([route(futures.way(number)) == "lower" for number in used])
    for plan in told["states"][0]["plans"]:
        numbers = np.frombuffer(base64.b64decode(plan["draws"]["codes"]), "<u2").reshape(-1, draws)
        plan["lower"] = rounded(lower[numbers].mean(axis=1))
    # As long as it takes by the planner's own λ: at others a ball may wait for ever.
    steps = max(_arrival(way) for one in (before, after[told["own"]]) for way in one.observations)
    return told | {
        "draws": draws,
        "start": rounded(start[0, :2]),
        "goal": list(cell_center(*GOAL_CELL)),
        "pays": rounded(paid_ground()),
        "recorded": _recorded(transitions),
        "ms": rounded(_quickest(run, config, start[0])),
        "episodes": {"before": _balls(before, steps), "after": [_balls(one, steps) for one in after]},
        "run": {"name": run.config.name, "seed": run.config.seed, "updates": run.config.training.updates},
    }


def route(way: Float[HostArray, "steps 2"]) -> Route | None:
    """The route whose corner is visited first; `None` where neither is."""
    corners = {corner_cell("lower"): "lower", corner_cell("upper"): "upper"}
    cells = (cell_at(float(x), float(y)) for x, y in way)
    return next((corners[cell] for cell in cells if cell in corners), None)  # pyright: ignore[reportReturnType]


def _go(run: SavedRun, planner: AbstractPlannerConfig, seed: int, episodes: int) -> Episodes:
    name = "static" if isinstance(planner, Static) else "online_adaptation"
    with vector_env(run.env, episodes, most_steps=MOST_STEPS) as envs:
        agent = run.agent(planner, replan_every=run.config.evaluation.replan_every)
        return run_episodes(agent, envs, planner_name=name, seed=seed, timed_decisions=0)


def _quickest(run: SavedRun, config: OnlineAdaptation, obs: Float[np.ndarray, " obs"]) -> float:
    """Milliseconds of the quickest of `TIMED` steps that decide, once compiled: others are disturbed by other work."""
    agent = run.agent(config)
    start, key, took = agent.init(), jax.random.key(0), []
    for _ in range(TIMED + 1):
        began = time.perf_counter()
        agent.act(obs, start, key=key)
        took.append(time.perf_counter() - began)
    return 1e3 * min(took[1:])


def _arrival(way: Float[np.ndarray, "steps obs"]) -> int:
    """The step at which a ball has reached the goal; the last one if it does not."""
    near = np.flatnonzero(np.linalg.norm(way[:, :2] - cell_center(*GOAL_CELL), axis=1) <= GOAL_RADIUS)
    return int(near[0]) if len(near) else len(way) - 1


def _balls(one: Episodes, steps: int) -> dict[str, Any]:
    """Where the balls are until all have arrived; how many went the lower way; what they promised, and what it cost."""
    at = np.unique(np.linspace(0, steps, _FRAMES).astype(int))
    return {
        "frames": len(at),
        "seconds": rounded(steps * _SECONDS_A_STEP),
        "ways": packed(one.observations[:, np.minimum(at, one.observations.shape[1] - 1), :2]),
        "success": sum(row["success"] for row in one.rows),
        "of": len(one.rows),
        "kl": rounded(np.mean([row["kl"] for row in one.rows])),
    }


def _recorded(transitions: Transitions) -> dict[str, Any]:
    """Recorded episodes of which as many go the lower way as in the whole dataset, to one in `RECORDINGS`."""
    ends = np.flatnonzero(transitions.ends)
    starts = np.concatenate([[0], ends[:-1] + 1])
    ways = [np.asarray(transitions.obs[start : end + 1, :2]) for start, end in zip(starts, ends)]
    is_lower = np.array([route(way) == "lower" for way in ways])
    lower = min(round(RECORDINGS * float(is_lower.mean())), RECORDINGS)
    shown = [*_spread(np.flatnonzero(~is_lower), RECORDINGS - lower), *_spread(np.flatnonzero(is_lower), lower)]
    paths = packed(np.stack([resampled(ways[number]) for number in shown]))
    return {
        "episodes": len(ways),
        "shown": len(shown),
        "lower": rounded(is_lower.mean()),
        "points": POINTS,
        "paths": paths,
    }


def _spread(numbers: Sequence[int] | np.ndarray, count: int) -> list[int]:
    return [int(numbers[i]) for i in np.linspace(0, len(numbers) - 1, min(count, len(numbers))).astype(int)]
