"""A user's mistake: one sentence with cause and remedy on standard error, exit code 2, nothing written."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import owma.eval.__main__
import owma.train.__main__

VECTOR = gym.spaces.Box(-1, 1, (3,), np.float32)
FORCES = gym.spaces.Box(-1, 1, (2,), np.float32)
PIXELS = gym.spaces.Box(0, 255, (4, 4, 3), np.uint8)
OWN_DATA = ("smoke", "data:minari-dataset", "--data.dataset")

# Flags, and the cause and the remedy that the sentence must name.
MISTAKES = {
    "unknown dataset": ([*OWN_DATA, "nope/none-v0"], "no dataset 'nope/none-v0'.*--download"),
    "own dataset, not collected": ([*OWN_DATA, "owma/pointmaze-umaze-9-seed0-v0"], "collect it with `python -m owma"),
    "reward that is no module": (["smoke", "--task.reward", "nowhere:f"], "'nowhere:f' cannot be .*module:function"),
    "reward that is no function": (["smoke", "--task.reward", "owma.envs:f"], "'owma.envs:f' cannot be .*as module:"),
    "labels that are no file": (
        ["smoke", "task:labelled-task-config", "--task.file", "none.npz"],
        "read from none.npz.*it must be an .npz file",
    ),
    "unknown environment": (["smoke", "--evaluation.env", "Nope-v0"], "no environment 'Nope-v0'.*name a registered"),
    "environment in no module": (["smoke", "--evaluation.env", "nowhere:N-v0"], "'nowhere:N-v0'.*name a registered"),
    "run name": (["smoke", "--name", "v1"], "A run cannot be called 'v1': use one folder name"),
    "discount": (["smoke", "--world.discount", "1.5"], "--world.discount=1.5: must lie strictly between 0 and 1"),
    "updates": (["smoke", "--training.updates", "0"], "--training.updates=0: must be at least 1"),
    "updates of another part": (["smoke", "--value.updates", "-5"], "error: --value.updates=-5: must be at least 1"),
    "updates of features": (
        ["smoke", "--world.features.pretraining.updates", "-5"],
        "error: --world.features.pretraining.updates=-5: must be at least 1",
    ),
    "goal": (["stitch", "--task.radius", "-1"], "--task.radius=-1.0, --task.falloff=0.0, .*: of a goal none may be"),
    "unknown planner": (["smoke", "--evaluation.planners", "best"], r"\['best'\].*choose from static, random_shooting"),
    "episodes": (["smoke", "--evaluation.episodes", "-1"], "--evaluation.episodes=-1: must be at least 0"),
    "skew": (["smoke", "--data.skew", "2"], "--data.skew is a share of the episodes, between 0 and 1; got 2"),
    "run to go on with": (["--resume", "runs/none"], "There is no run at runs/none.*train first"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_training_refuses(name: str, invoke, elsewhere: Path) -> None:
    arguments, sentence = MISTAKES[name]
    assert re.search(sentence, invoke(owma.train.__main__.main, *arguments).refused())
    assert not list(elsewhere.rglob("*")) and not list((elsewhere.parent / "datasets").rglob("*"))


@pytest.mark.parametrize(
    ("obs_space", "act_space", "sentence"),
    [
        (VECTOR, gym.spaces.Discrete(3), r"actions in Discrete\(3\); owma needs continuous actions"),
        (PIXELS, FORCES, r"uint8 arrays of shape \(4, 4, 3\).*not images"),
        (gym.spaces.Dict({"camera": PIXELS}), FORCES, r"uint8 arrays of shape \(4, 4, 3\) as .*camera.*not images"),
        (VECTOR, FORCES, "recorded reward is 1 for every transition.*Choose another task"),
    ],
)
def test_training_refuses_a_dataset(obs_space, act_space, sentence: str, invoke, write_dataset) -> None:
    dataset_id = write_dataset(obs_space, act_space)
    arguments = [*OWN_DATA, dataset_id, "task:recorded-task-config", "--evaluation.env", "CartPole-v1"]
    assert re.search(sentence, invoke(owma.train.__main__.main, *arguments).refused())
    assert not list(Path.cwd().iterdir())


def test_training_refuses_a_reward_of_another_environment(invoke, write_dataset) -> None:
    task = ("task:reward-task-config", "--task.reward", "owma.envs.kitchen:microwave")
    refusal = invoke(owma.train.__main__.main, *OWN_DATA, write_dataset(VECTOR, FORCES), *task).refused()
    assert re.search(r"reward owma.envs.kitchen:microwave raised ValueError .*observations of 3 numbers", refusal)
    assert not list(Path.cwd().iterdir())


def test_training_refuses_to_evaluate_nowhere_or_in_another_world(invoke, write_dataset, tmp_path, monkeypatch) -> None:
    (tmp_path / "mine.py").write_text("def reward(obs, action, next_obs):\n    return next_obs[:, 0]\n")
    monkeypatch.syspath_prepend(tmp_path)
    arguments = [*OWN_DATA, write_dataset(VECTOR, FORCES), "task:reward-task-config", "--task.reward", "mine:reward"]
    refusal = invoke(owma.train.__main__.main, *arguments).refused()
    assert re.search("names no environment to evaluate in; pass --evaluation.env ID, or --evaluation.episodes", refusal)
    refusal = invoke(owma.train.__main__.main, *arguments, "--evaluation.env", "CartPole-v1").refused()
    assert re.search(r"'CartPole-v1' does not fit the dataset.*\(4,\).*Discrete.*\(3,\) and \(2,\)", refusal)
    assert not list(Path.cwd().iterdir())


@pytest.fixture
def copy(smoke_run, elsewhere: Path) -> Path:
    """The trained run, to be spoilt."""
    return Path(shutil.copytree(smoke_run.runs, elsewhere / "runs") / "smoke" / "v1")


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["runs/none"], "no run at runs/none; choose one of runs/smoke"),
        (["runs/smoke", "planner:online-adaptation", "--planner.kl-coef", "-1"], "planner.kl-coef=-1.*small positive"),
        (["runs/smoke", "planner:random-shooting", "--planner.num-elites", "0"], "needs 1 <= num_elites"),
        (["runs/smoke", "--episodes", "0"], "episodes=0: .* at least one"),
        (["runs/smoke", "--env", "owma/TwoRoots-v0"], "no environment 'owma/TwoRoots-v0'.*name a registered"),
        (["runs/smoke", "--env", "CartPole-v1"], "'CartPole-v1' does not fit the dataset.*Discrete.*choose another"),
    ],
)
def test_evaluation_refuses(arguments: list[str], sentence: str, invoke, copy: Path) -> None:
    before = _contents(Path.cwd())
    assert re.search(sentence, invoke(owma.eval.__main__.main, *arguments).refused())
    assert _contents(Path.cwd()) == before and not (copy / "evaluations").exists()


def test_a_checkpoint_of_another_configuration_is_refused(invoke, copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["training"]["learning_rate"] = 0.5  # the arrays would fit
    (copy / "config.json").write_text(json.dumps(config))
    before = _contents(Path.cwd())
    for main, arguments in (
        (owma.eval.__main__.main, ["runs/smoke"]),
        (owma.train.__main__.main, ["--resume", "runs/smoke"]),
    ):
        refusal = invoke(main, *arguments).refused()
        assert re.search("is of another configuration.*Use the config.json beside it, or start a new run", refusal)
    assert _contents(Path.cwd()) == before


def test_a_run_that_is_not_finished_or_damaged_is_refused(invoke, copy: Path) -> None:
    largest = max((copy / "models").rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    assert re.search("is damaged: .*restore the folder", invoke(owma.eval.__main__.main, "runs/smoke").refused())
    shutil.rmtree(copy / "models")
    refusal = invoke(owma.eval.__main__.main, "runs/smoke").refused()
    assert re.search("was not trained to the end; go on with `python -m owma.train --resume runs/smoke/v1`", refusal)


def test_what_the_shell_sees(tmp_path: Path, smoke_run) -> None:
    command = [sys.executable, "-m", "owma.eval", smoke_run.folder, "planner:guided-diffusion"]
    done = subprocess.run(
        [*command, "--planner.guidance-coef", "-2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(owma.__file__).parent.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "owma: error: --planner.guidance-coef=-2.0: must not be negative.\n"
