"""What a dataset of Minari says of itself: its environment, and the returns that scores on it refer to."""

import json
from pathlib import Path
from typing import Any

from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError, DatasetError
from owma.collect.store import SETTINGS_KEY
from owma.data.dataset import are_references
from owma.envs import read_env


def read_metadata(data_path: Path) -> dict[str, Any]:
    """What `metadata.json` in the `data` folder of a dataset holds. Raises `DatasetError` if it holds nothing."""
    try:
        metadata = json.loads((data_path / "metadata.json").read_text())
        if not isinstance(metadata, dict):
            raise ValueError("metadata.json holds no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(data_path.parent, error) from error
    return metadata


def is_collected_here(data_path: Path) -> bool:
    """Whether `owma.collect` wrote the dataset; its tasks name their goals."""
    return SETTINGS_KEY in read_metadata(data_path)


def environment(data_path: Path) -> tuple[EnvSpec | None, str | None]:
    """The environment that the dataset names, or why that is not to be made."""
    metadata = read_metadata(data_path)
    text = metadata.get("eval_env_spec") or metadata.get("env_spec")
    if text is None:
        return None, None
    try:
        return read_env(text, f"Dataset {data_path.parent}"), None
    except ConfigError as error:
        return None, str(error)


def references(data_path: Path) -> tuple[float, float] | None:
    """The returns that Minari's normalised score refers to; `None` where one is missing, as Minari has it."""
    metadata = read_metadata(data_path)
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    if low is None or high is None:
        return None
    if not are_references((low, high)):
        raise DatasetError(
            f"{data_path.parent} has the reference scores {low!r} and {high!r}; give a smaller and a larger "
            "number as `ref_min_score` and `ref_max_score` in its metadata.json, or neither."
        )
    return float(low), float(high)


def unreadable(folder: Path, error: Exception) -> DatasetError:
    """What to raise for a dataset that neither Minari nor owma can read."""
    return DatasetError(
        f"{folder} cannot be read ({type(error).__name__}: {error}); if it is damaged (an interrupted download?), "
        "delete it, then fetch or collect it again."
    )
