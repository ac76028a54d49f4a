"""What every planner's configuration can do."""

import abc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from owma.planners.base import AbstractPlanner


class AbstractPlannerConfig(abc.ABC):
    """Plain numbers that build a planner; frozen dataclasses.

    Ours import the planner, and JAX, in `build`: what the command line is read into must not wait for them.
    """

    @abc.abstractmethod
    def build(self) -> "AbstractPlanner":
        """The planner, its numbers turned into arrays, so that changing one does not recompile."""
