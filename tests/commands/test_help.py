"""`--help` is quick: the simulators and what draws pictures stay out of it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import owma

HEAVY = (
    "mujoco",
    "gymnasium_robotics",
    "minari",
    "matplotlib",
    "orbax",
    "scipy.stats",
    "h5py",
    "jax.experimental.pallas",
)


def _help(command: str, *flags: str) -> tuple[subprocess.CompletedProcess[str], float]:
    environment = os.environ | {"PYTHONPATH": str(Path(owma.__file__).parent.parent)}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, *flags, "-m", f"owma.{command}", "--help"], env=environment, capture_output=True, text=True
    )
    return done, time.monotonic() - start


@pytest.mark.parametrize("command", ["train", "eval", "collect"])
def test_help_names_the_command_and_imports_nothing_heavy(command: str) -> None:
    done, _ = _help(command, "-X", "importtime")
    assert done.returncode == 0 and f"usage: python -m owma.{command}" in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert "jax" in imported and not imported & set(HEAVY)


def test_help_takes_two_seconds() -> None:
    """1.5 s on two idle cores; 4 s here, since tests share their machine. The best of three."""
    assert min(_help("train")[1] for _ in range(3)) < 4.0


def test_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert owma.__version__ == version("owma")
