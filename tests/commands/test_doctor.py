"""What the doctor says of this machine, and of ones that lack something."""

from pathlib import Path

import pytest

import owma.doctor
from owma.doctor import examine


def test_a_machine_that_runs_the_tests_is_able(invoke, elsewhere: Path) -> None:
    outcome = invoke(owma.doctor.main)
    assert outcome.code == 0
    lines = outcome.stdout.splitlines()
    for what in ("compute: cpu 0", "simulate: mujoco 3", "datasets: ", "runs: runs", "compiled programs: "):
        assert any(line.startswith(f"yes  {what}") for line in lines), (what, outcome.stdout)
    assert all(line.startswith(("yes  ", "NO   ")) for line in lines)
    assert list(elsewhere.iterdir()) == []  # it leaves nothing behind


def test_what_is_missing_comes_with_its_remedy(invoke, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nothing")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    outcome = invoke(owma.doctor.main, "--runs", "/proc/runs")
    assert outcome.code == 1
    assert "NO   runs: /proc/runs cannot be written" in outcome.stdout and "name another folder" in outcome.stdout
    assert "NO   draw without a display: unset MUJOCO_GL, or install Debian's" in outcome.stdout
    assert "NO   owma.sweep: `pip install 'owma[sweep]'`" in outcome.stdout


def test_a_full_disk_is_told(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 2**28})()
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    monkeypatch.setattr("owma.doctor._drawing", lambda: owma.doctor.Finding("draw without a display", False, ""))
    (runs,) = [finding for finding in examine(elsewhere) if finding.what == "runs"]
    assert not runs.able and runs.needed and "0.2 GiB left; free some" in runs.detail
