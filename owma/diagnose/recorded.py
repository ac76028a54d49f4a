"""The dataset of a run as its diagnosis needs it."""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.errors import ConfigError
from owma._internal.types import Array, Bool, Float, HostArray
from owma.config.experiment import imported_modules
from owma.config.task import LabelledTaskConfig, describe_task, is_of_session
from owma.outcomes.tasks import AbstractTask, build_task
from owma.outcomes.transitions import Transitions
from owma.outcomes.value import AbstractValue
from owma.outcomes.whitening import Standardisation
from owma.outcomes.world import whitened_outcomes
from owma.runs.labels import kept_task
from owma.runs.load import SavedRun
from owma.train.experiment import task_returns
from owma.train.held_out import held_out_mask, whole_outcomes
from owma.train.rows import OutcomeData, sample_rows


@dataclasses.dataclass(frozen=True)
class Recorded:
    """Recorded states, outcomes and returns."""

    transitions: Transitions
    """The sample that the run's values were fitted to: all, unless the data stay on disk."""
    is_held_out: Bool[np.ndarray, " rows"]
    """Which of its rows training held out."""
    data: OutcomeData
    """Of all its rows, to the end of their episodes."""
    states: Float[np.ndarray, "rows obs"]
    """Standardised; likeness is measured here."""
    psi: Float[np.ndarray, "rows psi"]
    """The outcomes that values are fitted to: recorded ones, the last state of a truncated episode being absorbing."""
    returns: Float[np.ndarray, " rows"]
    """Discounted, by the run's task."""

    @classmethod
    def read(cls, run: SavedRun, task: AbstractTask) -> "tuple[Recorded, Transitions]":
        """What is recorded, and the whole dataset. Raises `OwmaError` if it is not there, or not the same."""
        whole, world = run.read_data().transitions, run.parts.world
        sample, mask = whole, held_out_mask(whole, run.config)
        if whole.is_mapped:
            rows = sample_rows(whole, seed=run.config.seed)
            sample, mask = whole.ended_rows(rows), mask[rows]
        data = whole_outcomes(world, sample, run.config.training)
        states = standardised(world.observation, sample.obs)
        psi, returns = whitened_outcomes(world, sample), task_returns(task.rewards(sample), sample, world.discount)
        return cls(sample, mask, data, states, psi, returns), whole


def task_of(run: SavedRun, trusted: tuple[str, ...]) -> AbstractTask:
    """The run's task. A folder may be somebody else's, and does not choose which code runs, or which file is read.

    Raises `ConfigError` where it would.
    """
    if run.task is not None:
        return run.task
    kept = kept_task(run.config.task, run.folder.path)
    missing = set(imported_modules((kept,), None)) - set(trusted)
    if missing or is_of_session(kept) or (isinstance(kept, LabelledTaskConfig) and kept.file.parent != run.folder.path):
        name = f"pass --trust {' '.join(sorted(missing))}, or " if missing else ""
        raise ConfigError(
            f"The task of {run.folder.path} is {describe_task(kept)}, which a folder is not believed to name; if it is "
            f"yours, {name}load the run with owma.load(path, task=...) and call diagnose()."
        )
    return build_task(kept)


def values_of(value: AbstractValue, psi: Float[np.ndarray, "n psi"]) -> Float[np.ndarray, " n"]:
    """V of outcomes, by one program whatever their number."""
    rows = np.pad(psi, ((0, -len(psi) % _VALUED_AT_ONCE), (0, 0)))
    chunks = (rows[start : start + _VALUED_AT_ONCE] for start in range(0, len(rows), _VALUED_AT_ONCE))
    values = [np.asarray(_value_chunk(value, jnp.asarray(chunk))) for chunk in chunks]
    return np.concatenate(values)[: len(psi)].astype(np.float64)


def explained_within(
    values: Sequence[Float[np.ndarray, " _"]] | Float[np.ndarray, "n k"],
    returns: Sequence[Float[HostArray, " _"]] | Float[HostArray, "n k"],
) -> float | None:
    """R² of values of the outcomes of like states, each less its mean among them: what they say beside the state.

    `None` where the returns do not differ.
    """
    off, total = 0.0, 0.0
    for of_state, returned in zip(values, returns):
        v, r = of_state - np.mean(of_state), np.asarray(returned, np.float64) - np.mean(returned, dtype=np.float64)
        off, total = off + float(np.sum(np.square(v - r))), total + float(np.sum(np.square(r)))
    return 1 - off / total if total > 0 else None


@eqx.filter_jit
def _value_chunk(value: AbstractValue, psi: Float[Array, "n psi"]) -> Float[Array, " n"]:
    return jax.vmap(lambda outcome: value(outcome))(psi)


_VALUED_AT_ONCE = 2048


def standardised(units: Standardisation, rows: Float[HostArray, "n raw"]) -> Float[np.ndarray, "n raw"]:
    """Rows in standard deviations from the mean, on the host."""
    return (np.asarray(rows, np.float32) - np.asarray(units.mean)) / np.asarray(units.std)
