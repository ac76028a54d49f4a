"""Checkpoints: the round trip is exact, and every way to spoil a file ends in one sentence with the remedy."""

import json
import os
import pickle
import resource
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest

from owma._internal.errors import CheckpointError, DamagedError
from owma.runs import checkpoint


class _Model(eqx.Module):
    weight: jax.Array
    bias: jax.Array | None
    name: str = eqx.field(static=True)


def _state(seed: int = 0) -> dict[str, Any]:
    key = jax.random.key(seed)
    return {
        "model": _Model(jax.random.normal(key, (3, 4)), None, "m"),
        "half": jax.random.normal(key, (5,), jnp.bfloat16),
        "count": jnp.asarray(7 + seed, jnp.int32),
        "mask": jnp.asarray([True, False]),
        "odd": jnp.asarray([jnp.nan, -0.0, jnp.inf, 1e-42], jnp.float32),
        "none": jnp.zeros((0, 3)),
        "key": key,
        "keys": jax.random.split(key, (2, 3)),
        "legacy_key": jax.random.PRNGKey(seed),
        "other_key": jax.random.key(seed, impl="rbg"),
        "host": np.arange(4.0),
        "scalar": np.float64(0.1),
        "function": jnp.tanh,
        "number": 3,
    }


def _bits(leaf: Any) -> bytes:
    is_key = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf).tobytes()


def _assert_same(left: Any, right: Any) -> None:
    assert jtu.tree_structure(left) == jtu.tree_structure(right)
    for a, b in zip(jtu.tree_leaves(left), jtu.tree_leaves(right), strict=True):
        assert type(a) is type(b)
        if eqx.is_array(a):
            assert a.dtype == b.dtype and a.shape == b.shape and _bits(a) == _bits(b)
        else:
            assert a is b or a == b


