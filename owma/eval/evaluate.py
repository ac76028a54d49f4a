"""Planners compared in the environment: same models, same start states, rows, tables and pictures."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv

from owma._internal.errors import OwmaError
from owma._internal.npz import read_run_arrays
from owma._internal.progress import Progress
from owma.config.experiment import EvaluationConfig
from owma.envs import maze_of
from owma.envs.make import vector_env
from owma.eval.judge import Judge
from owma.eval.rollout import Episodes, run_episodes
from owma.eval.setup import EvaluationSetup
from owma.eval.trajectories import is_bounded, random_rows
from owma.planners import AbstractPlannerConfig, AgentModel
from owma.results.baselines import FILE as BASELINES, RANDOM, read_baselines, summarise_with_baselines
from owma.results.pictures import run_pictures
from owma.results.scores import dense_return, unfit_scores, with_scores
from owma.runs.folder import RunFolder


def evaluate_planners(
    planners: Mapping[str, AbstractPlannerConfig],
    setup: EvaluationSetup,
    folder: RunFolder,
    *,
    seed: int,
    progress: Progress,
    warn: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run the episodes of each planner, all from the same start states, and write what comes of them to a folder.

    Appends rows to `episodes.jsonl` as each planner ends (planners that are there already are not run again), writes
    `baselines.jsonl`, `results.json` and the pictures, and returns the results; their entry `baselines` summarises
    the baselines (see `EvaluationSetup`). Without planners, only the baselines are written.

    Rows have what benchmarks report beside return and success (see `owma.results.scores`): in mazes `dense_return`, and
    the scores on the dataset.

    **Arguments:** `planners`: by the names that their rows have. `seed`: of start states and of the planners' draws.
    `warn`: called with a sentence for each normalised score that does not fit the environment.
    """
    env, judge, dataset, episodes_asked = setup.env, setup.judge, setup.dataset, setup.config.episodes
    if dataset is not None and warn is not None:
        for sentence in unfit_scores(dataset, env).values():
            warn(sentence)
    rows = folder.read_jsonl("episodes.jsonl", drop_torn=True) if folder.episodes_jsonl.exists() else []
    done = {name for name in planners if sum(r["planner"] == name for r in rows) >= episodes_asked}
    if done != set(planners):  # incomplete: repeat planners scored by other rewards
        done -= {row["planner"] for row in rows if not _is_scored_by(judge, row)}
    rows = [row for row in rows if row["planner"] in done]
    rows = rows if dataset is None else with_scores(rows, dataset, env)
    if planners:  # without any, the baselines are all that is asked for
        folder.write_jsonl("episodes.jsonl", rows)
    with vector_env(env, episodes_asked, most_steps=setup.config.max_steps) as envs:
        for name in (name for name in planners if name not in done):
            with progress(f"evaluating {name}", setup.most_steps * episodes_asked, 0) as advance:
                episodes = run_episodes(
                    setup.agent(planners[name]),
                    envs,
                    planner_name=name,
                    seed=seed,
                    timed_decisions=setup.config.timed_decisions,
                    progress=advance,
                    judge=judge,
                )
            # Rows are written last: a planner is done when its rows exist.
            _keep_traces(folder, name, episodes)
            new = _with_dense_return(episodes, env)
            new = new if dataset is None else with_scores(new, dataset, env)
            for row in new:
                folder.append_jsonl("episodes.jsonl", row)
            rows += new
        baselines: list[dict[str, Any]] = []
        if all(_is_scored_by(judge, row) for row in rows):  # else the baselines are on another scale
            if setup.random_actions:
                baselines = _random_rows(setup, folder, envs, seed, progress, warn)
            baselines = baselines if dataset is None else with_scores(baselines, dataset, env)
            baselines += [] if setup.data_row is None else [dict(setup.data_row)]
    results = summarise_with_baselines(rows, baselines)
    if baselines:
        folder.write_jsonl(BASELINES, baselines)
    if planners:
        folder.write_json("results.json", results)
        draw(folder, results, env)
    return results


