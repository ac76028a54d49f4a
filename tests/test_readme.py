"""What the README shows is run, against a trained run in the place of the one that it names."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_the_python_of_the_readme_runs(smoke_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert any('owma.load("runs/two-routes")' in block for block in blocks)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "two-routes").symlink_to(smoke_run.runs / "smoke")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), namespace)
    # What it prints last: V(psi*) and the divergence of the last plan.
    assert all(re.fullmatch(r"-?\d+\.\d+(e[-+]\d+)?", word) for word in capsys.readouterr().out.split())


def test_the_readme_is_short_and_names_commands_that_exist() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 120
    modules = set(re.findall(r"python -m owma\.(\w+)", text))
    assert modules and all((README.parent / "owma" / f"{module}.py").is_file() for module in modules)