def _blob(step_folder: Path) -> Path:
    return max((p for p in (step_folder / "arrays").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 5, _state(0), config_fingerprint="abc")
    restored, step = checkpoint.restore(tmp_path, _state(1), config_fingerprint="abc")
    assert step == 5
    _assert_same(restored, _state(0))
    # The stream of random numbers goes on where it was.
    assert jnp.array_equal(jax.random.normal(restored["other_key"]), jax.random.normal(_state(0)["other_key"]))


def test_restores_into_shapes_alone(tmp_path: Path) -> None:
    tree = {"w": jnp.arange(6.0).reshape(2, 3), "key": jax.random.key(4)}
    checkpoint.save(tmp_path, 1, tree, config_fingerprint="abc")
    restored, _ = checkpoint.restore(tmp_path, jax.eval_shape(lambda: tree))
    _assert_same(restored, tree)


def test_arrays_without_any_element_or_leaf(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 0, {"empty": jnp.zeros((0,)), "static": "x"}, config_fingerprint="abc")
    restored, step = checkpoint.restore(tmp_path, {"empty": jnp.zeros((0,)), "static": "x"})
    assert step == 0 and restored["empty"].shape == (0,)


def test_keeps_the_newest(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "nothing") is None
    for step in (9, 10, 100, 11):  # 11 last: a run that went back must not lose what it has just written
        checkpoint.save(tmp_path, step, {"w": jnp.full(2, step)}, config_fingerprint="abc", keep=2)
    assert sorted(os.listdir(tmp_path)) == ["10", "100", "11"]
    assert checkpoint.latest(tmp_path) == 100
    assert int(checkpoint.restore(tmp_path, {"w": jnp.zeros(2, jnp.int32)}, step=11)[0]["w"][0]) == 11


def test_keep_one_and_bad_arguments(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, {"w": jnp.ones(2)}, config_fingerprint="abc", keep=1)
    assert os.listdir(tmp_path) == ["3"]
    with pytest.raises(ValueError, match=r"save\(step=4, keep=0\)"):
        checkpoint.save(tmp_path, 4, {"w": jnp.ones(2)}, config_fingerprint="abc", keep=0)


def test_same_step_again_replaces(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, {"w": jnp.zeros(2)}, config_fingerprint="abc")
    checkpoint.save(tmp_path, 1, {"w": jnp.ones(2)}, config_fingerprint="abc")
    assert float(checkpoint.restore(tmp_path, {"w": jnp.zeros(2)})[0]["w"][0]) == 1.0
    assert os.listdir(tmp_path) == ["1"]


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """Every file of a step counts, orbax's own metadata and our manifest included."""
    tree = {"w": jnp.arange(8.0)}
    checkpoint.save(tmp_path, 1, tree, config_fingerprint="abc")
    checkpoint.save(tmp_path, 2, tree, config_fingerprint="abc")
    files = [path for path in (tmp_path / "2").rglob("*") if path.is_file() and path.stat().st_size]
    assert len(files) > 4
    for path in files:
        good = path.read_bytes()
        bad = bytearray(good)
        bad[len(bad) // 2] ^= 1
        path.write_bytes(bytes(bad))
        with pytest.raises(CheckpointError, match="damaged.*go on from step 1"):
            checkpoint.restore(tmp_path, tree)
        path.write_bytes(good)
    checkpoint.restore(tmp_path, tree)


@pytest.mark.parametrize("spoil", ["truncate", "remove", "remove manifest", "empty manifest"])
def test_damage_names_the_file_and_the_way_out(tmp_path: Path, spoil: str) -> None:
    tree = {"w": jnp.arange(8.0)}
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, tree, config_fingerprint="abc")
    _blob(tmp_path / "2").write_bytes(b"")  # the next older one is damaged too, so the remedy must be step 1
    path = _blob(tmp_path / "3") if "manifest" not in spoil else tmp_path / "3" / "manifest.json"
    path.unlink() if spoil.startswith("remove") else os.truncate(path, 0 if "empty" in spoil else 10)
    with pytest.raises(CheckpointError, match=f"(?s)damaged: .*{path.name}.*go on from step 1, the newest intact"):
        checkpoint.restore(tmp_path, tree)
    assert checkpoint.restore(tmp_path, tree, step=1)[1] == 1


def test_damage_without_an_earlier_step(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, {"w": jnp.ones(2)}, config_fingerprint="abc")
    _blob(tmp_path / "1").write_bytes(b"")
    with pytest.raises(DamagedError, match="is damaged: .* No earlier checkpoint is intact") as raised:
        checkpoint.restore(tmp_path, {"w": jnp.ones(2)})
    # Workers of a sweep send their errors to who started them.
    sent = pickle.loads(pickle.dumps(raised.value))
    assert str(sent) == str(raised.value) and "damaged" in sent.damage and "No earlier" not in sent.damage


def test_other_configuration(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, {"w": jnp.ones(2)}, config_fingerprint="a" * 64)
    with pytest.raises(CheckpointError, match="another configuration.*aaaaaaaaaaaa.*bbbbbbbbbbbb.*config.json"):
        checkpoint.restore(tmp_path, {"w": jnp.ones(2)}, config_fingerprint="b" * 64)
    checkpoint.restore(tmp_path, {"w": jnp.ones(2)})  # without a fingerprint any configuration will do


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"w": jnp.ones(3), "n": 1}, r"\['w'\] is float32\[2\] there and float32\[3\] here"),
        ({"w": jnp.ones(2, jnp.bfloat16), "n": 1}, r"float32\[2\] there and bfloat16\[2\] here"),
        ({"w": jnp.ones(2), "n": 1, "v": jnp.ones(1)}, r"\['v'\] is absent there"),
        ({"n": 1}, r"\['w'\] is float32\[2\] there and absent here"),
        ({"w": jnp.ones(2), "n": 2}, r"\['n'\] is 1 there and 2 here"),
    ],
)
def test_other_model(tmp_path: Path, like: Any, message: str) -> None:
    checkpoint.save(tmp_path, 1, {"w": jnp.ones(2), "n": 1}, config_fingerprint="abc")
    with pytest.raises(CheckpointError, match=f"does not fit this model.*{message}"):
        checkpoint.restore(tmp_path, like)


def test_other_key_implementation(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, {"key": jax.random.key(0)}, config_fingerprint="abc")
    with pytest.raises(CheckpointError, match="fry.*rbg"):
        checkpoint.restore(tmp_path, {"key": jax.random.key(0, impl="rbg")})


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        checkpoint.restore(tmp_path / "absent", {"w": jnp.ones(2)})
    checkpoint.save(tmp_path, 3, {"w": jnp.ones(2)}, config_fingerprint="abc")
    with pytest.raises(CheckpointError, match="no checkpoint of step 4 .*Choose one of 3"):
        checkpoint.restore(tmp_path, {"w": jnp.ones(2)}, step=4)


