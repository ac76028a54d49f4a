"""One file of arrays: which of them play which part, once their shapes, types and lengths are known to fit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from owma._internal.errors import DatasetError
from owma._internal.types import Float
from owma.data.columns import Column, read_rows
from owma.data.dataset import rows_in_piece
from owma.data.ends import Ends, read_ends
from owma.data.names import CUT_PARTS, DATA_PARTS, ROW_PARTS, SINGLE_ENTRY, not_read, what_is_there
from owma.data.steps import Steps


@dataclass(frozen=True)
class ArrayFile:
    """Which arrays of a file play which part; see `checked`."""

    path: Path
    rows: int
    """Of observations."""
    obs_dim: int
    action_dim: int
    dtypes: Mapping[str, str]
    """Of `obs` and `action`, as recorded."""
    names: Mapping[str, str]
    """By part: those of `NAMES`, `final` (rows that hold a last observation) and `valid` (rows that do not)."""
    one_more: bool
    """Whether there is one observation more than actions, the last of the only episode."""
    unread: tuple[str, ...]
    """Arrays of the file that play no part."""
    left_out: Mapping[str, str]
    """By name, why an array that may say where episodes end is not read."""

    @property
    def cuts(self) -> list[str]:
        """The arrays that are there to say where episodes end that did not terminate."""
        return [self.names[part] for part in (*CUT_PARTS, "final", "valid") if part in self.names]

    def arrays(self) -> Iterator[Mapping[str, np.ndarray]]:
        """The numbers of the file by part, as recorded, a bounded number of rows at a time."""
        names = {part: name for part, name in self.names.items() if part in DATA_PARTS}
        for arrays in read_rows(self.path, names.values(), rows_in_piece(self.obs_dim, self.action_dim)):
            yield {part: arrays[name] for part, name in names.items()}

    def ends(self, *, is_told: bool = False) -> Ends:
        """Where episodes end, by the flags in the file; `is_told`: whether something else says it too."""
        several = {name: why for name, why in self.left_out.items() if why != SINGLE_ENTRY}
        ends = read_ends(
            self.path,
            self.names,
            self.rows - self.one_more,
            one_more=self.one_more,
            left_out=several,
            is_told=is_told,
        )
        if not self.one_more:
            return ends
        early = np.flatnonzero(ends.any[:-1])
        if len(early):
            raise DatasetError(
                f"{self.path}: an episode ends at step {early[0]}, so which observation follows it is not "
                "said by one observation more than actions; give `next_obs`, or a file to each episode."
            )
        # The last step leads to the last observation, whatever cut it off.
        none = np.zeros(self.rows, bool)
        return Ends(np.append(ends.terminated, False), none, np.arange(self.rows) == self.rows - 1, ends.notes)

    def steps(self, ends: Ends) -> Iterator[Steps]:
        """The rows of the file, a bounded number at a time, float32."""
        start = 0
        for piece in self.arrays():
            count = len(piece["obs"])
            here = slice(start, start + count)
            yield Steps(
                obs=_numbers(piece["obs"]),
                action=_filled(_numbers(piece["action"]), count),
                reward=_filled(_numbers(piece["reward"]).reshape(-1), count) if "reward" in piece else _zeros(count),
                next_obs=_numbers(piece["next_obs"]) if "next_obs" in piece else None,
                terminated=ends.terminated[here],
                truncated=ends.truncated[here],
                final=ends.final[here],
            )
            start += count


def _numbers(values: np.ndarray) -> Float[np.ndarray, "..."]:
    with np.errstate(over="ignore", invalid="ignore"):  # What does not fit is infinite, and found later.
        return np.asarray(values, np.float32)


def _zeros(count: int) -> Float[np.ndarray, " n"]:
    return np.zeros(count, np.float32)


def _filled(values: Float[np.ndarray, "..."], count: int) -> Float[np.ndarray, "..."]:
    """`values` with rows of zeros up to `count`."""
    return np.concatenate([values, np.zeros((count - len(values), *values.shape[1:]), np.float32)])


def require(columns: Mapping[str, Column], file: Path, names: Mapping[str, str], **parts: str) -> None:
    """Raises `DatasetError` where a part has no array; `parts` say what each is called as a rule."""
    for part, name in parts.items():
        if part not in names:
            there = what_is_there(columns, file)
            in_groups = not columns  # where a folder would not look either
            own = "" if part == name or in_groups else ", or read it as a folder of your own arrays (data:array-folder)"
            raise DatasetError(
                f"{file} has no `{name}`; it holds {there}: rename what is meant, or write what is missing at the top "
                f"of the file{own}."
            )


def checked(
    columns: Mapping[str, Column],
    names: Mapping[str, str],
    file: Path,
    *,
    one_more: bool = False,
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> ArrayFile:
    """The file, once shapes, types and lengths are known to fit. Raises `DatasetError` where they do not."""
    for part, name in names.items():
        _check_column(part, name, columns[name], file)
    rows = columns[names["obs"]].shape[0]
    for part, name in names.items():
        if part not in (*ROW_PARTS, "final", "valid"):
            continue  # may have an entry to each episode
        expected = rows - 1 if one_more and part != "obs" else rows
        # Flags may be there of each observation, too.
        may_be_of_all = one_more and part not in DATA_PARTS and columns[name].shape[0] == rows
        if columns[name].shape[0] != expected and not may_be_of_all:
            raise DatasetError(
                f"{file}: `{name}` has {columns[name].shape[0]} rows, `{names['obs']}` has {rows}; there must be one "
                "row a step in each."
            )
    if "next_obs" in names and columns[names["next_obs"]].shape != columns[names["obs"]].shape:
        raise DatasetError(
            f"{file}: `{names['next_obs']}` has the shape {columns[names['next_obs']].shape}, `{names['obs']}` "
            f"{columns[names['obs']].shape}; they must agree."
        )
    obs_dim, action_dim = columns[names["obs"]].shape[1], columns[names["action"]].shape[1]
    dtypes = {part: str(columns[names[part]].dtype) for part in ("obs", "action")}
    unread = tuple(name for name in not_read(columns, names, file) if name not in left_out)
    return ArrayFile(file, rows, obs_dim, action_dim, dtypes, names, one_more, unread, left_out)


def _check_column(part: str, name: str, column: Column, file: Path) -> None:
    shape, kind = column.shape, column.dtype.kind
    if column.holds_objects:
        raise DatasetError(
            f"{file}: `{name}` holds Python objects, which owma never loads (they can run code); write it as numbers."
        )
    if part in ("obs", "next_obs", "action"):
        if kind not in "fiu" or column.dtype == np.uint8 or len(shape) != 2 or shape[1] == 0:
            raise DatasetError(
                f"{file}: `{name}` are {column.dtype} of shape {shape}; owma reads one vector of numbers a step, "
                "(steps, size), not images or symbols."
            )
        if part == "action" and kind != "f":
            raise DatasetError(
                f"{file}: `{name}` are {column.dtype}; owma needs continuous actions: write them as floats, if that is "
                "what they are."
            )
        return
    if kind not in "fiub" or not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        raise DatasetError(f"{file}: `{name}` are {column.dtype} of shape {shape}; give one number a step, (steps,).")
