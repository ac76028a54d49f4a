"""The dataset that a run was begun with, by its digest: whatever goes on with the run, goes on with that one."""

from owma._internal.errors import CheckpointError
from owma.config.data import ArrayFolder, CollectConfig, FileConfig
from owma.config.task import DataConfig
from owma.data import OfflineDataset, datasets_root, difference, digest_of, is_digest
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
    """Raises `CheckpointError` where `dataset` is not the one that a run was begun with, by shape and contents.

    The rule is the same for all that reads data for a run that is there: `--resume`, `owma.transfer`, a sweep that goes
    on with a training, `Run.tell`. It is the same for all data, too. A dataset that this machine collects anew has the
    same contents if the machine computes as the one did where the run began. If not, its simulator's rounding differs,
    and so does every episode that amplifies this: that is another dataset, and the error says which folder to copy.

    Runs from before the digest was kept go on with whatever is there.
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
            f"{_remedy(config, dataset)}, or start a new run."
        )


def _name(config: DataConfig, dataset: OfflineDataset) -> str:
    if not isinstance(config, FileConfig):
        return dataset.dataset_id
    return str(config.folder if isinstance(config, ArrayFolder) else config.file)


def _remedy(config: DataConfig, dataset: OfflineDataset) -> str:
    if not isinstance(config, CollectConfig):
        return "restore it"
    return (
        f"copy the folder {datasets_root() / dataset.dataset_id} from the machine where the run was begun (another "
        "processor or simulator collects other episodes)"
    )
