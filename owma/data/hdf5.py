"""What is looked at before an HDF5 file of somebody else's is read."""

from pathlib import Path
from typing import Any

from owma._errors import DatasetError


def check_hdf5(path: Path) -> None:
    """See that a file holds its own data: no link leads out of it, and none of its arrays lies in another file.

    HDF5 executes nothing, but a link, or an array with "external storage", makes the reader open whatever file it
    names. A file that is missing or none of HDF5 is left to its reader to complain of.

    **Raises:** `DatasetError` for a file with such a link or array.
    """
    import h5py

    if not path.is_file():
        return
    try:
        with h5py.File(path, "r") as file:
            outside = _outside(file)
    except (OSError, RuntimeError, ValueError, KeyError):
        return
    if outside is not None:
        raise DatasetError(
            f"{path} has {outside}, so reading it would open another file; take the dataset from somewhere else."
        )


def _outside(file: Any) -> str | None:
    """The first thing in a file that lies in another; `None` where all of it is its own."""
    import h5py

    def look(name: str, link: object) -> str | None:
        if not isinstance(link, h5py.HardLink):
            return f"a link at {name!r}"
        found = file[name]
        is_elsewhere = isinstance(found, h5py.Dataset) and (found.external is not None or found.is_virtual)
        return f"an array at {name!r} that is stored elsewhere" if is_elsewhere else None

    return file.visititems_links(look)
