"""A run goes on with the data that it was begun with, and with no others in their place."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import owma.train.__main__
import owma.transfer.__main__
from owma._internal.errors import CheckpointError
from owma._internal.progress import shown_progress
from owma.config.data import TwoRoutesCollect
from owma.config.experiment import ExperimentConfig
from owma.config.json import from_json
from owma.data import datasets_root, digest_of, open_folder, read_whole
from owma.data.cache import cached
from owma.data.load import load_dataset
from owma.runs.dataset import keep_dataset, require_same_dataset
from owma.runs.folder import RunFolder
from owma.sweep import steps

pytestmark = pytest.mark.cases

TINY = ("--training.updates", "2", "--value.updates", "2", "--evaluation.episodes", "0")


def write(path: Path, rows: int = 60, columns: int = 3, scale: float = 1.0) -> Path:
    rng = np.random.default_rng(0)
    path.unlink(missing_ok=True)
    with h5py.File(path, "w") as file:
        file["observations"] = scale * np.cumsum(rng.normal(size=(rows, columns)), axis=0)
        file["actions"] = rng.uniform(-1, 1, (rows, 2)).astype(np.float32)
        file["rewards"] = rng.normal(size=rows)
        file["terminals"] = np.arange(rows) % 20 == 19
        file["timeouts"] = np.zeros(rows, bool)
    return path


@pytest.fixture
def run(invoke, elsewhere: Path) -> Path:
    """A finished run on `mine.hdf5`."""
    data = ("data:d4rl-file", "--data.file", str(write(Path("mine.hdf5"))), "task:recorded-task-config")
    outcome = invoke(owma.train.__main__.main, "smoke", *data, *TINY)
    assert outcome.code == 0, outcome.stderr
    return elsewhere / outcome.stdout.splitlines()[-1]


def test_data_that_changed_are_refused(run: Path, invoke) -> None:
    unfinished = Path(shutil.copytree(run, run.parent / "v2"))
    shutil.rmtree(unfinished / "models")
    changes: list[tuple[dict[str, Any], str]] = [
        ({"rows": 40}, "60 transitions of 3 .*40 transitions of 3 numbers observed and 2 acted now"),
        ({"columns": 4}, "60 transitions of 3 .*60 transitions of 4 "),
        ({"scale": 2.0}, "of the same size, with other contents"),
    ]
    for change, sentence in changes:
        write(Path("mine.hdf5"), **change)
        wanted = rf"mine.hdf5 is not the dataset that the run .* was begun with \({sentence}.*\): restore it, or start"
        for folder in (run, unfinished):
            refusal = invoke(owma.train.__main__.main, "--resume", folder).refused()
            assert re.search(wanted, refusal), refusal
        transfer = ("--task", "goal:1,1", "--planners", "static", "--episodes", "1", "--env", "Pendulum-v1")
        refusal = invoke(owma.transfer.__main__.main, run, *transfer).refused()
        assert re.search(wanted, refusal), refusal
    # As it was, written again at another time: it goes on.
    write(Path("mine.hdf5"))
    assert invoke(owma.train.__main__.main, "--resume", unfinished).code == 0
    assert (unfinished / "models").is_dir()


def test_a_sweep_goes_by_the_same_rule(run: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a finished run of the same data, trains anew where they changed, and does not go on with the former.

    A run of its own that is finished has no more to read of them: what is left of the sweep goes on without.
    """
    config = from_json(ExperimentConfig, RunFolder(run).read_json("config.json"))
    runs, sweeps = elsewhere / "runs", [elsewhere / "runs" / "sweep" / version for version in ("v1", "v2")]
    for sweep in sweeps:
        sweep.mkdir(parents=True)
    monkeypatch.setattr(steps.Experiment, "train", lambda self: None)
    assert not steps.is_trained(config, runs, sweeps[0])
    assert steps.train(config, runs, sweeps[0], "any") == run and steps.is_trained(config, runs, sweeps[0])
    write(Path("mine.hdf5"), scale=2.0)
    assert steps.train(config, runs, sweeps[1], "any") == run.parent / "v2"
    assert not steps.is_trained(config, runs, sweeps[1])
    Path("mine.hdf5").unlink()
    assert steps.train(config, runs, sweeps[0], None) == run
    write(Path("mine.hdf5"), scale=2.0)
    shutil.rmtree(run / "models")
    with pytest.raises(CheckpointError, match="mine.hdf5 is not the dataset that the run .*: restore it, or start a"):
        steps.train(config, runs, sweeps[0], "any")


def test_data_collected_anew_are_held_to_the_same_rule(elsewhere: Path) -> None:
    folder, config = RunFolder(elsewhere), TwoRoutesCollect(episodes=2)
    keep_dataset(folder, config, load_dataset(config, shown_progress(False)))
    shutil.rmtree(datasets_root() / config.name)
    anew = load_dataset(config, shown_progress(False))
    require_same_dataset(folder, config, anew)  # this machine computes the same
    rounded = np.nextafter(anew.transitions.obs, np.inf)
    other = dataclasses.replace(anew, transitions=dataclasses.replace(anew.transitions, obs=rounded))
    place = re.escape(str(datasets_root() / config.name))
    with pytest.raises(CheckpointError, match=rf"other contents\): copy the folder {place} from the machine where"):
        require_same_dataset(folder, config, other)


def test_runs_from_before_go_on_as_they_did(run: Path, invoke) -> None:
    (run / "dataset.json").unlink()
    write(Path("mine.hdf5"), scale=2.0)
    outcome = invoke(owma.train.__main__.main, "--resume", run)
    assert outcome.code == 0 and not (run / "dataset.json").exists()


def test_a_record_of_another_form_is_refused(run: Path, invoke) -> None:
    for content in ([], {}, {**json.loads((run / "dataset.json").read_text()), "transitions": "60"}):
        (run / "dataset.json").write_text(json.dumps(content))
        refusal = invoke(owma.train.__main__.main, "--resume", run).refused()
        assert "dataset.json is not of the form that training writes" in refusal


def test_the_digest_is_that_of_the_rows_wherever_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path / "a.hdf5", rows=30_000)
    source = open_folder(tmp_path)
    whole, mapped = read_whole(source), cached(source)
    assert mapped.transitions.is_mapped and digest_of(whole) == digest_of(mapped)
    write(tmp_path / "a.hdf5", rows=30_000, scale=1 + 1e-6)
    assert digest_of(read_whole(open_folder(tmp_path)))["sha256"] != digest_of(whole)["sha256"]


def test_what_the_data_leave_open_is_said_when_training_begins(invoke, elsewhere: Path) -> None:
    path = write(Path("mine.hdf5"))
    with h5py.File(path, "a") as file:
        file["infos/qpos"] = np.zeros((60, 2))
    data = ("data:d4rl-file", "--data.file", str(path), "task:recorded-task-config")
    outcome = invoke(owma.train.__main__.main, "smoke", *data, *TINY)
    assert outcome.code == 0, outcome.stderr
    assert outcome.stderr.count("owma: warning: Arrays that are not read: `infos/qpos`.") == 1
    assert "`next_observations` are not there: steps that were cut off are dropped" in outcome.stderr
