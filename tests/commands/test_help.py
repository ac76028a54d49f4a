"""`--help` is quick: it imports nothing but the configurations and what reads flags."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import owma

HEAVY = {
    "jax",
    "jaxtyping",
    "equinox",
    "diffrax",
    "optax",
    "orbax",
    "numpy",
    "scipy",
    "gymnasium",
    "gymnasium_robotics",
    "mujoco",
    "minari",
    "cma",
    "h5py",
    "ogbench",
    "dm_control",
    "matplotlib",
    "ray",
}


def _help(module: str, flag: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(owma.__file__).parent.parent)}
    return subprocess.run(
        [sys.executable, *options, "-m", module, flag], env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (name, "--help")
        for name in ("train", "eval", "transfer", "collect", "inspect", "sweep", "report", "demo", "docs", "diagnose")
    ]
    + [("train", "--help-all")],
)
def test_help_names_the_command_and_imports_nothing_heavy(command: str, flag: str) -> None:
    done = _help(f"owma.{command}", flag, "-X", "importtime")
    assert done.returncode == 0 and f"usage: python -m owma.{command}" in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert "tyro" in imported and not imported & HEAVY


def test_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert owma.__version__ == version("owma")
