"""Checkpoints: orbax writes the arrays, a manifest beside them says what they must be.

A step is the folder `<folder>/<step>/` with orbax's `arrays/` and our `manifest.json`, which holds the SHA-256 of
every file, the name, shape and dtype of every leaf, and the fingerprint of the configuration. The folder gets its
final name last, in one rename, so a kill at any moment leaves either no step or a whole one. Orbax restores a file
with a flipped bit without a word; hence the digests.

Orbax's `CheckpointManager` does not take the place of this module: it deletes an old step file by file under its final
name, so that a kill in the middle leaves half of a step that looks like a whole one, and it leaves what it could not
finish on a disk that is full. It also refuses to write a step again, or one below the newest, which a run that goes
back to an earlier checkpoint does.
"""

import contextlib
import errno
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from owma._internal.digest import file_digest, json_digest
from owma._internal.errors import CheckpointError, DamagedError
from owma._internal.json import replace_text
from owma._internal.tree import is_prng_key
from owma._internal.types import PyTree

_Tree = TypeVar("_Tree")
_MANIFEST = "manifest.json"
_REFUSALS = tuple(
    os.strerror(code)
    for code in (
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
        *(errno.ENOTDIR, errno.EMFILE),
    )
)


def save(folder: Path, step: int, tree: PyTree, *, config_fingerprint: str, keep: int = 3) -> None:
    """Save the array leaves of `tree` as `<folder>/<step>/`.

    **Arguments:**

    - `folder`: the checkpoint folder; made where it does not exist.
    - `step`: the number of updates done, not negative. A checkpoint of this step that exists already is replaced.
    - `tree`: any pytree. Arrays (JAX, NumPy, typed PRNG keys) are stored; numbers and strings are only recorded, so
        that `restore` can refuse a `like` in which they differ; everything else comes from `like`.
    - `config_fingerprint`: what `restore` compares; see `owma.config.json.fingerprint`.
    - `keep`: how many steps to keep, at least 1: this one and the newest of the earlier ones.

    Raises `CheckpointError` where the disk refuses.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"save(step={step}, keep={keep}): `step` must be at least 0 and `keep` at least 1.")
    folder = Path(folder).absolute()
    staging = folder / f".{step}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(".*.tmp"):  # left by a killed save; a run folder has one writer
            shutil.rmtree(stale)
        staging.mkdir()
        _write_arrays(staging / "arrays", [_storable(leaf) for leaf in _array_leaves(tree) if leaf.size])
        content = {
            "step": step,
            "config_fingerprint": config_fingerprint,
            "leaves": _describe(tree),
            "files": {
                str(path.relative_to(staging)): file_digest(path)
                for path in sorted(staging.rglob("*"))
                if path.is_file()
            },
        }
        seal = json_digest(content)
        replace_text(staging / _MANIFEST, json.dumps({"sha256": seal, "content": content}, indent=1))
        gone = [_hide(folder / str(step))]
        staging.rename(folder / str(step))
        earlier = [old for old in _steps(folder) if old < step]
        gone += [_hide(folder / str(old)) for old in earlier[: -(keep - 1) or None]]
        for hidden in gone:
            if hidden is not None:
                shutil.rmtree(hidden)
    except (OSError, ValueError) as error:
        # Half of a checkpoint on a disk that is full would be in the way of whatever is to make room.
        shutil.rmtree(staging, ignore_errors=True)
        if not isinstance(error, OSError):
            # What writes orbax's files knows no `OSError`: it says `ValueError`, and the operating system's words.
            if not any(words in str(error) for words in _REFUSALS):
                raise
            error = OSError(next(words for words in _REFUSALS if words in str(error)))
        raise CheckpointError(
            f"The checkpoint of step {step} could not be written to {folder}: {error.strerror or error}. "
            "Make room or grant write access there; earlier checkpoints are untouched."
        ) from error


@contextlib.contextmanager
def saving(folder: Path, *, config_fingerprint: str, keep: int = 3) -> Iterator[Callable[[int, PyTree], None]]:
    """`save` on a thread of its own, so that training goes on while files are written.

    ```python
    with saving(folder, config_fingerprint=...) as save_behind:
        for step, state in ...:
            save_behind(step, state)
    ```

    One save at a time: a call waits for the one before. Whatever ends the block (its end, an error, a request to stop),
    the last save is over then. The arrays of one state are kept in memory for longer; JAX's do not change meanwhile,
    NumPy's must not be changed.

    **Raises:** as `save`, from the call after or from the end of the block.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="checkpoint") as writer:
        last: Future[None] | None = None

        def save_behind(step: int, tree: PyTree) -> None:
            nonlocal last
            if last is not None:
                last.result()
            last = writer.submit(save, folder, step, tree, config_fingerprint=config_fingerprint, keep=keep)

        try:
            yield save_behind
        finally:
            if last is not None:
                last.result()


def latest(folder: Path) -> int | None:
    """The newest step in `folder` (complete by construction, not yet verified), or `None` where there is none."""
    steps = _steps(Path(folder))
    return steps[-1] if steps else None


