"""The training rows of a dataset: on the device if they fit there, else in a file that batches are read from."""

import mmap
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.errors import DatasetError
from owma._internal.types import Array, Bool, Float, Int
from owma.outcomes.targets import Segments
from owma.outcomes.transitions import Transitions, release
from owma.outcomes.world import WorldModel, cumulant_mapper

_BLOCK_ROWS = 100_000
"""Transitions whose targets are computed at once, if the dataset is not in memory."""

_GATHERED_ROWS = 128
"""Rows read before their pages are released: for each, the system maps some sixteen pages, Linux 6.18 half a MiB."""


SAMPLE_ROWS = 100_000
"""Transitions that coordinates, values and tasks are fitted to, if the dataset is not in memory."""


def sample_rows(transitions: Transitions, *, seed: int, most: int = SAMPLE_ROWS) -> Int[np.ndarray, " k"]:
    """The rows of randomly drawn whole episodes, at most `most` in total, in recorded order.

    If the first episode drawn is longer, its first `most` rows.
    """
    starts = transitions.episode_starts
    lengths = np.diff(starts, append=len(transitions))
    order = np.random.default_rng(seed).permutation(len(starts))
    fitting = int(np.searchsorted(np.cumsum(lengths[order]), most, side="right"))
    is_chosen = np.zeros(len(starts), bool)
    is_chosen[order[: max(1, fitting)]] = True
    return np.flatnonzero(np.repeat(is_chosen, lengths))[:most]


class OutcomeData(eqx.Module):
    """The training data of the outcome model and the policy, on the device; one row per transition.

    Targets are `sums` + `discount` · ψ', ψ' being a bootstrap at `bootstrap_obs` or, if `terminal`, the terminal
    outcome.
    """

    obs: Float[Array, "n obs"]
    action: Float[Array, "n act"]
    sums: Float[Array, "n psi"]
    discount: Float[Array, " n"]
    bootstrap_obs: Float[Array, "n obs"]
    terminal: Bool[Array, " n"]

    @classmethod
    def build(
        cls,
        world: WorldModel,
        transitions: Transitions,
        *masks: Bool[np.ndarray, " n"],
        horizon: int | None,
        absorbing: bool = False,
    ) -> "tuple[OutcomeData, ...]":
        """The transitions in each of `masks`, outcomes summed over `horizon` steps before the bootstrap.

        `absorbing`: the last state of a truncated episode is taken to be absorbing, and not bootstrapped from.
        """
        cumulants = cumulant_mapper(world)(transitions)
        return tuple(
            cls.of_cumulants(world, cumulants, transitions, mask, horizon=horizon, absorbing=absorbing)
            for mask in masks
        )

    @classmethod
    def of_cumulants(
        cls,
        world: WorldModel,
        cumulants: tuple[Float[np.ndarray, "n psi"], Float[np.ndarray, "n psi"]],
        transitions: Transitions,
        mask: Bool[np.ndarray, " n"],
        *,
        horizon: int | None,
        absorbing: bool,
    ) -> "OutcomeData":
        """`build` for one mask and given `cumulants` (as `owma.outcomes.world.cumulant_mapper` returns them)."""
        added, tail = cumulants
        terminal = tail if world.counts_terminal else None
        segments = Segments.build(added, transitions, discount=world.discount, horizon=horizon, terminal=terminal)
        if absorbing:
            segments = segments.absorbing(transitions, discount=world.discount, tail=tail)
        last = segments.last[mask]
        return cls(
            obs=jnp.asarray(transitions.obs[mask], jnp.float32),
            action=jnp.asarray(transitions.action[mask], jnp.float32),
            sums=jnp.asarray(segments.sums[mask]),
            discount=jnp.asarray(segments.discount[mask]),
            bootstrap_obs=jnp.asarray(np.asarray(transitions.next_obs)[last], jnp.float32),
            terminal=jnp.asarray(np.asarray(transitions.terminated)[last]),
        )

    def __len__(self) -> int:
        return self.obs.shape[0]

    def rows(self, index: Int[Array, " batch"]) -> "OutcomeData":
        return jax.tree.map(lambda leaf: leaf[index], self)


