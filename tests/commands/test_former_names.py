"""An evaluation of an earlier version goes on by the planners that it was begun with, under the names of today."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import owma.train.__main__
import owma.transfer.__main__
from owma.config.experiment import ExperimentConfig
from owma.config.json import from_json


@pytest.fixture
def mine(smoke_run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(smoke_run.runs.parent / "datasets"))
    return Path(shutil.copytree(smoke_run.folder, elsewhere / "runs" / "mine" / "v1"))


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]


def _age(folder: Path, change: Callable[[dict[str, Any]], None], rows: list[Mapping[str, Any]]) -> None:
    """Leave what an earlier version would have written."""
    config = json.loads((folder / "config.json").read_text())
    change(config)
    del config["evaluation"]["max_steps"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.slow
def test_a_training_evaluates_the_planners_that_it_was_begun_with(invoke, mine: Path) -> None:
    single = [row for row in _rows(mine) if row["planner"] == "guided_diffusion_single"]
    static = [row for row in _rows(mine) if row["planner"] == "static"]
    # It was killed when the second episode was to be written.
    _age(
        mine,
        lambda config: config["evaluation"].update(planners=["static", "guided_diffusion"]),
        [*static, single[0] | {"planner": "guided_diffusion", "return": -1.0}],
    )
    (mine / "traces" / "guided_diffusion_single.npz").rename(mine / "traces" / "guided_diffusion.npz")
    resumed = invoke(owma.train.__main__.main, "--resume", mine)
    assert resumed.code == 0, resumed.stderr
    assert resumed.stderr.count("guided_diffusion is guided_diffusion_single today") == 1
    assert "evaluating static" not in resumed.stderr and "evaluating guided_diffusion_single" in resumed.stderr
    # One guided draw a decision, not 333; no row of before is among those of now.
    rows = _rows(mine)
    assert rows[:2] == static and [row["planner"] for row in rows[2:]] == 2 * ["guided_diffusion_single"]
    assert [row["nfe"] for row in rows[2:]] == [row["nfe"] for row in single]
    assert not (mine / "traces" / "guided_diffusion.npz").exists()
    config = from_json(ExperimentConfig, json.loads((mine / "config.json").read_text()))
    assert config.evaluation.planners == ("static", "guided_diffusion_single")
    again = invoke(owma.train.__main__.main, "--resume", mine)
    assert again.code == 0 and "begun by an earlier version" not in again.stderr and _rows(mine) == rows


def test_a_transfer_keeps_the_rows_of_what_it_varied(invoke, mine: Path) -> None:
    flags = ("--task", "goal:2,2", "--labels", "500", "--fits", "linear", "--episodes", "1", "--planners", "static")
    done = invoke(owma.transfer.__main__.main, mine, *flags)
    assert done.code == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    (row,) = _rows(folder)

    def change(config: dict[str, Any]) -> None:
        config["evaluation"]["planners"] = ["twisted_smc"]
        config["config"]["each"] = ["twisted_smc.num_particles:twisted_smc.kl_coef=8:1"]

    names = ["twisted_smc", "twisted_smc-num_particles=8-kl_coef=1"]
    _age(folder, change, [row | {"planner": name} for name in names])
    resumed = invoke(owma.transfer.__main__.main, "--resume", folder)
    assert resumed.code == 0, resumed.stderr
    assert "twisted_smc is twisted_smc_256 today" in resumed.stderr and "steps/s" not in resumed.stderr
    assert _rows(folder) == [row | {"planner": name.replace("smc", "smc_256")} for name in names]