@pytest.mark.parametrize("killed_in", ["_write_arrays", "replace_text", "rename"])
def test_a_killed_save_leaves_the_earlier_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: str) -> None:
    tree = {"w": jnp.ones(2)}
    checkpoint.save(tmp_path, 1, tree, config_fingerprint="abc")

    def killed(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if killed_in == "rename":
            patch.setattr(Path, "rename", killed)
        else:
            patch.setattr(checkpoint, killed_in, killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, 2, tree, config_fingerprint="abc")
    assert checkpoint.latest(tmp_path) == 1
    checkpoint.restore(tmp_path, tree)
    checkpoint.save(tmp_path, 2, tree, config_fingerprint="abc")  # and the next save clears what the kill left
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


def test_a_step_that_is_replaced_is_never_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting takes a while: by then the new one has the name."""
    checkpoint.save(tmp_path, 1, {"w": jnp.zeros(2)}, config_fingerprint="abc", keep=1)

    def killed(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, 1, {"w": jnp.ones(2)}, config_fingerprint="abc", keep=1)
    assert float(checkpoint.restore(tmp_path, {"w": jnp.zeros(2)})[0]["w"][0]) == 1.0


class _Stop(BaseException):
    pass


def test_saving_goes_on_behind_what_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written while the block goes on; the block is not left before they are, whatever ends it."""
    may_write, original, begun = threading.Event(), checkpoint.save, []

    def held_up(*args: Any, **kwargs: Any) -> None:
        begun.append(args[1])
        assert may_write.wait(timeout=60)
        original(*args, **kwargs)

    monkeypatch.setattr(checkpoint, "save", held_up)
    with pytest.raises(_Stop), checkpoint.saving(tmp_path, config_fingerprint="abc") as save_behind:
        save_behind(1, _state(1))
        assert checkpoint.latest(tmp_path) is None  # it has returned, and nothing is written
        may_write.set()
        save_behind(2, _state(2))
        assert checkpoint.latest(tmp_path) in (1, 2) and begun[0] == 1  # one after the other
        raise _Stop
    assert checkpoint.newest_intact(tmp_path) == (2, ())
    _assert_same(checkpoint.restore(tmp_path, _state(0))[0], _state(2))


@pytest.mark.parametrize("noticed", ["by the next save", "at the end", "while it stops"])
def test_a_save_behind_that_fails_is_told(tmp_path: Path, noticed: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="step 1 could not be written"):
        with checkpoint.saving(tmp_path / "file" / "mine", config_fingerprint="abc") as save_behind:
            save_behind(1, {"w": jnp.ones(2)})
            if noticed == "by the next save":
                save_behind(2, {"w": jnp.ones(2)})
                pytest.fail("the second save began")
            if noticed == "while it stops":
                raise _Stop


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="could not be written.*Make room or grant write access"):
        checkpoint.save(tmp_path / "file" / "checkpoints", 1, {"w": jnp.ones(2)}, config_fingerprint="abc")


def test_a_full_disk_keeps_what_is_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What writes orbax's files meets the end of the disk; its threads' tracebacks are not shown."""
    tree = {"w": jnp.asarray(np.random.default_rng(0).normal(size=(100, 100)), jnp.float32)}
    checkpoint.save(tmp_path, 1, tree, config_fingerprint="abc")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # a file of more is refused, as by a full disk
    try:
        with pytest.raises(CheckpointError, match="step 2 could not be written .*: File too large. Make room"):
            checkpoint.save(tmp_path, 2, tree, config_fingerprint="abc")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == ["1"]
    _assert_same(checkpoint.restore(tmp_path, tree)[0], tree)
    assert capfd.readouterr() == ("", "")


def test_the_newest_that_is_whole(tmp_path: Path) -> None:
    assert checkpoint.newest_intact(tmp_path) == (None, ())
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, {"w": jnp.ones(2)}, config_fingerprint="abc")
    assert checkpoint.newest_intact(tmp_path) == (3, ())
    _blob(tmp_path / "2").write_bytes(b"")
    _blob(tmp_path / "3").write_bytes(b"")
    step, said = checkpoint.newest_intact(tmp_path)
    assert step == 1 and [sentence.startswith("The checkpoint") for sentence in said] == [True, True]
    _blob(tmp_path / "1").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"/3 is damaged.*No other in .* is intact"):
        checkpoint.newest_intact(tmp_path)


def test_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    checkpoint.save(tmp_path, 1, {"w": jnp.ones(2)}, config_fingerprint="abc")
    checkpoint.restore(tmp_path, {"w": jnp.ones(2)})
    assert capfd.readouterr() == ("", "")
    assert json.loads((tmp_path / "1" / "manifest.json").read_text())["content"]["step"] == 1
