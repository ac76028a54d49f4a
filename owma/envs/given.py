"""Environments as Python users give them: ids, descriptions, instances, and functions that make one."""

import copy
import json
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError, where_raised
from owma.envs.registered import env_json, find_env

EnvLike: TypeAlias = str | EnvSpec | gym.Env[Any, Any] | Callable[[], gym.Env[Any, Any]]
"""What `given_env` takes."""

_NAMESPACE = "session"
"""Of the ids of environments that no registry holds: whoever loads the run gives them again."""


def given_env(env: EnvLike) -> EnvSpec:
    """The environment to make copies of, as `gymnasium.make` takes it.

    - an id, or `MODULE:ID`, which imports the module; or an `EnvSpec`.
    - an instance: by its `spec` where that is enough to make it again, else by deep copies of it.
    - a function without arguments (or a class) that makes one; it is called once here, to see what it makes.

    Raises `ConfigError` for anything else, and where it cannot be made or copied.
    """
    if isinstance(env, str):
        return find_env(env)
    if isinstance(env, EnvSpec):
        return env
    if isinstance(env, gym.Env):
        return _of_instance(env)
    if not callable(env):
        raise ConfigError(
            f"An environment cannot be made of a {type(env).__name__}; give a Gymnasium id, an EnvSpec, a "
            "gymnasium.Env or a function without arguments that makes one."
        )
    name = getattr(env, "__qualname__", type(env).__qualname__)
    made = _made(env, name)
    spec = _of_function(env, name, _most_steps(made))
    made.close()
    return spec


def _of_instance(env: gym.Env[Any, Any]) -> EnvSpec:
    spec = env.spec
    if spec is not None and spec.id in gym.registry and all(w.kwargs is not None for w in spec.additional_wrappers):
        spec = copy.deepcopy(spec)
        spec.kwargs.pop("render_mode", None)
        try:
            env_json(spec)
            return spec
        except ConfigError:  # arguments that no file holds: copies of it are made instead
            pass
    name = type(env.unwrapped).__qualname__
    try:
        kept = copy.deepcopy(env)
    except Exception as error:
        raise ConfigError(
            f"The environment {name} cannot be copied ({type(error).__name__}: {error}); give a function that "
            "makes one."
        ) from error
    return _of_function(lambda: copy.deepcopy(kept), name, _most_steps(env))


def _made(make: Callable[[], Any], name: str) -> gym.Env[Any, Any]:
    try:
        made = make()
    except (Exception, SystemExit) as error:  # a function of the user's may raise anything
        raise ConfigError(
            f"{name} made no environment ({type(error).__name__}: {where_raised(error)}); give a function without "
            "arguments that makes one."
        ) from error
    if not isinstance(made, gym.Env):
        raise ConfigError(f"{name} returned a {type(made).__name__}, not a gymnasium.Env; return one.")
    return made


def _of_function(make: Callable[[], gym.Env[Any, Any]], name: str, most_steps: int | None) -> EnvSpec:
    def create(**kwargs: Any) -> gym.Env[Any, Any]:
        del kwargs  # a render mode, at most: how it is drawn is for the user's function to say
        return make()

    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name.replace("<locals>.", "")).strip("-.") or "Env"
    return EnvSpec(
        f"{_NAMESPACE}/{plain}-v0", entry_point=create, max_episode_steps=most_steps, disable_env_checker=True
    )


def _most_steps(env: gym.Env[Any, Any]) -> int | None:
    """The limit of steps that an environment brings along."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.wrappers.TimeLimit):
            return env._max_episode_steps
        env = env.env
    return None


def of_session(text: str) -> str | None:
    """The name of the environment in a run's description of it, if it is one that no registry holds."""
    try:
        described = json.loads(text)
    except ValueError:
        return None
    env_id = described.get("id") if isinstance(described, dict) else None
    namespace, _, name = str(env_id).partition("/")
    return name.removesuffix("-v0") if namespace == _NAMESPACE else None
