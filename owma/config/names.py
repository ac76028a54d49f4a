"""Names of runs, and the numbers of their versions."""

from pathlib import Path

from owma._internal.errors import ConfigError

_MOST_BYTES = 200
"""Of a name: file systems take 255, and other names are made of it."""


def check_run_name(name: str) -> None:
    """Raises `ConfigError` for a name that is not one plain folder name, or looks like a version."""
    if name != Path(name).name or name in ("", ".", "..") or run_version(name) is not None:
        raise ConfigError(f"A run cannot be called {name!r}: use one folder name, and not one like `v1`.")
    if not name.isprintable() or len(name.encode()) > _MOST_BYTES:  # surrogates are not printable
        shown = name if len(name) <= 60 else f"{name[:60]}..."
        raise ConfigError(
            f"A run cannot be called {shown!r}: use a folder name of at most {_MOST_BYTES} bytes, without control "
            "characters."
        )


def run_version(name: str) -> int | None:
    """N of a folder `v<N>`; `None` of any other name."""
    return int(name[1:]) if name[:1] == "v" and name[1:].isascii() and name[1:].isdecimal() else None