def evaluate(
    model: AgentModel,
    planners: Mapping[str, AbstractPlannerConfig],
    folder: RunFolder,
    config: EvaluationConfig,
    *,
    env: EnvSpec,
    obs_keys: tuple[str, ...] | None,
    data: Mapping[str, Any] | None = None,
    seed: int,
    progress: Progress,
    warn: Callable[[str], None] | None = None,
    **about: Any,
) -> dict[str, Any]:
    """Deprecated: `evaluate_planners`, with what is shared by the planners in one `EvaluationSetup`."""
    said = "owma.eval.evaluate.evaluate is evaluate_planners now; the old name goes with the next minor version."
    warnings.warn(said, DeprecationWarning, stacklevel=2)
    setup = EvaluationSetup(model, config, env, obs_keys, data_row=data, **about)
    return evaluate_planners(planners, setup, folder, seed=seed, progress=progress, warn=warn)


def _is_scored_by(judge: Judge, row: Mapping[str, Any]) -> bool:
    """Whether the judge's rewards scored this row: rows scored by a task also have `env_return`."""
    return ("env_return" in row) == (judge.task is not None)


def _random_rows(
    setup: EvaluationSetup,
    folder: RunFolder,
    envs: VectorEnv,
    seed: int,
    progress: Progress,
    warn: Callable[[str], None] | None,
) -> list[dict[str, Any]]:
    """The rows of `random_actions`: read from the folder if complete, else run now. Empty, with a warning, if the
    environment fails under random actions; the planners' results are kept.
    """
    judge = setup.judge
    kept = [row for row in read_baselines(folder) if row["planner"] == RANDOM and _is_scored_by(judge, row)]
    if len(kept) >= envs.num_envs:
        return kept
    space: Any = envs.single_action_space
    if warn is not None and not is_bounded(space):
        warn(f"the environment's actions have no bounds, so those of {RANDOM} are within the data's.")
    try:
        with progress(f"evaluating {RANDOM}", setup.most_steps * envs.num_envs, 0) as advance:
            trajectories = setup.random_trajectories(envs, seed=seed, progress=advance)
        return random_rows(trajectories, judge, seed=seed)
    except OwmaError as error:
        if warn is not None:
            warn(f"{RANDOM} is left out of the table: {error}")
        return []


def draw(folder: RunFolder, results: Mapping[str, Any], env: EnvSpec | None) -> None:
    """Draw every plot whose data are in the folder."""
    metrics = folder.read_jsonl("metrics.jsonl") if folder.metrics_jsonl.exists() else []
    traces = {path.stem: read_run_arrays(path) for path in sorted((folder.path / "traces").glob("*.npz"))}
    for name, picture in run_pictures(results, metrics=metrics, traces=traces, env=env).items():
        picture(folder.plots / name)


def _with_dense_return(episodes: Episodes, env: EnvSpec) -> list[dict[str, Any]]:
    """The rows, with their `dense_return` in a maze where reaching the goal neither ends the episode nor moves it.

    The first two coordinates are positions.
    """
    stays = env.kwargs.get("continuing_task", True) and not env.kwargs.get("reset_target", False)
    if maze_of(env) is None or episodes.goals is None or not stays:
        return episodes.rows
    positions = zip(episodes.rows, episodes.observations[:, 1:, :2], np.asarray(episodes.goals))
    return [row | {"dense_return": dense_return(path[: row["steps"]], goal)} for row, path, goal in positions]


def _keep_traces(folder: RunFolder, name: str, episodes: Episodes) -> None:
    """Save the data of the plots: every third position, one decision, and statistics of all decisions."""
    decision, firsts = episodes.decision, episodes.first_decisions
    arrays = {
        "positions": episodes.observations[:, ::3, :2].astype(np.float32),
        "prior_values": np.asarray(decision.prior_values),
        "values": np.asarray(decision.values),
        **{f"decision_{key}": trace.astype(np.float32) for key, trace in episodes.decisions.items()},
    }
    if decision.curves is not None and firsts.curves is not None:
        for key in ("objective", "value", "kl"):
            arrays[key] = np.asarray(getattr(decision.curves, key))
            arrays[f"first_{key}"] = np.asarray(getattr(firsts.curves, key))
    (folder.path / "traces").mkdir(exist_ok=True)
    np.savez_compressed(folder.path / "traces" / f"{name}.npz", **arrays)
