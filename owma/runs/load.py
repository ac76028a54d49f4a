"""Runs from disk, ready to act."""

import dataclasses
from pathlib import Path

from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import CheckpointError, ConfigError
from owma.agent.act import Agent
from owma.config.experiment import ExperimentConfig
from owma.config.json import from_json
from owma.data import Origin, read_origin
from owma.envs import read_env
from owma.planners import AbstractPlanner, AbstractPlannerConfig, AgentModel, OnlineAdaptation
from owma.runs import checkpoint
from owma.runs.folder import RunFolder, not_trained, require_models
from owma.runs.parts import TrainedParts, read_shapes, restore_parts


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run.

    ```python
    run = owma.load("runs/two-routes")
    agent = run.agent(planner=owma.OnlineAdaptation(kl_coef=0.1, adaptation_steps=10))
    ```
    """

    folder: RunFolder
    config: ExperimentConfig
    parts: TrainedParts
    obs_keys: tuple[str, ...] | None
    """The parts of a Dict observation that make up the state; `None` for plain arrays."""
    env_spec: EnvSpec | None
    """The environment that the run was made for; `None` if it was made for none, or `env_refusal` says why it is not
    to be made."""
    dataset: Origin | None
    """The dataset that it was trained on; `None` if it was trained before runs kept that."""
    env_refusal: str | None = None
    """See `owma.envs.read_env`: a run's folder may be somebody else's, and does not choose what is imported."""

    @property
    def env(self) -> EnvSpec:
        """The environment that the run was made for, as `gymnasium.make(run.env)` takes it.

        Raises `ConfigError` where there is none, or the module that registers it has not been imported.
        """
        if self.env_spec is None:
            none = f"The run {self.folder.path} was made without an environment; pass --env ID."
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
        planner: AbstractPlannerConfig | AbstractPlanner = OnlineAdaptation(),  # noqa: B008  (frozen)
        *,
        replan_every: int = 1,
        deadline_ms: float | None = None,
    ) -> Agent:
        """An agent that plans every `replan_every` steps, within `deadline_ms` milliseconds if that is given; `planner`
        is a configuration, or a planner built by hand.
        """
        built = planner.build() if isinstance(planner, AbstractPlannerConfig) else planner
        return Agent(self.model, built, obs_keys=self.obs_keys, replan_every=replan_every, deadline_ms=deadline_ms)


def load(path: str | Path) -> Run:
    """A finished run: `runs/NAME` (its newest version) or `runs/NAME/v<N>`.

    Raises `CheckpointError` if there is none, if it was not trained to the end, or if its files are damaged or do not
    belong together. An environment that is not registered here is no mistake before it is asked for (`Run.env`).
    """
    folder = require_models(Path(path))
    config = from_json(ExperimentConfig, folder.read_json("config.json"))
    if checkpoint.latest(folder.path / "models") is None:
        raise not_trained(folder)
    shapes = read_shapes(folder)
    obs_keys = None if shapes["obs_keys"] is None else tuple(shapes["obs_keys"])
    env, refusal = None, None
    if shapes["env"] is not None:
        named = config.evaluation.env
        try:
            by_module = named if ":" in (named or "") else None
            env = read_env(shapes["env"], f"The run {folder.path}", flag="--env", named=by_module)
        except ConfigError as error:
            refusal = str(error)
    dataset = read_origin(shapes.get("dataset"))
    try:
        parts = restore_parts(folder, config)
    except CheckpointError as error:
        if "is damaged" in str(error):
            again = f"`python -m owma.train --resume {folder.path}` makes it again from the checkpoints of training."
            raise CheckpointError(f"{error} Or {again}") from error
        raise
    return Run(folder, config, parts, obs_keys, env, dataset, refusal)
