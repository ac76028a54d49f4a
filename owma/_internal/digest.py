"""SHA-256 digests, in hexadecimal, by which files and JSON data are known again."""

import hashlib
from pathlib import Path
from typing import Any

from owma._internal.json import canonical


def json_digest(content: Any) -> str:
    """Of plain JSON data, however they are spelt."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Of what a file holds. Raises `OSError` where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
