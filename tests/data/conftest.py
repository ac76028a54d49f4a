import os

import gymnasium as gym
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch):
    """An empty folder of Minari datasets for every test."""
    root = tmp_path / "datasets"
    root.mkdir()
    monkeypatch.setenv("MINARI_DATASETS_PATH", os.fspath(root))
    return root


@pytest.fixture
def write():
    """Write a dataset from (observations, actions, rewards, terminations, truncations) rows, one an episode."""
    import minari
    from minari.data_collector import EpisodeBuffer

    def write(episodes, obs_space, act_space=None, dataset_id="test/mine-v0", **kwargs):
        buffers = [
            EpisodeBuffer(
                id=number,
                observations=obs,
                actions=actions,
                rewards=list(rewards),
                terminations=list(terminations),
                truncations=list(truncations),
            )
            for number, (obs, actions, rewards, terminations, truncations) in enumerate(episodes)
        ]
        return minari.create_dataset_from_buffers(
            dataset_id,
            buffers,
            observation_space=obs_space,
            action_space=act_space or gym.spaces.Box(-1, 1, (2,), np.float32),
            **kwargs,
        )

    return write


@pytest.fixture
def episode():
    """One random episode with flat observations; keyword arguments replace parts."""

    def episode(steps=5, seed=0, obs=None, actions=None, rewards=None, terminated=False, truncated=True):
        rng = np.random.default_rng(seed)
        flags = [False] * (steps - 1)
        return (
            rng.normal(size=(steps + 1, 3)) if obs is None else obs,
            rng.uniform(-1, 1, (steps, 2)).astype(np.float32) if actions is None else actions,
            rng.normal(size=steps) if rewards is None else rewards,
            [*flags, terminated],
            [*flags, truncated],
        )

    return episode
