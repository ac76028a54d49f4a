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

from owma._command import command, parse, programs_folder

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
        print(f"{'yes' if finding.able else 'NO ':3}  {finding.what}: {finding.detail}")
    if any(finding.needed and not finding.able for finding in findings):
        sys.exit(1)


def examine(runs: Path) -> list[Finding]:
    """Every finding, those that are needed first. Nothing is left behind on disk."""
    from owma.data import datasets_root

    found = [_tried("compute", _compute, "reinstall with `pip install -e .`")]
    found.append(_tried("simulate", _simulate, "`pip install 'mujoco>=3.3,<3.12,!=3.9.0' gymnasium-robotics`"))
    found.append(_writable("datasets", datasets_root(), "set MINARI_DATASETS_PATH to a folder that can be written"))
    found.append(_writable("runs", runs, "name another folder with --runs"))
    cache = programs_folder()
    if cache is None:
        found.append(Finding("compiled programs", True, "kept where JAX_COMPILATION_CACHE_DIR says"))
    else:
        kept = _writable("compiled programs", cache, "set XDG_CACHE_HOME; without it every start compiles again")
        found.append(dataclasses.replace(kept, needed=False))
    found.append(_drawing())
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
        found.append(Finding(use.strip("`"), able, f"{module} {_version(module)}" if able else remedy))
    return found


def _tried(what: str, look: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(what, True, look(), needed=True)
    except Exception as error:  # whatever it is, it is the finding
        return Finding(what, False, f"{type(error).__name__}: {error}; {remedy}", needed=True)


def _compute() -> str:
    import jax
    import jax.numpy as jnp

    total = float(jnp.sum(jnp.ones(8)))
    assert total == 8.0, f"the sum of eight ones is {total}"
    devices = ", ".join(f"{device.platform} {device.id}" for device in jax.devices())
    names = ("jax", "equinox", "diffrax", "optax")
    return f"{devices}; Python {sys.version.split()[0]}, " + ", ".join(f"{name} {_version(name)}" for name in names)


def _simulate() -> str:
    import gymnasium as gym

    import owma.envs

    env = gym.make(owma.envs.TWO_ROUTES_ID)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()
    return ", ".join(f"{name} {_version(name)}" for name in ("mujoco", "gymnasium", "gymnasium-robotics", "minari"))


def _writable(what: str, folder: Path, remedy: str) -> Finding:
    # The folder may be yet to be made: then its nearest parent says whether it can be.
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    try:
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
    from owma.videos import find_renderer

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
