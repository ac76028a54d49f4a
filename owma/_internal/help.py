"""What a command takes, read from its dataclasses: for a short `--help`, for suggestions, and for completion."""

import ast
import dataclasses
import difflib
import enum
import functools
import inspect
import re
import shutil
import textwrap
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from owma._internal.case import kebab_case

_WITHOUT_FIELDS = ("builtins", "enum", "typing", "equinox")
"""Packages whose classes say nothing of their fields."""


@dataclasses.dataclass(frozen=True)
class Subcommand:
    """A member of a union of configurations, which the command line chooses by one word."""

    name: str
    """`smoke`, `planner:cem`."""
    cls: type
    default: Any
    """The instance that it starts from; `None` for the defaults of `cls`."""
    description: str


@dataclasses.dataclass(frozen=True)
class Flag:
    """A field of a configuration, as a flag."""

    name: str
    """`--training.updates`."""
    owner: type
    field: str
    is_switch: bool


def choice_name(cls: type) -> str:
    """OnlineAdaptation -> online-adaptation, FKSteering -> fk-steering, OGBenchMazeCollect -> ogbench-maze-collect."""
    return re.sub(r"^og-bench", "ogbench", kebab_case(cls.__name__))


def arguments_of(root: Any) -> tuple[list[Subcommand], list[Flag]]:
    """The subcommands and flags of a command's class, or union of classes; those of all members of a union."""
    items = list(_walk(root, ""))
    flags: dict[str, Flag] = {}
    for item in items:
        if isinstance(item, Flag):
            flags.setdefault(item.name, item)
    return [item for item in items if isinstance(item, Subcommand)], list(flags.values())


def field_doc(cls: type, field: str) -> str:
    """The docstring below a field of a dataclass, on one line; empty where there is none."""
    return next((docs[field] for of in cls.__mro__ if field in (docs := _field_docs(of))), "")


FIELDS = "\nAttributes:"
"""What stands before the fields in a docstring: the form that other tools read as their documentation, as tyro does."""


class _DocWithFields(str):
    """The docstring of a class and those of its fields, which are read from its source when they are asked for.

    A class gives out its docstring by `__get__`. `help` of a class with a metaclass of its own takes the string itself,
    which it tidies by `expandtabs` first.
    """

    cls: type

    def __get__(self, instance: object, owner: type) -> str:
        return self.expandtabs()

    def expandtabs(self, tabsize: Any = 8) -> str:
        own = inspect.cleandoc(str.expandtabs(self, tabsize))
        try:
            names = dict.fromkeys(name for of in reversed(self.cls.__mro__) for name in _field_docs(of))
        except OSError:  # installed without its source
            return own
        docs = [f"    {name}: {field_doc(self.cls, name)}" for name in names]
        return "\n".join([own, FIELDS, *docs]) if docs else own


def with_field_docs(value: Any) -> Any:
    """A class whose `help` shows the docstrings below its fields; anything else as it is."""
    own = vars(value).get("__doc__") if isinstance(value, type) else None
    if type(own) is str and _may_have_field_docs(value):
        value.__doc__ = _DocWithFields(own)
        vars(value)["__doc__"].cls = value
    return value


def _may_have_field_docs(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) or issubclass(cls, enum.Enum | dict)


def short_help(root: Any, prog: str, often: Sequence[str], words: Sequence[str], about: str) -> str:
    """What `--help` prints: the words to choose from, and the flags `often` with the defaults that `words` choose.

    **Arguments:** `often`: flags, with their dashes. `words`: the command line so far. `about`: one more sentence.
    """
    subcommands, flags = arguments_of(root)
    plain = [item for item in subcommands if ":" not in item.name]
    typed = _by_field(item for item in subcommands if ":" in item.name)
    start = next((item for item in plain if item.name in words), plain[0] if plain else None)
    where = ["[PRESET]" if plain else _positional(root), *(f"[{field}:NAME]" for field in typed)]
    lines = [" ".join(["usage:", prog, *where, "[FLAGS]"]), "", *_filled(inspect.getdoc(root) or "", ""), ""]
    if plain and start is not None:
        lines += [f"presets, of which {plain[0].name} is taken where none is named:"]
        lines += _columns([(item.name, item.description) for item in plain])
        lines += [""]
    for field, names in typed.items():
        lines += [f"{field}:NAME, whose fields are flags --{field}.*:", *_filled(", ".join(names), "  "), ""]
    lines += [f"flags that matter most, with their defaults{f' in {start.name}' if start and len(plain) > 1 else ''}:"]
    named = {flag.name: flag for flag in flags}
    lines += _columns([(name, _described(named[name], root, start)) for name in often])
    lines += ["", *_filled(f"{about} --help-all shows every flag, of what is named before it too.", "")]
    return "\n".join(lines)


def suggestion(words: Sequence[str], root: Any, prog: str) -> str | None:
    """A sentence on the first of these words, none of which the command knows, with what may have been meant."""
    subcommands, flags = arguments_of(root)
    for word in words:
        if word.startswith("--"):
            name = word.partition("=")[0].replace("_", "-")
            known, what = _spellings(flags), "flag"
            # `--updates` for `--training.updates`.
            close = sorted((flag for flag in known if flag.endswith(f".{name[2:]}")), key=len)
        else:
            name, known, close, what = word, [item.name for item in subcommands], [], "choice"
        close = close or difflib.get_close_matches(name, dict.fromkeys(known), n=1)
        if close and name not in known:
            meant = " or ".join(close)
            return f"{name} is no {what} of `{prog}`; did you mean {meant}? --help-all lists all."
    return None


