"""Metrics reach the back ends that were asked for, and metrics.jsonl whatever was."""

import re
import struct
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from test_train import TINY

import owma.sweep.__main__
import owma.train.__main__
from owma._internal.errors import ConfigError
from owma.runs.folder import RunFolder
from owma.train import logs

ROWS = ({"phase": "outcomes", "step": 5, "world_loss": 0.5, "note": "words"}, {"phase": "task", "r2": None, "n": 3})


def _scalars(folder: Path) -> list[tuple[str, int, float]]:
    """What TensorBoard would show: each record is a length, a checksum, an event, a checksum."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2", reason="needs owma[tensorboard]")
    scalars = []
    for path in sorted(folder.glob("events*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack("<Q", data[at : at + 8])
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            scalars += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            at += length + 16
    return scalars


class _Wandb(types.ModuleType):
    """What the back end calls of wandb, remembered."""

    def __init__(self) -> None:
        types.ModuleType.__init__(self, "wandb")
        self.__spec__ = types.SimpleNamespace()  # pyright: ignore[reportAttributeAccessIssue]
        self.calls: list[tuple[str, Any]] = []

    def init(self, **settings: Any) -> "_Wandb":
        self.calls.append(("init", settings))
        return self

    def define_metric(self, name: str, step_metric: str) -> None:
        self.calls.append(("define", (name, step_metric)))

    def log(self, numbers: dict[str, float]) -> None:
        self.calls.append(("log", numbers))

    def finish(self) -> None:
        self.calls.append(("finish", None))


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> _Wandb:
    fake = _Wandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="needs owma[tensorboard]")
    with logs.open_logs(("tensorboard", "tensorboard"), tmp_path, {}) as opened:
        assert len(opened) == 1 and isinstance(opened[0], logs.MetricsLog)
        for row in ROWS:
            opened[0].log(row)
    assert _scalars(tmp_path / "tensorboard") == [("outcomes/world_loss", 5, 0.5), ("task/n", 0, 3.0)]


def test_wandb(wandb: _Wandb, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "v2"
    with pytest.raises(RuntimeError), logs.open_logs(("wandb",), folder, {"seed": 1}) as (log,):
        for row in (*ROWS, ROWS[0]):
            log.log(row)
        raise RuntimeError
    (_, settings), *calls = wandb.calls
    assert settings["name"] == "mine-v2" and settings["resume"] == "allow" and settings["config"] == {"seed": 1}
    assert calls == [
        ("define", ("outcomes/*", "outcomes/step")),
        ("log", {"outcomes/world_loss": 0.5, "outcomes/step": 5}),
        ("define", ("task/*", "task/step")),
        ("log", {"task/n": 3.0, "task/step": 0}),
        ("log", {"outcomes/world_loss": 0.5, "outcomes/step": 5}),
        ("finish", None),  # whatever ended it
    ]


@pytest.mark.cases
@pytest.mark.parametrize("name", ["two-routes", "kl:0.25", "a b#?", "naïve, 50 %;", "x" * 200])
def test_every_run_has_an_id_of_its_own_at_wandb_whatever_its_name(name: str, wandb: _Wandb, tmp_path: Path) -> None:
    """Two clones of one project hold runs of one name; a run that goes on is one and the same."""
    for clone in ("one", "other", "one"):
        with logs.open_logs(("wandb",), tmp_path / clone / name / "v1", {}):
            pass
    first, other, resumed = (settings for call, settings in wandb.calls if call == "init")
    assert first["id"] != other["id"] and first["id"] == resumed["id"]
    # wandb 0.31 refuses ids with any of :;,#?/' and those that begin or end with a space.
    assert all(re.fullmatch("[0-9a-f]{16}", settings["id"]) for settings in (first, other))
    assert first["name"] == f"{name[:100]}-v1" and len(first["name"]) <= 128


@pytest.mark.cases
def test_a_run_logged_before_ids_were_kept_goes_on_as_it_was(wandb: _Wandb, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "v1"
    (folder / "wandb").mkdir(parents=True)
    for _ in range(2):
        with logs.open_logs(("wandb",), folder, {}):
            pass
    assert [settings["id"] for call, settings in wandb.calls if call == "init"] == ["mine-v1"] * 2
    (folder / "wandb.json").write_text('{"id": "a:b"}')
    with pytest.raises(ConfigError, match="holds no id .*delete it"), logs.open_logs(("wandb",), folder, {}):
        pass


@pytest.mark.cases
@pytest.mark.parametrize("name", ["a\0b", "two\nlines", "x" * 201, "\udcff"], ids=["NUL", "lines", "long", "bytes"])
def test_a_name_that_no_folder_can_have_is_refused_first(name: str, invoke, elsewhere: Path) -> None:
    for main, flags in (
        (owma.train.__main__.main, ("smoke", "--name")),
        (owma.sweep.__main__.main, ("ablations", "--name")),
    ):
        assert "A run cannot be called " in invoke(main, *flags, name).refused()
    assert not list(elsewhere.rglob("*"))


def test_what_is_not_installed_is_said_before_anything_runs(invoke, elsewhere: Path, monkeypatch) -> None:
    monkeypatch.setattr(logs.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'owma[wandb]'" in invoke(owma.train.__main__.main, *TINY, "--log", "wandb").refused()
    assert not list(elsewhere.iterdir())


def test_training_logs_to_all_of_them(invoke, wandb: _Wandb, elsewhere: Path) -> None:
    pytest.importorskip("tensorboardX", reason="needs owma[tensorboard]")
    done = invoke(owma.train.__main__.main, *TINY, "--log", "tensorboard", "wandb")
    assert done.code == 0, done.stderr
    folder = RunFolder.open(Path("runs/smoke"))
    rows = folder.read_jsonl("metrics.jsonl")
    losses = [("outcomes/world_loss", row["step"]) for row in rows if row["phase"] == "outcomes"]
    assert [(tag, step) for tag, step, _ in _scalars(folder.path / "tensorboard") if tag == losses[0][0]] == losses
    assert sum(name == "log" for name, _ in wandb.calls) == len(rows)
