"""The episodes of a transfer: every task, label count, fit and planner, from the same start states."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv

from owma._internal.errors import OwmaError
from owma._internal.progress import Progress
from owma._internal.types import Float
from owma.config.transfer import TransferConfig
from owma.envs import maze_of, without_goal
from owma.envs.make import vector_env
from owma.eval.judge import Judge
from owma.eval.rollout import run_episodes
from owma.eval.setup import EvaluationSetup
from owma.eval.trajectories import Trajectories, random_rows
from owma.outcomes.transitions import Transitions
from owma.planners import AbstractPlannerConfig, AgentModel
from owma.results import plots
from owma.results.baselines import FILE as BASELINES, RANDOM, data_row, read_baselines
from owma.runs.folder import RunFolder
from owma.transfer.inference import TaskInference
from owma.transfer.summary import summarise_ogbench, summarise_transfer
from owma.transfer.tasks import TransferTask

_ROWS, _FITS = "episodes.jsonl", "fits.jsonl"


def transfer(
    inference: TaskInference,
    tasks: Sequence[TransferTask],
    folder: RunFolder,
    config: TransferConfig,
    setup: EvaluationSetup,
    *,
    progress: Progress,
    warn: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Fit each task's value from labels and let planners act by it; nothing is trained.

    Appends to `fits.jsonl` a row a fit and to `episodes.jsonl` a row an episode (those of an evaluation, with `task`,
    `labels`, `draw` and `fit`); what is there already is not done again. In `baselines.jsonl` are, for each task, the
    episodes of random actions and a row of those of the dataset (`owma.results.baselines`). Writes `results.json` and
    pictures, and returns the results (see `summarise_transfer`), with `cells`: of a sweep over goals, the (row, col) of
    each task and whether the dataset visits it (what it does not visit is not evaluated). Where OGBench's five tasks
    are among the tasks, `ogbench` is what `summarise_ogbench` says of them.

    **Arguments:** `setup`: of the run; each fit puts its value into the model, each task its judge beside it.
    """
    evaluation = setup.config
    planners = config.acting_planners(evaluation)
    kept = _whole(folder, evaluation.episodes)
    fits = folder.read_jsonl(_FITS, drop_torn=True) if (folder.path / _FITS).exists() else []
    fitted = [{key: row[key] for key in ("task", "labels", "draw", "fit")} for row in fits]
    cells = {
        task.name: {"cell": list(task.cell), "visited": task.rewards is not None}
        for task in tasks
        if task.cell is not None
    }
    done, sets = {_unit(row) for row in kept}, list(label_sets(config, len(inference.psi)))
    beside = {row["task"] for row in read_baselines(folder)}
    # What a task is held against may be missing though its planners are done: a stop came between.
    work = [
        (number, task, task.rewards, left)
        for number, task in enumerate(tasks)
        if task.rewards is not None and ((left := _left(task, sets, planners, done)) or task.name not in beside)
    ]
    for where, group in itertools.groupby(work, lambda item: item[1].env or without_goal(setup.env)):
        with vector_env(where, evaluation.episodes, most_steps=evaluation.max_steps) as envs:
            there = dataclasses.replace(setup, env=where)
            stage = _Stage(planners, envs, there, folder, config.seed, progress, warn)
            for number, task, rewards, label_sets_left in group:
                returns = inference.returns(rewards)
                for (labels, draw, fit), names in label_sets_left:
                    key = jax.random.fold_in(jax.random.key(config.seed), number)
                    model, said = inference.fit(fit, returns, inference.draw(labels, draw), key=key)
                    about = {"task": task.name, "labels": labels, "draw": draw, "fit": fit}
                    if about not in fitted:
                        folder.append_jsonl(_FITS, about | said)
                    kept += stage.act(names, model, task, about | {"r2": said["r2"]})
                stage.add_baselines(task, inference.transitions, rewards, returns)
    results = summarise_transfer(kept, read_baselines(folder)) | {"cells": cells}
    if ogbench := {task.name: task.ogbench_task for task in tasks if task.ogbench_task is not None}:
        results["ogbench"] = summarise_ogbench(kept, ogbench)
    folder.write_json("results.json", results)
    draw_transfer(folder, results, setup.env)
    return results


