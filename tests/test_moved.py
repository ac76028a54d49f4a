"""What was imported from a module that has moved since is imported from there still."""

import dataclasses
import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

import owma
import owma.data
import owma.envs
import owma.eval.evaluate
from owma._internal import moved
from owma._internal.progress import open_progress
from owma.adaptation import AbstractAscent, AbstractGradient, NaturalAscent, PathKL, SampledMetric
from owma.adaptation.loop import AdaptationState
from owma.adaptation.metric import AbstractMetric
from owma.agent.act import Agent
from owma.config.experiment import EvaluationConfig
from owma.data import DatasetSource
from owma.eval.setup import EvaluationSetup
from owma.planners import OnlineAdaptation, RandomShooting
from owma.runs.folder import RunFolder
from owma.train.inputs import prepare_inputs


@pytest.mark.parametrize(
    ("module", "name", "home"),
    [
        ("owma.transitions", "Transitions", "owma.outcomes.transitions"),
        ("owma.runs", "RunFolder", "owma.runs.folder"),
        ("owma.agent", "Agent", "owma.agent.act"),
        ("owma.material", "load_dataset", "owma.data.load"),
        ("owma.features.fourier", "FourierFeatures", "owma.outcomes.features.fourier"),
        ("owma.features", "FeaturesConfig", "owma.config.features"),
        ("owma.transfers", "TransferTask", "owma.transfer.tasks"),
        ("owma.train.api", "fit", "owma.api.fit"),
        ("owma.eval.api", "judge_of_run", "owma.eval.setup"),
        ("owma.eval.courses", "Judge", "owma.eval.judge"),
    ],
)
def test_an_old_name_is_the_new_one_and_says_so(module: str, name: str, home: str) -> None:
    old = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=f"{module}.{name} is {home}.{name} now"):
        value = getattr(old, name)
    assert value is getattr(importlib.import_module(home), name)


def test_every_old_module_leads_to_modules_that_there_are() -> None:
    for homes in moved._MOVED.values():
        for home in homes.split():
            importlib.import_module(f"owma.{home}")


def test_a_name_that_never_was_is_an_import_error() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Nothing' from 'owma.transitions'"):
        exec("from owma.transitions import Nothing", {})
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("owma.nowhere")


def test_modules_of_a_room_are_not_taken_for_old_names() -> None:
    from owma.runs import checkpoint

    assert checkpoint.__name__ == "owma.runs.checkpoint" and owma.load is importlib.import_module("owma.api.run").load


@pytest.mark.parametrize(
    ("package", "old", "new"),
    [
        ("owma.data", "Recording", "DatasetSource"),
        ("owma.envs", "mistakes_of_the_environment", "environment_errors"),
        ("owma.runs.load", "load", "load_run"),
        ("owma.train.inputs", "gather", "prepare_inputs"),
        ("owma.eval.trajectories", "random_course", "random_trajectories"),
    ],
)
def test_a_renamed_name_of_a_package_still_works(package: str, old: str, new: str) -> None:
    module = importlib.import_module(package)
    with pytest.warns(DeprecationWarning, match=f"{package}.{old} is named {new} now"):
        value = getattr(module, old)
    assert value is getattr(module, new)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing


def test_parts_that_count_their_passes_by_the_old_name_still_do() -> None:
    with pytest.warns(DeprecationWarning, match="Mine.passes is named `nfe_per_draw` now"):

        class Mine(AbstractGradient):
            path_kl_only = False

            def __call__(self, problem, delta, divergence, noise, *, key):
                raise NotImplementedError

            def passes(self, beside, num_transitions):
                return (3 + beside[0]) * num_transitions

    assert Mine().nfe_per_draw((1, 1), 5) == 20  # pyright: ignore[reportAbstractUsage]


def test_a_module_that_moved_leads_to_what_was_renamed_since() -> None:
    with pytest.warns(DeprecationWarning, match="owma.material.gather is owma.train.inputs.prepare_inputs now"):
        assert importlib.import_module("owma.material").gather is prepare_inputs


