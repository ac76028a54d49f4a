"""Training that stops anywhere goes on as if nothing had happened; finished training is read, not repeated."""

import contextlib
import dataclasses
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

from owma._internal.errors import CheckpointError
from owma.config.experiment import EvaluationConfig, ExperimentConfig
from owma.config.policy import PolicyConfig
from owma.config.task import GoalTaskConfig, LabelledTaskConfig
from owma.config.training import TrainingConfig
from owma.config.value import ValueConfig
from owma.config.world import WorldConfig
from owma.data import TwoRoutesCollect, read_origin
from owma.outcomes.features import FeaturesConfig, FeatureTrainingConfig, FourierFeatures
from owma.outcomes.features.build import build_features
from owma.outcomes.transitions import Transitions
from owma.runs import checkpoint
from owma.runs.folder import RunFolder
from owma.runs.parts import TrainedParts, restore_parts
from owma.train.experiment import Experiment, task_returns
from owma.train.inputs import Inputs, prepare_experiment
from owma.train.rows import sample_rows

TINY = ExperimentConfig(
    name="tiny",
    data=TwoRoutesCollect(skew=0.5, episodes=4, steps=100),
    world=WorldConfig(width=8, depth=1, embed_width=8),
    policy=PolicyConfig(width=8, depth=1, embed_width=8),
    training=TrainingConfig(updates=4, batch_size=16, report_every=2),
    value=ValueConfig(num_tasks=4, num_labels=64, width=8, depth=1, updates=4, batch_size=16, report_every=2),
    evaluation=EvaluationConfig(episodes=1),
)


class _Killed(Exception):
    pass


def _progress(stop: str | None = None) -> Callable[..., contextlib.AbstractContextManager[Callable[..., None]]]:
    """Shows nothing; the first report of the stage that begins with `stop` never returns."""

    @contextlib.contextmanager
    def progress(label: str, total: int, done: int) -> Iterator[Callable[..., None]]:
        def advance(steps: int = 1, note: str = "") -> None:
            if stop is not None and label.startswith(stop):
                raise _Killed

        yield advance

    return progress


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inputs]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(tmp_path_factory.mktemp("datasets")))
        yield prepare_experiment(TINY, _progress())


@pytest.fixture(scope="module")
def whole(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedParts, RunFolder]:
    """Trained without a break."""
    folder = RunFolder.create(tmp_path_factory.mktemp("runs"), "whole")
    return Experiment(TINY, inputs, folder, _progress()).train(), folder


def test_training_writes_what_it_found(whole: tuple[TrainedParts, RunFolder], inputs: Inputs) -> None:
    parts, folder = whole
    rows = folder.read_jsonl("metrics.jsonl")
    stages = [("outcomes", 2), ("outcomes", 4), ("value", 2), ("value", 4), ("task", None)]
    assert [(row["phase"], row.get("step")) for row in rows] == stages
    assert rows[-1]["labels"] == 64 and rows[-1]["r2_linear"] <= 1 and rows[-1]["r2_decoder"] <= 1
    assert rows[-1]["value_scale_linear"] == float(parts.linear_scale) > 0
    shapes = folder.read_json("shapes.json")
    assert inputs.env is not None and shapes["env"] == inputs.env.to_json()
    assert read_origin(shapes["dataset"]) == inputs.dataset.origin
    assert isinstance(TINY.data, TwoRoutesCollect) and inputs.dataset.origin.dataset_id == TINY.data.name


@pytest.mark.parametrize("stop", ["in the outcomes", "before a checkpoint", "in the value", "before the models"])
def test_an_interrupted_run_ends_bit_for_bit_the_same(
    stop: str,
    whole: tuple[TrainedParts, RunFolder],
    inputs: Inputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = RunFolder.create(tmp_path, "broken")
    label = {"in the outcomes": "training p", "in the value": "training V"}.get(stop)
    saved, doomed = [], {"before a checkpoint": 2, "before the models": 3}.get(stop)

    def save(*args, **kwargs) -> None:
        saved.append(args)
        if len(saved) == doomed:
            raise _Killed
        original(*args, **kwargs)

    original = checkpoint.save
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save)
        with pytest.raises(_Killed):
            Experiment(TINY, inputs, folder, _progress(label)).train()
    assert checkpoint.latest(folder.path / "models") is None
    with folder.metrics_jsonl.open("a") as file:
        file.write('{"phase": "outco')  # the kill came in the middle of a line
    parts = Experiment(TINY, inputs, folder, _progress()).train()
    assert eqx.tree_equal(parts, whole[0])
    assert folder.read_jsonl("metrics.jsonl") == whole[1].read_jsonl("metrics.jsonl")


