"""Training on several devices and in several processes is training on one."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import owma
from owma._internal.errors import ConfigError
from owma.train.devices import shard_batch

_SCRIPT = Path(__file__).parent / "sharded.py"


def _start(folder: Path, *processes: str, devices: int) -> subprocess.Popen[str]:
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    path = str(Path(owma.__file__).parents[1])
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    if not processes:
        # Those that go on on as many devices as others before them have their programs.
        programs = str(jax.config.jax_compilation_cache_dir)  # pyright: ignore[reportAttributeAccessIssue]
        environment |= {"JAX_COMPILATION_CACHE_DIR": programs, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, str(_SCRIPT), str(folder), *processes]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _found(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("alone")
    return _found(_start(folder, devices=1)), folder


def _assert_same(result: dict[str, Any], alone: dict[str, Any]) -> None:
    steps = [row[0] for row in result["losses"]]
    expected = [row for row in alone["losses"] if row[0] in steps]
    np.testing.assert_allclose(result["losses"], expected, rtol=1e-5)
    np.testing.assert_allclose(result["value_loss"], alone["value_loss"], rtol=1e-5)


def test_a_batch_that_cannot_be_divided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "device_count", lambda: 3)
    with pytest.raises(ConfigError, match="batch_size=64: cannot be divided over 3 devices"):
        shard_batch(jnp.zeros((64, 2)))


@pytest.fixture(scope="module")
def on_eight(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("eight")
    return _found(_start(folder, devices=8)), folder


def test_eight_devices_learn_what_one_does(
    alone: tuple[dict[str, Any], Path], on_eight: tuple[dict[str, Any], Path]
) -> None:
    assert alone[0]["devices"] == 1 and [row[0] for row in alone[0]["losses"]] == [10, 20, 30, 40]
    assert on_eight[0]["devices"] == 8
    _assert_same(on_eight[0], alone[0])


@pytest.mark.parametrize("saved_on, devices", [("one", 8), pytest.param("eight", 1, marks=pytest.mark.slow)])
def test_a_checkpoint_of_one_topology_is_gone_on_with_on_another(
    alone: tuple[dict[str, Any], Path],
    on_eight: tuple[dict[str, Any], Path],
    saved_on: str,
    devices: int,
    tmp_path: Path,
) -> None:
    shutil.copytree((alone if saved_on == "one" else on_eight)[1], tmp_path / "copy")
    resumed = _found(_start(tmp_path / "copy", devices=devices))
    assert [row[0] for row in resumed["losses"]] == [30, 40]
    _assert_same(resumed, alone[0])


def test_two_processes_learn_what_one_does(alone: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    both = [_start(tmp_path / "none", address, "2", str(i), devices=1) for i in range(2)]
    for process in both:
        result = _found(process)
        assert result["devices"] == 2
        _assert_same(result, alone[0])
