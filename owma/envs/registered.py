"""Environments that data name: made only if they are registered here, so that no file chooses what code runs."""

import json
import os
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from owma._errors import ConfigError
from owma.envs.robotics import load_robotics


def read_env(text: str, where: str) -> EnvSpec:
    """The environment that a file describes, in the JSON of `EnvSpec.to_json`.

    A description holds the module and the name of what Gymnasium is to import and call, and arguments for it: whoever
    writes a file could have it call anything. So the description must be of an environment that is registered in this
    process, under its id and with its entry point, and may bring wrappers of Gymnasium's own only, of those that write
    no files. Nor may its arguments name a file, as that of MuJoCo's model, where the registered ones do not.

    **Arguments:** `where`: what holds the description, for the messages.

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
            "environment yourself with --evaluation.env ID, or fetch the file again."
        ) from error
    foreign = _foreign(described, spec)
    if foreign is not None:
        raise ConfigError(
            f"{where} names an environment {spec.id!r} that would run {foreign}, which is not what is registered here "
            "under that id; if you trust it, name it yourself with --evaluation.env MODULE:ID."
        )
    return spec


def _foreign(described: dict[str, Any], spec: EnvSpec) -> str | None:
    """What the description would import that Gymnasium, as it is in this process, would not."""
    load_robotics()
    known = gym.registry.get(spec.id)
    for field in ("entry_point", "vector_entry_point"):
        found = described.get(field)
        wanted = None if known is None else getattr(known, field)
        if found is not None and found != _name(wanted):
            return repr(found)
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
    """As a class or function is written in JSON."""
    return f"{entry_point.__module__}:{entry_point.__qualname__}" if callable(entry_point) else entry_point
