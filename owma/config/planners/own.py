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

        Raises `ConfigError` if there is no such class, if it is none of a planner, if it cannot be made without
        arguments, or if it makes no planner.
        """
        from owma.planners.base import AbstractPlanner

        made = self._make()
        if isinstance(made, AbstractPlanner):
            return made
        try:
            if self.kl_coef is not None and self.has_kl_coef():
                made = dataclasses.replace(made, kl_coef=self.kl_coef)
            built = made.build()
        except (Exception, SystemExit) as error:
            raise ConfigError(f"{self.spec} cannot be built ({_said(error)}); correct its code.") from error
        if not isinstance(built, AbstractPlanner):
            raise ConfigError(
                f"{self.spec} builds a {type(built).__name__}; its `build` has to return an owma.AbstractPlanner."
            )
        return built

    def has_kl_coef(self) -> bool:
        """Whether its class is a configuration with a field `kl_coef`. Imports and raises as `build` does."""
        made = self._make()
        fields = dataclasses.fields(made) if dataclasses.is_dataclass(made) else ()
        return isinstance(made, AbstractPlannerConfig) and "kl_coef" in {field.name for field in fields}

    def _make(self) -> Any:
        """The planner or the configuration that the class is of."""
        from owma.planners.base import AbstractPlanner

        try:
            cls: Any = getattr(importlib.import_module(self.module), self.class_name)
        except (Exception, SystemExit) as error:  # a module of the user's may raise anything
            raise ConfigError(
                f"{self.spec} cannot be imported ({_said(error)}); write it as planner:MODULE:Class, with the module "
                "on your Python path."
            ) from error
        if not (isinstance(cls, type) and issubclass(cls, AbstractPlanner | AbstractPlannerConfig)):
            raise ConfigError(
                f"{self.spec} is no planner: name a class of owma.AbstractPlanner or owma.AbstractPlannerConfig."
            )
        try:
            return cls()
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"{self.spec} cannot be made without arguments ({_said(error)}); give its fields defaults that it can "
                "be made with."
            ) from error


def class_planner_name(class_name: str) -> str:
    """What rows call a planner by the name of its class: TopShare -> top_share, CEM -> cem."""
    return kebab_case(class_name).replace("-", "_")


def own_planner(spec: str) -> OwnPlanner | None:
    """The planner of `planner:MODULE:Class`; `None` of any other name. Imports nothing."""
    head, _, rest = spec.partition(":")
    module, _, class_name = rest.rpartition(":")
    is_own = head == "planner" and class_name.isidentifier() and all(map(str.isidentifier, module.split(".")))
    return OwnPlanner(module, class_name) if is_own else None


def check_own(planners: Iterable[AbstractPlannerConfig], *, need_kl_coef: bool = False) -> None:
    """Build those that are the user's own, so that a mistake in one is known before anything is trained.

    Raises `ConfigError` as `OwnPlanner.build`; and, if they `need_kl_coef`, for a class without a field `kl_coef`.
    """
    for planner in planners:
        if isinstance(planner, OwnPlanner):
            planner.build()
            if need_kl_coef and not planner.has_kl_coef():
                raise ConfigError(
                    f"{planner.spec} has no kl_coef to vary; name a configuration with a field of that name."
                )


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
