"""The names of the package: imported when they are asked for, and all of them there."""

import importlib

import pytest

import owma


def test_every_name_is_there_and_listed() -> None:
    names = importlib.import_module("owma").__all__
    assert {"__version__", "OnlineAdaptation", "Agent", "load"} <= set(names) <= set(dir(owma))
    assert not [name for name in names if name.startswith("_") and name != "__version__"]
    for name in names:
        assert getattr(owma, name) is not None
    assert owma.WorldConfig is importlib.import_module("owma.config.world").WorldConfig


def test_modules_are_attributes_as_after_an_import() -> None:
    assert owma.planners is importlib.import_module("owma.planners")  # pyright: ignore[reportAttributeAccessIssue]


def test_another_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'owma' has no attribute 'Nothing'"):
        owma.Nothing  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
