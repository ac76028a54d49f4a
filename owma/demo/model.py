"""The small trained model that comes with owma: kept in one file, and made an agent of."""

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.errors import CheckpointError
from owma._internal.npz import read_npz
from owma.agent.act import Agent
from owma.config.experiment import ExperimentConfig
from owma.config.json import from_json, to_json
from owma.planners import PLANNERS, AbstractPlanner, AbstractPlannerConfig, AgentModel
from owma.runs.load import SavedRun
from owma.runs.parts import skeleton

MODEL = Path(__file__).parent / "model.npz"
"""The model that is shipped."""

_ABOUT = "about"


def keep_model(run: SavedRun, path: Path) -> Path:
    """Write what acts of a run to one file: its world model, its policy and the value that it plans with.

    Each array is kept under its path in `AgentModel`, beside the configuration that says what they are arrays of.
    """
    model = run.model
    sizes = {
        "obs": int(model.world.observation.mean.shape[0]),
        "action": int(model.policy.low.shape[0]),
        "psi": model.world.whitening.dims,
    }
    about = {"config": to_json(run.config), "obs_keys": run.obs_keys, **sizes}
    arrays: dict[str, Any] = {name: np.asarray(leaf) for name, leaf in _arrays(model)}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{_ABOUT: np.array(json.dumps(about))}, **arrays)
    return path


def demo_agent(
    planner: AbstractPlannerConfig | AbstractPlanner | None = None,
    *,
    replan_every: int | None = None,
    path: Path = MODEL,
) -> Agent:
    """An agent for `owma/TwoRoutes-v0`, of the model that comes with owma.

    ```python
    agent = demo_agent()
    action, state, info = agent.act(obs, agent.init(), key=jax.random.key(0))
    ```

    **Arguments:** `planner`: by default online adaptation as in the run that the model is of; `replan_every`: likewise.

    **Raises:** `CheckpointError` where the file cannot be read, or is of another version.
    """
    try:
        file = read_npz(path)
        about = json.loads(str(file.pop(_ABOUT)))
        config = from_json(ExperimentConfig, about["config"])
        model = _filled(eqx.filter_eval_shape(_like, config, about["obs"], about["action"], about["psi"]), file)
    except (OSError, ValueError, KeyError) as error:
        remedy = "install owma again, or make it anew with `python benchmarks/demo_model.py RUN`"
        raise CheckpointError(f"The demo's model {path} cannot be read ({error}); {remedy}.") from error
    evaluation = config.evaluation
    chosen = evaluation.settled("online_adaptation", PLANNERS["online_adaptation"]) if planner is None else planner
    built = chosen.build() if isinstance(chosen, AbstractPlannerConfig) else chosen
    keys = None if about["obs_keys"] is None else tuple(about["obs_keys"])
    return Agent(model, built, obs_keys=keys, replan_every=replan_every or evaluation.replan_every)


def _like(config: ExperimentConfig, obs: int, action: int, psi: int) -> AgentModel:
    return skeleton(config, obs, action, psi).agent_model(config.value.kind)


def _arrays(model: AgentModel) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(model)
    return [(jax.tree_util.keystr(path).strip("."), leaf) for path, leaf in leaves if _is_array(leaf)]


def _is_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _filled(like: AgentModel, kept: dict[str, np.ndarray]) -> AgentModel:
    """Raises `ValueError` unless the arrays are those of the model."""
    named = _arrays(like)
    if {name for name, _ in named} != kept.keys():
        raise ValueError("its arrays are those of another version")
    for name, leaf in named:
        if kept[name].shape != leaf.shape:
            raise ValueError(f"{name} has the shape {kept[name].shape}, not {leaf.shape}")
    arrays = iter([jnp.asarray(kept[name], leaf.dtype) for name, leaf in named])
    return jax.tree.map(lambda leaf: next(arrays) if _is_array(leaf) else leaf, like)
