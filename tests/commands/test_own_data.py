"""Data of one's own: which task a run is of, what it says first, and what a preset does not bring along."""

import copy
import dataclasses
import json
import pickle
import re
import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from documents import GUIDES, README, commands

import owma.train.__main__
from owma._internal.errors import ConfigError
from owma.config.experiment import ExperimentConfig
from owma.config.fields import override
from owma.config.json import from_json, to_json
from owma.config.presets import PRESETS, fit_preset_to_data
from owma.config.sweep import SweepConfig, points
from owma.config.task import MinariDataset, RecordedTaskConfig, RewardTaskConfig
from owma.data import D4rlFile, TwoRoutesCollect

pytestmark = pytest.mark.cases

DATA = next(guide for guide in GUIDES if guide.parent.name == "data")
SHORT = (
    *("--world.width", "8", "--world.embed-width", "8", "--policy.width", "8", "--policy.embed-width", "8"),
    *("--training.updates", "4", "--training.report-every", "2", "--training.batch-size", "16"),
    *("--value.updates", "4", "--value.report-every", "2", "--value.width", "8", "--value.batch-size", "16"),
)
TRAIN_ONLY = (*SHORT, "--evaluation.episodes", "0")
UNPAID = ("data:d4rl-file", "--data.file", "unpaid.hdf5")


def _line(paid: bool = True) -> dict[str, np.ndarray]:
    """Twenty episodes of twenty steps: a place and a speed, pushed at random, and minus the distance to 1."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(20):
        state = rng.uniform(-1, 1, 2)
        for t in range(20):
            push = rng.uniform(-1, 1, 1)
            after = 0.95 * state + np.array([0.05 * state[1], 0.1 * push[0]])
            rows.append((state, push, -abs(after[0] - 1) if paid else 0.0, after, False, t == 19))
            state = after
    names = ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts")
    kinds = (np.float32, np.float32, np.float32, np.float32, bool, bool)
    return {name: np.array(values).astype(kind) for name, kind, values in zip(names, kinds, zip(*rows))}


@pytest.fixture
def mine(elsewhere: Path) -> Path:
    """`mine.hdf5`, in D4RL's form, with rewards; and `unpaid.hdf5`, whose rewards are 0 throughout."""
    import h5py

    for name, paid in (("mine", True), ("unpaid", False)):
        with h5py.File(elsewhere / f"{name}.hdf5", "w") as file:
            for key, values in _line(paid).items():
                file[key] = values
    return elsewhere


def _config(done) -> dict:
    assert done.code == 0, done.stderr
    return json.loads((Path(done.stdout.splitlines()[-1]) / "config.json").read_text())


def _shown(page: Path, *has: str) -> list[str]:
    """The flags of the command on a page in which these words are."""
    (line,) = [line for line in commands(page) if all(word in line for word in has)]
    return shlex.split(line.partition("train ")[2], comments=True)


def _record_pendulum() -> None:
    import minari

    env = minari.DataCollector(gym.make("Pendulum-v1", max_episode_steps=50))
    rng = np.random.default_rng(0)
    for seed in range(4):
        env.reset(seed=seed)
        while not env.step(rng.uniform(-2, 2, 1).astype(np.float32))[3]:
            pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what this dataset does not say of itself
        env.create_dataset("mine/pendulum-v0")
    env.close()


def test_the_readmes_command_trains_on_a_recorded_pendulums_own_rewards(invoke, elsewhere: Path) -> None:
    _record_pendulum()
    few = ("--evaluation.planners", "static", "--evaluation.episodes", "1", "--evaluation.timed-decisions", "0")
    done = invoke(owma.train.__main__.main, *_shown(README, "train own", "mine/pendulum-v0"), *SHORT, *few)
    config = _config(done)
    assert config["task"] == {"class": "RecordedTaskConfig"}
    assert config["world"]["features"]["coordinates"] == 0
    assert done.stderr.splitlines()[:3] == [
        "data: mine/pendulum-v0: 200 transitions in 4 episodes, 0 terminated and 4 cut; observations of 3 numbers, "
        "actions of 1",
        "task: the rewards recorded with the data",
        "environment: Pendulum-v1, 50 steps",
    ]


