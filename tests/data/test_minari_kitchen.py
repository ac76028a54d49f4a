"""A dataset of FrankaKitchen-v1 in the form of Minari's D4RL/kitchen/...: goals by object, in dicts within the dict."""

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import owma.inspect
from owma._internal.command import command
from owma.config.task import parse_task
from owma.data import load_minari, open_minari, read_whole
from owma.envs import load_robotics
from owma.envs.make import check_env
from owma.outcomes.observations import flatten_obs
from owma.outcomes.tasks import AbstractRewardTask, build_task

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:minari"),
    # Its desired goal is one and the same object in every observation; it is not read.
    pytest.mark.filterwarnings("ignore:.*The observations returned by `(reset|step)` and:UserWarning:gymnasium"),
]

NAME = "D4RL/kitchen/tiny-v2"
TASKS = ["microwave", "kettle", "light switch", "slide cabinet"]
MICROWAVE_JOINT = 22


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """The dataset's folder, and the `observation`s of its two episodes; in the second the microwave is opened."""
    import minari

    load_robotics()
    root, seen = tmp_path_factory.mktemp("datasets"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        made = {"tasks_to_complete": TASKS, "remove_task_when_completed": False, "terminate_on_tasks_completed": False}
        collector = minari.DataCollector(gym.make("FrankaKitchen-v1", max_episode_steps=4, **made))
        simulator: Any = collector.unwrapped
        for seed in range(2):
            obs, _ = collector.reset(seed=seed)
            seen.append(obs["observation"].copy())
            for step in range(4):
                if seed == 1 and step == 2:
                    simulator.data.qpos[MICROWAVE_JOINT] = -0.75
                obs, *_ = collector.step(np.full(9, 0.1 * step))
                seen.append(obs["observation"].copy())
        collector.create_dataset(NAME)
        collector.close()
    return root / NAME, np.stack(seen).reshape(2, 5, 59)


@pytest.fixture(autouse=True)
def here(kitchen: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(kitchen[0].parents[2]))


def test_the_state_is_the_vector_alone(kitchen) -> None:
    dataset, observations = load_minari(NAME), kitchen[1].astype(np.float32)
    data = dataset.transitions
    assert dataset.dataset_id == NAME and dataset.obs_keys == ("observation",)
    np.testing.assert_array_equal(data.obs, observations[:, :-1].reshape(8, 59))
    np.testing.assert_array_equal(data.next_obs, observations[:, 1:].reshape(8, 59))
    assert dataset.action_low.tolist() == [-1] * 9 and dataset.action_high.tolist() == [1] * 9
    assert np.flatnonzero(data.truncated).tolist() == [3, 7] and not data.terminated.any()


def test_a_piece_at_a_time_it_is_the_same() -> None:
    whole, recording = load_minari(NAME).transitions, open_minari(NAME)
    assert recording.obs_keys == ("observation",) and (recording.obs_dim, recording.action_dim) == (59, 9)
    np.testing.assert_array_equal(read_whole(recording).transitions.next_obs, whole.next_obs)


def test_it_is_inspected(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["owma.inspect", NAME, "--json"])
    command(owma.inspect.main)
    facts = json.loads(capsys.readouterr().out)
    assert facts["obs_keys"] == ["observation"] and facts["env"] == "FrankaKitchen-v1"
    assert facts["observations"]["shape"] == [59] and facts["transitions"] == 8


def test_its_environment_fits_and_gives_what_training_saw(kitchen) -> None:
    dataset = load_minari(NAME)
    assert dataset.env_spec is not None and dataset.env_spec.kwargs["tasks_to_complete"] == TASKS
    check_env(dataset.env_spec, dataset.obs_keys, obs_dim=59, action_dim=9)
    env = gym.make(dataset.env_spec)
    obs, _ = env.reset(seed=0)
    np.testing.assert_array_equal(flatten_obs(obs, dataset.obs_keys), kitchen[1][0, 0].astype(np.float32))
    env.close()


def test_its_subtasks_are_labelled() -> None:
    data = load_minari(NAME).transitions
    microwave, kettle = (build_task(parse_task(f"owma.envs.kitchen:{name}")) for name in ("microwave", "kettle"))
    # In these steps the environment pays for the microwave alone.
    assert data.reward.sum() == 2
    np.testing.assert_array_equal(microwave.rewards(data), data.reward)
    assert isinstance(kettle, AbstractRewardTask)
    assert not kettle.judge(data.obs, data.action, data.next_obs).any()
