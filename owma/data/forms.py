"""Datasets of every form, by configuration or by a name that says which form it is.

Which function reads which form:

| given | read by | in `owma/` |
|---|---|---|
| a Minari id or folder (`MinariDataset`) | `load_minari`, whole; `open_minari`, piece by piece | `data/minari.py` |
| a D4RL file (`D4rlFile`) | `open_d4rl` | `data/files.py` |
| an OGBench file (`OgbenchFile`) | `open_ogbench` | `data/files.py` |
| a folder of arrays (`ArrayFolder`) | `open_folder` | `data/files.py` |
| a cache (`ArrayFolder`) | `open_cache`, mapped; `source_of_cache`, piece by piece | `data/cache.py` |
| what a collector makes (`CollectConfig`) | `collect`, then as Minari | `collect/dispatch.py` |
| arrays or `Transitions` in memory | `given_data`, written as a folder of arrays first | `data/given.py` |

Who finds the form:

| asked by | function | in `owma/` |
|---|---|---|
| a name (`inspect`) | `config_by_name`, `open_by_name`, which reads no rows yet | `data/forms.py` |
| a configuration (`train`, `transfer`, `sweep`) | `load_dataset`: collects, reads or maps | `data/load.py` |
| Python (`owma.fit`) | `given_data`: any of these | `data/given.py` |

A new form is a configuration in `owma/config/data.py` (a member of `FileConfig`), a function that returns its
`DatasetSource`, a line in `open_files`, and one in `config_by_name` that knows its files.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from owma._internal.errors import DatasetError
from owma.config.data import ArrayFolder, D4rlFile, FileConfig, OgbenchFile
from owma.config.task import MinariDataset
from owma.data.cache import is_cache, source_of_cache
from owma.data.columns import HDF5_SUFFIXES, NPZ_SUFFIX, read_columns, read_rows
from owma.data.dataset import DatasetSource
from owma.data.files import open_d4rl, open_folder, open_ogbench
from owma.data.minari import open_minari
from owma.data.names import is_ogbench


def open_files(config: FileConfig) -> DatasetSource:
    """The dataset that a configuration of files names. Raises `DatasetError` if it is missing or of another form."""
    if isinstance(config, D4rlFile):
        return open_d4rl(config.file.expanduser(), episode_steps=config.episode_steps)
    if isinstance(config, OgbenchFile):
        return open_ogbench(config.file.expanduser())
    folder = config.folder.expanduser()
    return source_of_cache(folder) if is_cache(folder) else open_folder(folder)


def open_by_name(
    name: str, *, download: bool = False, episode_steps: int | None = None, obs_keys: Sequence[str] = ()
) -> DatasetSource:
    """The dataset that `config_by_name` names.

    **Raises:** `DatasetError` if there is no such dataset, or it is of another form.
    """
    config = config_by_name(name, download=download, episode_steps=episode_steps, obs_keys=obs_keys)
    if isinstance(config, FileConfig):
        return open_files(config)
    return open_minari(config.dataset, download=config.download, obs_keys=config.obs_keys)


def config_by_name(
    name: str, *, download: bool = False, episode_steps: int | None = None, obs_keys: Sequence[str] = ()
) -> MinariDataset | FileConfig:
    """The dataset that a name means: an HDF5 file is D4RL's, an npz file OGBench's or D4RL's, by the names of its
    arrays, a folder a dataset of Minari's, a cache, or one of your own arrays; anything else is a Minari id.

    **Arguments:**

    - `name`: a path or an id.
    - `download`: fetch an id that is not here from Minari's hub.
    - `episode_steps`: of `open_d4rl`.
    - `obs_keys`: of `open_minari`.

    **Raises:** `DatasetError` if it is an npz file that cannot be read.
    """
    path = Path(name).expanduser()
    if path.suffix in HDF5_SUFFIXES or (path.suffix == NPZ_SUFFIX and not _is_ogbench(path)):
        return D4rlFile(path, episode_steps)
    if episode_steps is not None:
        raise DatasetError(f"{name} is no D4RL file, so that --episode-steps has nothing to say of it; leave it out.")
    if path.suffix == NPZ_SUFFIX:
        return OgbenchFile(path)
    if path.is_dir() and not _is_minari(path):
        return ArrayFolder(path)
    return MinariDataset(name, download=download, obs_keys=tuple(obs_keys))


def _is_ogbench(path: Path) -> bool:
    """By the names of a file's arrays and, where D4RL has the same, by the last row, which is marked in OGBench's."""
    columns = read_columns(path)
    terminals = columns.get("terminals")
    if not is_ogbench(columns) or terminals is None or terminals.holds_objects or "valids" in columns:
        return is_ogbench(columns)
    marked = True
    for piece in read_rows(path, ("terminals",), 2**18) if terminals.shape else ():
        marked = bool(np.any(piece["terminals"][-1:]))
    return marked


def _is_minari(folder: Path) -> bool:
    names = ("metadata.json", "main_data.hdf5")
    return any((place / name).is_file() for place in (folder, folder / "data") for name in names)
