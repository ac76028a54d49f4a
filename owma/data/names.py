"""What programs call the arrays that they write, and which part each plays in a dataset."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from owma._internal.errors import DatasetError
from owma.data.columns import Column, names_in_groups, read_rows

NAMES: Mapping[str, tuple[str, ...]] = {
    "obs": ("obs", "observations", "observation", "observation.state"),
    "action": ("action", "actions", "act", "acts"),
    "reward": ("reward", "rewards", "rew", "rews", "next.reward"),
    "next_obs": ("next_obs", "next_observations", "next_observation", "obs_next", "new_obs", "obs2"),
    # Flags of steps after which an episode ended for good, was cut, or either.
    "terminated": ("terminated", "terminals", "terminations", "terminal", "termination", "is_terminal"),
    "truncated": ("truncated", "timeouts", "truncations", "truncation", "timeout", "is_truncated"),
    "done": ("done", "dones", "next.done", "dones_float", "is_done", "finished"),
    # Where episodes end or begin, as flags or as numbers of rows; not whether they terminated.
    "last": ("is_last", "episode_terminals", "episode_dones", "last"),
    "first": ("episode_starts", "is_first", "episode_start", "first"),
    "stops": ("episode_ends", "episode_end", "traj_ends", "trajectory_ends", "episode_data_index_to"),
    "lengths": ("episode_lengths", "episode_lens", "ep_lengths", "traj_lengths", "trajectory_lengths", "path_lengths"),
    # The number of the episode of each step, and the number of the step in its episode.
    "ids": ("episode_index", "episode_ids", "episode_id", "episode_idx", "episode_number", "episode", "episodes")
    + ("traj_ids", "traj_id", "trajectory_ids", "trajectory_id", "traj_index", "trajectory_index", "demo_id"),
    "counts": ("frame_index", "timesteps", "timestep", "time_step", "step_index"),
}
"""By part: the name of ours first, then those of D4RL, Minari, OGBench, d3rlpy, stable-baselines, Tianshou, robomimic,
diffusion_policy, lerobot, RLDS and JAX's offline-RL collections."""

DATA_PARTS = ("obs", "action", "reward", "next_obs")
COUNTS_IF_THEY_RESTART = ("step", "steps", "t", "timestamp", "time")
"""Names that serve many purposes, of what counts the steps of an episode if its numbers do so."""
ROW_PARTS = (*DATA_PARTS, "terminated", "truncated", "done", "ids", "counts")
"""Parts with an entry to each row; the others may have one to each episode."""
CUT_PARTS = ("truncated", "done", "last", "first", "stops", "lengths", "ids", "counts")
"""Parts that say where episodes end that did not terminate."""
AUXILIARY_PARTS = ("last", "first", "stops", "lengths", "ids", "counts")
"""Parts whose names serve other purposes too: what does not fit is left unread where something else tells the ends."""

SINGLE_ENTRY = "has a single entry, which says nothing of steps"
"""Why such an array is left out; no lack, for it cannot be what says where episodes end within a file."""

_OF_ENDS = re.compile(
    r"(^|[_./ -])(not_?)?(dones?|termin\w*|trunc\w*|time_?outs?|episodes?|eps?|traj\w*|rollouts?|demos?|first|last|"
    r"final|starts?|begin\w*|resets?|ends?|masks?|valids?|discounts?|boundar\w*|split\w*|indices)($|[_./ -])",
    re.IGNORECASE,
)
_NOT_OF_ENDS = re.compile(r"return|reward|score|success|seed|goal|obs|action", re.IGNORECASE)
_MOST_NAMED = 200


