"""What the planners of an evaluation share, and how a saved run sets it up."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv

from owma.agent.act import Agent
from owma.config.experiment import EvaluationConfig
from owma.config.task import RewardTaskConfig
from owma.config.value import ValueKind
from owma.data import Origin
from owma.envs import check_env, pays
from owma.eval.judge import Judge, trusted_judge
from owma.eval.trajectories import Trajectories, random_trajectories
from owma.outcomes.tasks import AbstractRewardTask
from owma.planners import AbstractPlannerConfig, AgentModel
from owma.results.baselines import kept_data_row
from owma.runs.folder import RunFolder, versions
from owma.runs.labels import kept_task
from owma.runs.load import SavedRun


@dataclasses.dataclass(frozen=True)
class EvaluationSetup:
    """What all planners of an evaluation share: the model, the environment, and the baselines.

    Planners are compared with two baselines: `random_actions` from the same start states, unless they are not asked
    for, and `data_row`, the row of the dataset's episodes where there is one (see `owma.results.baselines`).
    """

    model: AgentModel
    config: EvaluationConfig
    """Episodes, and how agents act in them; its planners are not read."""
    env: EnvSpec
    obs_keys: tuple[str, ...] | None
    """The parts of a Dict observation that make up the state; `None` for plain arrays."""
    judge: Judge = Judge()
    """Which rewards score the episodes."""
    data_row: Mapping[str, Any] | None = None
    random_actions: bool = True
    deadline_ms: float | None = None
    """Milliseconds that a decision may take; `None`: as long as it takes."""
    dataset: Origin | None = None
    """The dataset whose reference returns scores are on (see `owma.results.scores`); `None` leaves them out."""

    def agent(self, planner: AbstractPlannerConfig) -> Agent:
        """The agent that acts with this planner."""
        return Agent(
            self.model,
            planner.build(),
            obs_keys=self.obs_keys,
            replan_every=self.config.replan_every,
            deadline_ms=self.deadline_ms,
        )

    def random_trajectories(
        self, envs: VectorEnv, *, seed: int, progress: Callable[[int], None] | None = None
    ) -> Trajectories:
        """`owma.eval.trajectories.random_trajectories`, with the data's bounds where the action space has none."""
        bounds = {"low": np.asarray(self.model.policy.low), "high": np.asarray(self.model.policy.high)}
        return random_trajectories(envs, seed=seed, obs_keys=self.obs_keys, **bounds, progress=progress)

    @property
    def most_steps(self) -> int:
        """Steps of an episode, at most."""
        return self.env.max_episode_steps or self.config.max_steps


def setup_of_run(
    run: SavedRun,
    config: EvaluationConfig,
    *,
    env: EnvSpec,
    judge: Judge,
    value: ValueKind | None = None,
    deadline_ms: float | None = None,
) -> EvaluationSetup:
    """A saved run's model in `env`; `value`: which of its values to act by, by default that of its configuration."""
    return EvaluationSetup(
        model=run.model if value is None else run.parts.agent_model(value),
        config=config,
        env=env,
        obs_keys=run.obs_keys,
        judge=judge,
        # The row was computed for the run's task.
        data_row=(run.data_row or kept_data_row(run.folder)) if judge.knows_promise else None,
        deadline_ms=deadline_ms,
        dataset=run.dataset,
    )


def new_evaluation_folder(run: SavedRun, planners: Iterable[str], described: Mapping[str, Any]) -> RunFolder:
    """A new folder in the run's `evaluations`, named after the planner where it is one.

    **Arguments:** `described`: what its `config.json` says.
    """
    names = list(planners)
    folder = RunFolder.create(run.folder.path / "evaluations", names[0] if len(names) == 1 else "planners")
    folder.write_json("config.json", described)
    folder.write_json("versions.json", versions())
    return folder


def check_run_env(run: SavedRun, env: EnvSpec, *, flag: str) -> None:
    """Raises `ConfigError` where an environment cannot be stepped, or is of another form than the run's data."""
    world, policy = run.parts.world, run.parts.policy
    dims = {"obs_dim": world.observation.mean.shape[0], "action_dim": policy.action.mean.shape[0]}
    check_env(env, run.obs_keys, **dims, flag=flag)


def judge_of_run(
    run: SavedRun, env: EnvSpec, trusted: Collection[str], *, warn: Callable[[str], None], remedy: str
) -> Judge:
    """The judge for `run.task` if that is set; else `trusted_judge` for the task in the run's folder."""
    if run.task is None:
        kept = kept_task(run.config.task, run.folder.path)
        return trusted_judge(kept, env, run.folder.path, trusted, warn=warn, remedy=remedy)
    is_paid = isinstance(run.config.task, RewardTaskConfig) and pays(env, run.config.task.reward)
    return Judge(run.task) if isinstance(run.task, AbstractRewardTask) and not is_paid else Judge()
