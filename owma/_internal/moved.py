"""Names of up to 0.1, of modules and of members: these still work, with a warning that says what the name is now."""

import functools
import importlib.abc
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

_T = TypeVar("_T")

_MOVED = {
    "advice": "results.advice",
    "agent": "agent.act",
    "analysis": "results.analysis",
    "anytime": "agent.anytime",
    "baselines": "results.baselines eval.trajectories",
    "checkpoint": "runs.checkpoint",
    "claims": "results.claims",
    "config_fields": "config.fields",
    "config_json": "config.json",
    "courses": "eval.trajectories eval.judge",
    "data.ant_maze": "collect.ant_maze",
    "data.collect": "collect.dispatch collect.point_maze config.data",
    "data.collection": "collect.claim",
    "data.hopper": "collect.hopper",
    "data.hopper_policies": "collect.hopper_policies",
    "data.oracles": "collect.ogbench",
    "data.parts": "collect.recorder",
    "data.recording": "data.dataset",
    "data.store": "collect.store",
    "data.waypoints": "collect.waypoints",
    "data_config": "config.data",
    "description": "results.description config.task",
    "envs.making": "envs.make",
    "eval.api": "api.evaluate eval.setup eval.judge",
    "eval.courses": "eval.trajectories eval.judge",
    "evaluation": "eval.evaluate",
    "experiment": "train.experiment runs.parts",
    "experiment_config": "config.experiment",
    "export": "agent.export",
    "features": "outcomes.features config.features",
    "features.base": "outcomes.features.base",
    "features.fourier": "outcomes.features.fourier",
    "features.identity": "outcomes.features.identity",
    "features.learned": "outcomes.features.learned",
    "features.part": "outcomes.features.part",
    "features.polynomial": "outcomes.features.polynomial",
    "features.random": "outcomes.features.random",
    "features.reward": "outcomes.features.reward",
    "features_config": "config.features",
    "intervals": "results.intervals",
    "job": "train.job",
    "logs": "train.logs",
    "material": "train.inputs data.load outcomes.tasks runs.labels eval.judge _internal.progress config.task",
    "material_config": "config.task",
    "nets": "diffusion.nets",
    "nets.film": "diffusion.nets.film",
    "nets.linear": "diffusion.nets.linear",
    "nets.residual": "diffusion.nets.residual",
    "observations": "outcomes.observations",
    "planners_config": "config.planners",
    "planners_config.base": "config.planners.base",
    "planners_config.compared": "config.planners.budgets",
    "planners_config.matched": "config.planners.budgets",
    "planners_config.online_adaptation": "config.planners.online_adaptation",
    "planners_config.rivals": "config.planners.rivals",
    "plots": "results.plots",
    "plots.analysis": "results.plots.analysis",
    "plots.animation": "eval.videos",
    "plots.canvas": "results.plots.canvas",
    "plots.comparison": "results.plots.comparison",
    "plots.one_run": "results.plots.one_run",
    "plots.transfer": "results.plots.transfer",
    "policy": "outcomes.policy",
    "policy_config": "config.policy",
    "presets": "config.presets",
    "promises": "results.promises",
    "reporting": "report.contents report.derived report.explorer report.flags results.summaries",
    "reporting.blocks": "report.blocks",
    "reporting.contents": "report.contents",
    "reporting.derived": "report.derived",
    "reporting.explorer": "report.explorer",
    "reporting.flags": "report.flags",
    "reporting.page": "report.page",
    "reporting.source": "report.source",
    "reporting.summaries": "results.summaries",
    "rollout": "eval.rollout envs",
    "run": "api.run",
    "run_dataset": "runs.dataset",
    "schedule": "diffusion.schedule",
    "runs": "runs.folder config.names",
    "scores": "results.scores",
    "sweeps": "config.sweep sweep.steps",
    "sweeps.plan": "config.sweep",
    "sweeps.work": "sweep.steps",
    "tables": "results.tables",
    "targets": "outcomes.targets",
    "tasks": "outcomes.tasks",
    "testbeds": "outcomes.testbeds",
    "testbeds.ceiling": "outcomes.testbeds.ceiling",
    "testbeds.gaussian": "outcomes.testbeds.gaussian",
    "testbeds.mixture": "outcomes.testbeds.mixture",
    "testbeds.world": "outcomes.testbeds.world",
    "train.api": "api.fit",
    "training": "train.features train.outcome train.rows train.value config.training",
    "training.devices": "train.devices",
    "training.features": "train.features",
    "training.outcome": "train.outcome",
    "training.rows": "train.rows",
    "training.value": "train.value",
    "training_config": "config.training",
    "transfers": "transfer.inference transfer.episodes transfer.summary transfer.tasks",
    "transfers.inference": "transfer.inference",
    "transfers.outcome": "transfer.episodes",
    "transfers.summary": "transfer.summary",
    "transfers.tasks": "transfer.tasks",
    "transfers_config": "config.transfer",
    "transitions": "outcomes.transitions",
    "value": "outcomes.value",
    "value_config": "config.value",
    "videos": "eval.videos",
    "whitening": "outcomes.whitening",
    "world": "outcomes.world",
    "world_config": "config.world",
}
"""The old name of a module, and where its names are now; both without `owma.`."""


