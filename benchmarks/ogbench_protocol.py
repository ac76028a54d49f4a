"""OGBench's own protocol: five tasks, its starts and goals, its success, on data collected here by its recipe.

    python benchmarks/ogbench_protocol.py pointmaze-medium-stitch \\
        --json runs/reference/ogbench-pointmaze-medium-stitch/summary.json

One configuration for all datasets, settled by the data alone (`protocol_config`): a run for each seed, kept under
--runs. A goal is told as OGBench tells it, as an observation; its value is fitted to the distances from it in the run's
own cumulants, and nothing is trained for it. Each planner acts from the same starts. Goes on where it was stopped.
"""

import copy
import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from gymnasium.vector import VectorEnv
from matched import TrainedRun, matched, settle, trained_run

from owma._internal.command import command, enable_compilation_cache, parse
from owma._internal.errors import ConfigError
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma._internal.types import Float, Obs, PRNGKeyArray, Psi
from owma.agent.act import Agent
from owma.config.data import OGBenchMazeCollect, OGBenchNoisyCollect, OGBenchPlayCollect
from owma.config.experiment import EvaluationConfig, ExperimentConfig
from owma.config.features import FeaturesConfig, FeatureTrainingConfig
from owma.config.json import to_json
from owma.config.presets import OWN
from owma.config.value import ValueKind
from owma.envs import EPISODE_STEPS, actions_inside, goal_env, reported_success
from owma.envs.make import vector_env
from owma.eval.judge import Judge
from owma.eval.rollout import run_episodes
from owma.eval.trajectories import random_rows, random_trajectories, roll_out
from owma.outcomes.goals import StateGoalTask
from owma.outcomes.observations import flatten_obs
from owma.planners import (
    AbstractPlanner,
    AbstractPlannerConfig,
    AgentModel,
    OnlineAdaptation,
    PlanInfo,
    PlanResult,
    Static,
)
from owma.results.analysis import groups
from owma.results.baselines import FILE as BASELINES, NO_ACTION
from owma.results.ogbench import ogbench_protocol
from owma.results.scores import OGBENCH_TASKS
from owma.runs.folder import RunFolder, versions
from owma.train.rows import sample_rows
from owma.transfer.inference import TaskInference

DATASETS: Mapping[str, OGBenchMazeCollect | OGBenchPlayCollect | OGBenchNoisyCollect] = {
    **{
        f"pointmaze-{maze}-{kind}": OGBenchMazeCollect(maze=maze, kind=kind)
        for maze in ("medium", "large")
        for kind in ("navigate", "stitch")
    },
    **{f"{scene}-play": OGBenchPlayCollect(scene=scene) for scene in ("cube-single", "scene", "puzzle-3x3")},
    "cube-single-noisy": OGBenchNoisyCollect(),
}
"""Of a million transitions each, as published: 1000 episodes of 1000 steps, or 5000 of 200 (*stitch*)."""

_OBS_KEYS = ("observation",)
TOLD = "told_outcome"
"""The amortised row: see `ToldOutcome`."""

_OURS = "online_adaptation"
_PLACES = 4  # Of numbers in rows, which are committed.
_QUICK_STEPS = 20


