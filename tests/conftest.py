"""The session is strict: what JAX would broadcast or promote in silence raises, and warnings are errors (pyproject)."""

import dataclasses
import gc
import os
import resource
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.monitoring
import jax.numpy as jnp
import pytest
from filelock import FileLock
from jaxtyping import PRNGKeyArray

# A (batch,) array against a (batch, 1) one is a bug far more often than a wish. Dtype promotion stays standard, since
# optax's schedules and `inject_hyperparams` fail under "strict"; x64 stays off, as in production.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_enable_x64", False)
# Most of the suite is compilation: without optimisation it takes two thirds of the time, and half of that again where
# LLVM, not MLIR, writes the fused loops. So it is in the commands that tests start, by their environment; `.ci/run`
# trains a run as it is shipped.
jax.config.update("jax_disable_most_optimizations", True)
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
_QUICK = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_QUICK}".strip()

CHECKOUT = Path(__file__).parent.parent
_PROGRAMS = pytest.StashKey[str]()
# The longest file without the smoke run, and one with it: while one worker is at the former, the other trains that run
# for all, and nobody waits for it.
_FIRST = ("test_devices.py", "test_eval.py")


def pytest_configure(config: pytest.Config) -> None:
    """What one test has compiled, the others read: of all workers, and in a folder that goes with the session.

    Only in the processes of pytest: the commands that tests start keep their programs where their environment says.
    """
    told = getattr(config, "workerinput", None)  # of pytest-xdist
    if told is not None:
        programs = told["programs"]
    else:
        folder = tempfile.TemporaryDirectory(prefix="owma-tests-", ignore_cleanup_errors=True)
        config.add_cleanup(folder.cleanup)
        programs = folder.name
    config.stash[_PROGRAMS] = programs
    jax.config.update("jax_compilation_cache_dir", programs)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Of pytest-xdist: what a new worker is told."""
    node.workerinput["programs"] = node.config.stash[_PROGRAMS]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(_FIRST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_collection_finish() -> None:
    """Tracing makes objects by the million, and what is imported stays: it is not searched for garbage again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


@pytest.fixture
def getkey(request: pytest.FixtureRequest) -> Callable[[], PRNGKeyArray]:
    """A fresh PRNG key at every call; the sequence is fixed per test, so that a failure repeats."""
    key = jax.random.key(zlib.crc32(request.node.nodeid.encode()))
    calls = 0

    def next_key() -> PRNGKeyArray:
        nonlocal calls
        calls += 1
        return jax.random.fold_in(key, calls)

    return next_key


@pytest.fixture
def gaussian_model() -> Callable[..., Any]:
    """Builds an `AgentModel` whose outcomes are exactly N(mean, diag(variance)) in every state, with a linear value.

    States are as many numbers as outcomes; actions are two numbers in [-1, 1], from an untrained policy.
    """
    # Here and not above: jaxtyping's hook must be in place before the package is imported.
    import owma.planners as planners
    from owma.outcomes.testbeds import GaussianDenoiser, testbed_policy, testbed_world
    from owma.outcomes.value import LinearValue

    def build(
        mean: Sequence[float],
        variance: Sequence[float],
        weight: Sequence[float],
        *,
        bias: float = 0.0,
        value_scale: float = 1.0,
        num_steps: int = 10,
    ) -> planners.AgentModel:
        dims = len(mean)
        denoiser = GaussianDenoiser(jnp.asarray(mean), jnp.asarray(variance))
        world = testbed_world(denoiser, num_steps=num_steps)
        policy = testbed_policy(dims, 2, dims)
        value = LinearValue(jnp.asarray(weight), jnp.asarray(bias))
        return planners.AgentModel(world, policy, value, jnp.asarray(value_scale))

    return build


@pytest.fixture
def compiled() -> Iterator[list[str]]:
    """The names of the programs that XLA has compiled since the list was cleared last, such as `jit(step)`."""
    names: list[str] = []

    def listen(event: str, duration_secs: float, **about: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(about["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(autouse=True, scope="module")
def _few_programs() -> Iterator[None]:
    """A compiled program holds memory maps, of which Linux allows a process 65,530; all tests need more than that."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True, scope="session")
def _loops_stay_loops() -> Iterator[int]:
    """Written out, loops take two to three times as long to compile, and are the same but for rounding. Of the whole
    session, so that what a module's fixtures make is what its tests make again, bit for bit. Gives the shipped bound.
    """
    from owma.diffusion import solvers

    shipped = solvers.MOST_UNROLLED
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solvers, "MOST_UNROLLED", 0)
        yield shipped


@pytest.fixture(autouse=True)
def _loops_as_shipped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _loops_stay_loops: int) -> None:
    """Of tests with the mark `unrolled`; every test that starts a command has them so, too."""
    from owma.diffusion import solvers

    if request.node.get_closest_marker("unrolled") is not None:
        monkeypatch.setattr(solvers, "MOST_UNROLLED", _loops_stay_loops)


@dataclasses.dataclass(frozen=True)
class SmokeRun:
    """What `python -m owma.train smoke` did in a process of its own, outside the checkout."""

    runs: Path
    """The folder `runs` that it made."""
    folder: Path
    """The run, by the last line that was printed."""
    stdout: str
    stderr: str
    peak_bytes: int
    """Resident memory, at most."""


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    """One trained and evaluated run for all tests that need one; they must not write into it."""
    # The workers of xdist have folders side by side: whichever comes first trains for all.
    shared = tmp_path_factory.getbasetemp()
    home = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "smoke"
    with FileLock(home.with_suffix(".lock")):
        if not (home / "peak").exists():
            _train_smoke(home)
    stdout, stderr = ((home / name).read_text() for name in ("stdout", "stderr"))
    return SmokeRun(home / "runs", home / stdout.splitlines()[-1], stdout, stderr, int((home / "peak").read_text()))


def _train_smoke(home: Path) -> None:
    home.mkdir()
    environment = os.environ | {
        "MINARI_DATASETS_PATH": str(home / "datasets"),
        "PYTHONPATH": str(CHECKOUT),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
    command = [sys.executable, "-m", "owma.train", "smoke"]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    (home / "stdout").write_text(done.stdout)
    (home / "stderr").write_text(done.stderr)
    # Of all processes that this one has waited for; the others are small. Last: it says that the run is whole.
    (home / "peak").write_text(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024))
