"""Data larger than the memory they may have train from the command line, within it."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import owma

MIB = 2**20
ROWS, WIDTH, LENGTH = 1_800_000, 40, 1000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A D4RL file whose transitions take 615 MB."""
    path = tmp_path_factory.mktemp("large") / "large.hdf5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        observations = file.create_dataset("observations", (ROWS, WIDTH), "f4")
        actions = file.create_dataset("actions", (ROWS, 4), "f4")
        for start in range(0, ROWS, 100_000):
            part = slice(start, start + 100_000)
            observations[part] = np.cumsum(rng.normal(size=(100_000, WIDTH)), axis=0) / 30
            actions[part] = rng.uniform(-1, 1, (100_000, 4))
        file["rewards"] = rng.normal(size=ROWS).astype(np.float32)
        file["terminals"] = np.zeros(ROWS, bool)
        file["timeouts"] = np.arange(ROWS) % LENGTH == LENGTH - 1
    return path


@pytest.mark.slow
def test_peak_memory_is_bounded(large: Path, tmp_path: Path) -> None:
    """The library, its programs and the blocks that it works on, whatever the size of the data.

    With all of these data in memory, outcomes of 64 features alone take four gigabytes.
    """
    command = [sys.executable, "-m", "owma.train", "smoke", "--memory-gib", "0.1", "--evaluation.episodes", "0"]
    command += ["--training.updates", "200", "--value.updates", "10"]
    command += ["data:d4rl-file", "--data.file", str(large), "task:goal-task-config", "--task.goal", "0", "0"]
    environment = os.environ | {"PYTHONPATH": str(Path(owma.__file__).parent.parent), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "copying large to" in done.stderr and (tmp_path / done.stdout.splitlines()[-1] / "sample.json").exists()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    assert peak < 2000 * MIB, f"{peak / MIB:.0f} MiB"