@dataclasses.dataclass(frozen=True)
class Protocol:
    """OGBench's five tasks of one dataset."""

    dataset: tyro.conf.Positional[str]
    """One of `DATASETS`, by OGBench's name without its version: pointmaze-medium-navigate, cube-single-play, ..."""
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    """Of training, starts and planners; the data have one of their own. Settings were chosen on seed 100."""
    planners: tuple[str, ...] = ("static", "random_shooting", "adaptation_off", _OURS)
    """Of those at equal budgets (`matched.py`); another call adds to the rows that are there."""
    episodes: int = 50
    """Of each planner, seed and task."""
    value: ValueKind = "linear"
    """By which goals are told: of 250 goals a seed, each has a fit of its own."""
    updates: int = 10_000
    """Gradient steps of outcome model and policy."""
    quick: bool = False
    """Little data, a smoke-sized model, one seed, two planners, an episode of 20 steps a task: that it runs, not what
    it shows."""
    runs: Path = Path("runs")
    """Where the trained runs are, or go."""
    json: Path | None = None
    """The baseline; rows and table go beside it. By default runs/ogbench-DATASET/summary.json."""

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise ConfigError(
                f"dataset={self.dataset!r}: there is none of that name; choose from {', '.join(DATASETS)}."
            )
        if unknown := [name for name in self.planners if name not in matched()]:
            raise ConfigError(f"planners={unknown}: choose from {', '.join(matched())}.")
        if self.episodes < 1:
            raise ConfigError(f"episodes={self.episodes}: must be at least 1.")


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(Protocol, prog="python benchmarks/ogbench_protocol.py", description=__doc__)
    enable_compilation_cache()
    planners: Mapping[str, AbstractPlannerConfig] = {name: matched()[name] for name in arguments.planners}
    if arguments.quick:
        arguments = dataclasses.replace(arguments, seeds=arguments.seeds[:1], episodes=1)
        planners = {"static": Static(), _OURS: OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=8)}
    path = arguments.json or Path("runs") / f"ogbench-{arguments.dataset}" / "summary.json"
    out = RunFolder(path.parent)
    any_seed = dataclasses.replace(protocol_config(arguments, 0), name=arguments.dataset)
    about = {"dataset": arguments.dataset, "episodes": arguments.episodes, "value": arguments.value}
    settle(out, {**about, "training": to_json(any_seed)})
    # One by one: another planner may join those whose rows are there.
    for name, planner in planners.items():
        settle(RunFolder(out.path / "planners"), to_json(planner), f"{name}.json")
    rows, baselines = _kept(out, "episodes.jsonl"), _kept(out, BASELINES)
    for seed in arguments.seeds:
        done = {(row["planner"], row["ogbench_task"]) for row in (*rows, *baselines) if row["seed"] == seed}
        left = {n: [name for name in (*planners, TOLD, NO_ACTION) if (name, n) not in done] for n in OGBENCH_TASKS}
        if not any(left.values()):
            continue
        run = trained_run(protocol_config(arguments, seed), arguments.runs, open_progress)
        goals = Goals.of(arguments.dataset, run, arguments.value)
        for task, names in left.items():
            if not names:
                continue
            env = goal_env(environment(arguments.dataset), task)
            if arguments.quick:
                env = dataclasses.replace(copy.deepcopy(env), max_episode_steps=_QUICK_STEPS)
            with vector_env(env, arguments.episodes) as envs:
                stage = Stage(goals, envs, task, seed)
                for name in names:
                    if name == NO_ACTION:
                        baselines += stage.without_planner()
                        out.write_jsonl(BASELINES, baselines)
                    else:
                        rows += stage.act(name, planners.get(name))
                        out.write_jsonl("episodes.jsonl", rows)
        # Models of other sizes have programs of their own, and a process may only hold so many.
        jax.clear_caches()
    _write(out, path, arguments, rows, baselines)
    show_result(path)


def environment(dataset: str) -> str:
    """OGBench's name of the environment of a dataset."""
    return dataset.rpartition("-")[0]


