"""The commands that make rows again, from the configurations that made them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from owma._internal.help import choice_name
from owma.config.experiment import EvaluationConfig, ExperimentConfig
from owma.config.flags import command_line, flags_of
from owma.config.presets import PRESETS, fit_preset_to_data
from owma.config.sweep import SWEEPS, SweepConfig


def train_command(config: ExperimentConfig) -> str:
    """The shortest `python -m owma.train ...` that trains and evaluates by `config`."""
    # A command that names other data than the preset's own has not all of the preset; see `fit_preset_to_data`.
    bases = {
        name: fit_preset_to_data(dataclasses.replace(preset, data=config.data), lambda field: False)[0]
        for name, (_, preset) in PRESETS.items()
    }
    presets = {
        name: dataclasses.replace(base, data=PRESETS[name][1].data, task=base.task) for name, base in bases.items()
    }
    return _shortest("train", config, presets)


def sweep_command(config: SweepConfig) -> str:
    """The shortest `python -m owma.sweep ...` that runs the same points."""
    return _shortest("sweep", config, {name: preset for name, (_, preset) in SWEEPS.items()})


def eval_command(run: str, planner: Any, evaluation: EvaluationConfig, seed: int) -> str:
    """`python -m owma.eval RUN ...` with a planner, from the same start states."""
    usual = EvaluationConfig()
    # One planner is evaluated, this one, with the price that it has.
    shown = dataclasses.replace(evaluation, planners=usual.planners, kl_coef=None)
    words = [run, f"planner:{choice_name(type(planner))}"]
    for subcommands, flags in (flags_of(planner, None, "planner."), flags_of(shown, usual, "")):
        words += subcommands + flags
    return command_line("eval", *words, *(("--seed", str(seed)) if seed else ()))


def _shortest(module: str, config: Any, presets: Mapping[str, Any]) -> str:
    words = {name: flags_of(config, preset, "") for name, preset in presets.items()}
    name = min(words, key=lambda name: sum(map(len, words[name])))
    subcommands, flags = words[name]
    return command_line(module, name, *subcommands, *flags)
