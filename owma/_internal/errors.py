"""The exceptions that a command turns into one sentence and exit code 2."""

import os
import sysconfig
import traceback
from pathlib import Path


class OwmaError(ValueError):
    """Something the user can mend: the message names the cause and the remedy in one or two sentences."""


class DatasetError(OwmaError):
    """A dataset that is missing, unreadable, or not of a supported form."""


class CheckpointError(OwmaError):
    """A checkpoint that is missing, damaged, or of another configuration."""


class DamagedError(CheckpointError):
    """A checkpoint whose files are not those that were saved. Raised with sentences: the damage, then remedies."""

    @property
    def damage(self) -> str:
        """The first sentence, without what can be done."""
        return self.args[0]

    def __str__(self) -> str:
        return " ".join(self.args)


class ConfigError(OwmaError):
    """A configuration value outside its range, or two values that contradict each other."""


_LIBRARIES = tuple(os.sep + name + os.sep for name in ("gymnasium", "numpy", "jaxtyping"))
_OURS = str(Path(__file__).parents[1]) + os.sep


def where_raised(error: BaseException) -> str:
    """What an error says, on one line, with the file and line of the user's where it was raised, if there is one: not
    those of NumPy, of jaxtyping, of Gymnasium's wrappers, of Python's own library and of ours.
    """
    library = sysconfig.get_path("stdlib") + os.sep
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_foreign(frame.filename, library)]
    place = f"{own[-1].filename}, line {own[-1].lineno}" if own else ""
    return "; ".join(part for part in (" ".join(str(error).split()), place) if part) or "without a message"


def _is_foreign(filename: str, library: str) -> bool:
    if filename.startswith((_OURS, "<frozen ")) or any(place in filename for place in _LIBRARIES):
        return True
    return filename.startswith(library) and "site-packages" not in filename
