"""Dirty data: what cannot be learnt from is refused in a sentence; from the rest, training ends in finite models."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import gymnasium as gym
import h5py
import jax
import numpy as np
import pytest

from owma._internal.errors import ConfigError, DatasetError, OwmaError
from owma.agent.act import Agent
from owma.config.experiment import EvaluationConfig, ExperimentConfig
from owma.config.policy import PolicyConfig
from owma.config.task import MinariDataset, RecordedTaskConfig
from owma.config.training import TrainingConfig
from owma.config.value import ValueConfig
from owma.config.world import WorldConfig
from owma.data import OfflineDataset, load_minari, open_minari, read_whole
from owma.planners import RandomShooting
from owma.runs.folder import RunFolder
from owma.runs.parts import TrainedParts
from owma.train.experiment import Experiment
from owma.train.inputs import prepare_experiment

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")

TINY = ExperimentConfig(
    name="tiny",
    data=MinariDataset("test/mine-v0"),
    task=RecordedTaskConfig(),
    world=WorldConfig(width=8, depth=1, embed_width=8, solver_steps=2),
    policy=PolicyConfig(width=8, depth=1, embed_width=8, solver_steps=2),
    training=TrainingConfig(updates=2, batch_size=8, report_every=2, bootstrap_steps=2, n_step=3),
    value=ValueConfig(num_tasks=2, num_labels=16, width=8, depth=1, updates=2, batch_size=8, report_every=2),
    evaluation=EvaluationConfig(episodes=0),
)

Episode = dict[str, Any]


@contextlib.contextmanager
def _silent(label: str, total: int, done: int) -> Iterator[Callable[..., None]]:
    yield lambda *_, **__: None


def _episode(steps: int, seed: int, terminated: bool = False) -> Episode:
    rng = np.random.default_rng(seed)
    return {
        "observations": rng.normal(size=(steps + 1, 2)),
        "actions": rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        "rewards": rng.normal(size=steps),
        "terminations": np.array([False] * (steps - 1) + [terminated] if steps else [], bool),
        "truncations": np.array([False] * (steps - 1) + [not terminated] if steps else [], bool),
    }


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Episode]], None]:
    """Write a dataset, as Minari does."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))

    def write(episodes: Sequence[Episode]) -> None:
        import minari
        from minari.data_collector import EpisodeBuffer

        # Minari writes no episode without a step, though it reads them: one of a step is cut.
        written = [episode if len(episode["actions"]) else _episode(1, 0) for episode in episodes]
        minari.create_dataset_from_buffers(
            "test/mine-v0",
            [EpisodeBuffer(id=number, **episode) for number, episode in enumerate(written)],
            observation_space=gym.spaces.Box(-np.inf, np.inf, (2,), np.float64),
            action_space=gym.spaces.Box(-1, 1, (2,), np.float32),
        )
        empty = [number for number, episode in enumerate(episodes) if not len(episode["actions"])]
        if empty:
            _cut(tmp_path / "datasets" / "test" / "mine-v0" / "data", empty)

    return write


def _cut(data: Path, numbers: Sequence[int]) -> None:
    with h5py.File(data / "main_data.hdf5", "a") as file:
        for number in numbers:
            for field in ("observations", "actions", "rewards", "terminations", "truncations"):
                array = file[f"episode_{number}/{field}"]
                assert isinstance(array, h5py.Dataset)
                array.resize(len(array) - 1, axis=0)
    metadata = json.loads((data / "metadata.json").read_text())
    metadata["total_steps"] -= len(numbers)
    (data / "metadata.json").write_text(json.dumps(metadata))


def _train(tmp_path: Path) -> TrainedParts:
    folder = RunFolder.create(tmp_path / "runs", "tiny")
    return Experiment(TINY, prepare_experiment(TINY, _silent), folder, _silent).train()


def _check_finite(parts: TrainedParts) -> None:
    for leaf in jax.tree.leaves(eqx.filter(parts, eqx.is_inexact_array)):
        assert np.isfinite(np.asarray(leaf)).all()
    agent = Agent(parts.agent_model("linear"), RandomShooting(num_samples=4).build())
    action, _, info = agent.act(np.zeros(2, np.float32), agent.init(), key=jax.random.key(0))
    assert (np.abs(action) <= 1).all() and np.isfinite(info.psi).all()


@pytest.mark.parametrize("field", ["observations", "actions", "rewards"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e39])
def test_numbers_that_are_not_finite(field: str, number: float, write, outcome) -> None:
    bad = _episode(5, 1)
    bad[field] = bad[field].astype(np.float64)
    bad[field].flat[3] = number
    write([_episode(5, 0), bad])
    with pytest.raises(DatasetError, match=f"has {field} that are not finite: 1 rows, the first in episode 1") as error:
        load_minari("test/mine-v0")
    outcome(f"data: {number:g} in {field}", error.value)


def _load_in_pieces(name: str) -> OfflineDataset:
    return read_whole(open_minari(name))


