"""Trained runs loaded from disk: `SavedRun`, on which `owma.Run` adds `evaluate`, `tell` and `plot`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError, DamagedError
from owma._internal.moved import renamed
from owma._internal.progress import open_progress
from owma.agent.act import Agent
from owma.config.experiment import ExperimentConfig
from owma.config.json import from_json
from owma.config.task import describe_task
from owma.data import OfflineDataset, Origin, read_origin
from owma.data.given import kept_data
from owma.data.load import load_dataset
from owma.envs import read_env
from owma.envs.given import EnvLike, given_env, of_session
from owma.outcomes.given import TaskLike, read_task
from owma.outcomes.tasks import AbstractTask
from owma.planners import AbstractPlanner, AbstractPlannerConfig, AgentModel, OnlineAdaptation
from owma.runs import checkpoint
from owma.runs.dataset import require_same_dataset
from owma.runs.folder import RunFolder, not_trained, require_models
from owma.runs.former_names import former_names, rename_evaluated
from owma.runs.parts import TrainedParts, read_shapes, restore_parts
from owma.runs.rows import EpisodeRow
from owma.runs.tuned import read_tuned


@dataclasses.dataclass(frozen=True, repr=False)
class SavedRun:
    """A trained run: its folder, configuration and models, and where its data and environment come from."""

    folder: RunFolder
    config: ExperimentConfig
    parts: TrainedParts
    obs_keys: tuple[str, ...] | None
    """The parts of a Dict observation that make up the state; `None` for plain arrays."""
    env_spec: EnvSpec | None
    """The environment that the run was made for; `None` if it was made for none, or `env_refusal` says why it is not
    to be made."""
    dataset: Origin | None
    """Where its dataset came from; `None` for runs of earlier versions. `read_data` reads the dataset itself."""
    env_refusal: str | None = None
    """See `owma.envs.read_env`: a run's folder may be somebody else's, and does not choose what is imported."""
    task: AbstractTask | None = None
    """The task object, if given in this process (`owma.fit`, `tell`, `load(path, task=...)`); else `None`: loading
    imports no task code, and `config.task` only describes it."""
    data: OfflineDataset | None = dataclasses.field(default=None, compare=False)
    """The dataset, where it is in memory; `read_data` reads it in any case."""
    data_row: Mapping[str, Any] | None = dataclasses.field(default=None, compare=False)
    """The baseline `data` under the task given to `tell`; see `owma.results.baselines.data_row`."""
    tuned: tuple[str, ...] = ()
    """Settings of planners that `owma tune` found for the run's task, which `config.evaluation` has as well."""
    trusts_planners: bool = dataclasses.field(default=False, compare=False)
    """Whether planners `planner:MODULE:Class` of its evaluation were named in this process, and not by a folder."""

    def __repr__(self) -> str:
        data = "unknown data" if self.dataset is None else self.dataset.dataset_id
        planners = ", ".join(self.config.evaluation.planners)
        return (
            f"{type(self).__name__}({self.config.name!r}, {str(self.folder.path)!r}, data={data!r}, "
            f"task={describe_task(self.config.task)!r}, env={self.env_id!r}, planners=[{planners}])"
        )

    @property
    def env(self) -> EnvSpec:
        """The environment that the run was made for, as `gymnasium.make(run.env)` takes it.

        Raises `ConfigError` where there is none, or the module that registers it has not been imported.
        """
        if self.env_spec is None:
            none = (
                f"The run {self.folder.path} was made without an environment; pass env=... from Python, and --env ID "
                "to a command."
            )
            raise ConfigError(self.env_refusal or none)
        return self.env_spec

    @property
    def env_id(self) -> str | None:
        """The Gymnasium id of `env_spec`, without the arguments that it may come with."""
        return None if self.env_spec is None else self.env_spec.id

    @property
    def model(self) -> AgentModel:
        """World model, policy and value for the run's task."""
        return self.parts.agent_model(self.config.value.kind)

    def agent(
        self,
        planner: AbstractPlannerConfig | AbstractPlanner | None = None,
        *,
        replan_every: int = 1,
        deadline_ms: float | None = None,
    ) -> Agent:
        """An agent that plans every `replan_every` steps, within `deadline_ms` milliseconds if that is given.

        **Arguments:** `planner`: a configuration, or a planner built by hand; by default online adaptation with the
        λ of the run's evaluation, or what `owma tune` found.
        """
        planner = (
            self.config.evaluation.settled("online_adaptation", OnlineAdaptation()) if planner is None else planner
        )
        built = planner.build() if isinstance(planner, AbstractPlannerConfig) else planner
        return Agent(self.model, built, obs_keys=self.obs_keys, replan_every=replan_every, deadline_ms=deadline_ms)

    def read_data(self) -> OfflineDataset:
        """The dataset that the run was trained on, from where it came from or from the run's folder.

        Raises `OwmaError` if it is not there, or not the same.
        """
        if self.data is not None:
            return self.data
        config = kept_data(self.config.data, self.folder.path)
        dataset = load_dataset(config, open_progress)
        require_same_dataset(self.folder, config, dataset)
        return dataset

    def rows(self) -> list[EpisodeRow]:
        """The rows of all episodes in the run's folder, those of the newest version of each evaluation after those of
        training; `evaluation` is its folder's name, `""` of training's.
        """
        rows_of_all: list[EpisodeRow] = []
        for folder in (self.folder, *self.evaluation_folders()):
            if folder.episodes_jsonl.exists():
                name = "" if folder is self.folder else folder.path.parent.name
                rows: list[Any] = folder.read_jsonl("episodes.jsonl", drop_torn=True)
                rows_of_all += [row | {"evaluation": name} for row in rows]
        return rows_of_all

    def evaluation_folders(self) -> list[RunFolder]:
        """The newest version of each evaluation of the run."""
        parents = sorted((self.folder.path / "evaluations").glob("*/"))
        return [RunFolder.open(parent) for parent in parents if any(parent.glob("v*"))]


