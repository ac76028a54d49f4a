"""Planners of one's own on the command line: classes in modules of the user's, as `planner:MODULE:Class`."""

import dataclasses
import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from owma._internal.case import kebab_case
from owma._internal.errors import ConfigError
from owma.config.planners.base import AbstractPlannerConfig

if TYPE_CHECKING:
    from owma.planners.base import AbstractPlanner


@dataclasses.dataclass(frozen=True)
class OwnPlanner(AbstractPlannerConfig):
    """A planner or a configuration of one, made by its class without arguments. Nothing is imported before `build`."""

    module: str
    class_name: str
    kl_coef: float | None = None
    """The price of a nat, where the class is a configuration with a field of that name; `None` leaves it its own."""

    @property
    def spec(self) -> str:
        """As it is written on the command line."""
        return f"planner:{self.module}:{self.class_name}"

    @property
    def name(self) -> str:
        """Of its rows."""
        return class_planner_name(self.class_name)

    def build(self) -> "AbstractPlanner":
        """The planner. Imports the module, so that a folder that may be somebody else's has to be trusted first.

        Raises `ConfigError` if there is no such class, if it is none of a planner, or needs arguments.
        """
        from owma.planners.base import AbstractPlanner

        try:
            cls: Any = getattr(importlib.import_module(self.module), self.class_name)
        except (Exception, SystemExit) as error:  # a module of the user's may raise anything
            said = " ".join(str(error).split())
            raise ConfigError(
                f"{self.spec} cannot be imported ({type(error).__name__}: {said}); write it as planner:MODULE:Class, "
                "with the module on your Python path."
            ) from error
        if not (isinstance(cls, type) and issubclass(cls, AbstractPlanner | AbstractPlannerConfig)):
            raise ConfigError(
                f"{self.spec} is no planner: name a class of owma.AbstractPlanner or owma.AbstractPlannerConfig."
            )
        try:
            made = cls()
        except TypeError as error:
            raise ConfigError(
                f"{self.spec} cannot be made without arguments ({error}); give its fields defaults."
            ) from error
        if not isinstance(made, AbstractPlannerConfig):
            return made
        if self.kl_coef is not None and "kl_coef" in _fields(made):
            made = dataclasses.replace(made, kl_coef=self.kl_coef)  # type: ignore[type-var]
        return made.build()


def class_planner_name(class_name: str) -> str:
    """What rows call a planner by the name of its class: TopShare -> top_share, CEM -> cem."""
    return kebab_case(class_name).replace("-", "_")


def own_planner(spec: str) -> OwnPlanner | None:
    """The planner of `planner:MODULE:Class`; `None` of any other name. Imports nothing."""
    head, _, rest = spec.partition(":")
    module, _, class_name = rest.rpartition(":")
    is_own = head == "planner" and class_name.isidentifier() and all(map(str.isidentifier, module.split(".")))
    return OwnPlanner(module, class_name) if is_own else None


def check_own(planners: Iterable[AbstractPlannerConfig]) -> None:
    """Build those that are the user's own, so that a mistake in one is known before anything is trained."""
    for planner in planners:
        if isinstance(planner, OwnPlanner):
            planner.build()


def _fields(config: object) -> set[str]:
    return {field.name for field in dataclasses.fields(config)} if dataclasses.is_dataclass(config) else set()
