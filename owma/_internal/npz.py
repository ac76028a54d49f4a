"""Reading `.npz` archives that may be anybody's, or torn."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from owma._internal.errors import CheckpointError

MOST_BYTES = 8 * 2**30
"""Of all arrays of an archive: a few kilobytes can be packed so that they fill any memory."""


DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, MemoryError)
"""What is raised, beside `OSError` and `ValueError`, over archives that are torn, encrypted or packed unknowably."""


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive by name, all of them read.

    Nothing is unpacked to disk, and arrays of Python objects, which are pickles, are refused.

    **Raises:** `ValueError`, in a few words, whatever is wrong with the file; `OSError` if it cannot be opened.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        if any("/" in member.filename or not member.filename.endswith(".npy") for member in members):
            raise ValueError("it holds something else than arrays")
        if sum(member.file_size for member in members) > MOST_BYTES:
            raise ValueError(f"its arrays would take more than {MOST_BYTES / 2**30:.0f} GiB")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except DAMAGE as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def read_run_arrays(path: Path) -> dict[str, np.ndarray]:
    """`read_npz` of a file that a run has written. Raises `CheckpointError` where it cannot be read."""
    try:
        return read_npz(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}). Restore it, or delete it and the rows of its planner, and run again."
        ) from error