def old_names(module: str) -> Callable[[str], Any]:
    """`__getattr__` of a module of which only the name is still in use; `module`: a key of the table."""
    homes = [f"owma.{home}" for home in _MOVED[module].split()]

    def getattr_(name: str) -> Any:
        # The import system asks for `__path__`, and for a module of the room before it looks for its file.
        if not name.startswith("__") and not (Path(__file__).parents[1] / module / f"{name}.py").exists():
            for home in homes:
                holder = import_module(home)
                try:
                    with warnings.catch_warnings():  # one warning does where it was renamed since
                        warnings.simplefilter("ignore", DeprecationWarning)
                        value = getattr(holder, name)
                except AttributeError:
                    continue
                defined = getattr(value, "__module__", None)
                is_ours = str(defined).startswith("owma.")
                place = f"{defined}.{getattr(value, '__name__', name)}" if is_ours else f"{home}.{name}"
                said = f"owma.{module}.{name} is {place} now; the old name goes with the next minor version."
                warnings.warn(said, DeprecationWarning, stacklevel=2)
                return value
        raise AttributeError(f"module 'owma.{module}' is {' and '.join(homes)} now, which have no attribute {name!r}")

    return getattr_


def renamed(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """`__getattr__` of a package or module in which some names are deprecated; `names`: from the old to the new one."""

    def getattr_(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        said = f"{package}.{name} is named {names[name]} now; the old name goes with the next minor version."
        warnings.warn(said, DeprecationWarning, stacklevel=2)
        return getattr(import_module(package), names[name])

    return getattr_


def rename_member(cls: type, old: str, new: str) -> None:
    """For `__init_subclass__` of an interface whose member `old` is named `new` now: a subclass that defines it by the
    old name defines it by the new one, with a warning.
    """
    if old in vars(cls) and new not in vars(cls):
        said = f"{cls.__name__}.{old} is named `{new}` now; the old name goes with the next minor version."
        warnings.warn(said, DeprecationWarning, stacklevel=3)
        setattr(cls, new, vars(cls)[old])


class OldMember:
    """Of a class whose member is named `new` now: reads that one by the old name, with a warning."""

    def __init__(self, new: str) -> None:
        self._new = new

    def __set_name__(self, owner: type, name: str) -> None:
        self._old = f"{owner.__name__}.{name}"

    def __get__(self, instance: Any, owner: type) -> Any:
        said = f"{self._old} is named `{self._new}` now; the old name goes with the next minor version."
        warnings.warn(said, DeprecationWarning, stacklevel=2)
        return getattr(owner if instance is None else instance, self._new)


def accept_old_keyword(old: str, new: str) -> Callable[[type[_T]], type[_T]]:
    """Of a class whose field is named `new` now: its constructor takes it by the keyword `old` too, with a warning."""

    def decorate(cls: type[_T]) -> type[_T]:
        by_new_name = cls.__init__

        @functools.wraps(by_new_name)
        def by_either_name(self: _T, *args: Any, **kwargs: Any) -> None:
            if old in kwargs:
                said = f"{cls.__name__}({old}=...) is {new}= now; the old name goes with the next minor version."
                warnings.warn(said, DeprecationWarning, stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            by_new_name(self, *args, **kwargs)

        cls.__init__ = by_either_name
        return cls

    return decorate


class _OldModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module by its old name, after all other finders have not."""

    def find_spec(
        self, fullname: str, path: Iterable[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        is_old = fullname.startswith("owma.") and fullname.removeprefix("owma.") in _MOVED
        return ModuleSpec(fullname, self, is_package=True) if is_old else None

    def create_module(self, spec: ModuleSpec) -> None:
        del spec  # a module like any other

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = old_names(module.__name__.removeprefix("owma."))  # type: ignore[method-assign]


def find_old_modules() -> None:
    """Let `import owma.OLD` find what moved. Imports nothing."""
    if not any(isinstance(finder, _OldModules) for finder in sys.meta_path):
        sys.meta_path.append(_OldModules())
