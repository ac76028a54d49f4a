"""The labels of a labelled task, kept in the folder of its run."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np

from owma.config.task import LabelledTaskConfig, TaskConfig
from owma.outcomes.given import LABELS
from owma.outcomes.tasks import AbstractTask, LabelledTask


def keep_labels(config: TaskConfig, folder: Path, task: AbstractTask | None = None) -> None:
    """Copy the labels of a labelled task, from the task itself if it is there, into a run's folder, which judges by
    them from then on.
    """
    if isinstance(task, LabelledTask):
        np.savez(folder / LABELS, obs=np.asarray(task.obs), reward=np.asarray(task.reward))
    elif isinstance(config, LabelledTaskConfig):
        shutil.copyfile(config.file, folder / LABELS)


def kept_task(config: TaskConfig, folder: Path) -> TaskConfig:
    """The task of a run's folder, by the labels that `keep_labels` left there; of runs from before, as it is."""
    labels = folder / LABELS
    is_kept = isinstance(config, LabelledTaskConfig) and labels.is_file()
    return dataclasses.replace(config, file=labels) if is_kept else config
