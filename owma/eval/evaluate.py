"""Planners compared in the environment: same models, same start states, rows, tables and pictures."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv

from owma._internal.errors import OwmaError
from owma._internal.npz import read_run_arrays
from owma._internal.progress import Progress
from owma.agent.act import Agent
from owma.config.experiment import EvaluationConfig
from owma.data import Origin
from owma.envs import GOAL_CELL, MAZE_MAP, START_CELL, TWO_ROUTES_ID, MazeMap, cell_center, maze_of
from owma.envs.make import vector_env
from owma.eval.courses import Judge, is_bounded, random_course, random_rows
from owma.eval.rollout import Episodes, run_episodes
from owma.planners import AbstractPlannerConfig, AgentModel
from owma.results import plots
from owma.results.baselines import FILE as BASELINES, RANDOM, read_baselines, summarise_with_baselines
from owma.results.scores import dense_return, unfit_scores, with_scores
from owma.runs.folder import RunFolder


def evaluate(
    model: AgentModel,
    planners: Mapping[str, AbstractPlannerConfig],
    folder: RunFolder,
    config: EvaluationConfig,
    *,
    env: EnvSpec,
    obs_keys: tuple[str, ...] | None,
    seed: int,
    progress: Progress,
    judge: Judge = Judge(),  # noqa: B008  (frozen)
    data: Mapping[str, Any] | None = None,
    random_actions: bool = True,
    deadline_ms: float | None = None,
    dataset: Origin | None = None,
    warn: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run `config.episodes` episodes of each planner, all from the same start states.

    Appends rows to `episodes.jsonl` as each planner ends (planners that are there already are not run again), writes
    `results.json` and the pictures, and returns the results. `judge` says whose rewards a return is of (see
    `owma.eval.rollout.run_episodes`). With `deadline_ms` every decision has so long.

    Planners are held against two baselines, whose rows are in `baselines.jsonl` and whose summaries are `baselines` of
    the results (see `owma.results.baselines`): `random_actions` from the same start states, unless they are not asked
    for, and `data`, the row of the dataset's episodes where there is one.

    Rows have what benchmarks report beside return and success (see `owma.results.scores`): in mazes `dense_return`, and
    the scores on the run's `dataset`. `warn` is given a sentence for each score that the environment is not the one of.
    """
    most_steps = env.max_episode_steps or config.max_steps
    if dataset is not None and warn is not None:
        for sentence in unfit_scores(dataset, env).values():
            warn(sentence)
    rows = folder.read_jsonl("episodes.jsonl", drop_torn=True) if folder.episodes_jsonl.exists() else []
    done = {name for name in planners if sum(r["planner"] == name for r in rows) >= config.episodes}
    if done != set(planners):  # an evaluation of before, whose rows are not of the task, is whole or begins anew
        done -= {row["planner"] for row in rows if not _is_judged_by(judge, row)}
    rows = [row for row in rows if row["planner"] in done]
    rows = rows if dataset is None else with_scores(rows, dataset, env)
    if planners:  # without any, the baselines are all that is asked for
        folder.write_jsonl("episodes.jsonl", rows)
    with vector_env(env, config.episodes, most_steps=config.max_steps) as envs:
        for name in (name for name in planners if name not in done):
            agent = Agent(
                model,
                planners[name].build(),
                obs_keys=obs_keys,
                replan_every=config.replan_every,
                deadline_ms=deadline_ms,
            )
            with progress(f"evaluating {name}", most_steps * config.episodes, 0) as advance:
                episodes = run_episodes(
                    agent,
                    envs,
                    planner_name=name,
                    seed=seed,
                    timed_decisions=config.timed_decisions,
                    progress=advance,
                    judge=judge,
                )
            # The rows last: they are what says that a planner is done.
            _keep_traces(folder, name, episodes)
            found = _with_dense_return(episodes, env)
            found = found if dataset is None else with_scores(found, dataset, env)
            for row in found:
                folder.append_jsonl("episodes.jsonl", row)
            rows += found
        beside: list[dict[str, Any]] = []
        if all(_is_judged_by(judge, row) for row in rows):  # nothing of the task stands beside rows that are not of it
            if random_actions:
                beside = _random_rows(model, folder, envs, judge, seed, most_steps, obs_keys, progress, warn)
            beside = beside if dataset is None else with_scores(beside, dataset, env)
            beside += [] if data is None else [dict(data)]
    results = summarise_with_baselines(rows, beside)
    if beside:
        folder.write_jsonl(BASELINES, beside)
    if planners:
        folder.write_json("results.json", results)
        draw(folder, results, env)
    return results


def _is_judged_by(judge: Judge, row: Mapping[str, Any]) -> bool:
    """Whether a row's return is of what judges: rows of a task have the environment's beside it."""
    return ("env_return" in row) == (judge.task is not None)