def newest_intact(folder: Path) -> tuple[int | None, tuple[str, ...]]:
    """Where to go on from, when the newest step may be damaged.

    **Returns:** the newest step in `folder` whose files are what its manifest says, and a sentence for each newer one;
    `None` where there is no step at all.

    Raises `CheckpointError` where there are steps and none is intact.
    """
    folder = Path(folder).absolute()
    damaged = []
    for step in reversed(_steps(folder)):
        damage = _damage(folder / str(step))
        if damage is None:
            return step, tuple(damaged)
        damaged.append(f"The checkpoint {folder / str(step)} is damaged: {damage}.")
    if damaged:
        raise DamagedError(
            damaged[0],
            f"No other in {folder} is intact: restore the folder from a backup, or move it away to train from the "
            "beginning.",
        )
    return None, ()


def restore(
    folder: Path, like: _Tree, *, step: int | None = None, config_fingerprint: str | None = None
) -> tuple[_Tree, int]:
    """Restore a checkpoint, bit for bit.

    **Arguments:**

    - `folder`: the folder given to `save`.
    - `like`: a pytree of the structure that was saved. Its arrays (or `jax.ShapeDtypeStruct`s) say which shapes,
        dtypes and shardings to expect; everything that is not an array is taken from it.
    - `step`: which step; the newest by default.
    - `config_fingerprint`: refuse a checkpoint of another configuration; `None` accepts any.

    **Returns:** the restored tree and its step. As arrays of `like` are committed to a device or not, so are its own
    (a shape without a sharding is not): programs that were compiled for one kind would be compiled again for another.

    Raises `CheckpointError` where there is nothing, where a file is damaged, where the configuration is another one,
    and where the leaves differ from those of `like`; checked in this order, before orbax reads anything.
    """
    folder = Path(folder).absolute()
    step = _choose(folder, step)
    damage = _damage(folder / str(step))
    if damage is not None:
        raise DamagedError(f"The checkpoint {folder / str(step)} is damaged: {damage}.", _fallback(folder, step))
    content = json.loads((folder / str(step) / _MANIFEST).read_text())["content"]
    if config_fingerprint is not None and content["config_fingerprint"] != config_fingerprint:
        raise CheckpointError(
            f"The checkpoint {folder / str(step)} is of another configuration (its fingerprint is "
            f"{content['config_fingerprint'][:12]}, this one's {config_fingerprint[:12]}). "
            "Use the config.json beside it, or start a new run."
        )
    _require_same_leaves(folder / str(step), content["leaves"], _describe(like))
    leaves = _array_leaves(like)
    targets = [_target(leaf) for leaf in leaves if leaf.size]
    try:
        stored = iter(_read_arrays(folder / str(step) / "arrays", targets))
    except Exception as error:
        # Anybody can seal a manifest, over files that are none of orbax's: it raises whatever its parsers come upon.
        said = str(error).partition("\n")[0]
        raise CheckpointError(
            f"The arrays of the checkpoint {folder / str(step)} cannot be read ({type(error).__name__}: {said[:200]}). "
            f"{_fallback(folder, step)}"
        ) from error
    restored = [_like_leaf(next(stored) if leaf.size else None, leaf) for leaf in leaves]
    arrays, static = eqx.partition(like, _is_array)
    return eqx.combine(jtu.tree_unflatten(jtu.tree_structure(arrays), restored), static), step


def _is_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _array_leaves(tree: PyTree) -> list[Any]:
    return jtu.tree_leaves(eqx.filter(tree, _is_array))


def _storable(leaf: Any) -> Any:
    """What orbax can hold in place of `leaf`: it knows neither typed keys nor NumPy scalars, and in one of several
    processes no arrays of JAX's that this one has alone.
    """
    if is_prng_key(leaf):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf) if isinstance(leaf, np.generic) or jax.process_count() > 1 else leaf


def _target(leaf: Any) -> Any:
    """What to ask orbax for: without a sharding it would warn, and guess from the file."""
    if isinstance(leaf, np.ndarray | np.generic):
        return np.asarray(leaf)
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    if is_prng_key(leaf):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _like_leaf(stored: Any, leaf: Any) -> Any:
    if stored is None:  # orbax refuses to store arrays of no elements; nothing is lost
        return np.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, np.ndarray) else jnp.zeros(leaf.shape, leaf.dtype)
    is_placed = leaf.committed if isinstance(leaf, jax.Array) else getattr(leaf, "sharding", None) is not None
    if isinstance(stored, jax.Array) and not is_placed:
        stored = jax.device_put(np.asarray(stored))
    if is_prng_key(leaf):
        impl: Any = jax.random.key_impl(leaf) if isinstance(leaf, jax.Array) else leaf.dtype._impl.name
        return jax.random.wrap_key_data(stored, impl=impl)
    return leaf.dtype.type(stored) if isinstance(leaf, np.generic) else stored