def protocol_config(arguments: Protocol, seed: int) -> ExperimentConfig:
    """The preset `own`, and what the data and the environment's limit of steps settle, of any dataset alike.

    Cumulants are `hilbert` ones, in which distances are steps: they saturate at half the limit of steps, and count half
    as many recorded steps at once as outcomes do. Since they say how far a goal is that lies beyond an outcome's end,
    outcomes need not be longer than the recorded steps that are summed before the bootstrap: of so many is their
    horizon, 1/(1 − γ).
    """
    data = DATASETS[arguments.dataset]
    limit = EPISODE_STEPS[environment(arguments.dataset)]
    training, value, steps = (
        dataclasses.replace(OWN.training, updates=arguments.updates),
        OWN.value,
        OWN.training.n_step,
    )
    # Distances grow by n_step in 1/(1 - ema_decay) updates: after 4000, by more than there are.
    pretraining = FeatureTrainingConfig(updates=4_000, discount=1 - 2 / limit, n_step=steps // 2, ema_decay=0.98)
    features = FeaturesConfig(kind="hilbert", num_features=32, pretraining=pretraining)
    world = dataclasses.replace(OWN.world, features=features, discount=1 - 1 / steps)
    if arguments.quick:
        pretraining = dataclasses.replace(pretraining, updates=40, report_every=40)
        features = dataclasses.replace(features, num_features=8, width=32, depth=1, pretraining=pretraining)
        data = dataclasses.replace(data, steps=2000)
        world = dataclasses.replace(world, features=features, width=32, depth=1, embed_width=32, solver_steps=4)
        training = dataclasses.replace(training, updates=40, batch_size=64, report_every=40)
        value = dataclasses.replace(value, num_tasks=8, depth=1, updates=40, report_every=40)
    return dataclasses.replace(
        OWN,
        name=f"ogbench-{arguments.dataset}{'-quick' if arguments.quick else ''}-seed{seed}",
        seed=seed,
        data=data,
        world=world,
        training=training,
        value=value,
        evaluation=EvaluationConfig(episodes=0, timed_decisions=0),
    )


@dataclasses.dataclass(frozen=True)
class Goals:
    """Tells a trained run of goals."""

    dataset: str
    run: TrainedRun
    inference: TaskInference
    kind: ValueKind
    cumulants: Float[np.ndarray, "n features"]
    """Of the next state of every transition that `inference` knows."""

    @classmethod
    def of(cls, dataset: str, run: TrainedRun, kind: ValueKind) -> "Goals":
        """**Arguments:** `kind`: of the values that goals are told by."""
        transitions, seed = run.inputs.dataset.transitions, run.config.seed
        if transitions.is_mapped:
            transitions = transitions.ended_rows(sample_rows(transitions, seed=seed))
        inference = TaskInference(run.run.parts, run.config, transitions, seed=seed)
        nowhere = StateGoalTask.of(run.run.parts.world, np.asarray(transitions.obs[0]))
        return cls(dataset, run, inference, kind, nowhere.cumulants(np.asarray(transitions.next_obs)))

    def tell(self, goal: Float[np.ndarray, " obs"]) -> tuple[AgentModel, StateGoalTask, float | None]:
        """The agent's models with the value of a goal, its rewards, and R² of the value."""
        task = StateGoalTask.of(self.run.run.parts.world, goal)
        returns = self.inference.returns(task.of_cumulants(self.cumulants).astype(np.float32))
        rows = self.inference.draw(self.run.config.value.num_labels, 0)
        model, said = self.inference.fit(self.kind, returns, rows, key=jax.random.key(self.run.config.seed))
        return model, task, said["r2"]


class ToldOutcome(AbstractPlanner):
    """ψ* is an outcome that is given, the same in every state: the policy is told what to bring about, without a
    search. Here it is that of being at the goal from now on, c(g)/(1 − γ).
    """

    psi: Psi

    @classmethod
    def of(cls, model: AgentModel, goal: Float[np.ndarray, " obs"]) -> "ToldOutcome":
        """**Arguments:** `goal`: the observation to be at."""
        world = model.world
        return cls(world.whitening.whiten(world.raw_cumulant(jnp.asarray(goal, jnp.float32)) / (1 - world.discount)))

    def init(self, model: AgentModel) -> None:
        del model

    def plan(self, model: AgentModel, obs: Obs, state: None, *, key: PRNGKeyArray) -> tuple[Psi, None, PlanInfo]:
        del obs, key
        value = model.value(self.psi)
        info = PlanInfo(
            denoised=self.psi,
            value=value,
            kl=jnp.asarray(0.0),
            nfe=jnp.asarray(0),
            result=jnp.asarray(PlanResult.PLANNED),
            prior_values=value[None],
            values=value[None],
            ess=jnp.asarray(1.0),
            curves=None,
        )
        return self.psi, state, info


@dataclasses.dataclass(frozen=True)
class Stage:
    """The episodes of one task and one seed, each with a goal of its own; every planner has the same."""

    goals: Goals
    envs: VectorEnv
    task: int
    seed: int

    @functools.cached_property
    def shown(self) -> tuple[Float[np.ndarray, "n obs"], list[bool | None]]:
        """The goals of the episodes, and whether each begins at it."""
        seeds: Any = [1000 * self.seed + i for i in range(self.envs.num_envs)]  # those of `run_episodes`
        obs, infos = self.envs.reset(seed=seeds)
        solved = reported_success(infos)
        return np.array(obs["desired_goal"]), [None] * len(seeds) if solved is None else solved.tolist()

    @functools.cached_property
    def told(self) -> list[tuple[AgentModel, StateGoalTask, float | None]]:
        """The value of each goal."""
        with open_progress(f"telling the goals of task {self.task}", self.envs.num_envs, 0) as advance:
            told = []
            for goal in self.shown[0]:
                told.append(self.goals.tell(goal))
                advance(1)
        return told

    def act(self, name: str, planner: AbstractPlannerConfig | None) -> list[dict[str, Any]]:
        """Rows of a planner; without one, of `TOLD`."""
        replan_every = EvaluationConfig().replan_every
        agents = [
            Agent(
                model,
                ToldOutcome.of(model, goal) if planner is None else planner.build(),
                obs_keys=_OBS_KEYS,
                replan_every=replan_every,
            )
            for (model, _, _), goal in zip(self.told, self.shown[0])
        ]
        judges = [Judge(promised=task) for _, task, _ in self.told]
        limit = self.envs.num_envs * EPISODE_STEPS[environment(self.goals.dataset)]
        with open_progress(f"task {self.task}, {name}", limit, 0) as advance:
            about = {"seed": self.seed, "timed_decisions": 0, "progress": advance}
            rows = run_episodes(agents, self.envs, planner_name=name, judge=judges, **about).rows
        return self._numbered([row | {"r2": r2} for row, (_, _, r2) in zip(rows, self.told)])

    def without_planner(self) -> list[dict[str, Any]]:
        """Rows of random actions, and of an action of zeros, which say whether the task is solved before the first."""
        policy = self.goals.run.run.parts.policy
        low, high = np.asarray(policy.low), np.asarray(policy.high)
        drawn = random_trajectories(self.envs, seed=self.seed, obs_keys=_OBS_KEYS, low=low, high=high)
        zeros, space = np.zeros((self.envs.num_envs, len(low)), np.float32), self.envs.single_action_space
        flatten = functools.partial(flatten_obs, obs_keys=_OBS_KEYS)
        still = roll_out(
            lambda obs, done, step: actions_inside(zeros, space)[0], self.envs, seed=self.seed, flatten=flatten
        )
        rows = random_rows(still, Judge(), seed=self.seed, planner=NO_ACTION)
        rows = [row | {"solved_at_start": solved} for row, solved in zip(rows, self.shown[1])]
        return self._numbered([*random_rows(drawn, Judge(), seed=self.seed), *rows])

    def _numbered(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """With the task, episodes numbered over all five; without what is unknown of all of them, and rounded."""
        before = (self.task - 1) * self.envs.num_envs
        return [{"ogbench_task": self.task, **_short(row), "episode": before + row["episode"]} for row in rows]


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of a row as tables need them: rows are committed."""
    return {key: round(value, _PLACES) if isinstance(value, float) else value for key, value in row.items()}


def _kept(out: RunFolder, file: str) -> list[dict[str, Any]]:
    return out.read_jsonl(file, drop_torn=True) if (out.path / file).exists() else []


def _write(
    out: RunFolder,
    path: Path,
    arguments: Protocol,
    rows: Sequence[Mapping[str, Any]],
    baselines: Sequence[Mapping[str, Any]],
) -> None:
    """Summary and table, all from the rows."""
    results, table = ogbench_protocol(arguments.dataset, groups(rows, baselines)[0])
    out.write_json("results.json", results)
    (out.path / "table.md").write_text(table)
    of_all = results["planners"] | results.get("baselines", {})
    metrics = [
        {"key": f"success/{arguments.dataset}/{name}", "value": entry["success"], "unit": "share", "better": "higher"}
        for name, entry in of_all.items()
    ]
    config = {"seeds": list(arguments.seeds), "episodes": arguments.episodes, "planners": list(results["planners"])}
    summary = {"metrics": metrics, "machine": versions(), "config": config}
    path.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    command(main)
