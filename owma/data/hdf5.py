"""What is looked at before an HDF5 file of somebody else's is read."""

from pathlib import Path
from typing import Any

from owma._internal.errors import DatasetError

_DEEPEST = 16
"""Groups within groups; Minari has three, and a group may hold itself."""


def check_hdf5(path: Path) -> None:
    """See that a file holds its own data: no link leads out of it, and none of its arrays lies in another file.

    HDF5 executes nothing, but a link, or an array with "external storage", makes the reader open whatever file it
    names. A file that is missing is left to its reader to complain of.

    **Raises:** `DatasetError` for a file with such a link or array, and for one that cannot be looked through.
    """
    import h5py

    if not path.is_file():
        return
    try:
        with h5py.File(path, "r") as file:
            outside = _outside(file, 0)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} cannot be read ({type(error).__name__}: {error}); if it is damaged (an interrupted download?), "
            "delete it, then fetch or collect it again."
        ) from error
    if outside is not None:
        raise DatasetError(
            f"{path} has {outside}, so reading it would open another file; take the dataset from somewhere else."
        )


def _outside(group: Any, depth: int) -> str | None:
    """The first thing below a group that lies in another file; `None` where all of it is its own."""
    import h5py

    if depth > _DEEPEST:
        raise ValueError(f"{group.name!r} lies {depth} groups deep")
    for key in group:
        name = f"{group.name}/{key}".lstrip("/")
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            return f"a link at {name!r}"
        member = group[key]
        if isinstance(member, h5py.Dataset) and (member.external is not None or member.is_virtual):
            return f"an array at {name!r} that is stored elsewhere"
        below = _outside(member, depth + 1) if isinstance(member, h5py.Group) else None
        if below is not None:
            return below
    return None
