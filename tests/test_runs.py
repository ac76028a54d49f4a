"""Run folders, their JSON files, and configurations as JSON."""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import pytest

from owma._internal.errors import CheckpointError, ConfigError
from owma._internal.json import canonical
from owma.config.json import fingerprint, from_json, later_field, to_json
from owma.runs.folder import RunFolder, versions


def test_create_never_takes_an_existing_folder(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path, "two-route").path == tmp_path / "two-route" / "v1"
    (tmp_path / "two-route" / "v9").mkdir()
    (tmp_path / "two-route" / "v10").mkdir()  # ten is newer than nine
    (tmp_path / "two-route" / "vague").mkdir()
    assert RunFolder.create(tmp_path, "two-route").path.name == "v11"


def test_create_from_many_threads_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: RunFolder.create(tmp_path, "race").path.name, range(32)))
    assert sorted(made) == sorted(f"v{n}" for n in range(1, 33))


@pytest.mark.parametrize("name", ["", "..", "a/b", "/tmp", "v3"])
def test_create_refuses_a_name_that_is_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be called"):
        RunFolder.create(tmp_path, name)


def test_open_takes_the_newest_or_the_one_named(tmp_path: Path) -> None:
    for _ in range(11):
        RunFolder.create(tmp_path, "run")
    (tmp_path / "run" / "v11" / "config.json").write_text("{}")
    assert RunFolder.open(tmp_path / "run").path.name == "v11"
    assert RunFolder.open(tmp_path / "run" / "v2").path.name == "v2"
    with pytest.raises(CheckpointError, match="no run at .*absent; choose one of .*/run.$"):
        RunFolder.open(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="no run at .*v12; choose one of .*/run/v1, .*/v10 and 1 more"):
        RunFolder.open(tmp_path / "run" / "v12")
    with pytest.raises(CheckpointError, match="train first"):
        RunFolder.open(tmp_path / "no" / "runs")


def test_json_takes_the_numbers_of_every_library(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "run")
    row = {"a": np.float32(0.5), "b": jnp.asarray(2), "c": np.arange(2), "d": (Path("x"), None, True), "e": math.nan}
    assert run.write_json("results.json", row) == run.results_json
    assert run.read_json("results.json") == {"a": 0.5, "b": 2, "c": [0, 1], "d": ["x", None, True], "e": None}
    assert "NaN" not in run.results_json.read_text()
    with pytest.raises(TypeError, match=r"config.json.x\[0\] is a set"):
        run.write_json("config.json", {"x": [{1}]})
    with pytest.raises(TypeError, match="the key 1 is a int"):
        run.write_json("config.json", {1: 2})
    assert sorted(os.listdir(run.path)) == ["results.json"]  # a refused write leaves nothing behind


def test_a_killed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder.create(tmp_path, "run")
    run.write_json("results.json", {"old": 1})

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        run.write_json("results.json", {"new": 2})
    assert run.read_json("results.json") == {"old": 1}


def test_missing_or_spoilt_json_says_what_to_do(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "run")
    run = RunFolder.create(tmp_path, "run")
    with pytest.raises(CheckpointError, match="holds no `config.json`.*other versions of this run: v1"):
        run.read_json("config.json")
    run.config_json.write_text("{")
    with pytest.raises(CheckpointError, match="config.json is not JSON"):
        run.read_json("config.json")


def test_rows_survive_a_kill(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "run")
    for step in range(3):
        run.append_jsonl("metrics.jsonl", {"step": step, "loss": jnp.asarray(0.5)})
    whole = run.metrics_jsonl.read_bytes()
    for cut in range(len(whole) // 3 * 2 + 1, len(whole)):  # killed anywhere inside the third row
        run.metrics_jsonl.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match="line 3, is torn"):
            run.read_jsonl("metrics.jsonl")
        assert [row["step"] for row in run.read_jsonl("metrics.jsonl", drop_torn=True)] == [0, 1]
        run.append_jsonl("metrics.jsonl", {"step": 2, "loss": 0.5})
        assert run.metrics_jsonl.read_bytes() == whole


def test_an_unreadable_line_is_named_even_when_torn_ones_are_dropped(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "run")
    for bad in ("oops", "", "[1]"):
        run.episodes_jsonl.write_text(f'{{"a": 1}}\n{bad}\n{{"a": 2}}\n{{"a"')
        with pytest.raises(CheckpointError, match="episodes.jsonl, line 2, is not a JSON object"):
            run.read_jsonl("episodes.jsonl", drop_torn=True)


def test_rows_after_a_checkpoint_are_dropped_in_one_step(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "run")
    for step in range(5):
        run.append_jsonl("metrics.jsonl", {"step": step})
    run.write_jsonl("metrics.jsonl", [row for row in run.read_jsonl("metrics.jsonl") if row["step"] < 2])
    assert run.read_jsonl("metrics.jsonl") == [{"step": 0}, {"step": 1}]


def test_versions_name_what_a_result_depends_on() -> None:
    recorded = versions()
    assert recorded["packages"]["jax"] and recorded["packages"]["mujoco"] and recorded["cpu_count"] >= 1
    assert recorded["git_commit"] is None or len(recorded["git_commit"]) == 40
    json.dumps(recorded)


