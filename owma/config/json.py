"""Configurations as JSON: nested frozen dataclasses out and, strictly, in again; and their fingerprint."""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from owma._internal.digest import json_digest
from owma._internal.errors import ConfigError

_Config = TypeVar("_Config")
_TAG = "class"
_LATER = "later"


def to_json(config: Any) -> dict[str, Any]:
    """Turn a configuration into plain JSON data.

    `config` is a dataclass whose fields are numbers, strings, `None`, `Path`s, tuples, lists and string-keyed
    dictionaries of these, or dataclasses again. Every dataclass carries its class name under `"class"`, which is how
    `from_json` finds its way through unions. Raises `ConfigError`, naming the field, for any other value and for
    numbers that are not finite.
    """
    if not _is_config(config):
        raise ConfigError(f"A configuration is an instance of a dataclass, not a {type(config).__name__}.")
    return _encode(config, type(config).__name__)


def from_json(cls: type[_Config], obj: Any) -> _Config:
    """Build a configuration of class `cls` from what `to_json` made of one.

    Every field must be there, and none but the fields: a default that has changed since must not slip into an old
    run. Only a field that came later (`later_field`) may be absent, and then does what was done before. Raises
    `ConfigError` naming the field otherwise, and where a value is not of the annotated type.
    """
    return _decode(cls, obj, cls.__name__)


def fingerprint(config: Any, *, without: Collection[str] = ()) -> str:
    """The SHA-256 of a configuration's canonical JSON, in hexadecimal.

    Two configurations that compare equal have the same one: values pass through the annotated types first, so that
    `1` given for a float counts as `1.0`. `without`: names of fields that do not count. A field that came later
    (`later_field`) counts only where it does not do what was done before: the fingerprints of older runs stay.
    """
    normal = _encode(from_json(type(config), to_json(config)), type(config).__name__, with_all_fields=False)
    normal = {name: value for name, value in normal.items() if name not in without}
    return json_digest(normal)


_SAME: Any = object()


def later_field(default: Any, *, before: Any = _SAME) -> Any:
    """A field of a configuration that runs exist without: `degree: int = later_field(2)`.

    Their configurations are read as having the value `before`, by default that of `default`, and their checkpoints fit
    a configuration that has it. That value must therefore do what was done before there was the field, and must never
    change; `later_field(True, before=False)` is a field by which new runs do otherwise.
    """
    return dataclasses.field(default=default, metadata={_LATER: default if before is _SAME else before})


def _is_config(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _encode(value: Any, where: str, *, with_all_fields: bool = True) -> Any:
    encode = functools.partial(_encode, with_all_fields=with_all_fields)
    if _is_config(value):
        fields = [field for field in dataclasses.fields(value) if field.init]
        if not with_all_fields:
            fields = [f for f in fields if _LATER not in f.metadata or getattr(value, f.name) != f.metadata[_LATER]]
        return {_TAG: type(value).__name__} | {
            field.name: encode(getattr(value, field.name), f"{where}.{field.name}") for field in fields
        }
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} is {value}; a configuration holds finite numbers (None where it means no limit).")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [encode(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: encode(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise ConfigError(f"{where} is a {type(value).__name__}; a configuration holds plain values and dataclasses.")


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)  # `Annotated` is stripped: flags' markers are no part of the type


def _decode(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(arguments, value, where)
    if origin is typing.Literal:
        for choice in arguments:
            if choice == value and type(choice) is type(value):
                return choice
        raise ConfigError(f"{where} is {value!r}; choose one of {', '.join(map(repr, arguments))}.")
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _decode_dataclass(hint, value, where)
    if origin in (tuple, list):
        return origin(_decode_items(origin, arguments, value, where))
    if origin is dict and isinstance(value, dict):
        return {key: _decode(arguments[1], item, f"{where}[{key!r}]") for key, item in value.items()}
    return _decode_plain(hint, value, where)


def _decode_dataclass(cls: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict) or value.get(_TAG) != cls.__name__:
        raise ConfigError(f"{where} is {_described(value)}, not a {cls.__name__}.")
    fields = [field for field in dataclasses.fields(cls) if field.init]
    names = [field.name for field in fields]
    for name in value:
        if name not in (_TAG, *names):
            raise ConfigError(
                f"{where} has no field `{name}`; it has {', '.join(names)}. "
                "The configuration may be of another version of owma: see versions.json beside it."
            )
    for field in fields:
        if field.name not in value and _LATER not in field.metadata:
            raise ConfigError(
                f"{where} lacks the field `{field.name}`: add it, or use the version of owma that wrote it."
            )
    before = {field.name: field.metadata[_LATER] for field in fields if field.name not in value}
    given = {name: value[name] for name in names if name in value}
    decoded = {name: _decode(_hints(cls)[name], item, f"{where}.{name}") for name, item in given.items()}
    try:
        return cls(**before, **decoded)
    except ConfigError as error:  # which names the field, and not where that is
        raise ConfigError(f"{where}: {error}") from error


def _decode_items(origin: Any, arguments: tuple[Any, ...], value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{where} is {_described(value)}, not a list.")
    if origin is list or arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise ConfigError(f"{where} has {len(value)} entries, not {len(arguments)}.")
    return [_decode(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(arguments, value))]


def _decode_union(members: tuple[Any, ...], value: Any, where: str) -> Any:
    """The member whose tag fits; among plain types the first that takes the value as it is, then any that takes it."""
    if isinstance(value, dict) and _TAG in value:
        for member in members:
            if dataclasses.is_dataclass(member) and getattr(member, "__name__", None) == value[_TAG]:
                return _decode(member, value, where)
        names = ", ".join(getattr(member, "__name__", str(member)) for member in members)
        raise ConfigError(f"{where} is a {value[_TAG]!r}; choose one of {names}.")
    for member in [m for m in members if m is type(value)] + list(members):
        try:
            return _decode(member, value, where)
        except ConfigError:
            continue
    names = ", ".join(getattr(member, "__name__", str(member)) for member in members)
    raise ConfigError(f"{where} is {_described(value)}; accepted: {names}.")


def _decode_plain(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is type(None) or hint is None:
        if value is None:
            return None
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif hint is Path:
        if isinstance(value, str):
            return Path(value)
    elif hint in (bool, int, str):
        if type(value) is hint:
            return value
    else:
        raise ConfigError(f"{where} is annotated {hint}, which has no JSON form here.")
    raise ConfigError(f"{where} is {_described(value)}, not a {getattr(hint, '__name__', hint)}.")


def _described(value: Any) -> str:
    return f"a {value[_TAG]}" if isinstance(value, dict) and _TAG in value else repr(value)