@dataclass(frozen=True)
class RowForm:
    """The layout and number of rows in a file: the static part of `OutcomeRows`, for compiled programs."""

    num_rows: int
    obs_dim: int
    action_dim: int
    psi_dim: int

    def __len__(self) -> int:
        return self.num_rows

    def unpack(self, rows: Float[Array, "n width"]) -> OutcomeData:
        """Unpack rows that `OutcomeRows.gather` returned, on the device."""
        ends = np.cumsum([self.obs_dim, self.action_dim, self.psi_dim, self.obs_dim]).tolist()
        obs, action, sums, bootstrap_obs, rest = jnp.split(rows, ends, axis=1)
        return OutcomeData(obs, action, sums, rest[:, 0], bootstrap_obs, rest[:, 1] > 0)


@dataclass(frozen=True, eq=False)
class OutcomeRows:
    """`OutcomeData` in an anonymous temporary file, as rows of float32.

    The fields of one transition are contiguous, so that a random batch costs one read per row.
    """

    values: Float[np.ndarray, "n width"]
    """obs, action, sums, bootstrap_obs, discount, terminal."""
    form: RowForm

    @classmethod
    def write(
        cls,
        world: WorldModel,
        transitions: Transitions,
        masks: tuple[Bool[np.ndarray, " n"], ...],
        folder: Path,
        *,
        horizon: int | None,
        absorbing: bool = False,
    ) -> "tuple[OutcomeRows, ...]":
        """As `OutcomeData.build`, for blocks of whole episodes in turn.

        **Arguments:** `folder`: where the temporary files are created.

        **Raises:** `DatasetError` if they cannot be written there.
        """
        dims = transitions.obs.shape[1], transitions.action.shape[1], world.whitening.dims
        cumulant = cumulant_mapper(world)
        try:
            with ExitStack() as stack:
                files = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in masks]
                for block in transitions.episode_blocks(_BLOCK_ROWS):
                    part = transitions.rows(block)
                    cumulants = cumulant(part)
                    for file, mask in zip(files, masks):
                        if mask[block].any():
                            data = OutcomeData.of_cumulants(
                                world, cumulants, part, mask[block], horizon=horizon, absorbing=absorbing
                            )
                            file.write(_packed(data).data)
                for file in files:
                    file.flush()
                mapped = [mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) for file in files]
        except OSError as error:
            raise DatasetError(
                f"The targets of training, as large as the dataset, cannot be written to {folder} "
                f"({error.strerror or error}); free the place, or choose another one with --runs."
            ) from error
        width = 2 * dims[0] + dims[1] + dims[2] + 2
        values = [np.frombuffer(buffer, np.float32).reshape(-1, width) for buffer in mapped]
        return tuple(cls(rows, RowForm(len(rows), *dims)) for rows in values)

    def __len__(self) -> int:
        return len(self.values)

    def gather(self, index: Int[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch width"]:
        """The rows at `index`, copied into memory."""
        flat = index.reshape(-1)
        rows = np.empty((len(flat), self.values.shape[1]), np.float32)
        # In file order, because neighbours share pages.
        order = np.argsort(flat, kind="stable")
        for start in range(0, len(order), _GATHERED_ROWS):
            part = order[start : start + _GATHERED_ROWS]
            rows[part] = self.values[flat[part]]
            release(self.values)
        return rows.reshape(*index.shape, -1)


def _packed(data: OutcomeData) -> Float[np.ndarray, "n width"]:
    rest = [np.asarray(data.discount)[:, None], np.asarray(data.terminal, np.float32)[:, None]]
    parts = [data.obs, data.action, data.sums, data.bootstrap_obs]
    return np.concatenate([np.asarray(part, np.float32) for part in parts] + rest, axis=1)
