"""Training on rows that stay on disk: the same rows, the same batches, the same models."""

import dataclasses
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest
from test_outcome import _CONFIG, _WORLD, _leaves, _trainer, _transitions

from owma._internal.errors import DatasetError
from owma.config.training import TrainingConfig
from owma.outcomes.world import Coordinates, untrained_world
from owma.train.outcome import OutcomeTrainer
from owma.train.rows import OutcomeData, OutcomeRows, sample_rows
from owma.train.split import split_episodes


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, reads and batches ahead that do not divide what there is to do."""
    for name, size in (("rows._BLOCK_ROWS", 13), ("rows._GATHERED_ROWS", 5), ("outcome._READ_AHEAD", 7)):
        monkeypatch.setattr(f"owma.train.{name}", size)


def _on_disk(config: TrainingConfig, folder: Path) -> OutcomeTrainer:
    trainer, transitions = _trainer(config), _transitions()
    masks = split_episodes(transitions, 0.2, seed=0)
    data, held_out = OutcomeRows.write(trainer.world, transitions, masks, folder, horizon=config.horizon)
    return dataclasses.replace(trainer, data=data, held_out=held_out)


@pytest.mark.parametrize("absorbing", [False, True])
@pytest.mark.parametrize("horizon", [1, 3, None])
def test_rows_are_those_in_memory(horizon: int | None, absorbing: bool, tmp_path: Path) -> None:
    transitions = _transitions()
    world = untrained_world(
        _WORLD, Coordinates.fit(_WORLD, transitions, key=jax.random.key(0))[0], key=jax.random.key(0)
    )
    masks = split_episodes(transitions, 0.2, seed=0)
    written = OutcomeRows.write(world, transitions, masks, tmp_path, horizon=horizon, absorbing=absorbing)
    in_memory = OutcomeData.build(world, transitions, *masks, horizon=horizon, absorbing=absorbing)
    for mask, on_disk, data in zip(masks, written, in_memory):
        assert len(on_disk) == len(data) == mask.sum()
        index = np.random.default_rng(0).integers(0, len(data), 23)
        expected, actual = (
            data.rows(jax.numpy.asarray(index)),
            on_disk.form.unpack(jax.numpy.asarray(on_disk.gather(index))),
        )
        for field in dataclasses.fields(OutcomeData):
            left, right = getattr(expected, field.name), getattr(actual, field.name)
            assert left.dtype == right.dtype and left.shape == right.shape
            # Sums of blocks of another size may round differently.
            np.testing.assert_allclose(np.asarray(left, float), np.asarray(right, float), rtol=1e-6, atol=1e-6)
    assert not list(tmp_path.iterdir())  # the files have no names


def test_batches_are_drawn_in_the_same_order(tmp_path: Path) -> None:
    memory, disk = _trainer(), _on_disk(_CONFIG, tmp_path)
    key, drawn = jax.random.key(7), []
    for _ in range(5):
        rows, key = memory.batch_rows(key)
        drawn.append(np.asarray(rows))
    assert isinstance(disk.data, OutcomeRows)
    disk = dataclasses.replace(disk, data=disk.data.form)
    ahead, key_after = disk._batches_ahead(jax.random.key(7), 5)
    np.testing.assert_array_equal(ahead, np.stack(drawn))
    assert np.array_equal(jax.random.key_data(key), jax.random.key_data(key_after))


def test_training_from_disk_is_training_from_memory(tmp_path: Path) -> None:
    config = dataclasses.replace(_CONFIG, target="n_step", n_step=3)
    memory, disk = _trainer(config), _on_disk(config, tmp_path)
    ends = []
    for trainer in (memory, disk):
        (*_, (state, row)) = trainer.run(trainer.init(key=jax.random.key(4)))
        assert int(state.step) == row["step"] == 40
        ends.append((_leaves(state), row))
    assert np.array_equal(ends[0][0][-1], ends[1][0][-1])  # the key
    for left, right in zip(ends[0][0], ends[1][0], strict=True):
        # The two programs round differently.
        np.testing.assert_allclose(left, right, rtol=2e-3, atol=2e-4)
    assert ends[0][1] == pytest.approx(ends[1][1], rel=1e-3)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="targets of training.* cannot be written to .*none .*--runs"):
        _on_disk(_CONFIG, tmp_path / "none")


@pytest.mark.parametrize(("most", "count"), [(6, 6), (20, 18), (1000, 72), (4, 4)])
def test_a_sample_is_of_whole_episodes(most: int, count: int) -> None:
    transitions = _transitions()
    rows = sample_rows(transitions, seed=3, most=most)
    assert len(rows) == count and (np.diff(rows) > 0).all()
    if count % 6 == 0:
        episodes, lengths = np.unique(transitions.episode_ids[rows], return_counts=True)
        assert set(lengths) == {6} and len(episodes) == count // 6
    np.testing.assert_array_equal(rows, sample_rows(transitions, seed=3, most=most))
    assert eqx.tree_equal(transitions.ended_rows(np.arange(72)), transitions)
