"""Load the dataset of a configuration: collect it if it is missing, cache it on disk if it is large."""

import dataclasses
import re

from owma._internal.errors import ConfigError
from owma._internal.progress import Progress
from owma.config.data import ArrayFolder
from owma.config.task import DataConfig, MinariDataset
from owma.data import (
    MEMORY_GIB,
    CollectConfig,
    DatasetSource,
    FileConfig,
    OfflineDataset,
    cache_folder,
    cached,
    collect,
    is_cache,
    is_collected,
    load_minari,
    minari_bytes,
    num_steps,
    open_cache,
    open_files,
    open_minari,
    read_whole,
)


def load_dataset(config: DataConfig, progress: Progress, *, memory_gib: float = MEMORY_GIB) -> OfflineDataset:
    """The dataset, collected first where the configuration is a collector's and the dataset is absent.

    **Arguments:** `memory_gib`: GiB that its transitions may take in memory; those of a larger one are copied into a
    memory-mapped cache, and read from there.
    """
    most = memory_gib * 2**30
    if isinstance(config, MinariDataset) and not config.dataset:
        raise ConfigError(
            "There are no data yet: name them by --data.dataset ID (a Minari dataset, or its folder), data:d4rl-file "
            "--data.file FILE.hdf5, data:ogbench-file --data.file FILE.npz or data:array-folder --data.folder FOLDER."
        )
    if isinstance(config, ArrayFolder) and is_cache(config.folder.expanduser()):
        dataset = open_cache(config.folder.expanduser())
        whole = dataset.num_bytes <= most
        return dataclasses.replace(dataset, transitions=dataset.transitions.rows(slice(None))) if whole else dataset
    if isinstance(config, FileConfig):
        source = open_files(config)
        return read_whole(source) if source.num_bytes <= most else _cached(source, progress)
    if not isinstance(config, MinariDataset):
        if not is_collected(config):
            _collect(config, progress)
        config = MinariDataset(config.name, goal_in_state=False)
    name, keys, goal = config.dataset, config.obs_keys, config.goal_in_state
    if minari_bytes(name, download=config.download, obs_keys=keys) <= most:
        return load_minari(name, obs_keys=keys, goal_in_state=goal)
    return _cached(open_minari(name, obs_keys=keys, goal_in_state=goal), progress)


def _collect(config: CollectConfig, progress: Progress) -> None:
    with progress(f"collecting {config.name}", num_steps(config), 0) as advance:
        so_far = 0

        def report(done: int, _: int) -> None:
            nonlocal so_far
            advance(done - so_far)
            so_far = done

        try:
            collect(config, report)
        except ConfigError as error:
            # A collector names flags as `owma.collect` has them.
            raise ConfigError(re.sub(r"(?<!\S)--(?=[a-z])", "--data.", str(error))) from error


def _cached(source: DatasetSource, progress: Progress) -> OfflineDataset:
    if is_cache(cache_folder(source)):
        return cached(source)
    with progress(f"copying {source.dataset_id} to {cache_folder(source)}", source.rows, 0) as advance:
        dataset = cached(source, advance)
        # Rows that are no transitions were counted too.
        advance(source.rows - len(dataset.transitions))
        return dataset
