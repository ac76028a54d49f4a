import ast
from pathlib import Path

import pytest

import owma

ROOT = Path(owma.__file__).parent


@pytest.fixture(scope="session")
def sources() -> dict[str, ast.Module]:
    """Every file of the package, parsed: its path below `owma/`, such as `diffusion/sampler.py`, to its tree."""
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}


@pytest.fixture(scope="session")
def benchmarks() -> dict[str, ast.Module]:
    """Every file of `benchmarks/`, parsed, by its name."""
    return {path.name: ast.parse(path.read_text()) for path in sorted((ROOT.parent / "benchmarks").glob("*.py"))}


@pytest.fixture(scope="session")
def line_counts() -> dict[str, int]:
    """Lines of every file of the package."""
    return {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
