"""Fetching datasets from Minari's hub."""

import contextlib
import os
import sys

from owma._internal.errors import DatasetError
from owma.collect.store import dataset_folder

_PATIENCE_S = 5.0


def download_dataset(name: str) -> None:
    """Fetch a dataset into Minari's folder. Raises `DatasetError`, within seconds where there is no network."""
    import minari

    by_hand = f"or put the dataset's folder at {dataset_folder(name)} by hand."
    try:
        _knock()
        with contextlib.redirect_stdout(sys.stderr):  # Standard output is for what a command has to say.
            minari.download_dataset(name)
    except ImportError as error:
        raise DatasetError(f"Downloading needs an extra ({error}): pip install 'owma[hub]', {by_hand}") from error
    except Exception as error:  # Whatever the network and the hub's client may raise, the remedy is the same.
        raise DatasetError(
            f"Could not download {name!r} ({type(error).__name__}: {error}); check the id and the network, {by_hand}"
        ) from error
    if not (dataset_folder(name) / "data" / "metadata.json").is_file():
        raise DatasetError(f"The download of {name!r} left no dataset at {dataset_folder(name)}; try again.")


def _knock() -> None:
    """Raise at once where Hugging Face does not answer: before its client does, it tries for half a minute."""
    if not os.environ.get("MINARI_REMOTE", "hf://").startswith("hf://"):
        return
    try:
        import huggingface_hub  # pyright: ignore[reportMissingImports]
    except ImportError:
        return  # Minari says what is missing.
    huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=_PATIENCE_S)
