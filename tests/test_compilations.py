"""How often XLA compiles: once for the first action, wherever the model's arrays are, and never in a control loop."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from line_world import line_world

from owma.agent.act import Agent
from owma.agent.export import export_agent, load_exported
from owma.envs import vector_env
from owma.eval import rollout
from owma.planners import AgentModel, OnlineAdaptation, RandomShooting
from owma.runs import checkpoint

pytestmark = pytest.mark.cases

_ADAPTATION = OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=2, adapt="all", warm_start=True)


@pytest.fixture(params=["restored", pytest.param("on a device of the user's choice", marks=pytest.mark.slow)])
def model(request: pytest.FixtureRequest, gaussian_model, tmp_path: Path) -> AgentModel:
    made = gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0])
    if request.param == "restored":
        checkpoint.save(tmp_path / "models", 0, made, config_fingerprint="")
        like = eqx.filter_eval_shape(lambda: jax.tree.map(lambda leaf: leaf, made))
        return checkpoint.restore(tmp_path / "models", like)[0]
    arrays, static = eqx.partition(made, eqx.is_array)
    return eqx.combine(jax.device_put(arrays, jax.devices()[0]), static)


def _act(agent, compiled: list[str], steps: int = 4) -> list[list[str]]:
    """What each of some acts compiles."""
    state, compiled_by_step = agent.init(), []
    for key in jax.random.split(jax.random.key(1), steps):
        compiled.clear()
        _, state, _ = agent.act(np.zeros(2, np.float32), state, key=key)
        compiled_by_step.append(list(compiled))
    return compiled_by_step


def test_a_step_is_compiled_once(model: AgentModel, compiled: list[str]) -> None:
    first, *rest = _act(Agent(model, _ADAPTATION.build(), replan_every=2), compiled)
    assert first.count("jit(step)") == 1 and rest == [[], [], []]
    # Other numbers make no other program.
    dearer = OnlineAdaptation(**{**vars(_ADAPTATION), "kl_coef": 0.1})
    assert _act(Agent(model, dearer.build(), replan_every=2), compiled) == [[], [], [], []]


def test_with_a_deadline_nothing_is_compiled_after_init(model: AgentModel, compiled: list[str]) -> None:
    agent = Agent(model, _ADAPTATION.build(), replan_every=2, deadline_ms=10_000.0)
    assert _act(agent, compiled) == [[], [], [], []]


def test_the_programs_of_an_evaluation_are_compiled_once(model: AgentModel, compiled: list[str]) -> None:
    agent = Agent(model, _ADAPTATION.build(), replan_every=2)
    with vector_env(line_world(), 2) as envs:
        rollout.run_episodes(agent, envs, planner_name="adaptation", seed=0, timed_decisions=2)
    programs = [name for name in compiled if name in ("jit(decide)", "jit(read_out_batch)")]
    assert sorted(programs) == ["jit(decide)", "jit(read_out_batch)"]


def test_an_exported_program_is_compiled_once(gaussian_model, tmp_path: Path, compiled: list[str]) -> None:
    agent = Agent(gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0]), RandomShooting(num_samples=2).build())
    robot = load_exported(export_agent(agent, tmp_path / "robot"))
    first, *rest = _act(robot, compiled)
    assert first.count("jit(call)") == 1 and rest == [[], [], []]


def test_restored_arrays_are_placed_as_those_that_they_take_the_place_of(tmp_path: Path) -> None:
    device = jax.devices()[0]
    tree = {
        "free": jnp.ones(3),
        "key": jax.random.key(0),
        "placed": jax.device_put(jnp.ones(2), device),
        "shape": jnp.zeros(2),
    }
    checkpoint.save(tmp_path, 0, tree, config_fingerprint="")
    like = {**tree, "shape": jax.ShapeDtypeStruct((2,), jnp.float32)}
    restored = checkpoint.restore(tmp_path, like)[0]
    assert {name: leaf.committed for name, leaf in restored.items()} == {
        "free": False,
        "key": False,
        "placed": True,
        "shape": False,
    }
