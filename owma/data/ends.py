"""Where the episodes of a file end, and how, from whichever arrays say so."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from owma._errors import DatasetError
from owma._types import Bool, Int
from owma.data.columns import read_rows
from owma.data.names import CUT_PARTS

_ROWS = 2**18
"""Of arrays with one number a row, read at a time."""


@dataclass(frozen=True)
class Ends:
    """One flag of each kind to every row of a file; see `Steps`."""

    terminated: Bool[np.ndarray, " n"]
    truncated: Bool[np.ndarray, " n"]
    final: Bool[np.ndarray, " n"]
    notes: tuple[str, ...] = ()
    """What had to be assumed; a sentence each."""

    @property
    def any(self) -> Bool[np.ndarray, " n"]:
        """Whether each row is the last of its episode."""
        return self.terminated | self.truncated | self.final

    @property
    def episodes(self) -> Int[np.ndarray, " n"]:
        """The number of the episode of each row."""
        return np.concatenate([np.zeros(1, int), np.cumsum(self.any[:-1])])


def read_ends(path: Path, names: Mapping[str, str], rows: int) -> Ends:
    """The ends that the arrays of a file tell together.

    - A step that `terminated` marks ended its episode for good; one that `truncated` marks was cut.
    - `done` marks both kinds: what `truncated` does not mark terminated, and where there is neither of the two, all
      did, as `done` meant before Gym 0.26.
    - The others say where an episode ends only: it was cut there, unless `terminated` or `done` says otherwise.
    - `is_last` marks rows without a step, as RLDS has it, if all their rewards and actions are 0 or not numbers.

    **Arguments:**

    - `names`: by part (`NAMES`), and `final` and `valid` for rows without and with a step.
    - `rows`: of the arrays that have one entry a step.

    **Raises:** `DatasetError` where an array is not what its name says.
    """
    nothing = np.zeros(rows, bool)
    arrays = _read(path, [names[part] for part in names if part not in ("obs", "action", "reward", "next_obs")])
    given = {part: arrays[name] for part, name in names.items() if name in arrays}
    flags = {part: values != 0 for part, values in given.items() if part in ("terminated", "truncated", "done")}
    borders = {
        part: _last_rows(part, given[part], rows, f"{path}: `{names[part]}`")
        for part in ("last", "first", "stops", "lengths", "ids", "counts")
        if part in given and (part != "counts" or not any(other in given for other in CUT_PARTS if other != "counts"))
    }
    final = given["final"] != 0 if "final" in given else nothing
    if "valid" in given:
        final = final | (given["valid"] == 0)
    terminated, truncated = flags.get("terminated", nothing), flags.get("truncated", nothing)
    notes = []
    if _holds_no_step(path, names, borders):
        final = final | borders.pop("last")
        terminated = np.append((terminated & final)[1:], False) | (terminated & ~final)
        notes.append(f"Rows that `{names['last']}` marks have no action and hold last observations, as RLDS has them.")
    border = np.logical_or.reduce([nothing, *borders.values()])
    done = flags.get("done", nothing)
    told = [names[part] for part in borders]
    if "done" in flags and "terminated" not in flags:
        terminated = done & ~truncated
        if "truncated" not in flags:
            notes.append(
                f"`{names['done']}` alone says how episodes end: all are taken to have terminated, as `done` meant "
                "before Gym 0.26; where a time limit cut some, mark those in `truncated` too."
            )
    elif told and "terminated" not in flags:
        notes.append(f"`{told[0]}` says where episodes end, and no array that one terminated: all are taken to be cut.")
    if told and (beyond := (terminated | truncated | done) & ~(border | final) & (np.arange(rows) < rows - 1)).any():
        notes.append(
            f"{int(beyond.sum()):,} steps, the first of row {int(beyond.argmax())}, are ends by their flags and not by "
            f"`{told[0]}`; episodes end at both."
        )
    return Ends(terminated, (truncated | done | border) & ~terminated, final, tuple(notes))


def limited(ends: Ends, steps: int) -> Ends:
    """Every episode is truncated after `steps` steps, unless it has ended before."""
    starts = np.flatnonzero(np.append(True, ends.any[:-1]))
    place = np.arange(len(ends.final)) - starts[ends.episodes]
    return Ends(ends.terminated, ends.truncated | ((place + 1) % steps == 0) & ~ends.terminated, ends.final, ends.notes)


def _read(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Whole arrays, flat."""
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for piece in read_rows(path, names, _ROWS) if names else ():
        for name, values in piece.items():
            pieces[name].append(values.reshape(-1))
    return {name: np.concatenate(parts) for name, parts in pieces.items()}


def _last_rows(part: str, values: np.ndarray, rows: int, what: str) -> Bool[np.ndarray, " n"]:
    """Whether each row is the last of its episode, by an array of any of the forms in use; the file's end is left."""
    if part in ("ids", "counts"):
        first = np.append(True, values[1:] != values[:-1] if part == "ids" else values[1:] <= values[:-1])
        return np.append(first[1:], False)
    is_flags = len(values) == rows and bool(np.isin(values, (0, 1)).all())
    if is_flags and part != "lengths":
        return np.append(values[1:] != 0, False) if part == "first" else values != 0
    values = values.astype(np.float64)
    stops = np.cumsum(values) if part == "lengths" else values + (part == "last")
    if part == "first":
        stops = np.append(values[1:], rows) if len(values) and values[0] == 0 else np.zeros(0)
    elif len(stops) and stops[-1] == rows - 1:
        stops = stops + 1  # numbers of last rows, not of those that follow
    is_whole = len(stops) and stops[-1] == rows and stops[0] > 0 and (np.diff(stops) > 0).all()
    if not is_whole or (stops != np.floor(stops)).any():
        raise DatasetError(
            f"{what} does not say where the episodes of {rows} rows end: owma reads flags, one a row, numbers of rows "
            "that rise to the last one, or lengths that add up; write one of these, or leave it out."
        )
    last = np.zeros(rows, bool)
    last[stops.astype(int) - 1] = True
    return last


def _holds_no_step(path: Path, names: Mapping[str, str], borders: Mapping[str, np.ndarray]) -> bool:
    if names.get("last") != "is_last" or "next_obs" in names or not borders["last"].any():
        return False
    start = 0
    asked = [names[part] for part in ("action", "reward") if part in names]
    for piece in read_rows(path, asked, _ROWS):
        marked = borders["last"][start : start + len(piece[asked[0]])]
        if any(np.nan_to_num(values[marked].astype(float)).any() for values in piece.values()):
            return False
        start += len(marked)
    return True
