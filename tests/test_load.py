"""A trained run from disk acts as it did in memory; whatever is not one is refused."""

import importlib.util
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import owma
from owma.data import Origin, TwoRoutesCollect, env_settings
from owma.outcomes.pessimism import LowerBound
from owma.runs.folder import RunFolder


@pytest.fixture(scope="module")
def run(smoke_run) -> owma.Run:
    return owma.load(smoke_run.runs / "smoke")


def test_the_newest_version_with_all_that_was_learnt(run: owma.Run, smoke_run) -> None:
    assert run.folder.path == smoke_run.folder
    assert run.config == owma.load(smoke_run.folder).config
    assert run.env_id == "owma/TwoRoutes-v0" and run.obs_keys == ("observation",)
    assert isinstance(run.config.data, TwoRoutesCollect)
    assert run.env is not None and run.dataset == Origin(run.config.data.name, run.env.id, env_settings(run.env), None)
    row = json.loads((smoke_run.folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert float(run.parts.task_scale) == pytest.approx(row["value_scale_decoder"])
    bound = run.model.value
    assert isinstance(bound, LowerBound) and bound.decoders is run.parts.task
    assert bound.linear is run.parts.kernel and run.parts.kernel is not None
    np.testing.assert_array_equal(run.parts.kernel.linear.weight, run.parts.linear.weight)
    assert float(run.model.value_scale) == pytest.approx(row["value_scale_pessimistic"])
    assert run.model.world is run.parts.world
    assert run.parts.agent_model("linear").value is run.parts.linear


def test_a_run_from_before_it_kept_its_dataset(smoke_run, tmp_path: Path) -> None:
    folder = RunFolder(Path(shutil.copytree(smoke_run.folder, tmp_path / "old" / "v1")))
    shapes = folder.read_json("shapes.json")
    folder.write_json("shapes.json", {key: value for key, value in shapes.items() if key != "dataset"})
    assert owma.load(folder.path).dataset is None


def test_an_agent_acts_on_what_the_environment_returns(run: owma.Run) -> None:
    agent = run.agent(owma.RandomShooting(num_samples=4), replan_every=2)
    assert isinstance(agent, owma.Agent)
    obs = {"observation": np.zeros(4), "achieved_goal": np.zeros(2), "desired_goal": np.zeros(2)}
    state, planned = agent.init(), []
    for key in jax.random.split(jax.random.key(0), 4):
        action, state, info = agent.act(obs, state, key=key)
        assert action.shape == (2,) and np.all(np.abs(action) <= 1)
        planned.append(bool(info.planned))
    assert planned == [True, False, True, False]
    built = run.agent(owma.RandomShootingPlanner(num_samples=4, num_elites=1), replan_every=2)
    key = jax.random.key(3)
    assert np.array_equal(agent.act(obs, agent.init(), key=key)[0], built.act(obs, built.init(), key=key)[0])


def test_the_agent_does_not_act_on_guesses(run: owma.Run) -> None:
    agent = run.agent(owma.Static())
    for bad in (np.nan, np.inf):
        obs = {"observation": np.array([0.0, 0.0, bad, 0.0])}
        with pytest.raises(owma.OwmaError, match="component 2 is not finite; check the environment"):
            agent.act(obs, agent.init(), key=jax.random.key(0))
    with pytest.raises(owma.OwmaError, match="3 components, the model was trained on 4"):
        agent.act(np.zeros(3), agent.init(), key=jax.random.key(0))


def test_what_is_no_run_is_refused(smoke_run, tmp_path: Path) -> None:
    with pytest.raises(owma.CheckpointError, match="There is no run at .*choose one of .*smoke"):
        owma.load(smoke_run.runs / "other")
    (tmp_path / "mine" / "v1").mkdir(parents=True)
    with pytest.raises(owma.CheckpointError, match="holds no `config.json`"):
        owma.load(tmp_path / "mine")


def test_load_is_the_function() -> None:
    """A module of that name would take its place as soon as anything imported it."""
    assert importlib.util.find_spec("owma.load") is None
    assert owma.load is importlib.import_module("owma.api.run").load
