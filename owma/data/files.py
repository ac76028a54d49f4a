"""Readers of datasets that come as files: D4RL's HDF5, OGBench's npz, and folders of arrays of the user's own.

Each opens a dataset and checks its form (names, shapes, types, lengths) before a row is read; a refusal names the
field and how to mend it. None of these forms names an environment or bounds of the actions.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from owma._internal.errors import DatasetError
from owma.data.arrays import ArrayFile, checked, require
from owma.data.columns import HDF5_SUFFIXES, NPZ_SUFFIX, Column, read_columns, read_rows
from owma.data.dataset import DatasetSource, RowFacts
from owma.data.ends import limited
from owma.data.names import CUT_PARTS, check_ends_are_known, ends_of_others, fitting, named, parts_of
from owma.data.precision import Precision
from owma.data.steps import to_transitions
from owma.data.survey import Survey, survey
from owma.outcomes.transitions import Transitions

_READING = 4
"""Of the rules by which files are read: a memory-mapped copy made by others is not taken for one of today's."""


def open_d4rl(file: Path, *, episode_steps: int | None = None) -> DatasetSource:
    """A D4RL file (Fu et al., arXiv 2004.07219): `observations`, `actions`, `rewards`, `terminals`, `timeouts`.

    Where there is no `next_observations` (or they repeat `observations`, as in the kitchen's files), each step leads
    to the row that follows; see `to_transitions` for the last step of an episode. Where there is, an episode is cut too
    wherever the next row begins elsewhere. Groups (`infos/`, `metadata/`) are not read. The names of `open_folder`
    serve too.

    **Arguments:**

    - `file`: `.hdf5`, `.h5`, or the same arrays in an `.npz`.
    - `episode_steps`: for a file whose `timeouts` (and the like) are missing or never set: the steps after which an
        episode was cut; 0 if all episodes end by `terminals`.

    **Raises:** `DatasetError` if the file is missing, damaged, or of another form; once it is read, if its flags say
    where episodes were cut and `episode_steps` is given too, or if neither says so and some steps look like resets.
    """
    columns = _columns(file, (*HDF5_SUFFIXES, NPZ_SUFFIX), "a D4RL file")
    names = parts_of(columns, file)
    require(columns, file, names, obs="observations", action="actions")
    names, left_out = fitting(columns, names, one_more=False)
    if "terminated" not in names and not any(part in names for part in CUT_PARTS):
        check_ends_are_known(columns, names, left_out, file)
        require(columns, file, names, terminated="terminals")
    notes = []
    if "reward" not in names:
        notes.append("`rewards` are not there, and taken to be 0: name a task of your own.")
    if "next_obs" in names and _repeats(file, names["obs"], names["next_obs"]):
        notes.append(
            f"`{names.pop('next_obs')}` repeat `{names['obs']}` and are not used: each step leads to the next row."
        )
    if episode_steps is None and "next_obs" not in names and not any(part in names for part in CUT_PARTS):
        check_ends_are_known(columns, names, left_out, file)
        raise DatasetError(
            f"{file} has no `timeouts`, so that episodes cut by a time limit look like ones that go on; say after how "
            f"many steps they were cut with {_EPISODE_STEPS} (0: none was, all end by `{names['terminated']}`)."
        )
    form = checked(columns, names, file, left_out=left_out)
    if "next_obs" not in names:
        notes.append(
            "`next_observations` are not there: steps that were cut off are dropped, and a step that terminated is "
            "taken to end where it began."
        )

    def look(form: ArrayFile, precision: Mapping[str, Precision]) -> Survey:
        ends = form.ends(is_told=episode_steps is not None)
        marked = ends.truncated if "terminated" in form.names else ends.any
        never_set = bool(form.cuts) and not marked[:-1].any()
        if episode_steps is not None and form.cuts and not never_set:
            raise DatasetError(
                f"{file} says by {named(form.cuts)} where episodes were cut, so that --data.episode-steps has nothing "
                "to say of it; leave it out."
            )
        if episode_steps:
            before, ends = ends.any, limited(ends, episode_steps)
            cut = int((ends.any & ~before).sum())
            said = f"{cut:,} episodes are cut after {episode_steps} steps, as --data.episode-steps says."
            ends = dataclasses.replace(ends, notes=(*ends.notes, said))
        seen = survey(form.arrays, ends, precision)
        if (never_set or not form.cuts) and episode_steps is None and seen.large:
            never = "is never set" if form.cuts == [form.names.get("truncated")] else "marks no cut within the file"
            unset = f"{' and '.join(f'`{name}`' for name in form.cuts)} {never}" if form.cuts else "no array marks cuts"
            how = f"all end by `{names['terminated']}`" if "terminated" in names else "the file is one episode"
            raise DatasetError(
                f"{file}: {unset}, and after {seen.large:,} steps, the first of row {seen.first_large}, the next "
                "observation is as far away as a reset; say after how many steps episodes were cut with "
                f"{_EPISODE_STEPS} (0: none was, {how})."
            )
        return seen

    return _source("D4RL file", file, (file,), [form], look, notes, {"episode_steps": episode_steps})