def parts_of(columns: Mapping[str, Column], file: Path) -> dict[str, str]:
    """The name of the array for each part that there is one for.

    Of several that tell the same of episodes' ends the first counts, and of several the one that is of a form in use.
    Raises `DatasetError` where two do not agree.
    """
    names, written = {}, as_spelled(columns)
    for part, spellings in NAMES.items():
        candidates = [written[name] for name in spellings if name in written]
        if part not in DATA_PARTS and len(candidates) > 1:
            candidates = _of_a_form_in_use(part, columns, candidates, names)
            if len(candidates) == 1 or _tell_the_same(part, columns, candidates, file):
                candidates = candidates[:1]
        if len(candidates) > 1:
            raise DatasetError(f"{file} has both `{candidates[0]}` and `{candidates[1]}`; keep one of them.")
        if candidates:
            names[part] = candidates[0]
    plain = [written[name] for name in COUNTS_IF_THEY_RESTART if name in written]
    plain = [name for name in plain if "counts" not in names and _counts_from_0(columns[name], name, file)]
    return names | ({"counts": plain[0]} if plain else {})


def spelled(name: str) -> str:
    """A name as in `NAMES`: `isDone` as `is_done`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def as_spelled(names: Iterable[str]) -> dict[str, str]:
    """The names by what they are in small letters and underscores; one that is written so counts before others."""
    written = list(names)
    return {spelled(name): name for name in written} | {name: name for name in written}


def _counts_from_0(column: Column, name: str, file: Path) -> bool:
    """Whether numbers rise by 1 a row and begin anew at 0 now and then; times may rise by anything."""
    if not _is_a_row_of_numbers(column) or column.dtype.kind == "b" or math.prod(column.shape) < 3:
        return False
    values = np.concatenate([piece[name].reshape(-1) for piece in read_rows(file, (name,), 2**18)])
    rises = np.diff(values.astype(np.float64))
    anew = rises <= 0
    is_even = (rises[~anew] == 1).all() or "time" in spelled(name)
    return bool(values[0] == 0 and anew.any() and not anew.all() and (values[1:][anew] == 0).all() and is_even)


def starts_by_number(part: str, values: np.ndarray) -> np.ndarray:
    """Whether an episode begins at each row but the first, by the numbers of episodes (`ids`) or steps (`counts`)."""
    return values[1:] != values[:-1] if part == "ids" else values[1:] <= values[:-1]


def take_turns(part: str, values: np.ndarray) -> bool:
    """Whether rows of several episodes are mixed, by the numbers of episodes (`ids`) or of steps (`counts`)."""
    if len(values) < 2:
        return False
    if part == "counts":  # 0, 0, 1, 1: no step of an episode has the number of the one before
        return bool(((values[1:] == values[:-1]) & (values[1:] > values.min())).any())
    starts = np.flatnonzero(np.append(True, starts_by_number(part, values)))
    lengths = np.diff(np.append(starts, len(values)))
    comes_back = len(starts) > 2 * len(np.unique(values[starts]))
    return comes_back and bool(np.median(lengths) == 1)


def says_one_thing(column: Column) -> bool:
    """Whether an array has a single entry, which tells nothing of rows."""
    return math.prod(column.shape) == 1


def _is_a_row_of_numbers(column: Column) -> bool:
    shape = column.shape
    is_vector = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    return is_vector and column.dtype.kind in "fiub" and not column.holds_objects


def _of_a_form_in_use(
    part: str, columns: Mapping[str, Column], candidates: list[str], names: Mapping[str, str]
) -> list[str]:
    """Those of several arrays of one part that may tell it; the first, if none does."""
    if part not in ("done", *AUXILIARY_PARTS):
        return candidates
    rows = {columns[names[data]].shape[:1] for data in ("obs", "action") if data in names}
    fits = [
        name
        for name in candidates
        if _is_a_row_of_numbers(columns[name]) and (part not in ROW_PARTS or columns[name].shape[:1] in rows)
    ]
    return fits or candidates[:1]


def _tell_the_same(part: str, columns: Mapping[str, Column], names: list[str], file: Path) -> bool:
    if len({columns[name].shape[:1] for name in names}) != 1:
        return False
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for piece in read_rows(file, names, 2**18):
        for name, values in piece.items():
            pieces[name].append(values.reshape(-1))
    first, *others = [np.concatenate([np.zeros(0), *parts]) for parts in pieces.values()]
    if part in ("ids", "counts"):
        first, *others = [starts_by_number(part, values) for values in (first, *others)]
    return all(np.array_equal(first, values) for values in others)


def ends_of_others(columns: Mapping[str, Column]) -> list[str]:
    """The arrays that say where episodes end, and that OGBench's files do not have."""
    written = as_spelled(columns)
    return [
        written[name]
        for part in ("terminated", *CUT_PARTS)
        for name in NAMES[part]
        if name in written and name != "terminals" and not says_one_thing(columns[written[name]])
    ]


