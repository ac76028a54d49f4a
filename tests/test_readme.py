"""What the README shows is run, against a trained run in the place of the one that it names."""

import importlib.util
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import owma
from owma.config.presets import PRESETS
from owma.config.task import DataConfig

README = Path(__file__).parent.parent / "README.md"
PACKAGE = README.parent / "owma"


def test_the_python_of_the_readme_runs(smoke_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
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
    for block in blocks:
        exec(compile(block, str(README), "exec"), namespace)
    assert given == [PRESETS["two-routes"][1].data]  # as `python -m owma.train` collects them above
    # What it prints last: V(psi*) and the divergence of the last plan.
    assert all(re.fullmatch(r"-?\d+\.\d+(e[-+]\d+)?", word) for word in capsys.readouterr().out.split())


def _main_module(command: str) -> str:
    """Where `python -m` finds the `main` of a command: a module, or the `__main__` of a package."""
    return command if (PACKAGE / f"{command.removeprefix('owma.')}.py").is_file() else f"{command}.__main__"


class _Parsed(Exception):
    """Raised in the place of what a command does after it has read its flags."""


def _commands() -> list[str]:
    fences = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    return [line for fence in fences for line in fence.splitlines() if line.startswith("python -m owma.")]


@pytest.mark.parametrize("line", _commands())
def test_the_commands_of_the_readme_are_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # `smoke`, `eval` and `--resume` are run for real in tests/commands; here it is the flags that must exist.
    _, _, module, *flags = shlex.split(line)

    def stop(*args: object, **kwargs: object) -> None:
        raise _Parsed

    for name in (
        "owma.train.inputs.prepare_experiment",
        "owma.train.__main__.RunFolder.open",
        "owma.runs.load.load_run",
    ):
        monkeypatch.setattr(name, stop)
    for name in (
        "owma.data.open_by_name",
        "owma.collect.claim.is_collected",
        "owma.sweep.__main__._need_ray",
        "owma.report.source.Source.read",
        "owma.doctor.examine",
        "owma.demo.page.page",
    ):
        monkeypatch.setattr(name, stop)
    monkeypatch.setattr(sys, "argv", [module, *flags])
    with pytest.raises(_Parsed):
        importlib.import_module(_main_module(module)).main()


def test_the_readme_is_short_and_names_commands_that_exist() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    modules = set(re.findall(r"python -m owma\.(\w+)", text))
    assert modules and all(importlib.util.find_spec(_main_module(f"owma.{module}")) for module in modules)