@dataclasses.dataclass(frozen=True)
class _Adam:
    rate: float = 1e-3
    decay: tuple[float, float] = (0.9, 0.999)


@dataclasses.dataclass(frozen=True)
class _Sgd:
    rate: float = 0.1


@dataclasses.dataclass(frozen=True)
class _Config:
    dataset: Path = Path("data/here")
    optimiser: _Adam | _Sgd = _Adam()
    warmup: int | None = None
    limit: int | float = 1
    kind: Literal["fourier", "random", 3] = "fourier"
    widths: tuple[int, ...] = (64, 64)
    names: list[str] = dataclasses.field(default_factory=list)
    extra: dict[str, float] = dataclasses.field(default_factory=dict)
    flag: bool = False


@pytest.mark.parametrize(
    "config",
    [
        _Config(),
        _Config(Path("/x"), _Sgd(0.5), 3, 2.5, 3, (), ["a"], {"b": 1.0}, True),
        _Config(optimiser=_Sgd(), limit=2, widths=(1,)),
    ],
)
def test_config_round_trip(config: _Config) -> None:
    text = json.dumps(to_json(config))
    again = from_json(_Config, json.loads(text))
    assert again == config
    assert type(again.limit) is type(config.limit) and isinstance(again.widths, tuple)
    assert fingerprint(again) == fingerprint(config)


def test_fingerprint_follows_equality() -> None:
    assert fingerprint(_Sgd(1.0)) == fingerprint(_Sgd(1))
    assert fingerprint(_Sgd(1.0)) != fingerprint(_Sgd(1.0000000000000002))
    assert fingerprint(_Config(optimiser=_Sgd(1e-3))) != fingerprint(_Config(optimiser=_Adam(1e-3)))
    without = [fingerprint(_Config(optimiser=o), without=("optimiser",)) for o in (_Sgd(1e-3), _Adam(1e-3))]
    assert without[0] == without[1] != fingerprint(_Config(optimiser=_Sgd(1e-3)))


@dataclasses.dataclass(frozen=True)
class _Grown:
    rate: float = 0.1
    momentum: float = later_field(0.0)
    inner: _Sgd = later_field(_Sgd())


def test_a_field_that_came_later_leaves_older_configurations_as_they_were() -> None:
    older = {"class": "_Grown", "rate": 0.5}
    assert from_json(_Grown, older) == _Grown(0.5)
    assert fingerprint(_Grown(0.5)) == hashlib.sha256(canonical(older).encode()).hexdigest()
    assert to_json(_Grown(0.5))["momentum"] == 0.0  # what is written says all
    others = (_Grown(0.5), _Grown(0.5, 0.9), _Grown(0.5, 0.0, _Sgd(0.2)))
    assert len({fingerprint(config) for config in others}) == 3
    assert all(from_json(_Grown, to_json(config)) == config for config in others)


@dataclasses.dataclass(frozen=True)
class _Changed:
    rate: float = 0.1
    counts: bool = later_field(True, before=False)


def test_a_field_that_came_later_may_do_otherwise_in_new_configurations() -> None:
    older = {"class": "_Changed", "rate": 0.5}
    assert from_json(_Changed, older) == _Changed(0.5, counts=False) != _Changed(0.5)
    assert fingerprint(_Changed(0.5, counts=False)) == hashlib.sha256(canonical(older).encode()).hexdigest()
    assert fingerprint(_Changed(0.5)) != fingerprint(_Changed(0.5, counts=False))
    assert all(from_json(_Changed, to_json(_Changed(counts=counts))).counts is counts for counts in (True, False))


def _without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda obj: obj.pop(name)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without("warmup"), "_Config lacks the field `warmup`"),
        (lambda obj: obj.update(wamrup=1), "_Config has no field `wamrup`; it has dataset, "),
        (lambda obj: obj["optimiser"].pop("rate"), "_Config.optimiser lacks the field `rate`"),
        (lambda obj: obj["optimiser"].update({"class": "Lion"}), "_Config.optimiser is a 'Lion'; choose one of _Adam"),
        (lambda obj: obj.update(kind="fuorier"), "_Config.kind is 'fuorier'; choose one of 'fourier', 'random', 3"),
        (lambda obj: obj.update(warmup=1.5), "_Config.warmup is 1.5; accepted: int, NoneType"),
        (lambda obj: obj.update(flag=1), "_Config.flag is 1, not a bool"),
        (lambda obj: obj.update(widths=[1, True]), r"_Config.widths\[1\] is True, not a int"),
        (lambda obj: obj["optimiser"].update(decay=[1.0]), "_Config.optimiser.decay has 1 entries, not 2"),
        (lambda obj: obj.update({"class": "Other"}), "_Config is a Other, not a _Config"),
    ],
)
def test_config_of_another_form_is_refused(spoil: Callable[[dict[str, Any]], Any], message: str) -> None:
    obj = to_json(_Config())
    spoil(obj)
    with pytest.raises(ConfigError, match=message):
        from_json(_Config, obj)


def test_config_holds_plain_values_only() -> None:
    with pytest.raises(ConfigError, match="_Sgd.rate is inf"):
        to_json(_Sgd(math.inf))
    with pytest.raises(ConfigError, match="_Sgd.rate is a ndarray"):
        to_json(_Sgd(np.ones(1)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="not a dict"):
        to_json({})
