"""`python -m owma.doctor`: what this machine can do with owma, and the remedy for what it cannot.

Exit code 0 if training and acting are possible, 1 if not; what is optional never changes it.
"""

import dataclasses
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from owma._internal.command import command, compilation_cache_dir, parse, require_platform
from owma._internal.errors import OwmaError
from owma._internal.stdout import show_result
from owma._internal.version import __version__

_GIB = 2**30
_LEAST_FREE_GIB = 2.0
"""A default run and its dataset take a tenth of that; programs and checkpoints add up."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """The answer to one question about the machine."""

    what: str
    able: bool
    detail: str
    """What was found or, where it is missing, the remedy."""
    needed: bool = False
    """Whether nothing works without it."""


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Says what works on this machine: packages, devices, folders, drawing, optional extras."""

    runs: Path = Path("runs")
    """Where runs would go."""


def main() -> None:
    """Parse, look, print."""
    arguments = parse(Doctor, prog="python -m owma.doctor")
    findings = examine(arguments.runs)
    for finding in findings:
        show_result(f"{'yes' if finding.able else 'NO ':3}  {finding.what}: {finding.detail}")
    if any(finding.needed and not finding.able for finding in findings):
        sys.exit(1)


def examine(runs: Path) -> list[Finding]:
    """Every finding, those that are needed first. Nothing is left behind on disk, and nothing is raised."""
    mujoco = "`pip install 'mujoco>=3.3,<3.12,!=3.9.0' gymnasium-robotics`"
    findings = [
        _tried("compute", _compute, "reinstall with `pip install -e .`", needed=True),
        _tried("simulate", _simulate, mujoco, needed=True),
        _tried("datasets", _datasets, "reinstall with `pip install -e .`", needed=True),
        _writable("runs", runs, "name another folder with --runs"),
        _tried("compiled programs", _programs, "without them every start compiles again"),
        _tried("copies of large datasets", _copies, "without them a dataset must fit into memory"),
        _tried("draw without a display", _drawing, "`owma.eval --video` needs a simulator that can be imported"),
    ]
    for extra, module, use in (
        ("sweep", "ray", "`owma.sweep`"),
        ("hub", "huggingface_hub", "`--data.download`"),
        ("hopper", "cma", "`owma.collect hopper`"),
        ("ogbench", "ogbench", "`owma.collect ogbench-maze`"),
        ("tensorboard", "tensorboardX", "`--log tensorboard`"),
        ("wandb", "wandb", "`--log wandb`"),
    ):
        able = importlib.util.find_spec(module) is not None
        remedy = f"`pip install 'owma[{extra}]'` for {use}"
        findings.append(Finding(use.strip("`"), able, f"{module} {_version(module)}" if able else remedy))
    return findings


def _tried(what: str, look: Callable[[], str | Finding], remedy: str, *, needed: bool = False) -> Finding:
    """What `look` says. A machine that is ill is what the doctor is for: whatever is raised is the finding."""
    try:
        said = look()
    except OwmaError as error:  # a sentence with its remedy
        said = Finding(what, False, str(error))
    except Exception as error:
        said = Finding(what, False, f"{type(error).__name__}: {error}; {remedy}")
    if isinstance(said, str):
        said = Finding(what, True, said)
    return dataclasses.replace(said, needed=needed)


def _compute() -> str:
    import jax
    import jax.numpy as jnp

    require_platform()
    total = float(jnp.sum(jnp.ones(8)))
    assert total == 8.0, f"the sum of eight ones is {total}"
    devices = ", ".join(f"{device.platform} {device.id}" for device in jax.devices())
    names = ("jax", "equinox", "diffrax", "optax", "orbax-checkpoint", "numpy")
    packages = ", ".join(f"{name} {_version(name)}" for name in names)
    return f"{devices}; owma {__version__}, Python {sys.version.split()[0]}, {packages}"


def _simulate() -> str:
    import gymnasium as gym

    import owma.envs

    env = gym.make(owma.envs.TWO_ROUTES_ID)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()
    return ", ".join(f"{name} {_version(name)}" for name in ("mujoco", "gymnasium", "gymnasium-robotics", "minari"))


def _datasets() -> Finding:
    import h5py  # noqa: F401  (what reads datasets)
    import minari  # noqa: F401

    from owma.data import datasets_root

    return _writable("datasets", datasets_root(), "set MINARI_DATASETS_PATH to a folder that can be written")


def _programs() -> str | Finding:
    import jax

    folder = compilation_cache_dir()
    if folder is not None:
        return _writable("compiled programs", folder, "set XDG_CACHE_HOME; without it every start compiles again")
    told = str(jax.config.jax_compilation_cache_dir)  # pyright: ignore[reportAttributeAccessIssue]
    if "://" in told:
        return f"kept at {told}, where JAX_COMPILATION_CACHE_DIR says"
    return _writable("compiled programs", Path(told), "let JAX_COMPILATION_CACHE_DIR name a folder that can be written")


def _copies() -> Finding:
    from owma.data.cache import caches_root

    return _writable("copies of large datasets", caches_root(), "set XDG_CACHE_HOME to a folder that can be written")


def _writable(what: str, folder: Path, remedy: str) -> Finding:
    # The folder may be yet to be made: then its nearest parent says whether it can be.
    place = folder.absolute()
    try:
        while not place.exists():  # which a folder that may not be looked into does not say
            place = place.parent
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Finding(what, False, f"{folder} cannot be written ({error.strerror or error}); {remedy}", needed=True)
    free = shutil.disk_usage(place).free / _GIB
    if free < _LEAST_FREE_GIB:
        return Finding(what, False, f"{folder} has {free:.1f} GiB left; free some, or {remedy}", needed=True)
    return Finding(what, True, f"{folder}, {free:.0f} GiB free", needed=True)


def _drawing() -> Finding:
    import gymnasium as gym

    import owma.envs
    from owma.eval.videos import find_renderer

    renderer = find_renderer(gym.spec(owma.envs.TWO_ROUTES_ID))
    if renderer is None:
        wanted = os.environ.get("MUJOCO_GL")
        remedy = "unset MUJOCO_GL, or " if wanted else ""
        missing = (
            f"{remedy}install Debian's libegl1 or libosmesa6; `owma.eval --video` shows the maze from above instead"
        )
        return Finding("draw without a display", False, missing)
    return Finding("draw without a display", True, f"MUJOCO_GL={renderer}")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


if __name__ == "__main__":
    command(main)
