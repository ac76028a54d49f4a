"""Commands keep what they have compiled."""

import os
import subprocess
import sys
from pathlib import Path

_COMMAND = """
import jax, jax.numpy as jnp
from owma._internal.command import enable_compilation_cache

hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event.endswith("/cache_hits")))
enable_compilation_cache()
jax.jit(lambda x: jnp.tanh(x) @ x)(jnp.ones((3, 3))).block_until_ready()
print(sum(hits))
"""


def _hits(**environment: str) -> int:
    checkout = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND],
        env=os.environ | {"PYTHONPATH": str(checkout)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_the_second_start_compiles_nothing(tmp_path: Path) -> None:
    assert _hits(XDG_CACHE_HOME=str(tmp_path)) == 0
    kept = sorted((tmp_path / "owma" / "programs").iterdir())
    assert kept
    assert _hits(XDG_CACHE_HOME=str(tmp_path)) > 0
    assert {path.name for path in kept} <= {path.name for path in (tmp_path / "owma" / "programs").iterdir()}


def test_a_cache_of_the_users_own_is_used(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    _hits(XDG_CACHE_HOME=str(tmp_path / "unused"), JAX_COMPILATION_CACHE_DIR=str(mine))
    assert mine.is_dir() and not (tmp_path / "unused").exists()