RunT = TypeVar("RunT", bound=SavedRun)


def load_run(path: str | Path, *, task: TaskLike = None, env: EnvLike | None = None) -> SavedRun:
    """The finished run at `runs/NAME` (its newest version) or `runs/NAME/v<N>`; see `owma.load`."""
    folder = require_models(Path(path))
    written: Any = folder.read_json("config.json")
    config = from_json(ExperimentConfig, written)
    # Of an earlier version, it means the planners that it compared.
    names = former_names(written["evaluation"], config.evaluation)
    evaluation, tuned = rename_evaluated(config.evaluation, names), read_tuned(folder)
    config = dataclasses.replace(config, evaluation=evaluation.with_settings(tuned))
    if checkpoint.latest(folder.path / "models") is None:
        raise not_trained(folder)
    shapes = read_shapes(folder)
    obs_keys = None if shapes["obs_keys"] is None else tuple(shapes["obs_keys"])
    spec, refusal = (given_env(env), None) if env is not None else _env_of(folder, shapes["env"], config)
    dataset = read_origin(shapes.get("dataset"))
    try:
        parts = restore_parts(folder, config)
    except DamagedError as error:
        again = f"`python -m owma.train --resume {folder.path}` makes it again from the checkpoints of training."
        raise DamagedError(*error.args, f"Or {again}") from error
    told = None if task is None else read_task(task).task
    return SavedRun(folder, config, parts, obs_keys, spec, dataset, refusal, told, tuned=tuned)


def _env_of(folder: RunFolder, described: str | None, config: ExperimentConfig) -> tuple[EnvSpec | None, str | None]:
    """(the environment that a run's folder describes, `None`), or (`None`, why it must not be made)."""
    if described is None:
        return None, None
    if (name := of_session(described)) is not None:
        return None, (
            f"The environment {name} of the run {folder.path} was given to a Python session, and no registry holds it; "
            f"give it again: owma.load({str(folder.path)!r}, env=...)."
        )
    named = config.evaluation.env
    try:
        by_module = named if ":" in (named or "") else None
        return read_env(described, f"The run {folder.path}", flag="--env", named=by_module), None
    except ConfigError as error:
        return None, str(error)


if not TYPE_CHECKING:
    __getattr__ = renamed("owma.runs.load", {"Run": "SavedRun", "load": "load_run"})
