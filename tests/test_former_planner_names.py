"""Runs of before one name meant one planner everywhere."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import owma.runs.load
from owma.config.experiment import EvaluationConfig, ExperimentConfig
from owma.config.json import to_json
from owma.runs.folder import RunFolder
from owma.runs.load import load_run
from owma.runs.parts import TrainedParts

_TODAY = ("static", "guided_diffusion_single", "twisted_smc_256")
_NAMED = ("static", "guided_diffusion", "twisted_smc")


@pytest.mark.parametrize(("is_former", "planners"), [(True, _TODAY), (False, _NAMED)])
def test_a_loaded_run_means_the_planners_that_it_compared(
    is_former: bool, planners: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    named = EvaluationConfig(planners=_NAMED)
    config = ExperimentConfig(evaluation=named)
    written: Any = to_json(config)
    if is_former:
        del written["evaluation"]["max_steps"]
    folder.write_json("config.json", written)
    # What was learnt does not matter.
    parts = object.__new__(TrainedParts)
    known_by = {"require_models": folder, "read_shapes": {"obs_keys": None, "env": None}, "restore_parts": parts}
    for name, known in known_by.items():
        monkeypatch.setattr(owma.runs.load, name, lambda *_, known=known: known)
    monkeypatch.setattr("owma.runs.checkpoint.latest", lambda _: 1)
    loaded = load_run(tmp_path).config
    assert loaded == dataclasses.replace(config, evaluation=dataclasses.replace(named, planners=planners))
