"""What the doctor says of this machine, and of ones that lack something."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import owma.doctor
from owma.doctor import examine

CHECKOUT = Path(owma.__file__).parent.parent


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


@pytest.mark.parametrize("lost", ["jax", "gymnasium", "minari"])
def test_a_machine_without_a_package_gets_an_answer_to_every_question(lost: str, elsewhere: Path) -> None:
    """Whoever calls the doctor may have a broken installation: it is found, and the rest is looked at all the same."""
    script = (
        "import sys\n"
        f"sys.modules[{lost!r}] = None\n"  # `import` raises
        "from owma._internal.command import command\n"
        "import owma.doctor\n"
        "sys.argv = ['doctor']\n"
        "command(owma.doctor.main)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "MINARI_DATASETS_PATH": str(elsewhere / "datasets")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=elsewhere, capture_output=True, text=True, timeout=120
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and done.stderr == "", done.stderr
    assert len(lines) == len(examine(elsewhere))
    assert any(line.startswith("NO ") and f"import of {lost} halted" in line for line in lines), lines


def test_a_cache_that_jax_was_told_of_is_looked_at(elsewhere: Path) -> None:
    import jax

    before = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_compilation_cache_dir", "/proc/programs")
    try:
        (programs,) = [finding for finding in examine(elsewhere) if finding.what == "compiled programs"]
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert not programs.able and not programs.needed and "/proc/programs cannot be written" in programs.detail


def test_a_full_disk_is_told(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 2**28})()
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    monkeypatch.setattr("owma.doctor._drawing", lambda: owma.doctor.Finding("draw without a display", False, ""))
    (runs,) = [finding for finding in examine(elsewhere) if finding.what == "runs"]
    assert not runs.able and runs.needed and "0.2 GiB left; free some" in runs.detail


@pytest.mark.cases
@pytest.mark.parametrize("variable", ["JAX_PLATFORMS=nowhere", "JAX_PLATFORM_NAME=nowhere"])
def test_a_platform_that_is_not_here_is_named_with_those_that_are(variable: str, elsewhere: Path) -> None:
    """By the doctor, and by the command that it is asked about: before anything is collected or written."""
    name, _, value = variable.partition("=")
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), name: value}
    environment |= {"MINARI_DATASETS_PATH": str(elsewhere.parent / "datasets")}
    said = f"{variable}: JAX finds no such platform here, only cpu; unset {name}, or, where the machine has such"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, env=environment, cwd=elsewhere, capture_output=True, text=True, timeout=200)

    doctor = run("owma.doctor")
    assert doctor.returncode == 1 and doctor.stdout.splitlines()[0].startswith(f"NO   compute: {said}"), doctor
    assert "reinstall" not in doctor.stdout.splitlines()[0]
    train = run("owma.train", "smoke")
    assert train.returncode == 2 and train.stderr.startswith(f"owma: error: {said}"), train.stderr
    assert len(train.stderr.splitlines()) == 1 and not list(elsewhere.rglob("*"))
    assert not list((elsewhere.parent / "datasets").rglob("*"))