def completions(words: Sequence[str], root: Any) -> list[str]:
    """What the last of `words` may be completed to."""
    subcommands, flags = arguments_of(root)
    current = words[-1]
    known = [*_spellings(flags), "--help", "--help-all"] if current.startswith("-") else [s.name for s in subcommands]
    return [name for name in dict.fromkeys(known) if name.startswith(current)]


def _spellings(flags: Sequence[Flag]) -> list[str]:
    opposite = [re.sub(r"([^.-][^.]*)$", r"no-\1", flag.name) for flag in flags if flag.is_switch]
    return [*(flag.name for flag in flags), *opposite]


def _walk(hint: Any, prefix: str, path: str = "") -> Iterator[Subcommand | Flag]:
    marks: Sequence[Any] = ()
    if typing.get_origin(hint) is typing.Annotated:
        hint, *marks = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [(member, *_bare(member)) for member in typing.get_args(hint)]
        members = [option for option in options if dataclasses.is_dataclass(option[1])]
        for whole, cls, mark in members:
            if len(members) > 1:
                start = f"{path}:" if path else ""
                name = start + (getattr(mark, "name", None) or choice_name(cls))
                said = getattr(mark, "description", None) or inspect.getdoc(cls) or ""
                default = getattr(mark, "default", None)
                yield Subcommand(name, cls, default if isinstance(default, cls) else None, _first_sentence(said))
            yield from _walk(whole, prefix)
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        for field in dataclasses.fields(hint):
            own, name = hints[field.name], f"{prefix}{field.name}".replace("_", "-")
            bare, mark = _bare(own)
            is_here = getattr(mark, "name", None) == ""  # its fields are not below a name of their own
            inner = list(_walk(own, prefix if is_here else f"{name}.", "" if is_here else name))
            yield from inner
            if not inner and not _is_positional(own):
                yield Flag(f"--{name}", hint, field.name, bare is bool)


def _bare(hint: Any) -> tuple[Any, Any]:
    """A type without what is said of it for flags, and the first of that which has a name."""
    if typing.get_origin(hint) is not typing.Annotated:
        return hint, None
    hint, *marks = typing.get_args(hint)
    return hint, next((mark for mark in marks if getattr(mark, "name", None) is not None), None)


def _is_positional(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Annotated and "Positional" in map(str, typing.get_args(hint)[1:])


def _positional(root: Any) -> str:
    hints = typing.get_type_hints(root, include_extras=True)
    return " ".join(name.upper() for name, hint in hints.items() if _is_positional(hint))


@functools.cache
def _field_docs(cls: type) -> dict[str, str]:
    if not _may_have_field_docs(cls) or cls.__module__.split(".")[0] in _WITHOUT_FIELDS:
        return {}
    body = next(node.body for node in ast.parse(inspect.getsource(cls)).body if isinstance(node, ast.ClassDef))
    docs = {}
    for node, below in zip(body, body[1:], strict=False):
        match node, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(doc))),
            ):
                docs[name] = " ".join(doc.split())
    return docs


def _described(flag: Flag, root: Any, start: Subcommand | None) -> str:
    """The first sentence of a flag's documentation, and its default."""
    sentence, default = _first_sentence(field_doc(flag.owner, flag.field)), _value_text(_default(flag, root, start))
    return f"{sentence} (default: {default})".strip()


def _default(flag: Flag, root: Any, start: Subcommand | None) -> Any:
    path = flag.name.removeprefix("--").replace("-", "_").split(".")
    holders = [] if start is None else [start.default if start.default is not None else start.cls]
    for holder in [*holders, root, *(field.default for field in dataclasses.fields(root))]:
        owner: Any = functools.reduce(lambda outer, name: getattr(outer, name, None), path[:-1], holder)
        if owner is flag.owner or isinstance(owner, flag.owner):
            return getattr(owner, path[-1], None)
    return None


def _value_text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]


def _by_field(subcommands: Iterator[Subcommand]) -> dict[str, list[str]]:
    by_field: dict[str, list[str]] = {}
    for item in subcommands:
        field, _, name = item.name.partition(":")
        if name not in by_field.setdefault(field, []):
            by_field[field].append(name)
    return by_field


def _width() -> int:
    return min(shutil.get_terminal_size().columns, 120)


def _filled(text: str, indent: str) -> list[str]:
    options: dict[str, Any] = {"break_on_hyphens": False, "initial_indent": indent, "subsequent_indent": indent}
    return textwrap.wrap(" ".join(text.split()), _width(), **options)


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    left = 4 + max(len(name) for name, _ in rows)
    lines = []
    for name, text in rows:
        first, *others = textwrap.wrap(text, max(_width() - left, 20), break_on_hyphens=False) or [""]
        lines += [f"  {name}".ljust(left) + first, *(" " * left + other for other in others)]
    return [line.rstrip() for line in lines]
