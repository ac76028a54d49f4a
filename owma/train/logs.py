"""Where metrics go beside the run's `metrics.jsonl`, which is written always: TensorBoard, Weights & Biases."""

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
    """A back end: it is given every row of metrics, and is closed at the end."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Keep a row: a `phase`, numbers by name, and a `step` within the phase where it has one."""

    def close(self) -> None:
        """Write what is left to write."""


class TensorBoardLog:
    """Event files in the run's folder `tensorboard`."""

    def __init__(self, folder: Path) -> None:
        self._writer: Any = importlib.import_module("tensorboardX").SummaryWriter(
            str(folder.absolute() / "tensorboard")
        )

    def log(self, row: Mapping[str, Any]) -> None:
        """A scalar for each number, called PHASE/NAME."""
        for name, value in _numbers(row).items():
            self._writer.add_scalar(f"{row['phase']}/{name}", value, row.get("step") or 0)

    def close(self) -> None:
        """Flush the event files."""
        self._writer.close()


class WandbLog:
    """A run of the project `owma`, of the same id when training goes on; `WANDB_MODE=offline` keeps it here.

    It is called NAME-v<N>; its id is a random one, which the run folder keeps in `wandb.json`.
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
        """The numbers of a row as PHASE/NAME, against the phase's own steps."""
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
    """Of this run and of no other one, whatever it is called and wherever it lies; made once."""
    note = folder / "wandb.json"
    if note.exists():
        try:
            kept = json.loads(note.read_text(encoding="utf-8"))["id"]
        except (ValueError, KeyError, TypeError, RecursionError):
            kept = None
        if not isinstance(kept, str) or not _WANDB_ID.fullmatch(kept):
            raise ConfigError(f"{note} holds no id of a run at Weights & Biases; delete it, and logging begins anew.")
        return kept
    before = f"{folder.parent.name}-{folder.name}"
    # Runs from before ids were kept go on with the one that they had.
    known = (folder / "wandb").is_dir() and _WANDB_ID.fullmatch(before)
    made = before if known else secrets.token_hex(8)
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(note, json.dumps({"id": made}) + "\n")
    return made


def check_logs(kinds: Sequence[LogKind]) -> None:
    """Raises `ConfigError` where a back end is not installed: before there is anything to log."""
    for kind in kinds:
        if importlib.util.find_spec(_MODULES[kind]) is None:
            raise ConfigError(f"--log {kind} needs {_MODULES[kind]}: `pip install 'owma[{kind}]'`.")


@contextlib.contextmanager
def open_logs(kinds: Sequence[LogKind], folder: Path, config: Mapping[str, Any]) -> Iterator[Sequence[MetricsLog]]:
    """The back ends of a run in `folder`, closed at the end, whatever ends it."""
    with contextlib.ExitStack() as stack:
        logs: list[MetricsLog] = []
        for kind in dict.fromkeys(kinds):
            log = TensorBoardLog(folder) if kind == "tensorboard" else WandbLog(folder, config)
            stack.callback(log.close)
            logs.append(log)
        yield logs


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    found = {name: value for name, value in row.items() if name != "step" and isinstance(value, int | float)}
    return {name: float(value) for name, value in found.items()}
