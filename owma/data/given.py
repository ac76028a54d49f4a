"""Data as Python users give them: names, paths, configurations, and arrays in memory, which a run then keeps."""

import contextlib
import dataclasses
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from owma._internal.errors import DatasetError
from owma._internal.progress import Progress
from owma.collect.store import dataset_folder
from owma.config.data import MEMORY_GIB, ArrayFolder
from owma.config.task import DataConfig, MinariDataset
from owma.data.dataset import OfflineDataset
from owma.data.forms import config_by_name
from owma.data.load import load_dataset
from owma.outcomes.transitions import Transitions

DataLike: TypeAlias = str | Path | DataConfig | OfflineDataset | Transitions | Mapping[str, Any] | Any
"""What `given_data` takes; a `minari.MinariDataset` too, whose class is not imported for its name alone."""

FOLDER = "data"
"""Subfolder of a run with the arrays that were given in memory."""

_FILE = "arrays.npz"


@dataclass(frozen=True)
class GivenData:
    """A dataset, and what a run's configuration says of it."""

    config: DataConfig
    dataset: OfflineDataset
    arrays: Path | None
    """Temporary folder of arrays given in memory, for `keep` to move; deleted when `given_data` exits."""

    def keep(self, folder: Path) -> None:
        """Move the arrays, if there are any, into a run's folder, where `kept_data` finds them."""
        if self.arrays is not None:
            shutil.move(self.arrays, folder / FOLDER)


@contextlib.contextmanager
def given_data(data: DataLike, progress: Progress, *, memory_gib: float = MEMORY_GIB) -> Iterator[GivenData]:
    """A dataset of any form, read and checked.

    - a name: a Minari id, or a path (see `owma.data.config_by_name`).
    - a `minari.MinariDataset` of whole, recorded data.
    - a configuration: of a collector, a Minari dataset, or files.
    - arrays by name, one row a step, with the names that `owma.data.open_folder` reads: `observations`, `actions` and,
      if there are any, `rewards`, `next_observations`, `terminations`, `truncations` and others that say where episodes
      end.
    - `Transitions`, or an `OfflineDataset`, as `owma.load_minari` returns one.

    **Raises:** `DatasetError` or `ConfigError` for anything else, and as the readers do.
    """
    if isinstance(data, str | Path):
        data = config_by_name(str(data))
    minari = sys.modules.get("minari")  # an instance exists only if minari is imported
    if minari is not None and isinstance(data, minari.MinariDataset):
        data = _of_minari(data)
    if isinstance(data, DataConfig):
        yield GivenData(data, load_dataset(data, progress, memory_gib=memory_gib), None)
        return
    with tempfile.TemporaryDirectory(prefix="owma-") as temporary:
        folder = Path(temporary) / FOLDER
        folder.mkdir()
        _write(folder / _FILE, _arrays(data))
        try:
            dataset = load_dataset(ArrayFolder(folder), progress, memory_gib=memory_gib)
        except DatasetError as error:
            said = str(error).replace(str(folder / _FILE), "The data given").replace(str(folder), "The data given")
            raise DatasetError(said) from error
        if isinstance(data, OfflineDataset):
            dataset = dataclasses.replace(data, transitions=dataset.transitions)
        yield GivenData(ArrayFolder(Path(FOLDER)), dataset, folder)


def _arrays(data: Any) -> dict[str, np.ndarray]:
    if isinstance(data, OfflineDataset):
        data = data.transitions
    if isinstance(data, Transitions):
        data = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    if not isinstance(data, Mapping):
        raise DatasetError(
            f"A dataset cannot be made of a {type(data).__name__}; give a Minari id, a path, Transitions or a "
            "mapping of arrays (observations, actions, rewards, terminations, truncations, ...)."
        )
    arrays = {}
    for name, values in data.items():
        array = np.asarray(values) if not isinstance(values, Mapping) else np.empty((), object)
        if not isinstance(name, str) or array.dtype.hasobject:
            raise DatasetError(
                f"The data given hold {name!r}, a {type(values).__name__}; give arrays of numbers by names, of which "
                "each has one row a step, and join the parts of an observation to one vector."
            )
        arrays[name] = array
    return arrays


def _write(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """As `numpy.savez` does, under any names."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _of_minari(data: Any) -> MinariDataset:
    if len(data.episode_indices) != data.storage.total_episodes:
        raise DatasetError(
            f"This dataset has {len(data.episode_indices)} of the {data.storage.total_episodes} episodes of {data.id}; "
            "give all of it (minari.load_dataset), or write the part as a dataset of its own."
        )
    folder = Path(data.storage.data_path).parent
    return MinariDataset(data.id if dataset_folder(data.id) == folder else str(folder))


def kept_data(config: DataConfig, folder: Path) -> DataConfig:
    """`config`, redirected to the arrays that `GivenData.keep` moved into the run's folder, if it has any."""
    arrays = folder / FOLDER
    is_kept = isinstance(config, ArrayFolder) and config.folder == Path(FOLDER) and arrays.is_dir()
    return ArrayFolder(arrays) if is_kept else config