def _random_rows(
    model: AgentModel,
    folder: RunFolder,
    envs: VectorEnv,
    judge: Judge,
    seed: int,
    most_steps: int,
    obs_keys: tuple[str, ...] | None,
    progress: Progress,
    warn: Callable[[str], None] | None,
) -> list[dict[str, Any]]:
    """The episodes of random actions, which are not made again where they are there; none where the environment makes a
    mistake under them: planners, which are done, stand without them.
    """
    kept = [row for row in read_baselines(folder) if row["planner"] == RANDOM and _is_judged_by(judge, row)]
    if len(kept) >= envs.num_envs:
        return kept
    low, high = np.asarray(model.policy.low), np.asarray(model.policy.high)
    space: Any = envs.single_action_space
    if warn is not None and not is_bounded(space):
        warn(f"the environment's actions have no bounds, so those of {RANDOM} are within the data's.")
    try:
        with progress(f"evaluating {RANDOM}", most_steps * envs.num_envs, 0) as advance:
            course = random_course(envs, seed=seed, obs_keys=obs_keys, low=low, high=high, progress=advance)
        return random_rows(course, judge, seed=seed)
    except OwmaError as error:
        if warn is not None:
            warn(f"{RANDOM} is left out of the table: {error}")
        return []


def draw(folder: RunFolder, results: Mapping[str, Any], env: EnvSpec | None) -> None:
    """Every picture that the run's files hold the numbers for."""
    metrics = folder.read_jsonl("metrics.jsonl") if folder.metrics_jsonl.exists() else []
    if metrics:
        plots.training_curves(folder.plots / "training.png", metrics)
    if any(entry["ms_p50"] and entry["success"] is not None for entry in results["planners"].values()):
        plots.success_against_latency(folder.plots / "success_against_latency.png", results)
    traces = {path.stem: read_run_arrays(path) for path in sorted((folder.path / "traces").glob("*.npz"))}
    for name, trace in traces.items():
        if "objective" in trace and trace["objective"].size:
            plots.decision_histogram(folder.plots / f"{name}_values.png", trace["prior_values"], trace["values"])
            plots.adaptation_curves(
                folder.plots / f"{name}_adaptation.png",
                trace["objective"],
                trace["value"],
                trace["kl"],
                prior_value=float(trace["prior_values"].mean()),
            )
    if env is not None and results["planners"] and (maze := _maze_of(env)) is not None:
        maze_map, start, goal = maze
        ordered = [name for name in results["planners"] if name in traces]
        plots.maze_trajectories(
            folder.plots / "trajectories.png",
            maze_map,
            {name: list(traces[name]["positions"]) for name in ordered},
            start=cell_center(*start, maze_map),
            goal=cell_center(*goal, maze_map),
            successes={name: results["planners"][name]["success"] for name in ordered},
        )


def _maze_of(env: EnvSpec) -> tuple[MazeMap, tuple[int, int], tuple[int, int]] | None:
    """The map of a maze with one start and one goal, and their cells; `None` of any other environment."""
    if env.id == TWO_ROUTES_ID:
        return MAZE_MAP, START_CELL, GOAL_CELL
    maze_map: MazeMap = env.kwargs.get("maze_map", ())
    cells = {mark: (i, j) for i, row in enumerate(maze_map) for j, mark in enumerate(row) if mark in ("r", "g")}
    return (maze_map, cells["r"], cells["g"]) if len(cells) == 2 else None


def _with_dense_return(episodes: Episodes, env: EnvSpec) -> list[dict[str, Any]]:
    """The rows, with their `dense_return` in a maze where reaching the goal neither ends the episode nor moves it.

    The first two coordinates are positions.
    """
    stays = env.kwargs.get("continuing_task", True) and not env.kwargs.get("reset_target", False)
    if maze_of(env) is None or episodes.goals is None or not stays:
        return episodes.rows
    courses = zip(episodes.rows, episodes.observations[:, 1:, :2], np.asarray(episodes.goals))
    return [row | {"dense_return": dense_return(course[: row["steps"]], goal)} for row, course, goal in courses]


def _keep_traces(folder: RunFolder, name: str, episodes: Episodes) -> None:
    """What pictures are drawn from: positions every few steps, one decision, and the numbers of all of them."""
    decision, firsts = episodes.decision, episodes.first_decisions
    arrays = {
        "positions": episodes.observations[:, ::3, :2].astype(np.float32),
        "prior_values": np.asarray(decision.prior_values),
        "values": np.asarray(decision.values),
        **{f"decision_{key}": found.astype(np.float32) for key, found in episodes.decisions.items()},
    }
    if decision.curves is not None and firsts.curves is not None:
        for key in ("objective", "value", "kl"):
            arrays[key] = np.asarray(getattr(decision.curves, key))
            arrays[f"first_{key}"] = np.asarray(getattr(firsts.curves, key))
    (folder.path / "traces").mkdir(exist_ok=True)
    np.savez_compressed(folder.path / "traces" / f"{name}.npz", **arrays)
