"""A memory-mapped copy of a dataset, so that data larger than memory train.

A cache is a folder with one .npy file for each field of `Transitions` and `manifest.json`, which says what was copied
and how large everything is. It is written once, a bounded piece at a time, in a hidden folder beside its place, and
moved there when it is whole.
"""

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from owma._internal.digest import json_digest
from owma._internal.errors import ConfigError, DatasetError
from owma._internal.json import jsonable
from owma.data.dataset import (
    ActionBounds,
    DatasetSource,
    OfflineDataset,
    are_references,
    checked_pieces,
    rows_in_piece,
    shared_fields,
)
from owma.envs import env_json, read_env
from owma.outcomes.transitions import Transitions

OnWritten: TypeAlias = Callable[[int], None]
"""A callback that is called from time to time with the number of transitions written since the last call."""

MANIFEST = "manifest.json"
_FORMAT = "owma transitions 1"
_FIELDS = {
    "obs": np.float32,
    "action": np.float32,
    "reward": np.float32,
    "next_obs": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
}


def caches_root() -> Path:
    """The folder of all caches: in the user's cache folder (`XDG_CACHE_HOME`)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "owma" / "datasets"


def cache_folder(source: DatasetSource) -> Path:
    """The folder of the cache of `source`, which need not exist yet; it is another one after a file has changed."""
    digest = json_digest(_source(source))
    return caches_root() / f"{source.dataset_id.replace('/', '-')}-{digest[:12]}"


def is_cache(folder: Path) -> bool:
    """Whether a folder looks like a cache."""
    return (folder / MANIFEST).is_file() and (folder / "obs.npy").is_file()


def cached(source: DatasetSource, progress: OnWritten | None = None) -> OfflineDataset:
    """The dataset, its transitions memory-mapped; its cache is written if it is not there.

    **Raises:** `DatasetError` if the source cannot be read or is unfit, or the cache cannot be written or is damaged.
    """
    folder = cache_folder(source)
    if not is_cache(folder):
        write_cache(source, folder, progress)
    # A copy of before references were kept lacks them.
    return dataclasses.replace(open_cache(folder), references=source.references)


def write_cache(source: DatasetSource, folder: Path, progress: OnWritten | None = None) -> None:
    """Copy a dataset into `folder`, which appears only when the copy is complete.

    **Raises:** `DatasetError` if the source cannot be read or is unfit, or `folder` cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder.parent).free
        if free < source.num_bytes:
            raise DatasetError(
                f"The memory-mapped copy of {source.dataset_id} takes {source.num_bytes / 2**30:.1f} GiB and "
                f"{folder.parent} has {free / 2**30:.1f} left; free some, or set XDG_CACHE_HOME to another place."
            )
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder.parent) as staging:
            whole = Path(staging) / "whole"
            whole.mkdir()
            _write(source, whole, progress)
            try:
                whole.rename(folder)
            except OSError:
                if not is_cache(folder):  # Another process may have been faster.
                    raise
    except OSError as error:
        raise DatasetError(
            f"Could not write {folder} ({error.strerror or error}); free the place, or set XDG_CACHE_HOME to a folder "
            "that can be written."
        ) from error


