"""Imports go down only, and heavy third parties stay at the edge: the table of DESIGN §3, enforced.

A module is named by its file or by its folder: `world` is `owma/world.py`, `diffusion` is all of `owma/diffusion/`. Its
configurations lie beside it, in `owma/world_config.py` or `owma/planners_config/`, and are part of it; they import what
they build when they build it, so that commands read their flags without JAX.
A new module goes into `LAYERS`; a new import between two modules of one layer goes into `BESIDE`.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter

LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "_types",
        "_cores",
        "_errors",
        "_flags",
        "_json",
        "_lazy",
        "_npz",
        "_tree",
        "_version",
        "config_json",
        "config_fields",
    ),
    ("schedule", "whitening", "features", "nets", "transitions", "observations", "targets", "intervals"),
    ("diffusion", "tasks"),
    ("world", "policy", "value", "testbeds"),
    ("adaptation",),
    ("planners", "anytime", "agent"),
    ("data", "envs", "courses", "rollout", "training", "checkpoint", "runs", "plots", "tables", "export")
    + ("baselines", "promises")
    + ("material", "run_dataset", "experiment", "evaluation", "run", "presets", "sweeps", "transfers", "scores")
    + ("description", "advice")
    + ("analysis", "claims", "logs", "reporting", "videos"),
    ("_progress", "_command", "job", "train", "eval", "transfer", "collect", "inspect", "sweep", "report", "doctor"),
)

BESIDE: dict[str, tuple[str, ...]] = {
    "_tree": ("_types",),
    "_json": ("_types",),
    "_npz": ("_errors",),
    "config_json": ("_errors", "_json"),
    "config_fields": ("_errors", "config_json"),
    "features": ("nets",),
    "targets": ("transitions",),
    "value": ("world",),
    "testbeds": ("world",),
    "anytime": ("planners",),
    "agent": ("anytime", "planners"),
    "data": ("envs",),
    "courses": ("envs",),
    "baselines": ("courses", "runs", "tables"),
    "promises": ("baselines",),
    "rollout": ("courses", "envs"),
    "material": ("courses", "data", "envs"),
    "run_dataset": ("checkpoint", "data", "material", "runs"),
    "experiment": ("baselines", "checkpoint", "data", "envs", "logs", "material", "run_dataset", "runs", "training"),
    "evaluation": ("baselines", "courses", "data", "envs", "experiment", "material", "plots", "rollout", "runs")
    + ("scores", "tables"),
    "run": ("checkpoint", "data", "envs", "experiment", "runs"),
    "description": ("data", "material"),
    "advice": ("experiment",),
    "presets": ("data", "description", "experiment", "material", "training"),
    "analysis": ("tables",),
    "claims": ("analysis", "tables"),
    "scores": ("data", "tables"),
    "videos": ("envs", "plots"),
    "reporting": ("analysis", "baselines", "checkpoint", "claims", "data", "envs", "experiment", "plots", "presets")
    + ("promises", "rollout", "run", "runs", "sweeps", "tables", "transfers"),
    "sweeps": ("baselines", "checkpoint", "data", "envs", "evaluation", "experiment", "material", "presets")
    + ("run", "run_dataset", "runs", "tables"),
    "transfers": ("analysis", "baselines", "courses", "data", "envs", "experiment", "material", "plots", "promises")
    + ("rollout", "runs", "scores", "tables"),
    "_command": ("_progress",),
    "job": ("_command",),
    "train": ("_command", "job"),
    "eval": ("_command",),
    "transfer": ("_command",),
    "collect": ("_command",),
    "inspect": ("_command",),
    "sweep": ("_command",),
    "report": ("_command",),
    "doctor": ("_command",),
}
"""The imports within one layer."""

LOWEST_LAYER = {
    **dict.fromkeys(("cma", "gymnasium", "gymnasium_robotics", "matplotlib", "minari", "mujoco", "ogbench"), 6),
    **dict.fromkeys(("ray", "tyro"), 7),
}
"""Third parties and the lowest layer that may import them."""

WHERE_USED = {"cma", "matplotlib", "mujoco", "gymnasium_robotics", "minari", "ogbench", "ray"}
"""Third parties imported inside functions only, so that `--help` is quick."""

LIGHT = ("owma._errors", "owma.config_fields", "owma.config_json", "owma.runs")
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


def _module(file: str) -> str:
    return file.split("/")[0].removesuffix(".py").removesuffix("_config")


def _layer(module: str) -> int:
    if module == "__init__":  # the front door, above everything
        return len(LAYERS)
    found = [number for number, modules in enumerate(LAYERS) if module in modules]
    assert len(found) == 1, f"`owma/{module}` is in {len(found)} layers: give it one place in LAYERS of {__file__}"
    return found[0]


def test_every_module_has_its_layer(sources: dict[str, ast.Module]) -> None:
    for file in sources:
        _layer(_module(file))


def test_imports_go_down_only(sources: dict[str, ast.Module]) -> None:
    wrong = []
    for file, tree in sources.items():
        module = _module(file)
        for found in _imports(file, tree):
            if not found.target.startswith("owma."):
                continue
            target = _module(found.target.split(".")[1])
            if target == module or target in BESIDE.get(module, ()) or _layer(target) < _layer(module):
                continue
            wrong.append(
                f"{file}:{found.line}: L{_layer(module)} `{module}` imports L{_layer(target)} `{target}`; move one of "
                "them in LAYERS, pass the object in, or list the pair in BESIDE if they share a layer"
            )
    assert not wrong, "\n".join(wrong)


def test_pairs_within_a_layer_share_it_and_make_no_cycle() -> None:
    for module, targets in BESIDE.items():
        assert all(_layer(target) == _layer(module) for target in targets), f"BESIDE[{module!r}] crosses layers"
    tuple(TopologicalSorter(BESIDE).static_order())  # raises CycleError, naming the cycle


def test_third_parties_stay_at_the_edge(sources: dict[str, ast.Module]) -> None:
    wrong = []
    for file, tree in sources.items():
        for found in _imports(file, tree):
            package = found.target.split(".")[0]
            if _layer(_module(file)) < LOWEST_LAYER.get(package, 0):
                wrong.append(f"{file}:{found.line}: {package} is for L{LOWEST_LAYER[package]} and above")
            if found.at_import_time and package in WHERE_USED:
                wrong.append(f"{file}:{found.line}: import {package} inside the function that uses it")
    assert not wrong, "\n".join(wrong)


def test_configurations_are_light(sources: dict[str, ast.Module]) -> None:
    """What commands read flags into needs nothing but the standard library when it is imported."""
    found = [item for file, tree in sources.items() if _is_config(file) for item in _imports(file, tree)]
    wrong = [
        f"{item.file}:{item.line}: import {item.target} in the method that uses it, or below `if TYPE_CHECKING:`"
        for item in found
        if item.at_import_time
        and item.target.split(".")[0] not in sys.stdlib_module_names
        and not _is_config(item.target.removeprefix("owma.").replace(".", "/"))
        and item.target not in LIGHT
    ]
    assert found and not wrong, "\n".join(wrong)


def _is_config(file: str) -> bool:
    return file.split("/")[0].removesuffix(".py").endswith("_config")


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