def test_the_guides_command_for_a_file_trains_on_the_rewards_in_it(invoke, mine: Path) -> None:
    shown = _shown(DATA, "train own", "mine.hdf5")
    flags = [word for word in shown if word not in ("--evaluation.env", "Pendulum-v1")]
    done = invoke(owma.train.__main__.main, *flags, *TRAIN_ONLY)
    assert _config(done)["task"] == {"class": "RecordedTaskConfig"}
    assert done.stderr.splitlines()[0].startswith("data: mine: 400 transitions in 20 episodes, 0 terminated and 20 cut")
    assert "warning: the preset" not in done.stderr
    again = invoke(owma.train.__main__.main, "--resume", done.stdout.splitlines()[-1])
    assert again.stderr.splitlines()[:3] == done.stderr.splitlines()[:3]


def test_a_presets_task_is_of_its_own_data_alone(invoke, mine: Path) -> None:
    other = ("data:d4rl-file", "--data.file", "mine.hdf5", *TRAIN_ONLY)
    done = invoke(owma.train.__main__.main, "smoke", *other)
    assert _config(done)["task"] == {"class": "RecordedTaskConfig"}
    assert re.search("warning: the preset's task, the reward function owma.envs:preferred_route_reward, ", done.stderr)
    # An explicit task is as it was said, whatever it is.
    done = invoke(owma.train.__main__.main, "smoke", *other, "task:reward-task-config")
    assert _config(done)["task"]["reward"] == "owma.envs:preferred_route_reward"
    done = invoke(owma.train.__main__.main, "stitch", *other, "--task.goal", "0.5", "0", "--task.falloff", "1")
    assert _config(done)["task"] == {
        "class": "GoalTaskConfig",
        "goal": [0.5, 0.0],
        "radius": 0.5,
        "falloff": 1.0,
        "first_coordinate": 0,
    }
    assert "task: the goal (0.5, 0) within 0.5, with a slope of 1 about it, in coordinates 0 to 1" in done.stderr


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("own",), "There are no data yet.*--data.dataset ID.*data:d4rl-file.*data:array-folder"),
        (
            ("two-routes", "data:d4rl-file", "--data.file", "unpaid.hdf5"),
            "reward is 0 for every.*task:goal-task-config",
        ),
        (("own", "data:d4rl-file", "--data.file", "unpaid.hdf5"), "reward is 0 for every.*--task.reward MODULE:FUNC"),
        (
            ("own", "data:d4rl-file", "--data.file", "mine.hdf5", "--world.features.coordinates", "7"),
            "--world.features.coordinates=7: the observations have 2; ask for no more, or pass --world.features.coord",
        ),
    ],
)
def test_is_refused_before_anything_is_written(flags: Sequence[str], sentence: str, invoke, mine: Path) -> None:
    assert re.search(sentence, invoke(owma.train.__main__.main, *flags, *TRAIN_ONLY).refused())
    assert not (mine / "runs").exists()


def test_a_presets_features_do_not_hide_numbers_of_other_data(invoke, mine: Path) -> None:
    other = ("data:d4rl-file", "--data.file", "mine.hdf5", *TRAIN_ONLY)
    done = invoke(owma.train.__main__.main, "hopper", *other, "--world.features.bandwidth", "2")
    features = _config(done)["world"]["features"]
    assert (features["coordinates"], features["kind"], features["bandwidth"]) == (0, "fourier", 2.0)
    assert (
        "look at part of its own observations (--world.features.coordinates 7); of these data they are" in done.stderr
    )


def test_a_reward_of_another_environment_is_warned_of(invoke, elsewhere: Path) -> None:
    _record_pendulum()
    task = ("task:reward-task-config", "--task.reward", "owma.envs:preferred_route_reward")
    done = invoke(owma.train.__main__.main, "own", "--data.dataset", "mine/pendulum-v0", *task, *TRAIN_ONLY)
    assert _config(done)["task"]["reward"] == "owma.envs:preferred_route_reward"
    assert re.search("owma: warning: The reward owma.envs:pref.* of TwoRoutes.*'Pendulum-v1'", done.stderr)