def test_a_disk_that_fills_in_training_keeps_the_last_checkpoint(
    whole: tuple[TrainedParts, RunFolder], inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, original, written = RunFolder.create(tmp_path, "full"), checkpoint._write_arrays, []

    def full(path: Path, leaves: list) -> None:
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        original(path, leaves)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write_arrays", full)
        with pytest.raises(CheckpointError, match="step 4 could not be written .*: No space left on device. Make room"):
            Experiment(TINY, inputs, folder, _progress()).train()
    assert checkpoint.newest_intact(folder.checkpoints) == (2, ()) and not list(folder.checkpoints.glob(".*"))
    parts = Experiment(TINY, inputs, folder, _progress()).train()
    assert eqx.tree_equal(parts, whole[0])
    assert folder.read_jsonl("metrics.jsonl") == whole[1].read_jsonl("metrics.jsonl")


def _spoil(step: Path) -> None:
    """Flip one bit of the largest file."""
    largest = max((path for path in step.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


# Without a bootstrap, whose sampler takes longer to compile than all else.
WITHOUT_BOOTSTRAP = dataclasses.replace(
    TINY, training=dataclasses.replace(TINY.training, target="monte_carlo", after_truncation="stay")
)
LEARNED = dataclasses.replace(
    WITHOUT_BOOTSTRAP,
    world=dataclasses.replace(
        TINY.world,
        features=FeaturesConfig(
            kind="laplacian",
            num_features=4,
            width=8,
            pretraining=FeatureTrainingConfig(updates=4, batch_size=16, report_every=2),
        ),
    ),
)


@pytest.mark.parametrize("saves", [1, 3], ids=["in the features", "in the outcomes"])
def test_learned_features_are_trained_once_and_kept_with_the_models(
    saves: int, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_folder, folder = RunFolder.create(tmp_path, "whole"), RunFolder.create(tmp_path, "broken")
    whole = Experiment(LEARNED, inputs, whole_folder, _progress()).train()
    rows = whole_folder.read_jsonl("metrics.jsonl")
    assert [(row["phase"], row["step"]) for row in rows[:3]] == [("features", 2), ("features", 4), ("outcomes", 2)]
    saved, original = [], checkpoint.save

    def save(*args, **kwargs) -> None:
        if len(saved) == saves:
            raise _Killed
        saved.append(args)
        original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save)
        with pytest.raises(_Killed):
            Experiment(LEARNED, inputs, folder, _progress()).train()
    parts = Experiment(LEARNED, inputs, folder, _progress()).train()
    assert eqx.tree_equal(parts, whole) and folder.read_jsonl("metrics.jsonl") == rows
    # What is read back is what was trained, not what a configuration builds.
    read = restore_parts(folder, LEARNED).world.features
    assert eqx.tree_equal(read, whole.world.features)
    built = build_features(LEARNED.world.features, inputs.dataset.transitions.obs.shape[1], key=jax.random.key(0))
    assert not eqx.tree_equal(read, built)
    with pytest.raises(checkpoint.CheckpointError, match="is of another configuration"):
        Experiment(dataclasses.replace(LEARNED, seed=1), inputs, folder, _progress()).train()


def test_damaged_features_are_trained_again_from_the_checkpoint_before(inputs: Inputs, tmp_path: Path) -> None:
    whole_folder = RunFolder.create(tmp_path, "whole")
    whole = Experiment(LEARNED, inputs, whole_folder, _progress()).train()
    folder = RunFolder(Path(shutil.copytree(whole_folder.path, tmp_path / "copy")))
    shutil.rmtree(folder.path / "models")
    _spoil(folder.path / "features" / "4")
    said: list[str] = []
    assert eqx.tree_equal(Experiment(LEARNED, inputs, folder, _progress(), warn=said.append).train(), whole)
    assert len(said) == 1 and re.search("features/4 is damaged: .* goes on from step 2, which is whole", said[0])
    rows = [
        sorted(f.read_jsonl("metrics.jsonl"), key=lambda r: (r["phase"], r.get("step"))) for f in (folder, whole_folder)
    ]
    assert rows[0] == rows[1]  # though those of the features come after those of the outcomes


@pytest.fixture
def mapped(inputs: Inputs, tmp_path: Path) -> Inputs:
    """The same dataset, memory-mapped."""
    transitions = inputs.dataset.transitions
    for field in dataclasses.fields(transitions):
        np.save(tmp_path / f"{field.name}.npy", getattr(transitions, field.name))
    arrays = {f.name: np.load(tmp_path / f"{f.name}.npy", mmap_mode="r") for f in dataclasses.fields(transitions)}
    dataset = dataclasses.replace(inputs.dataset, transitions=Transitions(**arrays))
    return dataclasses.replace(inputs, dataset=dataset)


def test_training_on_mapped_data_is_training_on_data_in_memory(
    whole: tuple[TrainedParts, RunFolder], mapped: Inputs, tmp_path: Path
) -> None:
    folder = RunFolder.create(tmp_path, "mapped")
    parts = Experiment(TINY, mapped, folder, _progress()).train()
    left, right = (eqx.filter(tree, eqx.is_inexact_array) for tree in (parts, whole[0]))
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        # The two programs round differently.
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3)
    assert not list(folder.path.glob("sample*"))


def test_cumulants_of_the_dataset_are_computed_once_for_coordinates_and_once_for_targets(
    whole: tuple[TrainedParts, RunFolder], inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, rows = FourierFeatures.__call__, []

    def counted(self: FourierFeatures, obs: jax.Array) -> jax.Array:
        jax.debug.callback(lambda _: rows.append(1), obs[0])
        return original(self, obs)

    folder = RunFolder(Path(shutil.copytree(whole[1].path, tmp_path / "copy")))
    shutil.rmtree(folder.path / "models")  # so that everything is prepared, and no outcome model trained
    monkeypatch.setattr(FourierFeatures, "__call__", counted)
    Experiment(TINY, inputs, folder, _progress()).train()
    jax.effects_barrier()
    # 400 transitions in 4 episodes: every state and next state; then every state, and those that episodes end in.
    assert len(rows) == (400 + 400) + (400 + 4)


def test_a_run_goes_on_with_the_rows_that_it_was_begun_with(
    mapped: Inputs, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "owma.train.experiment.sample_rows", lambda whole, seed: sample_rows(whole, seed=seed, most=len(whole) // 2)
    )
    folder = RunFolder.create(tmp_path, "sampled")
    with pytest.raises(_Killed):
        Experiment(WITHOUT_BOOTSTRAP, mapped, folder, _progress("training p")).train()
    assert folder.read_json("sample.json") == {"rows": 200}
    for content in ([], {}, {"rows": "all"}):
        folder.write_json("sample.json", content)
        with pytest.raises(checkpoint.CheckpointError, match="sample.json is not of the form that training writes"):
            Experiment(WITHOUT_BOOTSTRAP, mapped, folder, _progress()).train()
    folder.write_json("sample.json", {"rows": 200})
    with pytest.raises(checkpoint.CheckpointError, match="fitted to 200 transitions.*fitted to 400; give the same"):
        Experiment(WITHOUT_BOOTSTRAP, inputs, folder, _progress()).train()
    parts = Experiment(WITHOUT_BOOTSTRAP, mapped, folder, _progress()).train()
    straight = RunFolder.create(tmp_path, "straight")
    assert eqx.tree_equal(parts, Experiment(WITHOUT_BOOTSTRAP, mapped, straight, _progress()).train())


def test_a_damaged_checkpoint_is_made_again_from_the_one_before(
    whole: tuple[TrainedParts, RunFolder], inputs: Inputs, tmp_path: Path
) -> None:
    folder = RunFolder(Path(shutil.copytree(whole[1].path, tmp_path / "copy")))
    shutil.rmtree(folder.path / "models")
    _spoil(folder.checkpoints / "4")
    said: list[str] = []
    parts = Experiment(TINY, inputs, folder, _progress(), warn=said.append).train()
    assert len(said) == 1 and re.search(r"checkpoints/4 is damaged: .* goes on from step 2, which is whole", said[0])
    assert eqx.tree_equal(parts, whole[0])
    assert folder.read_jsonl("metrics.jsonl") == whole[1].read_jsonl("metrics.jsonl")
    assert checkpoint.newest_intact(folder.checkpoints) == (4, ())


def test_damaged_models_are_made_again(whole: tuple[TrainedParts, RunFolder], inputs: Inputs, tmp_path: Path) -> None:
    folder = RunFolder(Path(shutil.copytree(whole[1].path, tmp_path / "copy")))
    _spoil(folder.path / "models" / "4")
    said: list[str] = []
    assert eqx.tree_equal(Experiment(TINY, inputs, folder, _progress(), warn=said.append).train(), whole[0])
    assert len(said) == 1 and re.search("models/4 is damaged: .* made again from the checkpoints", said[0])


def test_without_a_whole_checkpoint_nothing_is_begun_anew(
    whole: tuple[TrainedParts, RunFolder], inputs: Inputs, tmp_path: Path
) -> None:
    folder = RunFolder(Path(shutil.copytree(whole[1].path, tmp_path / "copy")))
    for step in (*folder.checkpoints.iterdir(), *(folder.path / "models").iterdir()):
        _spoil(step)
    with pytest.raises(CheckpointError, match="checkpoints/4 is damaged: .*move it away to train from the beginning"):
        Experiment(TINY, inputs, folder, _progress()).train()
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["2", "4"]


def test_finished_models_are_read(
    whole: tuple[TrainedParts, RunFolder], inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Experiment, "_train_outcomes", None)
    monkeypatch.setattr(Experiment, "_train_decoders", None)
    assert eqx.tree_equal(Experiment(TINY, inputs, whole[1], _progress()).train(), whole[0])


def test_evaluation_and_name_are_no_part_of_the_trained_configuration(
    whole: tuple[TrainedParts, RunFolder], inputs: Inputs, tmp_path: Path
) -> None:
    other = dataclasses.replace(TINY, name="other", evaluation=EvaluationConfig(episodes=7))
    assert other.training_fingerprint == TINY.training_fingerprint
    folder = RunFolder(Path(shutil.copytree(whole[1].path, tmp_path / "copy")))
    assert eqx.tree_equal(Experiment(other, inputs, folder, _progress()).train(), whole[0])
    changed = dataclasses.replace(TINY, seed=1)
    with pytest.raises(checkpoint.CheckpointError, match="is of another configuration"):
        Experiment(changed, inputs, folder, _progress()).train()
    shutil.rmtree(folder.path / "models")
    with pytest.raises(checkpoint.CheckpointError, match="is of another configuration"):
        Experiment(changed, inputs, folder, _progress()).train()


def test_tasks_of_every_kind(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    obs = inputs.dataset.transitions.obs
    np.savez(tmp_path / "labels.npz", obs=obs[::40], reward=obs[::40, 0])
    monkeypatch.setattr("owma.train.inputs.load_dataset", lambda *_, **__: inputs.dataset)
    for task in (LabelledTaskConfig(tmp_path / "labels.npz"), GoalTaskConfig(goal=tuple(map(float, obs[50, :2])))):
        gathered = prepare_experiment(dataclasses.replace(TINY, task=task), _progress())
        assert gathered.rewards.shape == (len(obs),) and np.ptp(gathered.rewards) > 0
        assert not np.array_equal(gathered.rewards, inputs.rewards)


def test_task_returns_by_hand() -> None:
    """γ = 0.5, rewards 1, 2 | 3, 4: a termination stops the sum, a truncation goes on with its last reward for ever.

    Terminated: 1 + 0.5·2, 2. Truncated: 4 + 4·(0.5 + 0.25 + ...) = 8, and 3 + 0.5·8.
    """
    flat = np.zeros((4, 1), np.float32)
    ends = np.array([[False, True, False, False], [False, False, False, True]])
    transitions = Transitions(flat, flat, flat[:, 0], flat, ends[0], ends[1])
    returns = task_returns(np.array([1, 2, 3, 4], np.float32), transitions, 0.5)
    np.testing.assert_allclose(returns, [2, 2, 7, 8])
