"""Readers of datasets that come as files: D4RL's HDF5, OGBench's npz, and folders of arrays of the user's own.

Each opens a dataset and checks its form (names, shapes, types, lengths) before a row is read; a refusal names the
field and how to mend it. None of these forms names an environment or bounds of the actions.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from owma._errors import DatasetError
from owma._types import Bool, Float
from owma.data.columns import HDF5_SUFFIXES, NPZ_SUFFIX, Column, read_columns, read_rows
from owma.data.recording import Recording, rows_in_piece
from owma.data.steps import Steps, to_transitions, with_limit
from owma.transitions import Transitions

_NAMES: Mapping[str, tuple[str, ...]] = {
    "obs": ("obs", "observations"),
    "action": ("action", "actions"),
    "reward": ("reward", "rewards"),
    "next_obs": ("next_obs", "next_observations"),
    "terminated": ("terminated", "terminals", "terminations"),
    "truncated": ("truncated", "timeouts", "truncations"),
}
"""What a folder's arrays may be called: the name of ours first, then those of D4RL, Minari and OGBench."""


@dataclass(frozen=True)
class _Form:
    """Which arrays of a file play which part."""

    path: Path
    rows: int
    """Of observations."""
    obs_dim: int
    action_dim: int
    dtypes: Mapping[str, str]
    """Of `obs` and `action`, as recorded."""
    names: Mapping[str, str]
    """By part: those of `_NAMES`, `final` (rows that hold a last observation) and `valid` (rows that do not)."""
    one_more: bool
    """Whether there is one observation more than actions, the last of the only episode."""

    def steps(self) -> Iterator[Steps]:
        """The rows of the file, a bounded number at a time, float32."""
        start = 0
        for arrays in read_rows(self.path, self.names.values(), rows_in_piece(self.obs_dim, self.action_dim)):
            piece = {part: arrays[name] for part, name in self.names.items()}
            count = len(piece["obs"])
            steps = Steps(
                obs=_numbers(piece["obs"]),
                action=_filled(_numbers(piece["action"]), count),
                reward=_filled(_numbers(piece["reward"]).reshape(-1), count) if "reward" in piece else _zeros(count),
                next_obs=_numbers(piece["next_obs"]) if "next_obs" in piece else None,
                terminated=_flags(piece, "terminated", count),
                truncated=_flags(piece, "truncated", count),
                final=_flags(piece, "final", count) | ("valid" in piece and ~_flags(piece, "valid", count)),
            )
            if self.one_more:
                steps = self._of_one_episode(steps, start)
            start += count
            yield steps

    def _of_one_episode(self, steps: Steps, start: int) -> Steps:
        rows = start + np.arange(len(steps))
        early = (steps.terminated | steps.truncated) & (rows < self.rows - 2)
        if early.any():
            raise DatasetError(
                f"{self.path}: an episode ends at step {rows[early.argmax()]}, so which observation follows it is not "
                "said by one observation more than actions; give `next_obs`, or a file to each episode."
            )
        # The last step leads to the last observation, whatever cut it off.
        return dataclasses.replace(steps, truncated=np.zeros(len(steps), bool), final=rows == self.rows - 1)


def _numbers(values: np.ndarray) -> Float[np.ndarray, "..."]:
    with np.errstate(over="ignore"):  # What does not fit is infinite, and found later.
        return np.asarray(values, np.float32)


def _zeros(count: int) -> Float[np.ndarray, " n"]:
    return np.zeros(count, np.float32)


def _filled(values: Float[np.ndarray, "..."], count: int) -> Float[np.ndarray, "..."]:
    """`values` with rows of zeros up to `count`."""
    return np.concatenate([values, np.zeros((count - len(values), *values.shape[1:]), np.float32)])


def _flags(piece: Mapping[str, np.ndarray], part: str, count: int) -> Bool[np.ndarray, " n"]:
    flags = np.zeros(count, bool)
    if part in piece:
        flags[: len(piece[part])] = piece[part].reshape(-1) != 0
    return flags