def test_step_rules_and_metrics_count_their_passes_by_the_old_names() -> None:
    with pytest.warns(DeprecationWarning) as told:

        class MyAscent(AbstractAscent):
            inner: AbstractAscent

            def init(self, delta):
                return self.inner.init(delta)

            def step(self, problem, delta, gradient, samples, state, progress, *, metric, key):
                raise NotImplementedError

            def passes(self, metric):
                return 1 + self.inner.passes(metric)  # pyright: ignore[reportAttributeAccessIssue]

        class MyMetric(AbstractMetric):
            passes = 4
            push_passes = 3

            def measure(self, problem, delta, samples, *, key):
                raise NotImplementedError

    assert [str(one.message).partition(";")[0] for one in told] == [
        "MyAscent.passes is named `nfe_per_state` now",
        "MyMetric.passes is named `measure_nfe` now",
        "MyMetric.push_passes is named `product_nfe` now",
    ]
    ascent: Any = MyAscent(NaturalAscent())  # pyright: ignore[reportAbstractUsage]
    with pytest.warns(DeprecationWarning, match="AbstractAscent.passes is named `nfe_per_state` now"):
        assert ascent.nfe_per_state(MyMetric()) == 1 + 4 + 3


def test_old_names_of_members_are_read_still() -> None:
    loop: Any = OnlineAdaptation().build()
    read = [
        (PathKL(), "passes", "extra_nfe"),
        (SampledMetric, "push_passes", "product_nfe"),
        (loop.adaptation, "step_passes", "nfe_per_step"),
        (AdaptationState(None, None, jnp.asarray(0.5)), "begun", "schedule_offset"),
    ]
    for owner, old, new in read:
        with pytest.warns(DeprecationWarning, match=f"{old} is named `{new}` now"):
            assert getattr(owner, old) == getattr(owner, new)
    with pytest.warns(DeprecationWarning, match="DatasetSource.found is named `row_facts` now"):
        source: Any = DatasetSource
        assert source.found is source.row_facts


def test_constructors_take_fields_by_their_old_names() -> None:
    state: Any = AdaptationState
    with pytest.warns(DeprecationWarning, match=r"AdaptationState\(begun=...\) is schedule_offset= now"):
        assert state(None, None, begun=jnp.asarray(0.5)).schedule_offset == 0.5
    given: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(DatasetSource))
    del given["row_facts"]
    source: Any = DatasetSource
    with pytest.warns(DeprecationWarning, match=r"DatasetSource\(found=...\) is row_facts= now"):
        assert source(**given, found=dict).row_facts is dict


def test_old_names_of_a_world_and_of_an_evaluation(gaussian_model, monkeypatch, tmp_path) -> None:
    model = gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0])
    with pytest.warns(DeprecationWarning, match="WorldModel.nothing is named `terminal_outcome` now"):
        assert jnp.array_equal(model.world.nothing, model.world.terminal_outcome)

    def evaluate_planners(planners: Any, setup: Any, folder: Any, **about: Any) -> dict[str, Any]:
        return {"given": (planners, setup, folder, about)}

    monkeypatch.setattr(owma.eval.evaluate, "evaluate_planners", evaluate_planners)
    config, spec, folder = EvaluationConfig(episodes=1), EnvSpec("test/Line-v0"), RunFolder(tmp_path)
    about: dict[str, Any] = {"seed": 3, "progress": open_progress}
    told: dict[str, Any] = {"env": spec, "obs_keys": ("observation",), "data": {"return": 1.0}, "deadline_ms": 5.0}
    with pytest.warns(DeprecationWarning, match="evaluate_planners now"):
        given = owma.eval.evaluate.evaluate(model, {}, folder, config, **told, **about)["given"]
    setup = EvaluationSetup(model, config, spec, ("observation",), data_row={"return": 1.0}, deadline_ms=5.0)
    assert given[0] == {} and given[2:] == (folder, about | {"warn": None})
    assert {field: value for field, value in vars(given[1]).items() if field != "model"} == {
        field: value for field, value in vars(setup).items() if field != "model"
    }


def test_what_agents_were_asked_for_before_is_what_they_decide(gaussian_model) -> None:
    agent = Agent(gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0]), RandomShooting(num_samples=4).build())
    obs, state, key = jnp.zeros(2), agent.init(), jax.random.key(0)
    with pytest.warns(DeprecationWarning, match="use Agent.decide"):
        psi, _, info = agent.plan(obs, state.planner, key=key)
    decided = agent.decide(obs, state, key=key)
    assert bool(jnp.all(psi == decided.psi)) and float(info.value) == float(decided.info.value)


def test_public_functions_without_a_successor_work_for_one_more_version() -> None:
    flat, ends = np.zeros((2, 1), np.float32), np.zeros(2, bool)
    transitions = owma.Transitions(flat, flat, np.array([1.0, 1.0], np.float32), flat, ends, ends)
    with pytest.warns(DeprecationWarning, match="wall_cells goes with the next minor version"):
        assert len(owma.envs.wall_cells()) == 24 + 9
    with pytest.warns(DeprecationWarning, match="reward_is_constant goes with the next minor version"):
        assert owma.data.reward_is_constant(transitions)