def _describe(tree: PyTree) -> list[list[Any]]:
    """Name and form of every leaf that a checkpoint can speak for, in the order of flattening."""
    rows: list[list[Any]] = []
    for path, leaf in jtu.tree_flatten_with_path(tree)[0]:
        if _is_array(leaf):
            rows.append([jtu.keystr(path), f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"])
        elif isinstance(leaf, bool | int | float | complex | str):
            rows.append([jtu.keystr(path), repr(leaf)])
    return rows


def _require_same_leaves(path: Path, saved: list[list[Any]], wanted: list[list[Any]]) -> None:
    if saved == wanted:
        return
    before, now = dict(saved), dict(wanted)
    differing = [
        f"{name} is {before.get(name, 'absent')} there and {now.get(name, 'absent')} here"
        for name in before | now
        if before.get(name) != now.get(name)
    ] or ["the order of the leaves"]
    shown = "; ".join(differing[:3]) + (f"; and {len(differing) - 3} more" if len(differing) > 3 else "")
    raise CheckpointError(
        f"The checkpoint {path} does not fit this model: {shown}. "
        "Build the model from the config.json of the same run, with the version of owma in its versions.json."
    )


def _steps(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())


def _choose(folder: Path, step: int | None) -> int:
    steps = _steps(folder)
    if not steps:
        raise CheckpointError(f"There is no checkpoint in {folder}. Train first, or give the folder of another run.")
    if step is None:
        return steps[-1]
    if step not in steps:
        raise CheckpointError(
            f"There is no checkpoint of step {step} in {folder}. Choose one of {', '.join(map(str, steps))}."
        )
    return step


def _damage(path: Path) -> str | None:
    """What is wrong with the files of a step; `None` where nothing is."""
    try:
        manifest = json.loads((path / _MANIFEST).read_bytes())
        content = manifest["content"]
        if json_digest(content) != manifest["sha256"]:
            return f"`{_MANIFEST}` does not match its own digest"
        if not _is_well_formed(content):
            return f"`{_MANIFEST}` is not of the form that owma writes"
        unlisted = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()} - {
            *content["files"],
            _MANIFEST,
        }
        if unlisted:
            return f"`{min(unlisted)}` is not in its manifest"
        for name, digest in content["files"].items():
            if not (path / name).is_file():
                return f"`{name}` is missing"
            if file_digest(path / name) != digest:
                return f"`{name}` does not match its digest"
    except FileNotFoundError:
        return f"`{_MANIFEST}` is missing"
    except OSError as error:
        return f"a file cannot be read ({error})"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"`{_MANIFEST}` is unreadable"
    return None


def _is_well_formed(content: Any) -> bool:
    """Anybody can seal a manifest: its types are checked, and that its files lie in the step's own folder."""
    files, leaves = content["files"], content["leaves"]
    return (
        isinstance(content["config_fingerprint"], str)
        and isinstance(files, dict)
        and not any(name.startswith("/") or ".." in name.split("/") for name in files)
        and isinstance(leaves, list)
        and all(isinstance(leaf, list) and list(map(type, leaf)) == [str, str] for leaf in leaves)
    )


def _fallback(folder: Path, step: int) -> str:
    for earlier in reversed(_steps(folder)):
        if earlier < step and _damage(folder / str(earlier)) is None:
            return f"Move that folder away to go on from step {earlier}, the newest intact one before it."
    return "No earlier checkpoint is intact: restore the folder from a backup, or train again."


def _hide(path: Path) -> Path | None:
    """Take a step's name from it before it is deleted, so that a kill in the middle leaves no half of a step."""
    if not path.exists():
        return None
    return path.rename(path.with_name(f".{path.name}.retired.{os.getpid()}.tmp"))


def _write_arrays(path: Path, leaves: list[Any]) -> None:
    if not leaves:  # orbax refuses an empty tree
        return
    import orbax.checkpoint as ocp

    with _quiet_orbax(), _checkpointer() as checkpointer:
        checkpointer.save(path, args=ocp.args.StandardSave(leaves))  # pyright: ignore[reportCallIssue]


def _read_arrays(path: Path, targets: list[Any]) -> list[Any]:
    if not targets:
        return []
    import orbax.checkpoint as ocp

    with _quiet_orbax(), _checkpointer() as checkpointer:
        return checkpointer.restore(path, args=ocp.args.StandardRestore(targets))  # pyright: ignore[reportCallIssue]


def _checkpointer() -> Any:
    """Of this process alone: orbax would wait for all those of a job, of which one writes."""
    import orbax.checkpoint as ocp

    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me})
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
    """Drop what orbax logs below an error, since every save reports its own progress through absl's logger, and the
    tracebacks of its threads, whose exceptions it raises as well.
    """

    def is_ours(record: logging.LogRecord) -> bool:
        twice = "raised an exception" in str(record.msg)
        return (record.levelno >= logging.ERROR and not twice) or "orbax" not in record.pathname

    logger = logging.getLogger("absl")
    logger.addFilter(is_ours)
    try:
        yield
    finally:
        logger.removeFilter(is_ours)
