"""Fields of configurations by name: `training.learning_rate=1e-3,3e-4` becomes configurations."""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from owma._internal.errors import ConfigError
from owma.config.json import from_json, to_json

_Config = TypeVar("_Config")

_SEEDS = 2**32


def check_seeds(*seeds: int, name: str = "seed") -> None:
    """Raises `ConfigError` for a seed that is negative, or that JAX would take for another one."""
    for seed in seeds:
        if seed < 0:
            raise ConfigError(f"{name}={seed}: must not be negative.")
        if seed >= _SEEDS:
            raise ConfigError(
                f"{name}={seed}: must be below 2^32 = {_SEEDS}; random numbers would be those of {seed % _SEEDS}."
            )


@dataclasses.dataclass(frozen=True)
class Choice:
    """One value of an axis."""

    fields: Mapping[str, Any]
    """Values by dotted field; several where the axis moves fields together."""
    shown: str
    """The field that names it."""


def parse_axis(text: str) -> tuple[Choice, ...]:
    """The values of `FIELD=VALUE,VALUE,...`, or of `FIELD:FIELD=VALUE:VALUE,...` where fields move together.

    Values are JSON, and plain words where they are not. Raises `ConfigError` for anything else.
    """
    names, equals, values = text.partition("=")
    fields = [name.strip().replace("-", "_") for name in names.split(":")]
    if not equals or not values or not all(re.fullmatch(r"\w+(\.\w+)*", field) for field in fields):
        raise ConfigError(
            f"{text!r} is no axis; write FIELD=VALUE,VALUE,... with a dotted field, such as cem.kl_coef=0.25,1."
        )
    choices = []
    for entry in _split(values):
        parts = entry.split(":") if len(fields) > 1 else [entry]
        if len(parts) != len(fields):
            raise ConfigError(f"{text!r}: {entry!r} has {len(parts)} values for {len(fields)} fields.")
        choices.append(Choice({field: _value(part) for field, part in zip(fields, parts)}, fields[0]))
    return tuple(choices)


def override(config: _Config, fields: Mapping[str, Any]) -> _Config:
    """The configuration with other values, by dotted field; a list does for a tuple.

    Raises `ConfigError`, naming the field, where there is none of that name or it takes no such value.
    """
    changed = to_json(config)
    for field, value in fields.items():
        *parents, last = field.split(".")
        holder: Any = changed
        for name in parents:
            holder = holder.get(name) if isinstance(holder, dict) else None
        if not isinstance(holder, dict) or last not in holder or last == "class":
            has = ", ".join(name for name in holder if name != "class") if isinstance(holder, dict) else ""
            remedy = f"; there is {has}" if has else ""
            raise ConfigError(f"{type(config).__name__} has no field {field!r}{remedy}.")
        holder[last] = value
    return from_json(type(config), changed)


def spell(value: Any) -> str:
    """A value as file names and tables can hold it."""
    if isinstance(value, list | tuple):
        return "+".join(spell(item) for item in value)
    text = f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
    return re.sub(r"[^\w.+-]+", "_", text)


def label_changes(changes: Mapping[str, Any]) -> str:
    """The end of a planner's name, which says what was varied of it."""
    return "".join(f"-{field}={spell(value)}" for field, value in changes.items())


def _split(values: str) -> list[str]:
    """At the commas that are not inside brackets or quotes."""
    parts, depth, quoted = [""], 0, False
    for character in values:
        quoted ^= character == '"'
        depth += (character in "[{") - (character in "]}")
        if character == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
