"""The labels of a labelled task, kept in the folder of its run."""

import dataclasses
import shutil
from pathlib import Path

from owma.config.task import LabelledTaskConfig, TaskConfig

_LABELS = "labels.npz"
"""Of a run's folder."""


def keep_labels(config: TaskConfig, folder: Path) -> None:
    """Copy the labels of a labelled task into a run's folder, which judges by them from then on."""
    if isinstance(config, LabelledTaskConfig):
        shutil.copyfile(config.file, folder / _LABELS)


def kept_task(config: TaskConfig, folder: Path) -> TaskConfig:
    """The task of a run's folder, by the labels that `keep_labels` left there; of runs from before, as it is."""
    labels = folder / _LABELS
    is_kept = isinstance(config, LabelledTaskConfig) and labels.is_file()
    return dataclasses.replace(config, file=labels) if is_kept else config
