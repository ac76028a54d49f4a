"""Where Minari keeps datasets on this machine, and how one is written: whole, or not at all."""

import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
from filelock import FileLock, Timeout
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError, DatasetError
from owma._internal.json import replace_text
from owma.collect.recorder import Recorder

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
        settings = json.loads((folder / "data" / "metadata.json").read_text())[SETTINGS_KEY]
        if not isinstance(settings, dict):
            raise TypeError(f"its settings are {settings!r}")
        return settings
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(
            f"{folder} exists but was not written by this command; move it away, choose another --dataset-id, or "
            "replace it with --overwrite."
        ) from error


@contextmanager
def dataset_recorder(
    dataset_id: str,
    env: gym.Env,
    *,
    eval_env: EnvSpec,
    settings: Mapping[str, Any],
    description: str,
    algorithm: str,
    overwrite: bool,
) -> Iterator[Recorder]:
    """Record an environment as a local Minari dataset, which appears under its id in one step, when it is complete.

    Episodes are kept in a hidden folder beside the datasets as they come. When the block is left they are made into a
    dataset there, which is moved into place; a dataset that it replaces stays until then. If the block raises, there is
    no dataset, and the episodes stay: a recording of the same id and settings, by the same versions, goes on with them
    (see `Recorder.resume`). `env` is closed.

    **Arguments:**

    - `dataset_id`: a valid Minari id, which this process has for itself (`claimed`).
    - `env`: what to record.
    - `eval_env`: the environment to evaluate in.
    - `settings`: plain values, kept in the metadata for `stored_settings`.
    - `description`: one sentence.
    - `algorithm`: what acts, in a few words.
    - `overwrite`: replace a dataset of the same id.

    **Raises:** `DatasetError` if the folder cannot be written, or is taken and `overwrite` is not set.
    """
    folder, staging = dataset_folder(dataset_id), _staging(dataset_id)
    try:
        _prepare(staging, {"settings": dict(settings), "versions": _versions()})
        recorder = Recorder(env, staging)
        with closing(env):
            try:
                yield recorder
            finally:
                recorder.flush()
            with _minari_root(str(staging / "minari")):
                _make(dataset_id, recorder, eval_env, settings, (description, algorithm))
        _move(dataset_id, staging / "minari", folder, overwrite)
        shutil.rmtree(staging)
    except OSError as error:
        raise DatasetError(
            f"Could not write {folder} ({error.strerror or error}); free the place, or set MINARI_DATASETS_PATH to a "
            "folder that can be written."
        ) from error


@contextmanager
def claimed(dataset_id: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Have a dataset's id for oneself: no other process collects it meanwhile.

    Waits for one that does; the operating system lets go of the claim when its holder dies. `waiting` is called now and
    then; what it raises ends the waiting.
    """
    path = _lock_path(dataset_id)
    lock = FileLock(path)
    try:
        datasets_root().mkdir(parents=True, exist_ok=True)
        while not _acquired(lock):
            if waiting is not None:
                waiting()
            time.sleep(0.1)
    except OSError as error:
        raise DatasetError(
            f"Could not write {path} ({error.strerror or error}); free the place, or set MINARI_DATASETS_PATH to a "
            "folder that can be written."
        ) from error
    try:
        yield
    finally:
        # Whoever waits for it sees that the file is another one, or none, and tries again.
        path.unlink(missing_ok=True)
        lock.release()


def is_claimed(dataset_id: str) -> bool:
    """Whether some process, this one or another, is collecting the dataset."""
    path = _lock_path(dataset_id)
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        was_free = _acquired(lock)
    except OSError:
        return False
    lock.release()
    return not was_free


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
        return True
    except Timeout:
        return False


def _staging(dataset_id: str) -> Path:
    return datasets_root() / f".collecting-{dataset_id.replace('/', '--')}"


def _lock_path(dataset_id: str) -> Path:
    return datasets_root() / f".collecting-{dataset_id.replace('/', '--')}.lock"


def _versions() -> dict[str, str]:
    """What the data depend on beside the settings."""
    names = ("gymnasium", "gymnasium-robotics", "mujoco", "minari", "numpy", "ogbench", "dm_control", "cma")
    installed = [name for name in names if find_spec(name.replace("-", "_")) is not None]
    return {name: metadata.version(name) for name in installed}


def _prepare(staging: Path, wanted: Mapping[str, Any]) -> None:
    """Keep the episodes of an earlier attempt if they are those that this one would make."""
    note = staging / "made_by.json"
    try:
        is_same = json.loads(note.read_text()) == json.loads(json.dumps(wanted))
    except (OSError, ValueError):
        is_same = False
    if not is_same and staging.exists():
        shutil.rmtree(staging)
    for half in (staging / "minari", *staging.glob("*.tmp.npz")):
        if half.is_dir():
            shutil.rmtree(half)
        else:
            half.unlink(missing_ok=True)
    staging.mkdir(parents=True, exist_ok=True)
    if not is_same:
        replace_text(note, json.dumps(wanted))


def _make(
    dataset_id: str, recorder: Recorder, eval_env: EnvSpec, settings: Mapping[str, Any], about: tuple[str, str]
) -> None:
    """The dataset, where Minari is told to have its root."""
    import minari
    from minari.data_collector import EpisodeBuffer

    with warnings.catch_warnings():
        for field in ("code_permalink", "author_email"):
            warnings.filterwarnings("ignore", message=f"`{field}` is set to None", category=UserWarning)
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            [EpisodeBuffer(**episode) for episode in recorder.episodes()],
            env=recorder.env,
            eval_env=eval_env,
            description=about[0],
            algorithm_name=about[1],
            author="owma",
        )
    dataset.storage.update_episode_metadata(dataset.storage.apply(minari.EpisodeMetadataCallback()))
    dataset.storage.update_metadata({**recorder.notes, SETTINGS_KEY: dict(settings)})
    for file in recorder.files:
        shutil.copy(file, dataset_folder(dataset_id) / file.name)


def _move(dataset_id: str, made: Path, folder: Path, overwrite: bool) -> None:
    from minari.namespace import create_namespace, list_local_namespaces

    namespace = str(Path(dataset_id).parent)
    if namespace != "." and namespace not in list_local_namespaces():
        create_namespace(namespace)
    if overwrite and folder.exists():
        folder.rename(made / "replaced")
    (made / dataset_id).rename(folder)


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
