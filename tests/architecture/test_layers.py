"""Imports go down only, without circles, and heavy third parties stay at the edge: the table of DESIGN §3, enforced.

A room is what stands at the top of `owma/`: a folder, or one of the two commands that are one file. A new room goes
into `LAYERS`. Rooms of one layer do not import each other; the files of a room do, but in no circle.
`config` imports what it builds when it builds it (`BUILDS`), so that commands read their flags without JAX. `api` is
what users call from Python: it stands above the rooms that it puts together, which commands call themselves.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

LAYERS: tuple[tuple[str, ...], ...] = (
    ("_internal",),
    ("config",),
    ("diffusion",),
    ("outcomes",),
    ("adaptation",),
    ("planners",),
    (
        "agent",
        "envs",
    ),
    ("collect",),
    ("data",),
    ("runs",),
    ("results",),
    ("eval",),
    ("train",),
    (
        "transfer",
        "tune",
        "sweep",
    ),
    (
        "report",
        "inspect",
        "doctor",
        "watch",
        "docs",
    ),
    ("diagnose",),
    (
        "api",
        "demo",
    ),
    ("__main__",),
)
"""The rooms, from the bottom."""

BUILDS = {"config": ("planners", "adaptation")}
"""What a room below may import of rooms above, inside functions and for type checkers: the planners of `build()`."""

LOWEST_LAYER = {
    **dict.fromkeys(("gymnasium", "gymnasium_robotics", "mujoco", "ogbench"), "envs"),
    **dict.fromkeys(("cma", "minari"), "collect"),
    "matplotlib": "results",
    "ray": "sweep",
}
"""Third parties and a room in the lowest layer that may import them."""

WHERE_USED = {"cma", "matplotlib", "mujoco", "gymnasium_robotics", "minari", "ogbench", "ray"}
"""Third parties imported inside functions only, so that `--help` is quick."""

READ_FLAGS = ("_internal/command.py", "inspect.py", "doctor.py", "train/job.py")
"""The files beside the commands' `__main__.py` that may import tyro."""

LIGHT = (
    *("owma._internal.case", "owma._internal.digest", "owma._internal.errors", "owma._internal.help"),
    "owma._internal.json",
)
"""What configurations may import beside each other; `tests/commands/test_help.py` sees that it stays light."""