_EPISODE_STEPS = "--data.episode-steps N, or --episode-steps N of owma.inspect"


def open_ogbench(file: Path) -> DatasetSource:
    """An OGBench file (Park et al., arXiv 2410.20092): `observations`, `actions`, `terminals`, an npz.

    `terminals` mark the rows that hold the last observation of an episode, and no step; episodes are cut by time, so
    they count as truncated. Where the file has `valids`, the rows that these leave out hold the last observations, and
    where it has `next_observations`, every row is a step and `terminals` mark the last ones. Without `rewards` all are
    zero. `qpos`, `qvel` and the like are not read.

    **Raises:** `DatasetError` if the file is missing, damaged, or of another form, such as D4RL's.
    """
    columns = _columns(file, (NPZ_SUFFIX,), "an OGBench file")
    names = {"obs": "observations", "action": "actions", "final": "terminals"}
    names = {part: name for part, name in names.items() if name in columns}
    others = ends_of_others(columns)
    if others:
        raise DatasetError(
            f"{file} has {named(others)}, which is not OGBench's; read it as D4RL's: data:d4rl-file --data.file {file}."
        )
    require(columns, file, names, obs="observations", action="actions", final="terminals")
    notes = []
    if "rewards" in columns:
        names["reward"] = "rewards"
        if "masks" not in columns:
            notes.append(
                "`terminals` are read as OGBench's, last rows of episodes that were cut; if they mark steps that "
                "terminated, as D4RL's do, name the file as one of D4RL's (data:d4rl-file)."
            )
    else:
        notes.append("`rewards` are not there, and taken to be 0: name a task of your own.")
    if "next_observations" in columns:
        names |= {"next_obs": "next_observations", "truncated": names.pop("final")}
    if "valids" in columns:
        # The last step of an episode has a flag in `terminals` too, beside the row of its last observation.
        names["valid"] = "valids"
        names.pop("final", None)
    form = checked(columns, names, file)

    def look(form: ArrayFile, precision: Mapping[str, Precision]) -> Survey:
        ends = form.ends()
        if not ends.any[-1]:
            raise DatasetError(
                f"{file}: `terminals` do not mark the last row, as OGBench's do; if they mark steps that terminated, "
                f"as D4RL's do, read it as one of D4RL's: data:d4rl-file --data.file {file}."
            )
        return survey(form.arrays, ends, precision)

    return _source("OGBench file", file, (file,), [form], look, notes, {})


