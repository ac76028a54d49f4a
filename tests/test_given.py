"""Data, tasks and environments in every form that a Python user has them in, and the refusals of what is none."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit, TransformReward
from own_envs import Point
from test_front_door import Cart, recorded

import owma
from owma._internal.progress import shown_progress
from owma.data.given import given_data, kept_data
from owma.envs import check_env, pays
from owma.envs.given import given_env
from owma.outcomes.given import read_task
from owma.outcomes.tasks import build_task

# Of environments that return the same array at every step.
pytestmark = pytest.mark.filterwarnings("ignore:.*share an object:UserWarning")

_ROWS = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 2.0]], np.float32)


def by_place(obs: np.ndarray, action: np.ndarray, next_obs: np.ndarray) -> np.ndarray:
    return next_obs[:, 0]


@pytest.mark.parametrize(
    ("task", "config", "rewards"),
    [
        (by_place, owma.RewardTaskConfig("test_given:by_place"), [0, 1, 3]),
        (lambda obs, action, next_obs: obs[:, 1], None, [0, 0, 2]),
        ([1.0, 0.0], owma.GoalTaskConfig((1.0, 0.0)), [0, 1, 0]),
        (np.array([3.0]), owma.GoalTaskConfig((3.0,)), [0, 0, 1]),
        ("goal:1,0@0.1", owma.GoalTaskConfig((1.0, 0.0), 0.1), [0, 1, 0]),
        (owma.GoalTask(np.array([1.0, 0.0]), radius=1.0), owma.GoalTaskConfig((1.0, 0.0), 1.0), [1, 1, 0]),
        (owma.PreferenceTaskConfig(((2.0, 0.5, -1.0, 4.0, 3.0),)), None, [0, 2, 2]),
        ((_ROWS, np.array([5.0, 6.0, 7.0])), None, [5, 6, 7]),
        ({"obs": _ROWS, "reward": np.array([5.0, 6.0, 7.0])}, None, [5, 6, 7]),
    ],
)
def test_a_task_in_any_form(task: Any, config: object, rewards: list[float]) -> None:
    given = read_task(task)
    assert isinstance(given.task, owma.AbstractTask) and (config is None or given.config == config)
    marks = np.array([False, False, True])
    transitions = owma.Transitions(_ROWS, _ROWS[:, :1], np.zeros(3, np.float32), _ROWS, ~marks & False, marks)
    np.testing.assert_allclose(given.task.rewards(transitions), rewards, atol=0.01)
    if config is not None:  # what a run keeps of it is the same task
        np.testing.assert_array_equal(build_task(given.config).rewards(transitions), given.task.rewards(transitions))


def test_a_task_and_back() -> None:
    regions = owma.PreferenceTaskConfig(((2.0, 0.5, -1.0, 4.0, 3.0),))
    assert read_task(read_task(regions).task).config == regions
    assert read_task(None).config == read_task("recorded").config == owma.RecordedTaskConfig()
    with pytest.raises(owma.ConfigError, match="lambda.* no module holds it; give it again: owma.load"):
        build_task(read_task(lambda *_: np.zeros(3)).config)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ([], "A task cannot be made of a list"),
        (np.zeros((2, 2)), "A task cannot be made of a ndarray"),
        ({"obs": _ROWS}, "Labels are a mapping with `obs` and `reward`, and this one has"),
        ((_ROWS, np.zeros(2)), r"These labels are no task .*\(k, obs\) and \(k,\)"),
        ("none", "there is none of that name"),
    ],
)
def test_what_is_no_task_is_refused(task: Any, said: str) -> None:
    with pytest.raises(owma.ConfigError, match=said):
        read_task(task)


def _made() -> gym.Env[Any, Any]:
    return TimeLimit(Cart(), 7)


@pytest.mark.parametrize(
    ("env", "env_id", "limit"),
    [
        (Cart, "session/Cart-v0", None),
        (_made, "session/_made-v0", 7),
        (lambda: Point(), "session/lambda-v0", None),
        (Cart(), "session/Cart-v0", None),
        (TimeLimit(Cart(), 7), "session/Cart-v0", 7),
        (gym.spec("own/Plain-v0"), "own/Plain-v0", 10),
        ("own/Plain-v0", "own/Plain-v0", 10),
        (gym.make("own/Plain-v0"), "own/Plain-v0", 10),
        # A function in a wrapper is in no file: copies are made of what was given.
        (TransformReward(gym.make("own/Plain-v0"), lambda reward: 2 * float(reward)), "session/Point-v0", 10),
    ],
)
def test_an_environment_in_any_form_is_made_and_stepped(env: Any, env_id: str, limit: int | None) -> None:
    spec = given_env(env)
    assert (spec.id, spec.max_episode_steps) == (env_id, limit)
    check_env(spec, None, obs_dim=2, action_dim=1)
    one, two = gym.make(spec), gym.make(spec)
    assert one.unwrapped is not two.unwrapped
    first = [made.reset(seed=3)[0].copy() for made in (one, two)]
    np.testing.assert_array_equal(first[0], first[1])
    assert not pays(spec, "owma.envs:preferred_route_reward")


def test_a_wrapper_with_a_function_stays() -> None:
    twice = gym.make(given_env(TransformReward(gym.make("own/Plain-v0"), lambda reward: 2 * float(reward))))
    once = gym.make("own/Plain-v0")
    rewards = []
    for env in (once, twice):
        env.reset(seed=0)
        rewards.append(env.step(np.zeros(1, np.float32))[1])
    assert rewards[1] == 2 * rewards[0] != 0


def _raises() -> gym.Env[Any, Any]:
    raise OSError("no simulator")


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (_raises, r"_raises made no environment \(OSError: no simulator"),
        (dict, "dict returned a dict, not a gymnasium.Env"),
        ("nowhere/None-v0", "There is no environment"),
    ],
)
def test_what_is_no_environment_is_refused(env: Any, said: str) -> None:
    with pytest.raises(owma.ConfigError, match=said):
        given_env(env)


def _folder(data: dict[str, np.ndarray], tmp_path: Path) -> str:
    (tmp_path / "own").mkdir()
    np.savez(tmp_path / "own" / "all.npz", **data)  # pyright: ignore[reportArgumentType]
    return str(tmp_path / "own")


def _npz(data: dict[str, np.ndarray], tmp_path: Path) -> Path:
    np.savez(tmp_path / "d4rl.npz", **data)  # pyright: ignore[reportArgumentType]
    return tmp_path / "d4rl.npz"


def _transitions(data: dict[str, np.ndarray], tmp_path: Path) -> owma.Transitions:
    del tmp_path
    names = ("observations", "actions", "rewards", "next_observations", "terminations", "truncations")
    return owma.Transitions(*(data[name] for name in names))


def _dataset(data: dict[str, np.ndarray], tmp_path: Path) -> owma.OfflineDataset:
    ends = np.ones(1)
    spec = gym.spec("own/Plain-v0")
    return owma.OfflineDataset("mine", _transitions(data, tmp_path), None, -2 * ends, 2 * ends, spec)


@pytest.mark.parametrize(
    "form",
    [
        lambda data, _: data,
        lambda data, _: {name: values.tolist() for name, values in data.items()},
        lambda data, _: data | {"dones": data["truncations"]},
        _transitions,
        _dataset,
        _folder,
        _npz,
        lambda data, path: owma.ArrayFolder(Path(_folder(data, path))),
    ],
)
def test_data_in_any_form_are_the_same(form: Callable[..., Any], tmp_path: Path) -> None:
    data = recorded(3)
    with given_data(form(data, tmp_path), shown_progress(False)) as given:
        dataset, kept = given.dataset, given.arrays is not None
        (tmp_path / "run").mkdir()
        given.keep(tmp_path / "run")
    assert all(
        np.array_equal(getattr(dataset.transitions, field.name), getattr(_transitions(data, tmp_path), field.name))
        for field in dataclasses.fields(owma.Transitions)
    )
    if form is _dataset:
        assert dataset.action_low == -2 and dataset.env_spec is not None and dataset.dataset_id == "mine"
    # What was in memory is in the run's folder; what is on disk stays where it is.
    again = kept_data(given.config, tmp_path / "run")
    assert (again == given.config) != kept
    with given_data(again, shown_progress(False)) as given:
        assert np.array_equal(given.dataset.transitions.obs, dataset.transitions.obs)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (3, "A dataset cannot be made of a int"),
        ({"observations": np.zeros((4, 2))}, "The data given has no `action`"),
        ({"obs": {"place": np.zeros(3)}, "action": np.zeros((3, 1))}, "The data given hold 'obs', a dict"),
        ({"obs": np.array([object()] * 3), "action": np.zeros((3, 1))}, "The data given hold 'obs', a ndarray"),
        ("nowhere/none-v0", "nowhere/none-v0"),
    ],
)
def test_what_is_no_data_is_refused(data: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    with pytest.raises(owma.OwmaError, match=said), given_data(data, shown_progress(False)):
        pass


def test_mistakes_leave_no_run_behind(tmp_path: Path) -> None:
    mistakes: list[dict[str, Any]] = [
        {"task": [9.0, 9.0]},  # reached nowhere
        {"env": lambda: Point(odd="step")},
        {"env": "Pendulum-v1"},
        {"preset": "none"},
        {"task": lambda obs, action, next_obs: next_obs[:, 5]},
        {"data": None},
    ]
    for mistake in mistakes:
        with pytest.raises(owma.OwmaError):
            owma.fit(**({"data": recorded(3), "runs": tmp_path / "runs", "progress": False} | mistake))
    assert not (tmp_path / "runs").exists()
