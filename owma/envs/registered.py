"""Environments by name: what a user names is imported; what data name is made only if it is registered here."""

import dataclasses
import importlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, find_highest_version, get_env_id, parse_env_id

from owma._internal.errors import ConfigError
from owma.envs.robotics import load_robotics

_ONLY_SHOW = {"HumanRendering", "RenderCollection"}
"""Wrappers of Gymnasium's that draw and change nothing."""


def find_env(name: str) -> EnvSpec:
    """A registered environment, by its id or by `MODULE:ID`, which imports the module first, as in `gymnasium.make`.

    The name is the user's own: what a file names is for `read_env`.

    **Raises:** `ConfigError` if the module cannot be imported, or there is no environment of that id.
    """
    load_robotics()
    module, _, env_id = name.rpartition(":")
    try:
        if module:
            import_modules([module])
        if env_id in gym.registry:
            return gym.spec(env_id)
        namespace, base, version = parse_env_id(env_id)
        newest = find_highest_version(namespace, base) if version is None else None
        return gym.spec(env_id if newest is None else get_env_id(namespace, base, newest))
    except (ConfigError, gym.error.Error, ImportError) as error:
        raise ConfigError(
            f"There is no environment {name!r} ({str(error).rstrip('.')}); name a registered Gymnasium id, or "
            "MODULE:ID with the module that registers it."
        ) from error


def import_modules(names: Iterable[str]) -> None:
    """Import modules that the user has named, for what they register with Gymnasium.

    **Raises:** `ConfigError` if one cannot be imported.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # a module of the user's may raise anything
            said = " ".join(str(error).split())
            raise ConfigError(
                f"The module {name!r} cannot be imported ({type(error).__name__}: {said}); install it, or put its "
                "folder on the Python path."
            ) from error


def env_json(env: EnvSpec) -> str:
    """An environment as `read_env` reads it: `EnvSpec.to_json`, in which a function stands by its name.

    **Raises:** `ConfigError` if its arguments are not plain values, so that no file can hold them.
    """
    fields = {field.name for field in dataclasses.fields(env) if field.init}
    described = {name: value for name, value in dataclasses.asdict(env).items() if name in fields}
    described |= {name: _name(described[name]) for name in ("entry_point", "vector_entry_point")}
    try:
        return json.dumps(described)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"The environment {env.id!r} has arguments that a run cannot keep ({error}); register it with numbers, "
            "texts and lists of them, or with a function that makes the rest."
        ) from error


def read_env(text: str, where: str, *, flag: str = "--evaluation.env", named: str | None = None) -> EnvSpec:
    """The environment that a file describes, as `env_json` or `EnvSpec.to_json` wrote it.

    A description holds the module and the name of what Gymnasium is to import and call, and arguments for it: whoever
    writes a file could have it call anything. So the description must be of an environment that is registered in this
    process, under its id and with its entry point, and may bring wrappers of Gymnasium's own only, of those that write
    no files. Nor may its arguments name a file, as that of MuJoCo's model, where the registered ones do not. What runs
    is what is registered.

    How it was drawn as it was recorded (`render_mode`) is left out: this machine may have no display.

    **Arguments:** for the messages: `where`: what holds the description; `flag`: by which the user names another
    environment; `named`: the `MODULE:ID` that the user once named it by.

    **Raises:** `ConfigError` if it is none, or another one than what is registered.
    """
    try:
        # Gymnasium 1.0 has dropped these.
        for gone in ('"order_enforce": true,', '"apply_api_compatibility": false,', '"autoreset": false, '):
            text = text.replace(gone, "")
        described = json.loads(text)
        spec = EnvSpec.from_json(text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, gym.error.Error) as error:
        raise ConfigError(
            f"{where} describes its environment in a way that cannot be read ({type(error).__name__}); name the "
            f"environment yourself with {flag} ID, or fetch the file again."
        ) from error
    spec.kwargs.pop("render_mode", None)
    spec.additional_wrappers = tuple(
        wrapper for wrapper in spec.additional_wrappers if str(wrapper.entry_point).split(":")[-1] not in _ONLY_SHOW
    )
    foreign = _foreign(described, spec)
    if foreign is not None and foreign in [repr(wrapper.entry_point) for wrapper in spec.additional_wrappers]:
        raise ConfigError(
            f"{where} names an environment {spec.id!r} in a wrapper that would run {foreign}, which is not one of "
            f"Gymnasium's that only change numbers; name the environment without it with {flag} {named or spec.id}."
        )
    if foreign is not None:
        module, name = _registering(described, spec)
        keeping = f", or import it with --trust {module}, which keeps its arguments" if module else ""
        raise ConfigError(
            f"{where} names an environment {spec.id!r} that would run {foreign}, which is not what is registered here "
            f"under that id; if you trust it, name it yourself with {flag} {named or name}{keeping}."
        )
    known = gym.registry[spec.id]
    # A function is in the file by its name alone.
    spec.entry_point, spec.vector_entry_point = known.entry_point, known.vector_entry_point
    return spec


def _foreign(described: dict[str, Any], spec: EnvSpec) -> str | None:
    """What the description would import that Gymnasium, as it is in this process, would not."""
    load_robotics()
    known = gym.registry.get(spec.id)
    for field in ("entry_point", "vector_entry_point"):
        described_as = described.get(field)
        wanted = None if known is None else getattr(known, field)
        if described_as is not None and described_as != _name(wanted):
            return repr(described_as)
    if known is None:
        return "nothing that is known"
    for text in _texts(spec.kwargs):
        if os.sep in text and text not in _texts(known.kwargs):
            return f"on the file {text!r}"
    for wrapper in spec.additional_wrappers:
        name = str(wrapper.entry_point)
        if not name.startswith("gymnasium.wrappers.") or "RecordVideo" in name:
            return repr(wrapper.entry_point)
    return None


def _registering(described: dict[str, Any], spec: EnvSpec) -> tuple[str | None, str]:
    """The module that probably registers an environment that is not known here, and its MODULE:ID."""
    package = str(described.get("entry_point")).partition(":")[0].partition(".")[0]
    if spec.id in gym.registry or not re.fullmatch(r"[A-Za-z_]\w*", package) or package == "None":
        return None, "MODULE:ID"
    return package, f"{package}:{spec.id}"


def _texts(arguments: Any) -> list[str]:
    """Every text in arguments, however deep: without recursion, since whoever writes them says how deep that is."""
    texts, left = [], [arguments]
    while left:
        value = left.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, Mapping | list | tuple):
            left += value.values() if isinstance(value, Mapping) else value
    return texts


def _name(entry_point: Any) -> str | None:
    """As a class or function is written in JSON; what wraps one, as `functools.partial` does, by the name of that."""
    if not callable(entry_point):
        return entry_point
    named = getattr(entry_point, "func", entry_point)
    return f"{named.__module__}:{getattr(named, '__qualname__', type(named).__name__)}"
