"""What was imported from a module that has moved since is imported from there still."""

import importlib

import jax
import jax.numpy as jnp
import pytest

import owma
from owma._internal import moved
from owma.adaptation import AbstractGradient
from owma.agent.act import Agent
from owma.planners import RandomShooting


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
    [("owma.data", "Recording", "DatasetSource"), ("owma.envs", "mistakes_of_the_environment", "environment_errors")],
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


def test_what_agents_were_asked_for_before_is_what_they_decide(gaussian_model) -> None:
    agent = Agent(gaussian_model([0.0, 1.0], [1.0, 0.5], [1.0, -1.0]), RandomShooting(num_samples=4).build())
    obs, state, key = jnp.zeros(2), agent.init(), jax.random.key(0)
    with pytest.warns(DeprecationWarning, match="use Agent.decide"):
        psi, _, info = agent.plan(obs, state.planner, key=key)
    decided = agent.decide(obs, state, key=key)
    assert bool(jnp.all(psi == decided.psi)) and float(info.value) == float(decided.info.value)
