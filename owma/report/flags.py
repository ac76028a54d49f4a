"""The commands that make rows again, from the configurations that made them."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from owma._internal.help import choice_name
from owma.config.experiment import EvaluationConfig, ExperimentConfig
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
    for subcommands, flags in (_words(planner, None, "planner."), _words(shown, usual, "")):
        words += subcommands + flags
    return _command("eval", *words, *(("--seed", str(seed)) if seed else ()))


def _shortest(module: str, config: Any, presets: Mapping[str, Any]) -> str:
    words = {name: _words(config, preset, "") for name, preset in presets.items()}
    name = min(words, key=lambda name: sum(map(len, words[name])))
    subcommands, flags = words[name]
    return _command(module, name, *subcommands, *flags)


def _words(config: Any, default: Any, prefix: str) -> tuple[list[str], list[str]]:
    """What of `config` is other than in `default`: the subcommands that choose members of unions, and the flags.

    `default` is `None` for the defaults of the configuration's class.
    """
    subcommands: list[str] = []
    flags: list[str] = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        usual = _usual(field) if default is None else getattr(default, field.name)
        name = prefix + field.name.replace("_", "-")
        if value == usual and type(value) is type(usual):
            continue
        if dataclasses.is_dataclass(value):
            if type(value) is not type(usual):
                subcommands.append(f"{name}:{choice_name(type(value))}")
                usual = None
            deeper, more = _words(value, usual, f"{name}.")
            subcommands += deeper
            flags += more
        elif isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--{prefix}no-{name.removeprefix(prefix)}")
        elif isinstance(value, tuple | list):
            flags += [f"--{name}", *_flat(value)]
        else:
            flags += [f"--{name}", str(value)]
    return subcommands, flags


def _flat(value: Any) -> list[str]:
    """A tuple as tyro reads it: those within it are written one after the other."""
    return [word for item in value for word in _flat(item)] if isinstance(value, tuple | list) else [str(value)]


def _usual(field: dataclasses.Field[Any]) -> Any:
    """The field's default; what no configuration holds where it has none, so that its value is shown."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _command(module: str, *words: str) -> str:
    return " ".join([f"python -m owma.{module}", *map(shlex.quote, words)])
