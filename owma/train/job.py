"""Distributed training: several processes, on one machine or on many, train one run.

They share the folders of runs and datasets. Each holds the whole dataset, and its devices compute their shard of every
batch (`owma.train.devices`). Process 0 writes, and evaluates after the others have ended.
"""

import dataclasses
import hashlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, NoReturn, TypeVar

import tyro

from owma._internal.command import command
from owma._internal.errors import ConfigError, OwmaError
from owma._internal.progress import Advance, Stopped, progress

if TYPE_CHECKING:
    from owma.train.inputs import Inputs

_Result = TypeVar("_Result")

_COMPARED_ROWS = 1000
"""Rows of a dataset that `require_same` compares across processes."""


_LOST = tuple(f"{status}: " for status in ("UNKNOWN", "UNAVAILABLE", "INTERNAL", "ABORTED", "DEADLINE_EXCEEDED"))
"""Prefixes of JAX error messages that mean a lost process; JAX has no exception class for it."""


@dataclasses.dataclass(frozen=True)
class JobConfig:
    """Several processes that train one run together; each is started with the same flags but for its number."""

    coordinator: str | None = None
    """HOST:PORT that all processes reach and the first one listens at; `processes` and `process` belong to it."""
    processes: int | None = None
    """How many there are."""
    process: int | None = None
    """The number of this one, from 0."""
    cluster: tyro.conf.FlagCreatePairsOff[bool] = False
    """JAX finds all three itself: under SLURM, Open MPI, Kubernetes, on TPUs."""

    def __post_init__(self) -> None:
        given = (self.coordinator, self.processes, self.process)
        if self.cluster and given != (None, None, None):
            raise ConfigError("--job.cluster finds the processes itself; leave the other flags of the job out.")
        if given == (None, None, None):
            return
        if self.coordinator is None or self.processes is None or self.process is None:
            names = zip(("coordinator", "processes", "process"), given)
            missing = ", ".join(f"--job.{name}" for name, value in names if value is None)
            raise ConfigError(
                f"A job needs --job.coordinator HOST:PORT, --job.processes and --job.process; add {missing}, or give "
                "--job.cluster alone, where JAX finds them."
            )
        host, _, port = self.coordinator.rpartition(":")
        if not (host and port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise ConfigError(
                f"--job.coordinator {self.coordinator}: write HOST:PORT, with a port that is free on that host."
            )
        if not 0 <= self.process < self.processes:
            raise ConfigError(
                f"--job.process {self.process}: of --job.processes {self.processes} the numbers go from 0 to "
                f"{self.processes - 1}."
            )

    @property
    def is_distributed(self) -> bool:
        """Whether there are several processes."""
        return self.cluster or self.coordinator is not None


def run_distributed(job: JobConfig, work: Callable[[], None]) -> None:
    """Join the job, then call `work`; without a job, only call `work`. Must be called before JAX initialises devices.

    A process that succeeds leaves the job at the end of `collective_section`. One that fails exits at once, because the
    others would wait for it; they raise `OwmaError` as soon as they notice.
    """
    if not job.is_distributed:
        work()
        return
    import jax

    def joined() -> None:
        _join(job)
        _report_lost_processes(work)

    try:
        command(joined)
    except BaseException as error:
        if not jax.distributed.is_initialized():  # It has left the job already.
            raise
        if not isinstance(error, SystemExit):
            traceback.print_exc()
        _end(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)


def _join(job: JobConfig) -> None:
    import jax

    # JAX's own service would catch SIGTERM, and not stop training.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(job.coordinator, job.processes, job.process)
        from owma.train.devices import any_across_processes

        any_across_processes(True)
    except (RuntimeError, ValueError) as error:
        remedy = (
            "give --job.coordinator, --job.processes and --job.process"
            if job.cluster
            else "start all of them within five minutes, with an address that they reach and nothing else listens at"
        )
        raise ConfigError(
            f"The processes of the job do not find each other ({_first_line(error)}): {remedy}."
        ) from error


def _report_lost_processes(work: Callable[[], None]) -> None:
    import jax

    try:
        work()
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if not jax.distributed.is_initialized() or not str(error).startswith(_LOST):
            raise
        raise OwmaError(
            f"The processes of the job can no longer reach each other ({_first_line(error)}): another one has ended, "
            "most likely. See what it said, and start all of them again, with --resume where there is a run."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _end(code: int) -> NoReturn:
    """Exit without JAX's shutdown barrier, at which this process and the others would wait for each other."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def collective_section() -> Iterator[None]:
    """Runs collective work; on exit calls `jax.distributed.shutdown()`, after which each process goes on alone.

    It is also called if all processes have agreed to stop (`Stopped`). Without a job, a no-op.
    """
    import jax

    try:
        yield
    except Stopped:
        jax.distributed.shutdown()
        raise
    jax.distributed.shutdown()


def main_process_first(work: Callable[[], _Result]) -> _Result:
    """The result of `work` on each process, process 0 first: what it writes, the others read."""
    from owma.train.devices import any_across_processes, is_main_process

    first = [work()] if is_main_process() else []
    any_across_processes(True)
    return first[0] if first else work()


def require_same(fingerprint: str, inputs: "Inputs") -> None:
    """Raises `ConfigError` on every process if their configurations or data differ.

    Of the data, the number of rows and a thousand of the rows are compared. A collective.
    """
    import jax
    import numpy as np

    from owma.train.devices import is_same_on_all_processes

    if jax.process_count() == 1:
        return
    transitions = inputs.dataset.transitions
    rows = np.unique(np.linspace(0, len(transitions) - 1, _COMPARED_ROWS).astype(int))
    digest = hashlib.sha256(f"{fingerprint} {len(transitions)}".encode())
    for array in (transitions.obs, transitions.action, inputs.rewards):
        digest.update(np.ascontiguousarray(array[rows]).tobytes())
    if not is_same_on_all_processes(digest.digest()):
        raise ConfigError(
            "The processes of the job were given different configurations or different data; start all of them with "
            "the same flags but for --job.process, on the same dataset."
        )


def open_shared_progress(label: str, total: int, done: int) -> AbstractContextManager[Advance]:
    """`open_progress` for collective work: process 0 shows it, and a signal to any process stops all of them."""
    from owma.train.devices import any_across_processes, is_main_process

    return progress(label, total, done=done, is_shown=is_main_process(), agree=any_across_processes)
