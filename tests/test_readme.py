"""What the README shows is run, against a trained run in the place of the one that it names."""

import re
import shutil
from pathlib import Path

import pytest
from documents import README, fenced

import owma
from owma.__main__ import COMMANDS
from owma.config.presets import PRESETS
from owma.config.task import DataConfig


def test_the_python_of_the_readme_runs(smoke_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    # `tests/test_front_door.py` trains so; here the run is one that is trained, in a folder that may be written to.
    shutil.copytree(smoke_run.folder, tmp_path / "runs" / "mine" / "v1")
    given: list[DataConfig] = []

    def fit(data: DataConfig, *, task: object, name: str) -> owma.Run:
        given.append(data)
        assert callable(task)
        return owma.load(f"runs/{name}")

    monkeypatch.setattr(owma, "fit", fit)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(smoke_run.runs.parent / "datasets"))
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for block in fenced(README, "python"):
        exec(compile(block, str(README), "exec"), namespace)
    assert given == [PRESETS["two-routes"][1].data]  # as `python -m owma.train` collects them above
    # What it prints last: V(psi*) and the divergence of the last plan.
    assert all(re.fullmatch(r"-?\d+\.\d+(e[-+]\d+)?", word) for word in capsys.readouterr().out.split())


def test_the_readme_is_short_and_names_commands_that_exist() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    modules = set(re.findall(r"python -m owma\.(\w+)", text))
    assert modules and all(module in COMMANDS for module in modules)