def test_in_python_too_data_alone_bring_no_task_of_other_data() -> None:
    data = D4rlFile(Path("mine.hdf5"))
    for config in (ExperimentConfig(data=data), dataclasses.replace(ExperimentConfig(), data=data)):
        assert config.task == RecordedTaskConfig()
        assert from_json(ExperimentConfig, to_json(config)) == config
    # What is said stays, and a run of before, whose configuration says it, is read as it was.
    said = ExperimentConfig(data=data, task=RewardTaskConfig())
    assert said.task == RewardTaskConfig() and from_json(ExperimentConfig, to_json(said)) == said
    assert ExperimentConfig(data=TwoRoutesCollect(skew=0.5)).task == RewardTaskConfig()


@pytest.mark.parametrize(
    "again",
    [
        lambda config: config,
        lambda config: pickle.loads(pickle.dumps(config)),
        lambda config: from_json(ExperimentConfig, json.loads(json.dumps(to_json(config)))),
        dataclasses.replace,
        copy.deepcopy,
        lambda config: override(config, {"seed": 0}),
    ],
)
def test_a_copy_of_a_configuration_takes_other_data_as_the_configuration_does(again: Any) -> None:
    data, said = D4rlFile(Path("mine.hdf5")), RewardTaskConfig()
    copied = again(again(ExperimentConfig()))
    assert copied == ExperimentConfig() and copied.training_fingerprint == ExperimentConfig().training_fingerprint
    assert dataclasses.replace(copied, data=data).task == RecordedTaskConfig()
    # A task that was named with other data is none of the default's, though it equals it.
    copied = again(again(ExperimentConfig(data=data, task=said)))
    assert copied.task == said and dataclasses.replace(copied, data=MinariDataset("mine/x-v0")).task == said
    back = dataclasses.replace(copied, data=TwoRoutesCollect())
    assert again(back) == ExperimentConfig()


def test_settings_of_a_collector_keep_the_task_and_another_maze_does_not() -> None:
    def task(name: str, **fields: Any) -> Any:
        preset = PRESETS[name][1]
        data = dataclasses.replace(preset.data, **fields)
        return fit_preset_to_data(dataclasses.replace(preset, name="other", data=data), lambda field: False)[0].task

    assert task("two-routes", skew=0.05) == RewardTaskConfig()
    assert task("stitch", episodes=7, dataset_id="mine/x-v0") == PRESETS["stitch"][1].task
    assert task("pointmaze-umaze", maze="medium") == RecordedTaskConfig()


def test_settings_of_training_for_an_ant_are_told_on_other_data() -> None:
    ant = dataclasses.replace(PRESETS["antmaze-umaze"][1], data=MinariDataset("mine/x-v0"))
    *_, note = fit_preset_to_data(ant, lambda field: field == "training.obs_noise")[1]
    assert "--training.target monte_carlo (there: n_step), --training.after-truncation stay (there:" in note
    assert "obs-noise" not in note  # the user's own


def test_a_sweep_on_other_data_is_of_their_rewards_and_says_so_once() -> None:
    other, notes = 'data={"class":"D4rlFile","file":"mine.hdf5","episode_steps":null}', []
    first, second = points(SweepConfig(overrides=(other,), seeds=(1, 2)), notes.append)
    assert first.experiment.task == second.experiment.task == RecordedTaskConfig()
    (note,) = notes
    assert "the task is the rewards recorded with them" in note
    task = 'task={"class":"RewardTaskConfig","reward":"mine:reward"}'
    (point,) = points(SweepConfig(overrides=(other, task)))
    assert point.experiment.task == RewardTaskConfig("mine:reward")


def test_a_refusal_of_a_sweeps_field_says_of_which_part() -> None:
    with pytest.raises(ConfigError, match=r"ExperimentConfig\.value: updates=-5: must be at least 1"):
        points(SweepConfig(overrides=("value.updates=-5",)))
