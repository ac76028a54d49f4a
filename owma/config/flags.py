"""Configurations as words of a command line: what of a configuration is other than by default."""

import dataclasses
import shlex
from typing import Any

from owma._internal.help import choice_name


def command_line(module: str, *words: str) -> str:
    """`python -m owma.MODULE WORD ...`, quoted as a shell reads it."""
    return shlex.join(["python", "-m", f"owma.{module}", *words])


def command_with(module: str, arguments: Any) -> str:
    """The command of `owma.MODULE` that gives these arguments, which choose no member of a union."""
    subcommands, flags = flags_of(arguments)
    assert not subcommands, f"{subcommands} have places of their own among the words"
    return command_line(module, *flags)


def flags_of(config: Any, default: Any = None, prefix: str = "") -> tuple[list[str], list[str]]:
    """What of `config` is other than in `default`: the subcommands that choose members of unions, and the flags.

    **Arguments:** `default`: another of its class; `None` for the defaults of the class. `prefix`: what stands before
    the names of the fields, such as `training.`.
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
            deeper, more = flags_of(value, usual, f"{name}.")
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
