"""A package that imports what it names when that is first asked for (PEP 562)."""

import ast
import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def on_demand(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package, from the imports that it shows to type checkers alone.

    ```python
    if TYPE_CHECKING:
        from package.module import Name as Name
    else:
        __getattr__, __dir__, __all__ = on_demand(__name__)
    ```

    The imports are read from the package's source, so that each name is written once. A module that one of them
    names is an attribute of the package as well, as it would be had the import been run. `help` of a class that is
    asked for so shows what is said of its fields.
    """
    module = sys.modules[package]
    branches = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.If)]
    shown = [node for branch in branches if ast.unparse(branch.test) == "TYPE_CHECKING" for node in branch.body]
    imports = [node for node in shown if isinstance(node, ast.ImportFrom) and node.module is not None]
    ours = [node for node in imports if str(node.module).startswith(f"{package}.")]
    homes = {alias.asname or alias.name: str(node.module) for node in ours for alias in node.names}

    def getattr_(name: str) -> Any:
        if name in homes:
            from owma._internal.help import with_field_docs  # not before a name is asked for

            value = with_field_docs(getattr(import_module(homes[name]), name))
        elif f"{package}.{name}" in homes.values():
            value = import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(module, name, value)  # asked for once
        return value

    def dir_() -> list[str]:
        return sorted({*vars(module), *homes})

    return getattr_, dir_, list(homes)