def open_cache(folder: Path) -> OfflineDataset:
    """The dataset in a cache, its transitions memory-mapped.

    **Raises:** `DatasetError` if a file is missing or damaged, or the folder is no cache.
    """
    content = _read_manifest(folder)
    fields = {}
    for name, (shape, num_bytes) in content["fields"].items():
        path = folder / f"{name}.npy"
        if not path.is_file() or path.stat().st_size != num_bytes:
            raise _damaged(folder, f"`{name}.npy` is not of {num_bytes} bytes")
        try:
            fields[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _damaged(folder, f"`{name}.npy` cannot be read: {error}") from error
        if list(fields[name].shape) != shape or fields[name].dtype != _FIELDS[name]:
            raise _damaged(folder, f"`{name}.npy` is {fields[name].dtype} of shape {fields[name].shape}")
    keys, env, refusal = content["obs_keys"], content["env_spec"], content.get("env_refusal")
    references = content.get("references")  # which older copies lack
    try:
        spec = None if env is None else read_env(env, f"The memory-mapped copy {folder}")
    except ConfigError as error:
        spec, refusal = None, str(error)
    return OfflineDataset(
        dataset_id=content["dataset_id"],
        transitions=Transitions(**fields),
        obs_keys=None if keys is None else tuple(keys),
        action_low=np.asarray(content["action_low"], np.float32),
        action_high=np.asarray(content["action_high"], np.float32),
        env_spec=spec,
        env_refusal=refusal,
        references=None if references is None else (float(references[0]), float(references[1])),
        notes=tuple(content["notes"]),
    )


def source_of_cache(folder: Path) -> DatasetSource:
    """A cache as a recording, to be read a piece at a time."""
    dataset, content = open_cache(folder), _read_manifest(folder)
    transitions = dataset.transitions
    obs_dim, action_dim = transitions.obs.shape[1], transitions.action.shape[1]
    step = rows_in_piece(obs_dim, action_dim)

    def pieces() -> Iterator[Transitions]:
        return (transitions.rows(slice(start, start + step)) for start in range(0, len(transitions), step))

    return DatasetSource(
        form=f"{content['source']['form']}, memory-mapped copy",
        files=tuple(folder / f"{name}.npy" for name in _FIELDS),
        options={},
        rows=len(transitions),
        obs_dim=obs_dim,
        action_dim=action_dim,
        dtypes={"obs": "float32", "action": "float32"},
        pieces=pieces,
        **shared_fields(dataset),
    )


def _source(source: DatasetSource) -> dict[str, Any]:
    """What identifies the data without reading them."""
    stats = [(str(path.resolve()), path.stat()) for path in source.files]
    return {
        "form": source.form,
        "options": source.options,
        "files": [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats],
    }


def _write(source: DatasetSource, folder: Path, progress: OnWritten | None) -> None:
    bounds, rows = ActionBounds(), 0
    widths = {"obs": (source.obs_dim,), "action": (source.action_dim,), "next_obs": (source.obs_dim,)}
    shapes = {name: widths.get(name, ()) for name in _FIELDS}
    files = {name: (folder / f"{name}.npy").open("w+b") for name in _FIELDS}
    try:
        # How many rows there are is known at the end; NumPy leaves room in the header for the number to grow.
        for name, file in files.items():
            _write_header(file, name, (0, *shapes[name]))
        for piece in checked_pieces(source):
            bounds.see(np.asarray(piece.action))
            for name, file in files.items():
                file.write(np.ascontiguousarray(getattr(piece, name), _FIELDS[name]).data)
            rows += len(piece)
            if progress is not None:
                progress(len(piece))
        for name, file in files.items():
            file.flush()
            file.seek(0)
            _write_header(file, name, (rows, *shapes[name]))
            file.flush()
            os.fsync(file.fileno())
    finally:
        for file in files.values():
            file.close()
    low, high = bounds.within(source.action_low, source.action_high)
    content = {
        "dataset_id": source.dataset_id,
        "source": _source(source),
        "notes": [*source.notes, *source.row_facts().notes],
        "fields": {name: [[rows, *shapes[name]], (folder / f"{name}.npy").stat().st_size] for name in _FIELDS},
        "obs_keys": None if source.obs_keys is None else list(source.obs_keys),
        "action_low": low,
        "action_high": high,
        "env_spec": None if source.env_spec is None else env_json(source.env_spec),
        "env_refusal": source.env_refusal,
        "references": source.references,
    }
    content = jsonable(content)
    manifest = {"format": _FORMAT, "sha256": json_digest(content), "content": content}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


def _write_header(file: Any, name: str, shape: tuple[int, ...]) -> None:
    dtype = np.lib.format.dtype_to_descr(np.dtype(_FIELDS[name]))
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if manifest["format"] != _FORMAT:
            raise DatasetError(f"{folder} is a cache of another version ({manifest['format']!r}); delete it.")
        content = manifest["content"]
        if manifest["sha256"] != json_digest(content):
            raise _damaged(folder, f"`{MANIFEST}` does not match its own digest")
        if not _is_well_formed(content):
            raise _damaged(folder, f"`{MANIFEST}` is not of the form that owma writes")
    except DatasetError:
        raise
    except (OSError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise _damaged(folder, f"`{MANIFEST}` cannot be read: {error}") from error
    return content


def _is_well_formed(content: dict[str, Any]) -> bool:
    """Anybody can seal a manifest: what its entries are is looked at before they are used."""
    shapes = {name: shape for name, (shape, _) in content["fields"].items()}
    (rows, obs_dim), (_, action_dim) = shapes["obs"], shapes["action"]
    widths = {"obs": [obs_dim], "next_obs": [obs_dim], "action": [action_dim]}
    bounds = [np.asarray(content[name], np.float32) for name in ("action_low", "action_high")]
    return (
        shapes == {name: [rows, *widths.get(name, [])] for name in _FIELDS}
        and all(type(size) is int and size > 0 for size in (rows, obs_dim, action_dim))
        and all(bound.shape == (action_dim,) and np.isfinite(bound).all() for bound in bounds)
        and (content["obs_keys"] is None or _are_texts(content["obs_keys"]))
        and _are_texts(content["notes"])
        and _are_texts([content["dataset_id"], content["source"]["form"]])
        and all(isinstance(content.get(name), str | None) for name in ("env_spec", "env_refusal"))
        and (content.get("references") is None or are_references(content["references"]))
    )


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _damaged(folder: Path, reason: str) -> DatasetError:
    return DatasetError(f"The memory-mapped copy {folder} is damaged ({reason}); delete it, it is written again.")
