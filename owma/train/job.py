"""One of several processes, on one machine or on many, that train a run together.

All of them share the folders of runs and datasets. Each holds the whole dataset, and its devices compute their share of
every batch (`owma.train.devices`). The first one writes, and evaluates when the others have left.
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
    from owma.train.inputs import Material

_Result = TypeVar("_Result")

_COMPARED_ROWS = 1000
"""Rows of a dataset by which processes see that theirs is the same."""


_LOST = tuple(f"{status}: " for status in ("UNKNOWN", "UNAVAILABLE", "INTERNAL", "ABORTED", "DEADLINE_EXCEEDED"))
"""How the messages begin of what JAX raises where another process is missed; it has no class for that."""


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
    def is_one(self) -> bool:
        """Whether there is a job at all."""
        return self.cluster or self.coordinator is not None

    @property
    def flags(self) -> list[str]:
        """What makes another command take the same part."""
        if self.cluster:
            return ["--job.cluster"]
        names = ("coordinator", "processes", "process") if self.is_one else ()
        return [part for name in names for part in (f"--job.{name}", str(getattr(self, name)))]


def take_part(job: JobConfig, work: Callable[[], None]) -> None:
    """Do `work` as one of the job's processes; without a job, just do it. Before JAX has looked for devices.

    Processes that end well leave by `ended_together`. One that ends otherwise does so at once, for the others would
    wait for it; they end with a sentence as soon as they miss it.
    """
    if not job.is_one:
        work()
        return
    import jax

    def joined() -> None:
        _join(job)
        _with_others(work)

    try:
        command(joined)
    except BaseException as error:
        if not jax.distributed.is_initialized():  # It has left.
            raise
        if not isinstance(error, SystemExit):
            traceback.print_exc()
        _end(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)


def _join(job: JobConfig) -> None:
    import jax

    # It would take SIGTERM for itself, and do nothing about it.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        with _output_to_error():
            jax.distributed.initialize(job.coordinator, job.processes, job.process)
            from owma.train.devices import any_process

            any_process(True)
    except (RuntimeError, ValueError) as error:
        remedy = (
            "give --job.coordinator, --job.processes and --job.process"
            if job.cluster
            else "start all of them within five minutes, with an address that they reach and nothing else listens at"
        )
        raise ConfigError(
            f"The processes of the job do not find each other ({_first_line(error)}): {remedy}."
        ) from error


@contextmanager
def _output_to_error() -> Iterator[None]:
    """What libraries below Python print when processes connect is no result."""
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _with_others(work: Callable[[], None]) -> None:
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
    """By itself Python would wait for the others, minutes long, and they for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def ended_together() -> Iterator[None]:
    """What all processes do in step, to its end or to where they agreed to stop. There they leave the job, and each may
    go on alone. Without a job, nothing.
    """
    import jax

    try:
        yield
    except Stopped:
        jax.distributed.shutdown()
        raise
    jax.distributed.shutdown()


def first_then_others(work: Callable[[], _Result]) -> _Result:
    """Do what may write and, once written, is read: the first process before all others."""
    from owma.train.devices import any_process, is_first

    first = [work()] if is_first() else []
    any_process(True)
    return first[0] if first else work()


def require_same(fingerprint: str, material: "Material") -> None:
    """Raises `ConfigError` on every process of a job where one has another configuration or other data.

    Of the data a thousand rows are compared, and how many there are.
    """
    import jax
    import numpy as np

    from owma.train.devices import is_same_everywhere

    if jax.process_count() == 1:
        return
    transitions = material.dataset.transitions
    rows = np.unique(np.linspace(0, len(transitions) - 1, _COMPARED_ROWS).astype(int))
    digest = hashlib.sha256(f"{fingerprint} {len(transitions)}".encode())
    for array in (transitions.obs, transitions.action, material.rewards):
        digest.update(np.ascontiguousarray(array[rows]).tobytes())
    if not is_same_everywhere(digest.digest()):
        raise ConfigError(
            "The processes of the job were given different configurations or different data; start all of them with "
            "the same flags but for --job.process, on the same dataset."
        )


def open_shared_progress(label: str, total: int, done: int) -> AbstractContextManager[Advance]:
    """`open_progress` for what all processes do in step: the first shows it, and a signal to one stops all of them."""
    from owma.train.devices import any_process, is_first

    return progress(label, total, done=done, is_shown=is_first(), agree=any_process)
