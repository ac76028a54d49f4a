"""`python -m owma.inspect` on datasets of every form, and training on files from the command line."""

import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
import pytest

import owma.inspect
import owma.train.__main__


def arrays(rows: int = 60) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "observations": np.cumsum(rng.normal(size=(rows, 3)), axis=0),
        "actions": rng.uniform(-1, 1, (rows, 2)).astype(np.float32),
        "rewards": rng.normal(size=rows),
        "terminals": np.arange(rows) % 20 == 19,
        "timeouts": np.zeros(rows, bool),
    }


@pytest.fixture
def files(elsewhere: Path) -> dict[str, str]:
    """The same numbers as a D4RL file, an OGBench file and a folder."""
    with h5py.File("walk.hdf5", "w") as file:
        for name, values in arrays().items():
            file[name] = values
    np.savez("walk.npz", **{name: values for name, values in arrays().items() if name != "timeouts"})
    Path("mine").mkdir()
    np.savez("mine/a.npz", **arrays())
    return {"d4rl": "walk.hdf5", "ogbench": "walk.npz", "folder": "mine"}


@pytest.mark.parametrize(("form", "steps"), [("d4rl", 60), ("ogbench", 57), ("folder", 60)])
def test_a_table_for_people_and_json_for_programs(form: str, steps: int, invoke, files: dict[str, str]) -> None:
    outcome = invoke(owma.inspect.main, files[form])
    assert outcome.code == 0 and outcome.stderr == ""
    for part in (f"transitions *│ *{steps}", "episodes *│ *3: ", "3 numbers, float64", "not named: pass", "action 1"):
        assert re.search(part, outcome.stdout), outcome.stdout
    facts = json.loads(invoke(owma.inspect.main, files[form], "--json").stdout)
    assert facts["transitions"] == steps and facts["episodes"] == 3
    assert len(facts["observations"]["columns"]) == 3 and 0 < facts["coverage"] < 1


def test_a_minari_dataset(invoke, write_dataset: Any) -> None:
    dataset = write_dataset(gym.spaces.Box(-1, 1, (3,), np.float32), gym.spaces.Box(-1, 1, (2,), np.float32))
    facts = json.loads(invoke(owma.inspect.main, dataset, "--json").stdout)
    assert (facts["dataset"], facts["form"], facts["transitions"]) == (dataset, "Minari dataset", 20)
    assert "The recorded reward is 1 throughout: train with a task of another kind." in facts["warnings"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nope/none-v0"], "no dataset 'nope/none-v0'.*--download"),
        (["none.hdf5"], "There is no file none.hdf5; check the path"),
        (["walk.npz", "--episode-steps", "3"], "is no D4RL file.*leave it out"),
        (["bad.npz"], "bad.npz has no `terminals`; it holds `observations`, `actions`: rename"),
        (["empty"], "empty holds no file of arrays"),
    ],
)
def test_refusals(arguments: list[str], sentence: str, invoke, files: dict[str, str]) -> None:
    np.savez("bad.npz", observations=np.zeros((2, 2)), actions=np.zeros((2, 1)))
    Path("empty").mkdir()
    assert re.search(sentence, invoke(owma.inspect.main, *arguments).refused())


def test_training_says_that_files_name_no_environment(invoke, files: dict[str, str]) -> None:
    flags = [
        ("data:d4rl-file", "--data.file", files["d4rl"]),
        ("data:ogbench-file", "--data.file", files["ogbench"]),
        ("data:array-folder", "--data.folder", files["folder"]),
    ]
    for data in flags:
        arguments = ["smoke", *data, "task:goal-task-config", "--task.goal", "0", "0"]
        refusal = invoke(owma.train.__main__.main, *arguments).refused()
        assert re.search("names no environment to evaluate in; pass --evaluation.env ID", refusal), refusal
        refusal = invoke(owma.train.__main__.main, *arguments, "--evaluation.env", "CartPole-v1").refused()
        assert re.search(r"'CartPole-v1' does not fit the dataset.*\(3,\) and \(2,\)", refusal)
    assert not Path("runs").exists()


@pytest.mark.slow
def test_training_on_files(invoke, files: dict[str, str]) -> None:
    from owma.runs.load import load_run

    tiny = ["--training.updates", "2", "--value.updates", "2", "--evaluation.episodes", "0"]
    outcome = invoke(
        owma.train.__main__.main,
        *("smoke", "data:d4rl-file", "--data.file", files["d4rl"], "task:recorded-task-config", *tiny),
    )
    assert outcome.code == 0, outcome.stderr
    run = load_run(outcome.stdout.splitlines()[-1])
    assert run.env_spec is None and run.config.data == owma.D4rlFile(Path("walk.hdf5"))
