"""What the README shows is run, against a trained run in the place of the one that it names."""

import importlib.metadata
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import CHECKOUT, README, commands, fenced

import owma
from owma.__main__ import COMMANDS
from owma._internal.progress import open_progress
from owma.config.presets import PRESETS
from owma.config.tune import TuneConfig
from owma.data.given import given_data


def test_the_python_of_the_readme_runs(smoke_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    # `tests/test_front_door.py` trains so; here the run is one that is trained, in a folder that may be written to.
    shutil.copytree(smoke_run.folder, tmp_path / "runs" / "mine" / "v1")
    asked: list[Any] = []

    def fit(data: Any, *, task: Any, name: str, env: str | None = None) -> owma.Run:
        if isinstance(data, dict):
            with given_data(data, open_progress) as given:
                asked.append(given.dataset.transitions.obs.shape)
        else:
            asked.append(data)
        assert task == "recorded" or callable(task)
        assert env in (None, "Pendulum-v1") and name in ("mine", "pendulum")
        return owma.load("runs/mine")

    def evaluate(run: owma.Run, planners: list[str], episodes: int) -> list[Any]:
        return owma.evaluate(run, planners[:1], episodes=1, timed_decisions=0, progress=False)

    def tune(run: owma.Run) -> owma.Run:
        assert TuneConfig().planners == ("online_adaptation",)
        return run

    for name, stand_in in (("fit", fit), ("Run.evaluate", evaluate), ("Run.tune", tune)):
        monkeypatch.setattr(f"owma.{name}", stand_in)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(smoke_run.runs.parent / "datasets"))
    monkeypatch.chdir(tmp_path)
    rows, cut = np.ones((10, 3), np.float32), np.arange(1, 11) % 5 == 0
    np.savez("recorded.npz", obs=rows, act=rows[:, :1], rew=rows[:, 0], cut=cut)
    namespace: dict[str, Any] = {}
    for block in fenced(README, "python"):
        exec(compile(block, str(README), "exec"), namespace)
    # As `python -m owma.train` collects them; of the arrays, the last step of an episode that was cut is dropped.
    assert asked == [PRESETS["two-routes"][1].data, (8, 3)]
    assert [row["planner"] for row in namespace["rows"]] == ["static"]
    assert namespace["rare"].planner != namespace["simple"].planner and namespace["in_time"].deadline_ms == 20.0
    # What it prints last: V(psi*) and the divergence of the last plan.
    assert all(re.fullmatch(r"-?\d+\.\d+(e[-+]\d+)?", word) for word in capsys.readouterr().out.split())


def test_the_readme_is_short_and_names_what_exists() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    named = {line.split()[1] for line in commands(README)} | set(re.findall(r"python -m owma\.(\w+)", text))
    assert len(named) > 8 and named <= COMMANDS.keys()
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r'install -e "\.\[(\w+)\]"', text)) == {"test", "sweep", "docs"} <= extras.keys()
    (of_jax,) = re.findall(r"jax\[(\w+)\]", text)
    assert of_jax in (importlib.metadata.metadata("jax").get_all("Provides-Extra") or ())
