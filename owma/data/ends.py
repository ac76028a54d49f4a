"""Where the episodes of a file end, and how, from whichever arrays say so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from owma._internal.errors import DatasetError
from owma._internal.types import Bool, Float, Int
from owma.data.columns import read_rows
from owma.data.names import AUXILIARY_PARTS, COUNTS_IF_THEY_RESTART, DATA_PARTS, spelled, starts_by_number, take_turns

_NO_FORM = (
    "does not say where the episodes of {rows} rows end: owma reads flags, one a row, numbers of rows that rise to the "
    "last one, lengths that add up, or steps counted from each first one on"
)
_OBS_ROWS = 2**14
_CLEARLY = 3.0
"""Times as long as others: steps between episodes."""
_FLAGS = ("terminated", "truncated", "done", "final", "valid")
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


def read_ends(
    path: Path,
    names: Mapping[str, str],
    rows: int,
    *,
    one_more: bool = False,
    left_out: Mapping[str, str] = MappingProxyType({}),
    is_told: bool = False,
) -> Ends:
    """The ends that the arrays of a file tell together.

    - A step that `terminated` marks ended its episode for good; one that `truncated` marks was cut.
    - `done` marks both kinds: what `truncated` does not mark terminated, and where there is neither of the two, all
      did, as `done` meant before Gym 0.26.
    - The others say where an episode ends only: it was cut there, unless `terminated` or `done` says otherwise. Where
      they say so of steps that `done` leaves out, `done` marks those that terminated.
    - `is_last` marks rows without a step, as RLDS has it, if all their rewards and actions are 0 or not numbers.

    **Arguments:**

    - `names`: by part (`NAMES`), and `final` and `valid` for rows without and with a step.
    - `rows`: of the arrays that have one entry a step.
    - `one_more`: whether there is one observation more than steps. An array with an entry to each observation, as
      dm_env has them, says of the step that leads to an observation what it says of that.
    - `left_out`: by name, why an array that may say where episodes end cannot be read.
    - `is_told`: whether something else says where episodes end.

    **Raises:** `DatasetError` where an array is not what its name says, and no other marks an end; where flags are not
    0 or 1, and where the rows of several episodes take turns.
    """
    nothing = np.zeros(rows, bool)
    arrays = _read(path, [names[part] for part in names if part not in DATA_PARTS])
    given = {part: arrays[name] for part, name in names.items() if name in arrays}
    flags = {part: _flags(given[part], f"{path}: `{names[part]}`") for part in _FLAGS if part in given}
    final = flags.get("final", nothing) | ~flags.get("valid", ~nothing)
    flags = {part: values[len(values) - rows :] for part, values in flags.items()}
    borders, misfits = {}, dict(left_out)
    for part in AUXILIARY_PARTS:
        if part in given:
            values = _with_the_last(path, names, given[part], rows) if part == "stops" else given[part]
            last = _border(part, values, rows, f"{path}: `{names[part]}`", one_more=one_more)
            if last is None:
                misfits[names[part]] = _NO_FORM.format(rows=rows)
            else:
                borders[part] = last
    terminated, truncated = flags.get("terminated", nothing), flags.get("truncated", nothing)
    marks = [truncated, flags.get("done", nothing), *borders.values(), final, terminated[-1:]]
    _check_told(path, misfits, marks, is_told or one_more or "next_obs" in names)
    notes = [f"`{name}` is not read: it {why}." for name, why in misfits.items() if name not in left_out]
    if "counts" in borders and spelled(names["counts"]) in COUNTS_IF_THEY_RESTART:
        notes.append(f"`{names['counts']}` begins anew at 0, and is read as counting the steps of each episode.")
    if not one_more and _holds_no_step(path, names, borders):
        final = final | borders.pop("last")
        terminated = np.append((terminated & final)[1:], False) | (terminated & ~final)
        notes.append(f"Rows that `{names['last']}` marks have no action and hold last observations, as RLDS has them.")
    border = np.logical_or.reduce([nothing, *borders.values()])
    done = flags.get("done", nothing)
    # Steps that are counted all through say nothing of episodes.
    told = [names[part] for part, last in borders.items() if part != "counts" or last.any()]
    if "done" in flags and "terminated" not in flags:
        terminated = done & ~truncated
        if "truncated" not in flags and done.any() and (border[:-1] & ~done[:-1]).any():
            notes.append(f"`{names['done']}` marks some of the ends only: those are taken to have terminated.")
        elif "truncated" not in flags and done.any():
            notes.append(
                f"`{names['done']}` alone says how episodes end: all are taken to have terminated, as `done` meant "
                "before Gym 0.26; where a time limit cut some, mark those in `truncated` too."
            )
    elif told and border.any() and "terminated" not in flags:
        notes.append(f"`{told[0]}` says where episodes end, and no array that one terminated: all are taken to be cut.")
    known = border | final | np.append(final[1:], True)
    if told and (beyond := (terminated | truncated | done) & ~known).any():
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


def _check_told(path: Path, misfits: Mapping[str, str], marks: Sequence[np.ndarray], is_told: bool) -> None:
    """Raises `DatasetError` where an array that was not understood is all there is to say where episodes end."""
    if misfits and not is_told and not any(marked.any() for marked in marks):
        name, why = next(iter(misfits.items()))
        raise DatasetError(f"{path}: `{name}` {why}, and no other array marks an end; mend it, or leave it out.")


def _flags(values: np.ndarray, what: str) -> Bool[np.ndarray, " n"]:
    """Raises `DatasetError` where one is neither 0 nor 1."""
    other = ~np.isin(values, (0, 1))
    if other.any():
        raise DatasetError(
            f"{what} is {values[other.argmax()]} in row {int(other.argmax())}; flags of ends are 0 or 1: write them so."
        )
    return values != 0


def _with_the_last(path: Path, names: Mapping[str, str], stops: np.ndarray, rows: int) -> np.ndarray:
    """Numbers of rows that follow ends, completed by the file's end where they lack it, as observations show.

    Numbers up to the last row may be those of last rows as well: the steps that lead over a border are the longer ones.
    """
    if "obs" not in names or len(stops) < 2 or stops[-1] != rows - 1 or np.isin(stops, (0, 1)).all():
        return stops
    stepped, typical, start, held = np.zeros(rows), None, 0, None
    for piece in read_rows(path, [names["obs"]], _OBS_ROWS):
        obs = piece[names["obs"]].astype(np.float64)
        obs = obs if held is None else np.concatenate([held, obs])
        with np.errstate(invalid="ignore", over="ignore"):
            moved = np.nan_to_num(np.abs(np.diff(obs, axis=0)), posinf=0.0)
        if typical is None and len(moved):
            typical = np.where((middle := np.median(moved, axis=0)) > 0, middle, np.inf)
        if typical is not None:
            stepped[start : start + len(moved)] = np.median(moved / typical, axis=1)[: rows - start]
        start, held = start + len(moved), obs[-1:]
    borders = stops.astype(int)
    over_last_rows, over_rows_before = np.median(stepped[borders[:-1]]), np.median(stepped[borders[:-1] - 1])
    return np.append(stops, rows) if over_rows_before > _CLEARLY * over_last_rows else stops


def _border(part: str, values: np.ndarray, rows: int, what: str, *, one_more: bool) -> Bool[np.ndarray, " n"] | None:
    """`_last_rows`, whether `values` are of steps or of observations. Raises `DatasetError` where rows take turns."""
    if part in ("ids", "counts") and take_turns(part, values):
        raise DatasetError(
            f"{what} shows that rows of several episodes take turns, as recorders of many environments at once write "
            "them: episodes are interleaved; sort the rows by episode, each in the order of its steps."
        )
    if not one_more or len(values) != rows + 1:
        return _last_rows(part, values, rows)
    last = _last_rows_by_observations(part, values, rows)
    if last is not None and last[-1] and part in ("first", "ids", "counts"):
        raise DatasetError(
            f"{what} says that the last observation is of another episode than the step before it; give a file to "
            "each episode, or leave the last observation out."
        )
    return last


def _last_rows_by_observations(part: str, values: np.ndarray, rows: int) -> Bool[np.ndarray, " n"] | None:
    """`_last_rows` of `rows` steps, by an array with an entry to each of one observation more."""
    last = _last_rows(part, values, rows + 1)
    return None if last is None else last[1:] if part == "last" else last[:-1]


def _last_rows(part: str, values: np.ndarray, rows: int) -> Bool[np.ndarray, " n"] | None:
    """Whether each row is the last of its episode, by an array of any of the forms in use; the file's end is left.

    `None` where it is of none of them.
    """
    if part == "counts" and (
        (values == values[:1]).all() and values[:1].any() or (np.diff(values) < 0).sum() > rows / 2
    ):
        return None  # a constant, or what counts down
    if part in ("ids", "counts"):
        return np.append(starts_by_number(part, values), False)
    is_flags = len(values) == rows and bool(np.isin(values, (0, 1)).all())
    if is_flags and part != "lengths":
        return np.append(values[1:] != 0, False) if part == "first" else values != 0
    values = values.astype(np.float64)
    if part == "lengths" and len(values) == rows and values.sum() != rows:
        values = _once(values)
    stops = np.cumsum(values) if part == "lengths" else values + (part == "last")
    if part == "first":
        stops = np.append(values[1:], rows) if len(values) and values[0] == 0 else np.zeros(0)
    elif len(stops) and stops[-1] == rows - 1:
        stops = stops + 1  # numbers of last rows, not of those that follow
    is_whole = len(stops) and stops[-1] == rows and stops[0] > 0 and (np.diff(stops) > 0).all()
    if not is_whole or (stops != np.floor(stops)).any():
        return None
    last = np.zeros(rows, bool)
    last[stops.astype(int) - 1] = True
    return last


def _once(lengths: Float[np.ndarray, " n"]) -> Float[np.ndarray, " k"]:
    """Lengths of episodes of which each is there as often as it says; of none where one is not."""
    once, at = [], 0
    while at < len(lengths):
        length = lengths[at]
        if not 1 <= length <= len(lengths) - at or (lengths[at : at + int(length)] != length).any():
            return np.zeros(0)
        once.append(length)
        at += int(length)
    return np.array(once)


def _holds_no_step(path: Path, names: Mapping[str, str], borders: Mapping[str, np.ndarray]) -> bool:
    if (
        spelled(names.get("last", "")) != "is_last"
        or "next_obs" in names
        or "last" not in borders
        or not borders["last"].any()
    ):
        return False
    start = 0
    asked = [names[part] for part in ("action", "reward") if part in names]
    for piece in read_rows(path, asked, _ROWS):
        marked = borders["last"][start : start + len(piece[asked[0]])]
        if any(np.nan_to_num(values[marked].astype(float)).any() for values in piece.values()):
            return False
        start += len(marked)
    return True
