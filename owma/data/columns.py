"""Named arrays in npz and HDF5 files: their forms checked before anything is read, their rows read in order.

Nothing in a file is ever executed or followed: no pickled objects, no links, no data kept in other files. An array is
read a bounded number of rows at a time, from compressed npz members too.
"""

import math
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from owma._internal.errors import DatasetError
from owma._internal.npz import DAMAGE, MOST_BYTES
from owma.data.hdf5 import check_hdf5

HDF5_SUFFIXES = (".hdf5", ".h5")
NPZ_SUFFIX = ".npz"

_Stream: TypeAlias = Any
"""What `ZipFile.open` gives: a binary file, though no `typing.IO`."""

_MOST_DIMS = 32
"""Axes that NumPy 1 could have written; a header that claims more is nonsense."""

_MOST_NAMES = 1_000
"""Arrays in groups that are looked up."""


@dataclass(frozen=True)
class Column:
    """The form of one array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    in_c_order: bool = True

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def holds_objects(self) -> bool:
        """Whether its entries are Python objects, which are never loaded: such a column can be named, and not read."""
        return self.dtype.kind == "O" or self.dtype.hasobject


def read_columns(path: Path) -> dict[str, Column]:
    """The arrays of an npz or HDF5 file, by name; those in HDF5 groups are left out (see `names_in_groups`).

    **Raises:** `DatasetError` if the file is missing, damaged or neither, or anything in an HDF5 file lies in another
    file.
    """
    if not path.is_file():
        raise DatasetError(f"There is no file {path}; check the path.")
    if path.suffix == NPZ_SUFFIX:
        with _npz(path) as archive:
            return {_member_name(info, path): _npz_column(archive, info, path) for info in archive.infolist()}
    if path.suffix in HDF5_SUFFIXES:
        check_hdf5(path)
        with _hdf5(path) as file:
            return {name: _hdf5_column(item, name, path) for name, item in _hdf5_items(file)}
    raise DatasetError(f"{path} is neither {NPZ_SUFFIX} nor {' nor '.join(HDF5_SUFFIXES)}; rename or convert it.")


def names_in_groups(path: Path) -> list[str]:
    """The arrays in the groups of an HDF5 file, each as `group/name`; none of an npz file.

    **Raises:** as `read_columns`.
    """
    if path.suffix not in HDF5_SUFFIXES:
        return []
    import h5py

    names: list[str] = []
    with _hdf5(path) as file:
        left = [item for item in file.values() if isinstance(item, h5py.Group)]
        while left and len(names) < _MOST_NAMES:
            for item in left.pop(0).values():
                if isinstance(item, h5py.Group):
                    left.append(item)
                else:
                    names.append(str(item.name).lstrip("/"))
    return names


def read_rows(path: Path, names: Collection[str], rows: int) -> Iterator[dict[str, np.ndarray]]:
    """The arrays `names` of a file, `rows` rows at a time, in order; each array ends at its own length.

    **Raises:** `DatasetError` where the file turns out to be damaged.
    """
    columns = {name: column for name, column in read_columns(path).items() if name in names}
    for name, column in columns.items():
        if column.holds_objects:
            raise DatasetError(
                f"{path}: `{name}` holds Python objects, which owma never loads (they can run code); write it as "
                "numbers."
            )
    read = _npz_rows if path.suffix == NPZ_SUFFIX else _hdf5_rows
    yield from read(path, columns, rows)


@contextmanager
def _npz(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except DatasetError:
        raise
    except (OSError, ValueError, *DAMAGE) as error:
        raise _damaged(path, error) from error


@contextmanager
def _hdf5(path: Path) -> Iterator[Any]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except DatasetError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DatasetError:
    return DatasetError(
        f"{path} cannot be read ({type(error).__name__}: {error}); if it is damaged (an interrupted copy?), "
        "fetch or write it again."
    )


def _member_name(info: zipfile.ZipInfo, path: Path) -> str:
    name = info.filename.removesuffix(".npy")
    # numpy.savez writes any name, those of groups (`infos/qpos`) too; nothing is unpacked to a path of that name.
    if name == info.filename or not name or ".." in name.split("/"):
        raise DatasetError(
            f"{path} holds {info.filename!r}, which is no array of numpy.savez; write it again with plain names "
            "such as `observations`."
        )
    return name


def _npz_column(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Column:
    with archive.open(info) as stream:
        column, header = _read_header(stream, f"{path}: `{_member_name(info, path)}`")
    if not column.holds_objects and info.file_size != header + column.num_bytes:
        raise DatasetError(
            f"{path}: `{_member_name(info, path)}` claims {column.num_bytes} bytes of shape {column.shape} but has "
            f"{info.file_size - header}; the file is damaged, fetch or write it again."
        )
    return column


def _read_header(stream: _Stream, what: str) -> tuple[Column, int]:
    """The form that an array in NumPy's format claims to have, and the length of the claim."""
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(stream)
    except ValueError as error:
        raise DatasetError(f"{what} is no NumPy array ({error}); write it again with numpy.savez.") from error
    # A vector is both; two axes of which one has a single entry are written as either.
    column = Column(tuple(shape), dtype, not fortran_order)
    return _plain(column, what), stream.tell()