@pytest.mark.parametrize("load", [load_minari, _load_in_pieces])
@pytest.mark.parametrize(
    ("field", "fault"),
    [
        (field, fault)
        for field in ("observations", "actions", "rewards")
        for fault in ("one axis too many", "one axis too few", "another width", "too short", "text")
        if field != "rewards" or fault not in ("one axis too few", "another width")  # a reward has neither
    ],
)
def test_arrays_of_wrong_form(
    field: str, fault: str, load: Callable[[str], OfflineDataset], write, outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("owma.data.minari.rows_in_piece", lambda *_: 3)  # an episode a piece
    good, bad = _episode(5, 0), _episode(5, 1)
    values = bad[field]
    bad[field] = {
        "one axis too many": lambda: values[..., None],
        "one axis too few": lambda: values[:, 0],
        "another width": lambda: np.concatenate([values, values], axis=-1),
        "too short": lambda: values[:-1],
        "text": lambda: np.full(values.shape, "x", "S1"),
    }[fault]()
    write([good, bad])
    with pytest.raises(DatasetError) as error:
        load("test/mine-v0")
    outcome(f"data: {field} with {fault}{_how(load)}", error.value)


@pytest.mark.parametrize("load", [load_minari, _load_in_pieces])
@pytest.mark.parametrize("field", ["observations", "actions"])
def test_one_width_that_is_not_the_spaces(field: str, load: Callable[[str], OfflineDataset], write, outcome) -> None:
    episodes = [_episode(5, 0), _episode(5, 1)]
    for episode in episodes:
        episode[field] = np.concatenate([episode[field]] * 2, axis=1)
    write(episodes)
    with pytest.raises(DatasetError, match=f"{field} of 4 numbers.*space has 2") as error:
        load("test/mine-v0")
    outcome(f"data: all {field} wider than their space{_how(load)}", error.value)


def _how(load: Callable[[str], OfflineDataset]) -> str:
    return ", read in pieces" if load is _load_in_pieces else ""


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.int64, bool])
def test_numbers_of_other_types_are_read(dtype, write, outcome) -> None:
    episodes = [_episode(5, 0), _episode(5, 1)]
    for episode in episodes:
        for field in ("observations", "actions", "rewards"):
            episode[field] = (10 * episode[field]).astype(dtype)
    write(episodes)
    data = load_minari("test/mine-v0").transitions
    expected = np.concatenate([episode["rewards"] for episode in episodes]).astype(np.float32)
    np.testing.assert_array_equal(data.reward, expected)
    outcome(f"data: {np.dtype(dtype)} throughout", "read as float32")


def test_no_episode_with_a_step(write, outcome) -> None:
    write([_episode(0, 0), _episode(0, 1)])
    with pytest.raises(DatasetError, match="is empty") as error:
        load_minari("test/mine-v0")
    outcome("data: empty episodes only", error.value)


_LEARNABLE: dict[str, list[Episode]] = {
    "an empty episode among others": [_episode(5, 0), _episode(0, 1), _episode(5, 2)],
    "episodes of one step": [_episode(1, seed, terminated=seed % 2 == 0) for seed in range(12)],
    "one step in all": [_episode(1, 0), _episode(1, 1)],
    "one episode": [_episode(12, 0)],
    "time limits only": [_episode(6, seed) for seed in range(4)],
    "terminations only": [_episode(6, seed, terminated=True) for seed in range(4)],
    "observations of 1e30": [
        _episode(6, seed) | {"observations": 1e30 * _episode(6, seed)["observations"]} for seed in range(4)
    ],
    "observations of 1e-30": [
        _episode(6, seed) | {"observations": 1e-30 * _episode(6, seed)["observations"]} for seed in range(4)
    ],
    "one observation of 3e38": [
        _episode(6, seed) | {"observations": np.where(np.arange(14).reshape(7, 2) == 3 * seed, 3e38, 1.0)}
        for seed in range(4)
    ],
    "rewards of 1e30": [_episode(6, seed) | {"rewards": 1e30 * _episode(6, seed)["rewards"]} for seed in range(4)],
    "constant observations": [_episode(6, seed) | {"observations": np.full((7, 2), 3.0)} for seed in range(4)],
    "one constant coordinate": [
        _episode(6, seed) | {"observations": _episode(6, seed)["observations"] * [1.0, 0.0] + [0.0, 5.0]}
        for seed in range(4)
    ],
    "constant actions": [_episode(6, seed) | {"actions": np.full((6, 2), 0.5, np.float32)} for seed in range(4)],
    "actions far outside their space": [
        _episode(6, seed) | {"actions": 1e20 * _episode(6, seed)["actions"]} for seed in range(4)
    ],
}
"""What a sentence may refuse and what may be learnt from; nothing else may come of it."""


@pytest.mark.slow
@pytest.mark.parametrize("fault", _LEARNABLE)
def test_odd_data_end_in_finite_models_or_a_sentence(fault: str, write, tmp_path: Path, outcome) -> None:
    write(_LEARNABLE[fault])
    try:
        parts = _train(tmp_path)
    except OwmaError as error:
        outcome(f"data, trained on: {fault}", error)
        return
    _check_finite(parts)
    outcome(f"data, trained on: {fault}", "finite models, safe actions")


def test_constant_rewards(write, tmp_path: Path, outcome) -> None:
    write([_episode(6, seed) | {"rewards": np.ones(6)} for seed in range(4)])
    with pytest.raises(ConfigError, match="prefers nothing") as error:
        prepare_experiment(TINY, _silent)
    outcome("data: constant rewards", error.value)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_reward_function_that_is_not_finite(number: float, write, monkeypatch, tmp_path: Path, outcome) -> None:
    from owma.config.task import RewardTaskConfig

    write([_episode(6, seed) for seed in range(4)])
    (tmp_path / "broken_reward.py").write_text(
        "import numpy as np\n\n\ndef reward(obs, action, next_obs):\n"
        f"    return np.where(np.arange(len(obs)) == 7, float('{number}'), obs[:, 0])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = dataclasses.replace(TINY, task=RewardTaskConfig("broken_reward:reward"))
    with pytest.raises(ConfigError, match="is not finite at transition 7") as error:
        prepare_experiment(config, _silent)
    outcome(f"reward function: {number} at one transition", error.value)