def is_ogbench(columns: Mapping[str, Column]) -> bool:
    """Whether the arrays of an npz file are OGBench's by their names, and not those of D4RL or of others.

    Both have `terminals`, which mark rows without a step in OGBench's files, and steps that terminated in D4RL's.
    OGBench has no other array of ends, and where it has `rewards`, `masks` too.
    """
    written = as_spelled(columns)
    names = {part for part, spellings in NAMES.items() if any(name in written for name in spellings)}
    of_d4rl = {"reward", "next_obs", "terminated"} <= names and "masks" not in columns
    of_none = "obs" not in names or "action" not in names or not names & {"terminated", *CUT_PARTS}
    return not ends_of_others(columns) and not of_d4rl or of_none


def fitting(
    columns: Mapping[str, Column], names: Mapping[str, str], *, one_more: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """The names by part without those of arrays that cannot say where episodes end, and why they cannot, by name.

    Such are single entries, and auxiliary arrays (`AUXILIARY_PARTS`) that are not one number a row.
    """
    rows, left_out = next(iter(columns[names["obs"]].shape), 0), {}
    for part in ("done", *AUXILIARY_PARTS):
        column = columns[names[part]] if part in names else None
        if column is None:
            continue
        is_a_row, of_rows = _is_a_row_of_numbers(column), part in ROW_PARTS
        if says_one_thing(column) and rows > 1 and (of_rows or not is_a_row):
            left_out[names[part]] = SINGLE_ENTRY
        elif part == "done":
            continue
        elif not is_a_row:
            left_out[names[part]] = f"is {column.dtype} of shape {column.shape}, and not one number a step"
        elif of_rows and column.shape[0] not in ((rows - 1, rows) if one_more else (rows,)):
            left_out[names[part]] = f"has {column.shape[0]} rows, and `{names['obs']}` has {rows}"
    return {part: name for part, name in names.items() if name not in left_out}, left_out


def named(names: list[str]) -> str:
    """Names for a sentence."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(f"`{name}`" for name in names[:_MOST_NAMED]) + more


def what_is_there(columns: Mapping[str, Column], file: Path) -> str:
    """What a file holds, for the refusal of one that lacks something."""
    groups = sorted({name.partition("/")[0] for name in names_in_groups(file)})
    if not groups:
        return named(list(columns)) or "nothing"
    held = f"{named(list(columns))}, and " if columns else ""
    return f"{held}the group{'s' if len(groups) > 1 else ''} {named(groups)}, in which owma does not read"


def check_ends_are_known(
    columns: Mapping[str, Column], names: Mapping[str, str], left_out: Mapping[str, str], file: Path
) -> None:
    """Raises `DatasetError` where an array that is not read seems to say where episodes end, and no other does.

    `left_out`: see `fitting`.
    """
    if "next_obs" in names or any(part in names for part in CUT_PARTS):
        return
    for name, column in columns.items():
        if name in left_out:
            continue
        of_numbers = column.dtype.kind in "biuf" and len([size for size in column.shape if size != 1]) == 1
        if (
            name not in names.values()
            and of_numbers
            and _OF_ENDS.search(spelled(name))
            and not _NOT_OF_ENDS.search(name)
        ):
            raise DatasetError(
                f"{file}: `{name}` seems to say where episodes end, and owma does not know how; call it `truncated` "
                "(flags of last steps), `episode_starts` (flags of first steps), `episode_ends` (numbers of rows) or "
                "`episode_index`, or leave it out."
            )


def not_read(columns: Mapping[str, Column], names: Mapping[str, str], file: Path) -> list[str]:
    """The arrays of a file that play no part, in groups too."""
    return [name for name in columns if name not in names.values()] + names_in_groups(file)