def _plain(column: Column, what: str) -> Column:
    if len(column.shape) > _MOST_DIMS or any(size < 0 for size in column.shape):
        raise DatasetError(f"{what} has the shape {column.shape}; the file is damaged, fetch or write it again.")
    return column


def _npz_rows(path: Path, columns: Mapping[str, Column], rows: int) -> Iterator[dict[str, np.ndarray]]:
    with _npz(path) as archive, ExitStack() as stack:
        streams = {name: stack.enter_context(archive.open(f"{name}.npy")) for name in columns}
        for name, stream in streams.items():
            _read_header(stream, f"{path}: `{name}`")
        # Columns that run through memory in the other order have no rows to read one after another.
        whole = {
            name: _take(stream, columns[name], columns[name].shape, path)
            for name, stream in streams.items()
            if not columns[name].in_c_order and len(columns[name].shape) > 1
        }
        for start in range(0, max(column.shape[0] for column in columns.values()), rows):
            piece = {}
            for name, column in columns.items():
                count = min(rows, max(0, column.shape[0] - start))
                if name in whole:
                    piece[name] = whole[name][start : start + count]
                else:
                    piece[name] = _take(streams[name], column, (count, *column.shape[1:]), path)
            yield piece


def _take(stream: _Stream, column: Column, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """The next array of `shape` in the stream."""
    wanted = math.prod(shape) * column.dtype.itemsize
    if wanted > MOST_BYTES:
        raise DatasetError(
            f"{path} has an array that cannot be read in pieces of less than {MOST_BYTES / 2**30:.0f} GiB; write it "
            "again with one row a step, in C order."
        )
    content = stream.read(wanted)
    if len(content) != wanted:
        raise DatasetError(f"{path} ends too early; it is damaged (an interrupted copy?), fetch or write it again.")
    order = "C" if column.in_c_order else "F"
    return np.frombuffer(content, column.dtype).reshape(shape, order=order)


def _hdf5_items(file: Any) -> Iterator[tuple[str, Any]]:
    """The arrays at the top of a file. Groups hold notes, and are left."""
    import h5py

    for name in file:
        item = file[name]
        if isinstance(item, h5py.Dataset):
            yield name, item


def _hdf5_column(item: Any, name: str, path: Path) -> Column:
    return _plain(Column(tuple(item.shape or ()), item.dtype), f"{path}: `{name}`")


def _hdf5_rows(path: Path, columns: Mapping[str, Column], rows: int) -> Iterator[dict[str, np.ndarray]]:
    with _hdf5(path) as file:
        for start in range(0, max(column.shape[0] for column in columns.values()), rows):
            yield {name: file[name][start : start + rows] for name in columns}
