"""Which pictures the rows, losses and traces of a run give, each under the name of its file."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma.config.planners import NAMED, OnlineAdaptation
from owma.envs import GOAL_CELL, MAZE_MAP, START_CELL, TWO_ROUTES_ID, MazeMap, cell_center, paid_ground
from owma.results import plots


def run_pictures(
    results: Mapping[str, Any],
    *,
    metrics: Sequence[Mapping[str, Any]] = (),
    traces: Mapping[str, Mapping[str, np.ndarray]] = {},
    env: EnvSpec | None = None,
) -> dict[str, Callable[[Path], object]]:
    """What draws each picture into a PNG file, with an SVG beside it; those for which there are data.

    **Arguments:**

    - `results`: what `owma.results.tables.summarise` returns.
    - `metrics`: rows of `metrics.jsonl`.
    - `traces`: planner to the arrays that an evaluation keeps.
    - `env`: where the planners acted; its map is drawn if it is a maze with one start and one goal.
    """
    drawn: dict[str, Callable[[Path], object]] = {}
    planners = results["planners"]
    if metrics:
        drawn["training.png"] = functools.partial(plots.training_curves, rows=metrics)
    if any(entry["success"] is not None for entry in planners.values()):
        drawn["success.png"] = functools.partial(plots.successes, results={"": results})
    if any(entry["ms_p50"] and entry["success"] is not None for entry in planners.values()):
        drawn["success_against_latency.png"] = functools.partial(plots.success_against_latency, results=results)
    for name, trace in traces.items():
        if "objective" in trace and trace["objective"].size:
            draws = {"before": trace["prior_values"], "after": trace["values"], "planner": name}
            drawn[f"{name}_values.png"] = functools.partial(plots.decision_histogram, **draws)
            course = {key: trace[key] for key in ("objective", "value", "kl")}
            course |= {"prior_value": float(trace["prior_values"].mean()), "planner": name}
            course["surrogate"] = _charges_a_surrogate(name)
            drawn[f"{name}_adaptation.png"] = functools.partial(plots.adaptation_curves, **course)
    maze = None if env is None else _maze_of(env)
    ordered = [name for name in planners if name in traces]
    if maze is not None and ordered:
        maze_map, start, goal, pays = maze
        drawn["trajectories.png"] = functools.partial(
            plots.maze_trajectories,
            maze_map=maze_map,
            trajectories={name: list(traces[name]["positions"]) for name in ordered},
            start=cell_center(*start, maze_map),
            goal=cell_center(*goal, maze_map),
            successes={name: planners[name]["success"] for name in ordered},
            pays=pays,
        )
    return drawn


def _charges_a_surrogate(name: str) -> bool:
    """Whether a planner, named as in tables (`online_adaptation-divergence=hybrid`), charges what is no divergence."""
    base, _, settings = name.partition("-")
    named = NAMED.get(base)
    hybrid = isinstance(named, OnlineAdaptation) and named.divergence == "hybrid"
    told = [setting for setting in settings.split("-") if setting.startswith("divergence=")]
    return told[-1] == "divergence=hybrid" if told else hybrid


def _maze_of(
    env: EnvSpec,
) -> tuple[MazeMap, tuple[int, int], tuple[int, int], list[list[float]] | None] | None:
    """The map of a maze with one start and one goal, their cells, and where what is asked for is paid, if that is not
    the goal alone; `None` of any other environment.
    """
    if env.id == TWO_ROUTES_ID:
        return MAZE_MAP, START_CELL, GOAL_CELL, paid_ground(env.kwargs.get("preferred", "lower"))
    maze_map: MazeMap = env.kwargs.get("maze_map", ())
    cells = {mark: (i, j) for i, row in enumerate(maze_map) for j, mark in enumerate(row) if mark in ("r", "g")}
    return (maze_map, cells["r"], cells["g"], None) if len(cells) == 2 else None
