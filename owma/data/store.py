"""Where Minari keeps datasets on this machine, and how one is written: whole, or not at all."""

import json
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from owma._errors import ConfigError, DatasetError

SETTINGS_KEY = "owma_collect"
"""The entry of a dataset's metadata that holds the settings which made it."""


def datasets_root() -> Path:
    """The folder of all local Minari datasets: `MINARI_DATASETS_PATH`, or `~/.minari/datasets`."""
    root = os.environ.get("MINARI_DATASETS_PATH")
    return Path(root) if root else Path.home() / ".minari" / "datasets"


def dataset_folder(dataset_id: str) -> Path:
    """The folder of a dataset, whether it exists or not."""
    return datasets_root() / dataset_id


def check_dataset_id(dataset_id: str) -> None:
    """**Raises:** `ConfigError` if Minari would not take `dataset_id`."""
    from minari.dataset.minari_dataset import parse_dataset_id

    try:
        parse_dataset_id(dataset_id)
    except (TypeError, ValueError) as error:  # `TypeError` is how Minari says that the version is missing.
        raise ConfigError(
            f"{dataset_id!r} is not a Minari dataset id: use NAMESPACE/NAME-vN of letters, digits, '-' and '_', "
            "such as owma/mine-v0."
        ) from error


def stored_settings(dataset_id: str) -> dict[str, Any] | None:
    """The settings that a local dataset was collected with; `None` if there is no dataset of that id.

    **Raises:** `DatasetError` if something of that name exists that `recording` did not write.
    """
    folder = dataset_folder(dataset_id)
    if not folder.exists():
        return None
    try:
        return json.loads((folder / "data" / "metadata.json").read_text())[SETTINGS_KEY]
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(
            f"{folder} exists but was not written by this command; move it away, choose another --dataset-id, or "
            "replace it with --overwrite."
        ) from error


@contextmanager
def recording(
    dataset_id: str,
    env: gym.Env,
    *,
    eval_env: EnvSpec,
    settings: Mapping[str, Any],
    description: str,
    overwrite: bool,
) -> Iterator[gym.Env]:
    """Record an environment as a local Minari dataset, which appears under its id in one step, when it is complete.

    ```python
    with recording(dataset_id, env, ...) as recorded:
        recorded.reset(seed=0)
        recorded.step(action)
    ```

    Every `reset`, and the end of the block, ends an episode: as truncated, unless it has terminated. The dataset is
    made by `minari.DataCollector` in a hidden folder beside the datasets and moved into place when the block is left;
    a dataset that it replaces stays until then, and if the block raises, there is none. `env` is closed.

    **Arguments:**

    - `dataset_id`: a valid Minari id.
    - `env`: what to record; it must not change observations that it has returned, which are kept as they are.
    - `eval_env`: the environment to evaluate in.
    - `settings`: plain values, kept in the metadata for `stored_settings`.
    - `description`: one sentence.
    - `overwrite`: replace a dataset of the same id.

    **Returns:** a context manager that gives the environment to act in.

    **Raises:** `DatasetError` if the folder cannot be written, or is taken and `overwrite` is not set.
    """
    import minari
    from minari.namespace import create_namespace, list_local_namespaces

    folder, namespace = dataset_folder(dataset_id), str(Path(dataset_id).parent)
    try:
        datasets_root().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".collecting-", dir=datasets_root()) as staging:
            with _minari_root(staging):
                collector = minari.DataCollector(env)
            with closing(collector):
                yield collector
                with _minari_root(staging), warnings.catch_warnings():
                    for field in ("code_permalink", "author_email"):
                        warnings.filterwarnings("ignore", message=f"`{field}` is set to None", category=UserWarning)
                    dataset = collector.create_dataset(
                        dataset_id,
                        eval_env=eval_env,
                        algorithm_name="jittered waypoints, proportional-derivative control, Gaussian action noise",
                        author="owma",
                        description=description,
                    )
            dataset.storage.update_metadata({SETTINGS_KEY: dict(settings)})
            if namespace != "." and namespace not in list_local_namespaces():
                create_namespace(namespace)
            if overwrite and folder.exists():
                folder.rename(Path(staging) / "replaced")
            (Path(staging) / dataset_id).rename(folder)
    except OSError as error:
        raise DatasetError(
            f"Could not write {folder} ({error.strerror or error}); free the place, or set MINARI_DATASETS_PATH to a "
            "folder that can be written."
        ) from error


@contextmanager
def _minari_root(root: str) -> Iterator[None]:
    """Let Minari write below `root`; the environment variable is the only way to tell it."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = root
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before
