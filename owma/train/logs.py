"""Metrics back ends in addition to `metrics.jsonl`, which is always written: TensorBoard, Weights & Biases."""

import contextlib
import importlib
import importlib.util
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from owma._internal.errors import ConfigError
from owma._internal.json import replace_text

LogKind: TypeAlias = Literal["tensorboard", "wandb"]

_WANDB_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
_LONGEST_NAME = 100  # Characters; of a run's name Weights & Biases takes 128.
_MODULES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


@runtime_checkable
class MetricsLog(Protocol):
    """A metrics back end: it logs every row of metrics, and is closed at the end."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Log a row: its `phase`, numbers by name, and the `step` within the phase if there is one."""

    def close(self) -> None:
        """Flush and close."""


class TensorBoardLog:
    """Event files in the run's folder `tensorboard`."""

    def __init__(self, folder: Path) -> None:
        self._writer: Any = importlib.import_module("tensorboardX").SummaryWriter(
            str(folder.absolute() / "tensorboard")
        )

    def log(self, row: Mapping[str, Any]) -> None:
        """Write each number as the scalar PHASE/NAME."""
        for name, value in _numbers(row).items():
            self._writer.add_scalar(f"{row['phase']}/{name}", value, row.get("step") or 0)

    def close(self) -> None:
        """Flush the event files."""
        self._writer.close()


class WandbLog:
    """A run NAME-v<N> of the Weights & Biases project `owma`, resumed when training is; `WANDB_MODE=offline` keeps it
    on this machine. Its random id is stored in the run folder, in `wandb.json`.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        wandb: Any = importlib.import_module("wandb")
        self._run = wandb.init(
            project="owma",
            name=f"{folder.parent.name[:_LONGEST_NAME]}-{folder.name}",
            id=_wandb_id(folder),
            resume="allow",
            dir=str(folder),
            config=dict(config),
        )
        self._phases: set[str] = set()

    def log(self, row: Mapping[str, Any]) -> None:
        """Log the numbers of a row as PHASE/NAME, against the steps of the phase."""
        phase = row["phase"]
        if phase not in self._phases:
            self._phases.add(phase)
            self._run.define_metric(f"{phase}/*", step_metric=f"{phase}/step")
        numbers = {f"{phase}/{name}": value for name, value in _numbers(row).items()}
        self._run.log(numbers | {f"{phase}/step": row.get("step") or 0})

    def close(self) -> None:
        """End the run, and wait for its upload."""
        self._run.finish()


def _wandb_id(folder: Path) -> str:
    """The id of the run in `folder`, generated once: unique, however the run is named or moved."""
    file = folder / "wandb.json"
    if file.exists():
        try:
            stored_id = json.loads(file.read_text(encoding="utf-8"))["id"]
        except (ValueError, KeyError, TypeError, RecursionError):
            stored_id = None
        if not isinstance(stored_id, str) or not _WANDB_ID.fullmatch(stored_id):
            raise ConfigError(f"{file} holds no id of a run at Weights & Biases; delete it, and logging begins anew.")
        return stored_id
    old_id = f"{folder.parent.name}-{folder.name}"
    # Runs logged before ids were stored keep the one that they had.
    is_old = (folder / "wandb").is_dir() and _WANDB_ID.fullmatch(old_id)
    new_id = old_id if is_old else secrets.token_hex(8)
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(file, json.dumps({"id": new_id}) + "\n")
    return new_id


def check_logs(kinds: Sequence[LogKind]) -> None:
    """Raises `ConfigError` if a back end is not installed."""
    for kind in kinds:
        if importlib.util.find_spec(_MODULES[kind]) is None:
            raise ConfigError(f"--log {kind} needs {_MODULES[kind]}: `pip install 'owma[{kind}]'`.")


@contextlib.contextmanager
def open_logs(kinds: Sequence[LogKind], folder: Path, config: Mapping[str, Any]) -> Iterator[Sequence[MetricsLog]]:
    """Open the back ends of the run in `folder`; they are closed on exit, also after an exception."""
    with contextlib.ExitStack() as stack:
        logs: list[MetricsLog] = []
        for kind in dict.fromkeys(kinds):
            log = TensorBoardLog(folder) if kind == "tensorboard" else WandbLog(folder, config)
            stack.callback(log.close)
            logs.append(log)
        yield logs


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if name != "step" and isinstance(value, int | float)}
