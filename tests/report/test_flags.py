"""The command that a report gives for a row is understood as the configuration of that row."""

import dataclasses
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from owma._internal.command import is_flag_given, parse
from owma.config.data import D4rlFile
from owma.config.experiment import EvaluationConfig, ExperimentConfig
from owma.config.presets import PRESETS, fit_preset_to_data
from owma.config.sweep import SWEEPS, SweepConfig
from owma.config.task import GoalTaskConfig, MinariDataset, PreferenceTaskConfig, RewardTaskConfig
from owma.data import PointMazeCollect, TwoRoutesCollect
from owma.eval.__main__ import Eval
from owma.outcomes.features import FeaturesConfig, FeatureTrainingConfig
from owma.planners import PUBLISHED, FKSteering, OnlineAdaptation, PlannerConfig, Static
from owma.report.flags import eval_command, sweep_command, train_command
from owma.sweep.__main__ import Sweep
from owma.train.__main__ import Train

USUAL = ExperimentConfig()


@pytest.fixture
def understood(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str], Any]:
    def understood(cls: type, line: str) -> Any:
        _, _, module, *words = shlex.split(line)
        monkeypatch.setattr(sys, "argv", [module, *words])
        return parse(cls, prog=module)

    return understood


@pytest.mark.parametrize(
    "config",
    [
        *(preset for _, preset in PRESETS.values()),
        dataclasses.replace(
            USUAL,
            name="my run",
            seed=3,
            data=TwoRoutesCollect(skew=0.001, episodes=4000),
            world=dataclasses.replace(USUAL.world, discount=0.95),
            evaluation=EvaluationConfig(planners=("static",), episodes=2),
        ),
        dataclasses.replace(USUAL, data=PointMazeCollect(maze="medium"), task=GoalTaskConfig((1.0, -2.0))),
        dataclasses.replace(USUAL, data=MinariDataset("D4RL/x/y-v0", download=True)),
        # As the two-route maze's reward on other data was once, and as a preset's features on them.
        dataclasses.replace(USUAL, data=MinariDataset("D4RL/x/y-v0"), task=RewardTaskConfig()),
        dataclasses.replace(PRESETS["stitch"][1], data=D4rlFile(Path("mine.hdf5"))),
        dataclasses.replace(PRESETS["hopper"][1], data=D4rlFile(Path("mine.hdf5"))),
        dataclasses.replace(
            USUAL,
            task=PreferenceTaskConfig(((1.0, -3.0, -3.0, 3.0, 0.0), (-1.0, 0.0, 0.0, 3.0, 3.0))),
            world=dataclasses.replace(
                USUAL.world,
                features=FeaturesConfig(kind="hilbert", pretraining=FeatureTrainingConfig(updates=7)),
            ),
        ),
    ],
)
def test_train(config: ExperimentConfig, understood) -> None:
    fitted, _ = fit_preset_to_data(understood(Train, train_command(config)).preset, is_flag_given)
    assert fitted == config


@pytest.mark.parametrize(
    "planner", [Static(), PUBLISHED, OnlineAdaptation(defensive=False, max_gradient=1.0), FKSteering(kl_coef=0.5)]
)
def test_eval(planner: PlannerConfig, understood) -> None:
    # The price for all of a run's planners is no flag beside the planner, which has its own.
    evaluation = EvaluationConfig(planners=("static",), episodes=7, replan_every=3, kl_coef=2.0)
    arguments = understood(Eval, eval_command("runs/my run", planner, evaluation, 5))
    assert arguments.planner == planner and arguments.seed == 5 and arguments.run == Path("runs/my run")
    assert arguments.evaluation == dataclasses.replace(evaluation, planners=(), kl_coef=None)


@pytest.mark.parametrize(
    "config",
    [
        *(sweep for _, sweep in SWEEPS.values()),
        SweepConfig(grid=("data.skew:data.episodes=0.1:10,0:20", 'evaluation.planners=["static"]'), seeds=(4, 5)),
    ],
)
def test_sweep(config: SweepConfig, understood) -> None:
    assert understood(Sweep, sweep_command(config)).preset == config


def test_short_commands_stay_short() -> None:
    assert train_command(USUAL) == "python -m owma.train two-routes"
    assert train_command(dataclasses.replace(USUAL, seed=2)) == "python -m owma.train two-routes --seed 2"
