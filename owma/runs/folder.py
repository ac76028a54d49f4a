"""The run folder: `runs/NAME/v<N>/`, its JSON files, and what it records of the machine."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from owma._internal.cores import usable_cores
from owma._internal.errors import CheckpointError, ConfigError
from owma._internal.json import jsonable, replace_text
from owma.config.names import check_run_name, run_version

_PACKAGES = (
    "owma",
    "jax",
    "jaxlib",
    "equinox",
    "diffrax",
    "optax",
    "orbax-checkpoint",
    "gymnasium",
    "gymnasium-robotics",
    "mujoco",
    "minari",
    "numpy",
    "scipy",
)


@dataclass(frozen=True)
class RunFolder:
    """One version of a run. Files in it are replaced whole or appended to by whole lines, never edited."""

    path: Path
    """The folder `v<N>` itself."""

    @classmethod
    def create(cls, root: Path, name: str) -> "RunFolder":
        """Make `<root>/<name>/v<N>`, N one above the newest there; two processes at once get two folders.

        Raises `ConfigError` for a name that is not one plain folder name, or looks like a version.
        """
        check_run_name(name)
        parent = Path(root) / name
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The folder {parent} cannot be made ({error.strerror}); choose a place that can be written to."
            ) from error
        number = max(_versions_in(parent), default=0) + 1
        while True:
            try:
                (parent / f"v{number}").mkdir()
                return cls(parent / f"v{number}")
            except FileExistsError:
                number += 1

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Open `runs/NAME` (its newest version) or `runs/NAME/v<N>`.

        Raises `CheckpointError` where there is no such run, with the runs that there are.
        """
        path = Path(path)
        if path.is_dir() and run_version(path.name) is not None:
            return cls(path)
        numbers = _versions_in(path)
        if numbers:
            return cls(path / f"v{numbers[-1]}")
        raise CheckpointError(_no_run(path))

    @property
    def config_json(self) -> Path:
        """The configuration, as `owma.config.json.to_json` writes it."""
        return self.path / "config.json"

    @property
    def versions_json(self) -> Path:
        """`versions()` as of the start of the run."""
        return self.path / "versions.json"

    @property
    def metrics_jsonl(self) -> Path:
        """Training metrics, one row a report."""
        return self.path / "metrics.jsonl"

    @property
    def episodes_jsonl(self) -> Path:
        """Evaluation, one row an episode."""
        return self.path / "episodes.jsonl"

    @property
    def results_json(self) -> Path:
        """The summary of the evaluation; see `owma.results.tables.summarise`."""
        return self.path / "results.json"

    @property
    def checkpoints(self) -> Path:
        """The folder that `owma.runs.checkpoint` writes to."""
        return self.path / "checkpoints"

    @property
    def plots(self) -> Path:
        """The folder of PNG files."""
        return self.path / "plots"

    def write_json(self, name: str, obj: Any) -> Path:
        """Write `obj` as the file `name`, in one step, and return its path. Non-finite numbers become `null`."""
        replace_text(self.path / name, json.dumps(jsonable(obj, name), indent=2) + "\n")
        return self.path / name

    def read_json(self, name: str) -> Any:
        """Read the file `name`; `CheckpointError` where it is missing or is not JSON."""
        try:
            return json.loads(self._read(name))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{self.path / name} is not JSON ({error}). Restore it, or run again.") from error

    def append_jsonl(self, name: str, row: Mapping[str, Any]) -> None:
        """Append one row to the file `name`; it is flushed to the operating system when this returns.

        A last line torn by a kill is cut off first, so that it cannot end up in the middle of the file.
        """
        line = json.dumps(jsonable(row, name)).encode() + b"\n"
        with (self.path / name).open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
            file.write(line)

    def write_jsonl(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
        """Replace the file `name` by `rows`, in one step: a resumed run drops what came after its checkpoint."""
        replace_text(self.path / name, "".join(json.dumps(jsonable(row, name)) + "\n" for row in rows))
        return self.path / name

    def read_jsonl(self, name: str, *, drop_torn: bool = False) -> list[dict[str, Any]]:
        """Read all rows of the file `name`.

        Raises `CheckpointError` naming the first line that cannot be read. With `drop_torn`, a last line without its
        line end (the writer was killed in the middle of it) is left out instead.
        """
        rows: list[dict[str, Any]] = []
        *lines, torn = self._read(name).split("\n")
        if torn and not drop_torn:
            raise CheckpointError(
                f"{self.path / name}, line {len(lines) + 1}, is torn: its writer was killed, or is still writing. "
                "Resume the run, which cuts it off, or delete that line."
            )
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise CheckpointError(
                    f"{self.path / name}, line {number}, is not a JSON object: {line[:60]!r}. Restore the file, or "
                    "delete that line if you can do without it."
                )
            rows.append(row)
        return rows

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            others = [f"v{n}" for n in _versions_in(self.path.parent) if f"v{n}" != self.path.name]
            remedy = f"other versions of this run: {', '.join(others)}" if others else "run that command first"
            raise CheckpointError(
                f"{self.path} holds no `{name}`: the command that writes it has not run, or did not finish; {remedy}."
            ) from None
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{self.path / name} is not text ({error}). Restore it, or run again.") from error


def require_models(path: Path) -> RunFolder:
    """The folder of a run that was trained, `runs/NAME` (its newest version) or `runs/NAME/v<N>`.

    Raises `CheckpointError` where there is none, or one without models. Looks at names only, so that commands can ask
    before they import what reads models.
    """
    folder = RunFolder.open(path)
    models = folder.path / "models"
    if models.is_dir() and any(models.iterdir()):
        return folder
    if folder.episodes_jsonl.exists() and not folder.checkpoints.exists():
        raise CheckpointError(_rows_only(folder.path))
    folder.read_json("config.json")  # raises, naming the missing file, if the folder is empty
    raise not_trained(folder)


def not_trained(folder: RunFolder) -> CheckpointError:
    """The error for a run whose training was interrupted."""
    return CheckpointError(
        f"The run {folder.path} was not trained to the end; go on with `python -m owma.train --resume {folder.path}`."
    )


def rows_folder(path: Path) -> RunFolder:
    """A folder with an `episodes.jsonl`: `path` itself, or the run there (its newest version, or `v<N>`).

    Raises `CheckpointError` where there is none.
    """
    folder = RunFolder(path) if (path / "episodes.jsonl").exists() else RunFolder.open(path)
    if not folder.episodes_jsonl.exists() or not folder.episodes_jsonl.stat().st_size:
        raise CheckpointError(
            f"{folder.path} has no episodes to report on; evaluate first (--evaluation.episodes above 0), or go "
            "on with the sweep."
        )
    return folder


def _no_run(path: Path) -> str:
    if (path / "episodes.jsonl").exists():
        return _rows_only(path)
    versions = [path.parent / f"v{number}" for number in _versions_in(path.parent)]
    for places in (_runs_in(path), versions if run_version(path.name) is not None else [], _runs_in(path.parent)):
        others = [str(other) for other in places if other != path]
        if others:
            more = f" and {len(others) - 10} more" if len(others) > 10 else ""
            return f"There is no run at {path}; choose one of {', '.join(others[:10])}{more}."
    return f"There is no run at {path}, nor another one beside it; train first: `python -m owma.train`."


def _rows_only(path: Path) -> str:
    return (
        f"{path} holds rows only, no models: `python -m owma.report {path}` shows what they say; for planners to act, "
        "train a run (`python -m owma.train`)."
    )


def _runs_in(folder: Path) -> list[Path]:
    """The subfolders that are runs: those whose newest version has a `config.json`."""
    try:
        places = sorted(place for place in folder.iterdir() if place.is_dir())
        newest = {place: place / f"v{numbers[-1]}" for place in places if (numbers := _versions_in(place))}
    except OSError:
        return []
    return [place for place, version in newest.items() if (version / "config.json").exists()]


def versions() -> dict[str, Any]:
    """The software and hardware that a result depends on.

    **Returns:** `date` (of today, UTC), `packages` (name to version, `None` where not installed), `python`,
    `platform`, `cpu_count` (the cores this process may use), `backend` and `device` of JAX, and `git_commit` and
    `git_dirty` of the checkout that owma runs from (`None` where it runs from none).
    """
    import jax  # not above: commands need this module to read their flags

    commit, dirty = _git()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "packages": {name: _package_version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": usable_cores(),
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "git_commit": commit,
        "git_dirty": dirty,
    }


def _package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git() -> tuple[str | None, bool | None]:
    """Commit and dirty flag, `None` if the package is inside another repository (e.g. in its virtual environment)."""
    checkout = Path(__file__).resolve().parents[2]

    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(checkout), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if Path(ask("rev-parse", "--show-toplevel")).resolve() != checkout:
            return None, None
        return ask("rev-parse", "HEAD"), bool(ask("status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _versions_in(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    numbers = [run_version(path.name) for path in folder.iterdir() if path.is_dir()]
    return sorted(number for number in numbers if number is not None)
