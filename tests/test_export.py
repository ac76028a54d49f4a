"""An exported agent acts as the agent does, in a process that knows nothing of it."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.export
import numpy as np
import pytest

from owma._internal.errors import CheckpointError, ConfigError, OwmaError
from owma.agent.act import Agent
from owma.agent.export import export_agent, load_exported
from owma.planners import OnlineAdaptation, RandomShooting, Static

_OBS = np.array([0.3, -0.2], np.float32)

_ROBOT = """
import json, sys
import equinox as eqx, jax
import owma

agent = owma.load_exported(sys.argv[1])
# The planner's own code is out of reach: what runs is the file.
owma.OnlineAdaptationPlanner.plan = None
state, actions = agent.init(), []
for key in jax.random.split(jax.random.key(5), 3):
    action, state, info = agent.act([0.3, -0.2], state, key=key)
    actions.append([*action.tolist(), info.value, info.kl, info.planned])
print(json.dumps(actions))
"""


@pytest.fixture
def agent(gaussian_model) -> Agent:
    # Warm started and holding plans for two steps, so that the state matters.
    planner = OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=8, adapt="all", warm_start=True)
    return Agent(gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0]), planner.build(), replan_every=2)


def test_another_process_does_the_same(agent, tmp_path: Path) -> None:
    path = export_agent(agent, tmp_path / "folder" / "robot-0.1")
    assert path == tmp_path / "folder" / "robot-0.1.npz"
    done = subprocess.run([sys.executable, "-c", _ROBOT, str(path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    state, expected = agent.init(), []
    for key in jax.random.split(jax.random.key(5), 3):
        action, state, info = agent.act(_OBS, state, key=key)
        expected.append([*action.tolist(), float(info.plan.value), float(info.plan.kl), bool(info.planned)])
    np.testing.assert_allclose(json.loads(done.stdout), expected, rtol=1e-4, atol=1e-5)
    assert [row[-1] for row in expected] == [True, False, True]


def _loops(path: Path) -> int:
    with np.load(path) as file:
        program = jax.export.deserialize(bytearray(file["program"].tobytes()))
    return program.mlir_module().count("stablehlo.while")


@pytest.mark.unrolled
def test_a_compact_program_keeps_its_loops_and_acts_alike(gaussian_model, tmp_path: Path) -> None:
    model = gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0], num_steps=3)
    agent = Agent(model, RandomShooting(num_samples=2).build())
    whole = export_agent(agent, tmp_path / "whole")
    compact = export_agent(agent, tmp_path / "compact", compact=True)
    assert _loops(compact) > _loops(whole)
    robots = [load_exported(path) for path in (whole, compact)]
    states = [robot.init() for robot in robots]
    for key in jax.random.split(jax.random.key(5), 3):
        steps = [robot.act(_OBS, state, key=key) for robot, state in zip(robots, states)]
        states = [state for _, state, _ in steps]
        (action, _, info), (compact_action, _, compact_info) = steps
        np.testing.assert_allclose(compact_action, action, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(compact_info.value, info.value, rtol=1e-4)


def test_bad_observations_are_refused_as_by_the_agent(gaussian_model, tmp_path: Path) -> None:
    small = Agent(gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0]), RandomShooting(num_samples=2).build())
    exported = load_exported(export_agent(small, tmp_path / "a.npz"))
    with pytest.raises(OwmaError, match="component 1 is not finite"):
        exported.act(np.array([0.0, np.nan]), exported.init(), key=jax.random.key(0))
    with pytest.raises(OwmaError, match="has 3 components, the model was trained on 2"):
        exported.act(np.zeros(3), exported.init(), key=jax.random.key(0))


@pytest.mark.cases
def test_an_agent_with_a_deadline_is_not_exported(agent, tmp_path: Path) -> None:
    hurried = dataclasses.replace(agent, deadline_ms=30.0)
    with pytest.raises(ConfigError, match="deadline_ms=30, which takes the host's clock.* Export one without"):
        export_agent(hurried, tmp_path / "robot")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("platforms", ["gpu", ("cpu", "gpu"), ["CPU"]])
def test_platforms_by_names_that_jax_does_not_export_for(agent, platforms, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'(gpu|CPU)' is none of cpu, cuda, rocm, tpu"):
        export_agent(agent, tmp_path / "robot", platforms=platforms)


@pytest.mark.cases
@pytest.mark.parametrize("platforms", ["cpu", ("cpu",), ["cpu", "cuda"], ()])
def test_one_platform_or_several(gaussian_model, platforms, tmp_path: Path) -> None:
    small = Agent(gaussian_model([0.0], [1.0], [1.0]), Static().build())
    robot = load_exported(export_agent(small, tmp_path / "robot", platforms=platforms))
    action, _, _ = robot.act(_OBS[:1], robot.init(), key=jax.random.key(0))
    assert action.flags.writeable and np.isfinite(action).all()


def test_files_that_are_no_agents(gaussian_model, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no exported agent at"):
        load_exported(tmp_path / "nothing.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(CheckpointError, match="is not an agent that this version can read"):
        load_exported(tmp_path / "text.npz")
    small = Agent(gaussian_model([0.0], [1.0], [1.0]), RandomShooting(num_samples=2).build())
    elsewhere = export_agent(small, tmp_path / "elsewhere.npz", platforms=("cuda",))
    with pytest.raises(CheckpointError, match="was exported for cuda and this process runs on cpu"):
        load_exported(elsewhere)
