"""The dataset that a run was begun with, by its digest: another one in its place is no ground to go on from."""

from pathlib import Path

from owma._internal.errors import CheckpointError
from owma.config.data import ArrayFolder
from owma.config.task import DataConfig
from owma.data import FileConfig, OfflineDataset, difference, digest_of, is_digest
from owma.runs import checkpoint
from owma.runs.folder import RunFolder

_NOTE = "dataset.json"


def keep_dataset(folder: RunFolder, config: DataConfig, dataset: OfflineDataset) -> None:
    """Write down which dataset a run is begun with; of one that was begun before, see that it is the same.

    Raises `CheckpointError` as `require_same_dataset` does.
    """
    begun = (folder.checkpoints, folder.path / "features", folder.path / "models")
    if all(checkpoint.latest(path) is None for path in begun):
        folder.write_json(_NOTE, digest_of(dataset))
    require_same_dataset(folder, config, dataset)


def require_same_dataset(folder: RunFolder, config: DataConfig, dataset: OfflineDataset) -> None:
    """Raises `CheckpointError` where `dataset` is not the one that a run was begun with.

    Runs from before that was kept go on with whatever is there.
    """
    if not (folder.path / _NOTE).exists():
        return
    before = folder.read_json(_NOTE)
    if not is_digest(before):
        raise CheckpointError(
            f"{folder.path / _NOTE} is not of the form that training writes. Restore it, or start a new run."
        )
    changed = difference(before, digest_of(dataset))
    if changed is not None:
        raise CheckpointError(
            f"{_name(config, dataset)} is not the dataset that the run {folder.path} was begun with ({changed}): "
            "restore it, or start a new run."
        )


def _name(config: DataConfig, dataset: OfflineDataset) -> str | Path:
    if not isinstance(config, FileConfig):
        return dataset.dataset_id
    return config.folder if isinstance(config, ArrayFolder) else config.file