def open_d4rl(file: Path, *, episode_steps: int | None = None) -> Recording:
    """A D4RL file (Fu et al., arXiv 2004.07219): `observations`, `actions`, `rewards`, `terminals`, `timeouts`.

    Where there is no `next_observations` (or they repeat `observations`, as in the kitchen's files), each step leads
    to the row that follows; see `to_transitions` for the last step of an episode. Groups (`infos/`, `metadata/`) are
    not read.

    **Arguments:**

    - `file`: `.hdf5` or `.h5`.
    - `episode_steps`: for a file without `timeouts`: the steps after which an episode was cut; 0 if all episodes end
        by `terminals`. With `next_observations` it is not needed: a cut is where the next row begins elsewhere.

    **Raises:** `DatasetError` if the file is missing, damaged, or of another form.
    """
    columns = _columns(file, HDF5_SUFFIXES, "a D4RL file")
    names = _required(columns, file, obs="observations", action="actions", reward="rewards", terminated="terminals")
    names |= {part: name for part, name in (("next_obs", "next_observations"),) if name in columns}
    notes = []
    if "next_obs" in names and _repeats(file, names["obs"], names["next_obs"]):
        del names["next_obs"]
        notes.append("`next_observations` repeat `observations` and are not used: each step leads to the next row.")
    if "timeouts" in columns:
        names["truncated"] = "timeouts"
    elif episode_steps is None and "next_obs" not in names:
        raise DatasetError(
            f"{file} has no `timeouts`, so that episodes cut by a time limit look like ones that go on; say after how "
            "many steps they were cut with --data.episode-steps N (0: none was, all end by `terminals`)."
        )
    form = _checked(columns, names, file)
    limit = None if "truncated" in names else episode_steps
    find_cuts = "truncated" not in names and episode_steps is None
    if "next_obs" not in names:
        notes.append(
            "`next_observations` are not there: steps that were cut off are dropped, and a step that terminated is "
            "taken to end where it began."
        )

    def pieces() -> Iterator[Transitions]:
        steps = form.steps()
        return to_transitions(with_limit(steps, limit) if limit else steps, find_cuts=find_cuts)

    return _recording("D4RL file", file, (file,), [form], pieces, notes, {"episode_steps": episode_steps})


def open_ogbench(file: Path) -> Recording:
    """An OGBench file (Park et al., arXiv 2410.20092): `observations`, `actions`, `terminals`, an npz.

    `terminals` mark the rows that hold the last observation of an episode, and no step; episodes are cut by time, so
    they count as truncated. Where the file has `valids`, the rows that these leave out hold the last observations, and
    where it has `next_observations`, every row is a step and `terminals` mark the last ones. Without `rewards` all are
    zero. `qpos`, `qvel` and the like are not read.

    **Raises:** `DatasetError` if the file is missing, damaged, or of another form.
    """
    columns = _columns(file, (NPZ_SUFFIX,), "an OGBench file")
    names = _required(columns, file, obs="observations", action="actions", final="terminals")
    notes = []
    if "rewards" in columns:
        names["reward"] = "rewards"
    else:
        notes.append("`rewards` are not there, and taken to be 0: name a task of your own.")
    if "next_observations" in columns:
        names |= {"next_obs": "next_observations", "truncated": names.pop("final")}
    if "valids" in columns:
        # The last step of an episode has a flag in `terminals` too, beside the row of its last observation.
        names["valid"] = "valids"
        names.pop("final", None)
    form = _checked(columns, names, file)

    def pieces() -> Iterator[Transitions]:
        return to_transitions(form.steps())

    return _recording("OGBench file", file, (file,), [form], pieces, notes, {})