@dataclasses.dataclass(frozen=True)
class _Stage:
    """Planners in one environment, and where the rows of their episodes go."""

    planners: Mapping[str, AbstractPlannerConfig]
    envs: VectorEnv
    setup: EvaluationSetup
    folder: RunFolder
    seed: int
    progress: Progress
    warn: Callable[[str], None] | None = None

    def add_baselines(
        self,
        task: TransferTask,
        transitions: Transitions,
        rewards: Float[np.ndarray, " n"],
        returns: Float[np.ndarray, " n"],
    ) -> None:
        """Append what the task's planners are held against to `baselines.jsonl`, unless it is there."""
        if any(row["task"] == task.name for row in read_baselines(self.folder)):
            return
        success = None if task.judge is None else task.judge.success_reward
        baseline_rows = self._random_rows(task)
        baseline_rows.append(data_row(transitions, rewards if task.paid is None else task.paid, returns, success))
        rows = [*read_baselines(self.folder), *({"task": task.name, **row} for row in baseline_rows)]
        self.folder.write_jsonl(BASELINES, rows)

    def _random_rows(self, task: TransferTask) -> list[dict[str, Any]]:
        """None where the environment makes a mistake under random actions."""
        try:
            trajectories = self._random_trajectories
            return [] if trajectories is None else random_rows(trajectories, Judge(task.judge), seed=self.seed)
        except OwmaError as error:
            self._leave_out(error)
            return []

    @functools.cached_property
    def _random_trajectories(self) -> Trajectories | None:
        """The same for all tasks in this environment."""
        steps = self.setup.most_steps * self.envs.num_envs
        try:
            with self.progress(f"evaluating {RANDOM}", steps, 0) as advance:
                return self.setup.random_trajectories(self.envs, seed=self.seed, progress=advance)
        except OwmaError as error:
            self._leave_out(error)
            return None

    def _leave_out(self, error: OwmaError) -> None:
        if self.warn is not None:
            self.warn(f"{RANDOM} is left out of the table: {error}")

    def act(
        self, names: Iterable[str], model: AgentModel, task: TransferTask, about: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Let the planners of these names act by the value in `model`, and append their rows, each with `about`."""
        kept: list[dict[str, Any]] = []
        steps = self.setup.most_steps * self.envs.num_envs
        setup = dataclasses.replace(self.setup, model=model)
        for name in names:
            label = f"{about['task']}, {about['labels']:,} labels, {about['fit']}, {name}"
            with self.progress(label, steps, 0) as advance:
                episodes = run_episodes(
                    setup.agent(self.planners[name]),
                    self.envs,
                    planner_name=name,
                    seed=self.seed,
                    timed_decisions=setup.config.timed_decisions,
                    progress=advance,
                    judge=Judge(task.judge, task.promised),
                )
            rows = [{**about, **row} for row in episodes.rows]
            for row in rows:
                self.folder.append_jsonl(_ROWS, row)
            kept += rows
        return kept


def draw_transfer(folder: RunFolder, results: Mapping[str, Any], env: EnvSpec) -> None:
    """The few-shot curves, where there are several label counts, and the map of goals, where there was a sweep."""
    entries = results["entries"]
    curves = [entry for entry in entries if entry["task"] not in results["cells"]]
    if len({entry["labels"] for entry in curves}) > 1:
        plots.few_shot(folder.plots / "few_shot.png", curves)
    maze = maze_of(env)
    if results["cells"] and maze is not None:
        most = max(entry["labels"] for entry in entries)
        success: dict[str, dict[tuple[int, int], float]] = {}
        for entry in entries:
            if entry["task"] in results["cells"] and entry["labels"] == most:
                row, col = results["cells"][entry["task"]]["cell"]
                success.setdefault(f"{entry['planner']}, {entry['fit']}", {})[row, col] = entry["success"]
        plots.maze_heat(folder.plots / "goals.png", maze[0], success)


def label_sets(config: TransferConfig, size: int) -> Iterator[tuple[int, int, Any]]:
    """(labels, draw, fit), few labels first; as many labels as there are transitions leave nothing to draw twice."""
    for labels in sorted({min(labels, size) for labels in config.labels}):
        for draw in range(config.draws if labels < size else 1):
            for fit in config.fits:
                yield labels, draw, fit


def _left(
    task: TransferTask, sets: Sequence[tuple[int, int, Any]], planners: Iterable[str], done: Container[tuple[Any, ...]]
) -> list[tuple[tuple[int, int, Any], list[str]]]:
    """The label sets of a task with the planners that have not acted by them."""
    left = [(labels, [name for name in planners if (task.name, *labels, name) not in done]) for labels in sets]
    return [(labels, names) for labels, names in left if names]


def _unit(row: Mapping[str, Any]) -> tuple[str, int, int, str, str]:
    return row["task"], row["labels"], row["draw"], row["fit"], row["planner"]


def _whole(folder: RunFolder, episodes: int) -> list[dict[str, Any]]:
    """The rows of planners whose episodes are all there; those of an interrupted one are dropped from the file."""
    if not (folder.path / _ROWS).exists():
        return []
    rows = folder.read_jsonl(_ROWS, drop_torn=True)
    counts: dict[tuple[Any, ...], int] = {}
    for row in rows:
        counts[_unit(row)] = counts.get(_unit(row), 0) + 1
    kept = [row for row in rows if counts[_unit(row)] >= episodes]
    folder.write_jsonl(_ROWS, kept)
    return kept