@dataclass(frozen=True)
class _Import:
    file: str
    line: int
    target: str
    at_import_time: bool


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _imports(file: str, node: ast.AST, at_import_time: bool = True) -> Iterator[_Import]:
    """All imports below `node`; those of type checkers alone and those in functions do not run at import time."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield _Import(file, child.lineno, alias.name, at_import_time)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0 and child.module, f"{file}:{child.lineno}: write imports in full, from `owma.`"
            for alias in child.names if child.module == "owma" else child.names[:1]:
                target = f"owma.{alias.name}" if child.module == "owma" else child.module
                yield _Import(file, child.lineno, target, at_import_time)
        else:
            is_later = _is_type_checking(child) or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _imports(file, child, at_import_time and not is_later)


def _room(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


def _layer(room: str) -> int:
    if room == "__init__":  # the front door, above everything
        return len(LAYERS)
    numbers = [number for number, rooms in enumerate(LAYERS) if room in rooms]
    assert len(numbers) == 1, f"`owma/{room}` is in {len(numbers)} layers: give it one place in LAYERS of {__file__}"
    return numbers[0]


def test_every_room_has_its_layer(sources: dict[str, ast.Module]) -> None:
    rooms = {_room(file) for file in sources} - {"__init__"}
    for room in rooms:
        _layer(room)
    assert rooms == {room for layer in LAYERS for room in layer}
    assert len(rooms) < 27, "the top of owma/ is to be read at a glance"


def test_imports_go_down_only(sources: dict[str, ast.Module]) -> None:
    wrong, upward = [], set()
    for file, tree in sources.items():
        room = _room(file)
        for imported in _imports(file, tree):
            if not imported.target.startswith("owma."):
                continue
            target = _room(imported.target.split(".")[1])
            builds = target in BUILDS.get(room, ()) and not imported.at_import_time
            if target == room or _layer(target) < _layer(room):
                continue
            upward.add((room, target))
            if builds:
                continue
            wrong.append(
                f"{file}:{imported.line}: L{_layer(room)} `{room}` imports L{_layer(target)} `{target}`; move what is "
                "imported to a lower room, or pass the object in"
            )
    assert not wrong, "\n".join(wrong)
    assert upward == {("config", "planners"), ("config", "adaptation")}, "the upward pairs that there are"


def test_files_import_in_no_circle(sources: dict[str, ast.Module]) -> None:
    """Lazy imports and those of type checkers count, but for what `BUILDS` allows."""
    assert _circle(sources) is None


def _circle(sources: dict[str, ast.Module]) -> list[str] | None:
    files = {"owma." + file.removesuffix(".py").removesuffix("/__init__").replace("/", "."): file for file in sources}
    graph: dict[str, set[str]] = {}
    for file, tree in sources.items():
        allowed = BUILDS.get(_room(file), ())
        named = {files[name] for name in _modules_named(tree) if name in files}
        graph[file] = {target for target in named if target != file and _room(target) not in allowed}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return None


def _modules_named(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported, in whichever form; of names in a module, the module and what may be one in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_third_parties_stay_at_the_edge(sources: dict[str, ast.Module]) -> None:
    wrong = []
    for file, tree in sources.items():
        for imported in _imports(file, tree):
            package = imported.target.split(".")[0]
            if _layer(_room(file)) < _layer(LOWEST_LAYER.get(package, "_internal")):
                wrong.append(f"{file}:{imported.line}: {package} is for {LOWEST_LAYER[package]} and above")
            if imported.at_import_time and package in WHERE_USED:
                wrong.append(f"{file}:{imported.line}: import {package} inside the function that uses it")
            if package == "tyro" and not (file.endswith("/__main__.py") or file in READ_FLAGS):
                wrong.append(
                    f"{file}:{imported.line}: tyro is for commands, and for configurations that need none of it"
                )
    assert not wrong, "\n".join(wrong)


def test_configurations_are_light(sources: dict[str, ast.Module]) -> None:
    """What commands read flags into needs nothing but the standard library when it is imported."""
    imported = [item for file, tree in sources.items() if _is_config(file) for item in _imports(file, tree)]
    wrong = [
        f"{item.file}:{item.line}: import {item.target} in the method that uses it, or below `if TYPE_CHECKING:`"
        for item in imported
        if item.at_import_time
        and item.target.split(".")[0] not in sys.stdlib_module_names
        and not _is_config(item.target.removeprefix("owma.").replace(".", "/"))
        and item.target not in LIGHT
    ]
    assert imported and not wrong, "\n".join(wrong)


def _is_config(file: str) -> bool:
    return _room(file) == "config"


def test_the_rules_bite() -> None:
    """The walker sees imports of every form, and knows which of them run when the module is imported."""
    code = """
import os, owma.world
from owma import plots
from owma.diffusion.sampler import Chain
class Thing:
    import mujoco
    def method(self):
        import matplotlib.figure
if TYPE_CHECKING:
    from matplotlib.axes import Axes
"""
    found = {(item.target, item.at_import_time) for item in _imports("x.py", ast.parse(code))}
    assert found == {
        ("os", True),
        ("owma.world", True),
        ("owma.plots", True),
        ("owma.diffusion.sampler", True),
        ("mujoco", True),
        ("matplotlib.figure", False),
        ("matplotlib.axes", False),
    }


def test_a_circle_is_found() -> None:
    code = {"data/a.py": "from owma.data import b", "data/b.py": "def f():\n    import owma.data.a", "data/c.py": ""}
    circle = _circle({file: ast.parse(text) for file, text in code.items()})
    assert circle is not None and set(circle) == {"data/a.py", "data/b.py"}
    assert _circle({file: ast.parse(code[file]) for file in ("data/a.py", "data/c.py")}) is None