def open_folder(folder: Path) -> Recording:
    """A folder of arrays of your own: npz or HDF5 files, each with one episode or several, read in order of name.

    Arrays in each file, one row a step: `obs` (T, obs) and `action` (T, act), numbers; `reward` (T,), zeros if absent;
    `terminated` and `truncated` (T,), flags of the last steps of episodes, none if absent; `next_obs` (T, obs). The end
    of a file ends an episode: as truncated, if it has not terminated. The names of Minari, D4RL and OGBench serve too
    (`observations`, `actions`, `rewards`, `next_observations`, `terminations` or `terminals`, `truncations` or
    `timeouts`). Instead of `next_obs`, a file of one episode may hold one observation more than actions; with neither,
    each step leads to the next row, and see `to_transitions` for the last one.

    **Raises:** `DatasetError` if there is no such file, or one is damaged, of another form, or unlike the first.
    """
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder}; check the path.")
    suffixes = (NPZ_SUFFIX, *HDF5_SUFFIXES)
    files = sorted(path for path in folder.iterdir() if path.suffix in suffixes and path.is_file())
    if not files:
        raise DatasetError(
            f"{folder} holds no file of arrays ({', '.join(suffixes)}); write at least `obs` and `action` into one."
        )
    forms = [_own_form(path) for path in files]
    first = forms[0]
    for form in forms:
        if (form.obs_dim, form.action_dim) != (first.obs_dim, first.action_dim):
            raise DatasetError(
                f"{form.path} has observations and actions of {form.obs_dim} and {form.action_dim} numbers, and "
                f"{first.path.name} of {first.obs_dim} and {first.action_dim}; give unlike data folders of their own."
            )
    notes = []
    if not all("reward" in form.names for form in forms):
        notes.append("`reward` is not in every file, and taken to be 0 where it is not.")

    def pieces() -> Iterator[Transitions]:
        for form in forms:
            yield from to_transitions(form.steps())

    return _recording("folder of arrays", folder, tuple(files), forms, pieces, notes, {})


def _own_form(path: Path) -> _Form:
    columns = read_columns(path)
    names = {}
    for part, spellings in _NAMES.items():
        found = [name for name in spellings if name in columns]
        if len(found) > 1:
            raise DatasetError(f"{path} has both `{found[0]}` and `{found[1]}`; keep one of them.")
        if found:
            names[part] = found[0]
    for part in ("obs", "action"):
        if part not in names:
            there = ", ".join(f"`{name}`" for name in columns) or "nothing"
            raise DatasetError(f"{path} has no `{part}`; it holds {there}: rename, or add what is missing.")
    return _checked(columns, names, path, one_more=_one_more(columns, names))


def _one_more(columns: Mapping[str, Column], names: Mapping[str, str]) -> bool:
    """Whether there is one observation more than actions."""
    obs, action = columns[names["obs"]].shape, columns[names["action"]].shape
    return "next_obs" not in names and bool(obs and action) and obs[0] == action[0] + 1


def _columns(file: Path, suffixes: tuple[str, ...], what: str) -> dict[str, Column]:
    if file.suffix not in suffixes and file.exists():
        raise DatasetError(f"{file} is not {what}, which ends in {' or '.join(suffixes)}; name another form of data.")
    return read_columns(file)


def _required(columns: Mapping[str, Column], file: Path, **names: str) -> dict[str, str]:
    for name in names.values():
        if name not in columns:
            there = ", ".join(f"`{name}`" for name in columns) or "nothing"
            raise DatasetError(
                f"{file} has no `{name}`; it holds {there}: rename what is meant, or read it as a folder of your own "
                "arrays (data:array-folder)."
            )
    return names


def _checked(columns: Mapping[str, Column], names: Mapping[str, str], file: Path, *, one_more: bool = False) -> _Form:
    """The form, once shapes, types and lengths are known to fit."""
    for part, name in names.items():
        _check_column(part, name, columns[name], file)
    rows = columns[names["obs"]].shape[0]
    for part, name in names.items():
        expected = rows - 1 if one_more and part != "obs" else rows
        if columns[name].shape[0] != expected:
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
    return _Form(file, rows, obs_dim, action_dim, dtypes, names, one_more)


def _check_column(part: str, name: str, column: Column, file: Path) -> None:
    shape, kind = column.shape, column.dtype.kind
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


def _repeats(file: Path, first: str, second: str) -> bool:
    """Whether two arrays of a file are the same all through."""
    return all(
        np.array_equal(piece[first], piece[second], equal_nan=True) for piece in read_rows(file, (first, second), 4096)
    )


def _recording(
    form: str,
    source: Path,
    files: tuple[Path, ...],
    forms: list[_Form],
    pieces: Callable[[], Iterator[Transitions]],
    notes: list[str],
    options: dict[str, int | None],
) -> Recording:
    return Recording(
        dataset_id=source.resolve().stem,
        form=form,
        files=files,
        options=dict(options),
        rows=sum(part.rows - part.one_more for part in forms),
        obs_dim=forms[0].obs_dim,
        action_dim=forms[0].action_dim,
        dtypes=dict(forms[0].dtypes),
        pieces=pieces,
        notes=tuple(notes),
    )
