"""Which flag sets a field of a configuration: refusals name the field, as whoever writes Python has it."""

import dataclasses
import re
import types
import typing
from collections.abc import Iterator
from typing import Any


def flagged(error: BaseException, root: Any) -> str:
    """The sentence of an error that a configuration's `__post_init__` raised, its fields written as flags.

    `updates=-5: must be at least 1.` becomes `--training.updates=-5: must be at least 1.` where the command line is of
    class `root`. The sentence is as it was where the error comes from elsewhere, or names no field.
    """
    sentence, trace = str(error), error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        owner: Any = trace.tb_frame.f_locals.get("self")
        trace = trace.tb_next
        prefix = _prefix(root, type(owner)) if code.co_name == "__post_init__" else None
        if prefix is not None:
            return _with_flags(sentence, prefix, [field.name for field in dataclasses.fields(owner)])
    return sentence


def _with_flags(sentence: str, prefix: str, names: list[str]) -> str:
    """Each `NAME=VALUE` of these names, and each `PARENT.NAME=VALUE`, as `--PREFIXNAME=VALUE`."""
    name = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return re.sub(
        rf"(?<![\w.-])(?:[a-z]\w*\.)*({name})=",
        lambda match: f"--{prefix}{match[1]}=".replace("_", "-"),
        sentence,
    )


def _prefix(root: Any, wanted: type) -> str | None:
    """What stands before the flags of the fields of `wanted`; `None` where `root` holds none of that class."""
    return next((prefix for cls, prefix in _held(root, "") if cls is wanted), None)


def _held(hint: Any, prefix: str) -> Iterator[tuple[type, str]]:
    """The configurations in a type, all of a union, and in their fields, with the prefixes of their flags."""
    hint, _ = _bare(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for member in typing.get_args(hint):
            yield from _held(member, prefix)
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint, prefix
        for field, of_field in typing.get_type_hints(hint, include_extras=True).items():
            own = _bare(of_field)[1]
            yield from _held(of_field, prefix if own == "" else f"{prefix}{field}.")


def _bare(hint: Any) -> tuple[Any, str | None]:
    """A type without what is said of it for flags, and the name that is, if there is one."""
    if typing.get_origin(hint) is not typing.Annotated:
        return hint, None
    hint, *marks = typing.get_args(hint)
    return hint, next((mark.name for mark in marks if getattr(mark, "name", None) is not None), None)