def open_folder(folder: Path) -> DatasetSource:
    """A folder of arrays of your own: npz or HDF5 files, each with one episode or several, read in order of name.

    Arrays in each file, one row a step: `obs` (T, obs) and `action` (T, act), numbers; `reward` (T,), zeros if absent;
    `terminated` and `truncated` (T,), flags of the last steps of episodes, none if absent; `next_obs` (T, obs). The end
    of a file ends an episode: as truncated, if it has not terminated. The names of Minari, D4RL and OGBench serve too
    (`observations`, `actions`, `rewards`, `next_observations`, `terminations` or `terminals`, `truncations` or
    `timeouts`), and other ways to say where episodes end: `done`, `episode_starts`, `episode_ends`, `episode_index`
    and more (`owma.data.names`; `read_ends` says what each means). Instead of `next_obs`, a file of one episode may
    hold one observation more than actions; with neither, each step leads to the next row, and see `to_transitions` for
    the last one. With `next_obs`, an episode is cut too wherever the next row begins elsewhere.

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
        notes.append(
            "`reward` is not in every file, and taken to be 0 where it is not."
            if len(forms) > 1
            else "`reward` is not there, and taken to be 0."
        )

    def look(form: ArrayFile, precision: Mapping[str, Precision]) -> Survey:
        ends = form.ends()
        if "next_obs" not in form.names and not ends.final.any():
            lack = "is not in every file: where it is not," if len(forms) > 1 else "is not there:"
            said = (
                f"`next_obs` {lack} steps that were cut off are dropped, and a step that terminated is taken to end "
                "where it began."
            )
            ends = dataclasses.replace(ends, notes=(said, *ends.notes))
        return survey(form.arrays, ends, precision)

    return _source("folder of arrays", folder, tuple(files), forms, look, notes, {})


def _own_form(path: Path) -> ArrayFile:
    columns = read_columns(path)
    names = parts_of(columns, path)
    require(columns, path, names, obs="obs", action="action")
    one_more = _one_more(columns, names)
    names, left_out = fitting(columns, names, one_more=one_more)
    check_ends_are_known(columns, names, left_out, path)
    return checked(columns, names, path, one_more=one_more, left_out=left_out)


def _one_more(columns: Mapping[str, Column], names: Mapping[str, str]) -> bool:
    """Whether there is one observation more than actions."""
    obs, action = columns[names["obs"]].shape, columns[names["action"]].shape
    return "next_obs" not in names and bool(obs and action) and obs[0] == action[0] + 1


def _columns(file: Path, suffixes: tuple[str, ...], what: str) -> dict[str, Column]:
    if file.suffix not in suffixes and file.exists():
        raise DatasetError(f"{file} is not {what}, which ends in {' or '.join(suffixes)}; name another form of data.")
    return read_columns(file)


def _repeats(file: Path, first: str, second: str) -> bool:
    """Whether two arrays of a file are the same all through."""
    return all(
        np.array_equal(piece[first], piece[second], equal_nan=True) for piece in read_rows(file, (first, second), 4096)
    )


def _source(
    form: str,
    source: Path,
    files: tuple[Path, ...],
    forms: list[ArrayFile],
    look: Callable[[ArrayFile, Mapping[str, Precision]], Survey],
    notes: list[str],
    options: dict[str, int | None],
) -> DatasetSource:
    """`look` reads one file through; that is done when its rows are first asked for, and once."""
    unread = list(dict.fromkeys(name for part in forms for name in part.unread))
    if unread:
        notes = [*notes, f"Arrays that are not read: {named(unread)}."]
    left_out = {name: why for part in reversed(forms) for name, why in part.left_out.items()}
    notes = [*notes, *(f"`{name}` is not read: it {why}." for name, why in left_out.items())]
    # Of no rows there is nothing to say.
    forms = [part for part in forms if part.rows > part.one_more] or forms[:1]

    @functools.cache
    def looked() -> tuple[list[Survey], RowFacts]:
        precision = {part: Precision(kind) for part, kind in _KINDS.items()}
        surveys = [look(part, precision) for part in forms if part.rows > part.one_more]
        for part, part_survey in zip(forms, surveys):
            _check_order(part, part_survey)
        return surveys, _row_facts(forms, surveys, precision)

    def pieces() -> Iterator[Transitions]:
        for part, part_survey in zip(forms, looked()[0]):
            yield from to_transitions(part.steps(part_survey.ends))

    return DatasetSource(
        dataset_id=source.resolve().stem,
        form=form,
        files=files,
        options={**options, "reading": _READING},
        rows=sum(part.rows - part.one_more for part in forms),
        obs_dim=forms[0].obs_dim,
        action_dim=forms[0].action_dim,
        dtypes=dict(forms[0].dtypes),
        pieces=pieces,
        notes=tuple(notes),
        row_facts=lambda: looked()[1],
    )


_FEW = 10
"""Jumps, up to which a file may be of very short episodes."""


def _check_order(form: ArrayFile, seen: Survey) -> None:
    """Raises `DatasetError` where rows do not follow each other as a rule."""
    if seen.jumps > max(_FEW, seen.inside / 2):
        obs, next_obs = form.names["obs"], form.names["next_obs"]
        raise DatasetError(
            f"{form.path}: after {seen.jumps:,} of {seen.inside:,} steps, the first of row {seen.first_jump}, the "
            f"next row begins elsewhere than `{next_obs}` says: the rows are shuffled, or `{next_obs}` are on another "
            f"scale than `{obs}`; write rows in the order of recording and both on one scale, or, if each row is an "
            "episode of its own, mark all in `truncated`."
        )


_KINDS = {"obs": "Observation", "action": "Action", "reward": "Reward"}
_MOST_NOTES = 5
"""Of files of a folder that differ; the rest is counted."""


def _row_facts(forms: Sequence[ArrayFile], surveys: Sequence[Survey], precision: Mapping[str, Precision]) -> RowFacts:
    notes = list(dict.fromkeys(note for seen in surveys for note in seen.ends.notes))
    if len(notes) > _MOST_NOTES:
        notes = [*notes[:_MOST_NOTES], f"The same holds of {len(notes) - _MOST_NOTES} more files."]
    pairs = list(zip(forms, surveys))
    jumping = [(form, seen) for form, seen in pairs if seen.jumps]
    if jumping:
        form, seen = jumping[0]
        never = "truncated" in form.names and seen.ends.truncated.sum() == seen.jumps
        unset = f"`{form.names['truncated']}` is never set, but " if never else ""
        notes.append(
            f"{unset}`{form.names['next_obs']}` show {sum(seen.jumps for _, seen in jumping):,} steps within "
            f"episodes, the first in row {seen.first_jump} of {form.path.name}, after which the next row begins "
            "elsewhere: episodes are cut there, as truncated."
        )
    seamless = [(form, seen) for form, seen in pairs if seen.seamless]
    if seamless:
        form, seen = seamless[0]
        notes.append(
            f"At {sum(seen.seamless for _, seen in seamless):,} ends of episodes the next row begins where "
            f"`{form.names['next_obs']}` end: either the environment went on without a reset, or they hold first "
            "observations of the next episode there instead of last ones."
        )
    large = [(form, seen) for form, seen in pairs if seen.large]
    if large:
        form, seen = large[0]
        unmarked = f"not marked by {named(form.cuts)}" if form.cuts else "no array says where episodes were cut"
        next_obs = form.names.get("next_obs")
        shown = f", by `{next_obs}`," if next_obs else ""
        notes.append(
            f"{sum(seen.large for _, seen in large):,} steps, the first in row {seen.first_large} of "
            f"{form.path.name}, are{shown} more than 10 times as long as the median one, and {unmarked}: if an "
            "environment was reset there, mark the steps before in `truncated`."
        )
    notes += _notes_on_next_obs(pairs)
    notes += [note for kind in precision.values() for note in kind.notes()]
    is_dropping = any("next_obs" not in form.names and not form.one_more for form in forms)
    return RowFacts(
        notes=tuple(notes),
        rounded=tuple(precision["obs"].lost()),
        too_large={part: kind.too_large for part, kind in precision.items()},
        lengths=np.concatenate([seen.lengths for seen in surveys]) if is_dropping and surveys else None,
        returns=np.concatenate([seen.returns for seen in surveys]) if is_dropping and surveys else None,
    )


def _notes_on_next_obs(pairs: Sequence[tuple[ArrayFile, Survey]]) -> list[str]:
    notes = []
    far = [(form, seen) for form, seen in pairs if seen.far]
    if far:
        form, seen = far[0]
        notes.append(
            f"`{form.names['next_obs']}` of {sum(seen.far for _, seen in far):,} last steps of episodes, the first "
            f"in row {seen.first_far} of {form.path.name}, are more than 10 times as far away as after the median "
            "step: if they hold first observations of the next episode, or nothing, write the last ones there."
        )
    unknown = [(form, seen) for form, seen in pairs if seen.unknown]
    if unknown:
        form, seen = unknown[0]
        notes.append(
            f"`{form.names['next_obs']}` are not finite in {sum(seen.unknown for _, seen in unknown):,} rows, the "
            f"first in row {seen.first_unknown} of {form.path.name}: training refuses them."
        )
    lost = [(form, seen) for form, seen in pairs if seen.lost]
    if lost:
        form = lost[0][0]
        notes.append(
            f"{sum(seen.lost for _, seen in lost):,} episodes, the first in {form.path.name}, hold a single step "
            "that was cut, and nothing that followed it: no transition is left of them."
        )
    return notes
