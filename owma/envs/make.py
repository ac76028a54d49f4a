"""Environments as they are made here: in one form, with a limit of steps, and tried before any training."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import NormalizeObservation, NormalizeReward

from owma._internal.errors import ConfigError, where_raised
from owma._internal.types import Float
from owma.envs.robotics import load_robotics
from owma.envs.success import SUCCESS_NAMES, one_success
from owma.outcomes.observations import flatten_obs

MOST_STEPS = 1000
"""After which an episode is cut where the environment has no limit of its own, unless something else is asked for."""

_TRIED_STEPS = 3
_FLAG = "--evaluation.env"
_API = (
    "Gymnasium's API is reset(seed=..., options=...), which returns (obs, info), and step(action), which returns (obs, "
    "reward, terminated, truncated, info)"
)


class _OneForm(gym.Wrapper[Any, Any, Any, Any]):
    """What is handed in is a copy that may be written to; what comes out is of plain types.

    Of `info` only what says success is passed on: the rest may be of another shape in every copy of the environment.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        result = self.env.reset(seed=seed, options=options)
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
            raise TypeError(f"reset returned {_form(result)}, not (obs, info)")
        return _as_said(result[0], self.observation_space, "reset"), _success(result[1])

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        result: Any = self.env.step(np.array(action, self.action_space.dtype))
        if not (isinstance(result, tuple) and len(result) == 5):
            raise TypeError(f"step returned {_form(result)}, not (obs, reward, terminated, truncated, info)")
        obs, reward, terminated, truncated, info = result
        ended, cut = bool(_single(terminated, "terminated")), bool(_single(truncated, "truncated"))
        if not isinstance(info, dict):
            raise TypeError(f"step returned {_form(info)} as `info`, not a dictionary")
        obs = _as_said(obs, self.observation_space, "step")
        return obs, float(_single(reward, "reward")), ended, cut, _success(info)


def _form(result: Any) -> str:
    if result is None:
        return "nothing"
    return f"{len(result)} values" if isinstance(result, tuple) else f"a {type(result).__name__}"


def _as_said(obs: Any, space: gym.Space[Any], call: str) -> Any:
    """An observation, once it is of its space's shape: NumPy's word on stacking others names neither shape."""
    if isinstance(space, gym.spaces.Box):
        if obs is None or isinstance(obs, Mapping | str):
            raise TypeError(f"{call} returned {_form(obs)} as an observation, its observation_space is {space}")
        if np.shape(obs) != space.shape:
            raise TypeError(
                f"{call} returned an observation of shape {np.shape(obs)}, its observation_space is of {space.shape}"
            )
    return obs


def _single(value: Any, name: str) -> Any:
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf":
        raise TypeError(f"step returned `{name}` of shape {array.shape} and type {array.dtype}, not one number")
    return array.reshape(()).item()


def _success(info: Any) -> dict[str, Any]:
    return {name: one_success(info[name], name) for name in SUCCESS_NAMES if info.get(name) is not None}


def _statistics_of(env: EnvSpec) -> tuple[str, ...]:
    """The wrappers of an environment's description that keep running statistics."""
    kept = {NormalizeObservation.__name__, NormalizeReward.__name__}
    names = (str(wrapper.entry_point).split(":")[-1] for wrapper in env.additional_wrappers)
    return tuple(name for name in names if name in kept)


def statistics_note(recorded: EnvSpec | None, where: str) -> str | None:
    """The sentence on data that were recorded through running statistics; `None` if they were not."""
    if recorded is None or not (names := _statistics_of(recorded)):
        return None
    return (
        f"{where} was recorded through {' and '.join(names)}, whose running statistics are not kept: an environment "
        "that is made anew gives the same state and reward as other numbers, and an evaluation in one says nothing."
    )


def _running_statistics(env: gym.Env[Any, Any]) -> list[str]:
    """The wrappers of an environment whose statistics go on: what it shows depends on what it has seen."""
    names = []
    while isinstance(env, gym.Wrapper):
        if isinstance(env, NormalizeObservation | NormalizeReward) and env.update_running_mean:
            names.append(type(env).__name__)
        env = env.env
    return names


def make_env(
    env: EnvSpec, *, most_steps: int = MOST_STEPS, render_mode: str | None = None, flag: str = _FLAG
) -> gym.Env[Any, Any]:
    """One copy, whose episodes are cut, as truncated, after `most_steps` where it has no limit of its own.

    **Raises:** `ConfigError` if it cannot be made, or if it has wrappers that keep statistics (`NormalizeObservation`):
    a new one begins with others than the data were recorded with, which says `flag`, by which the user names another.
    """
    load_robotics()
    shown: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
    try:
        made = gym.make(env, max_episode_steps=env.max_episode_steps or most_steps, **shown)
    except (Exception, SystemExit) as error:  # an environment of the user's may raise anything
        raise ConfigError(
            f"The environment {env.id!r} cannot be made ({type(error).__name__}: {where_raised(error)}); install "
            "what it needs, mend it, or choose another one."
        ) from error
    statistics = _running_statistics(made)
    if statistics:
        with contextlib.suppress(Exception):
            made.close()
        raise ConfigError(
            f"The environment {env.id!r} is wrapped in {' and '.join(statistics)}, whose running statistics no dataset "
            "holds: made anew, it gives the same state and reward as other numbers; record without that wrapper "
            "(observations are standardised here), name an environment whose statistics are those of the recording, "
            f"fixed by update_running_mean=False, with {flag} MODULE:ID"
            f"{', or train only, with --evaluation.episodes 0' if flag == _FLAG else ''}."
        )
    return _OneForm(made)


@contextlib.contextmanager
def vector_env(env: EnvSpec, num_envs: int, *, most_steps: int = MOST_STEPS, flag: str = _FLAG) -> Iterator[VectorEnv]:
    """`num_envs` copies of an environment, stepped together; closed at the end.

    Each is handed copies of actions, which it may write to, in the type of its action space. `most_steps`, `flag`:
    see `make_env`.

    Raises `ConfigError` if it cannot be made.
    """
    try:
        envs = gym.vector.SyncVectorEnv([lambda: make_env(env, most_steps=most_steps, flag=flag)] * num_envs)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # spaces that cannot be stacked, or are none
        raise ConfigError(
            f"Copies of the environment {env.id!r} cannot be stepped together ({type(error).__name__}: "
            f"{where_raised(error)}); mend its spaces, or choose another one."
        ) from error
    try:
        yield envs
    finally:
        # What an environment raises as it is closed spoils nothing.
        with contextlib.suppress(Exception):
            envs.close()


def check_env(
    env: EnvSpec, obs_keys: tuple[str, ...] | None, *, obs_dim: int, action_dim: int, flag: str = _FLAG
) -> None:
    """Make one copy, reset it and make a few steps with an action of zeros, or of what its bounds have next to them.

    **Raises:** `ConfigError` if it raises, does not follow Gymnasium's API, returns what is not finite, or if its
    observations and actions are not of the models' form.
    """
    with vector_env(env, 1, flag=flag) as envs:
        space = envs.single_action_space
        with _tried(env, "as it was reset"):
            raw_obs, _ = envs.reset(seed=0)
        _check_form(env, raw_obs, obs_keys, space, obs_dim, action_dim)
        assert isinstance(space, gym.spaces.Box)
        action = np.clip(np.zeros(space.shape), space.low, space.high)[None].astype(space.dtype)
        for step in range(_TRIED_STEPS):
            with _tried(env, f"at step {step + 1}"):
                raw_obs, reward, terminated, truncated, _ = envs.step(action)
                obs = flatten_obs(raw_obs, obs_keys)
            for name, values in (("an observation", obs), ("a reward", reward)):
                if not np.isfinite(values).all():
                    raise ConfigError(
                        f"The environment {env.id!r} returned {name} that is not finite at step {step + 1}; mend it."
                    )
            if terminated[0] or truncated[0]:
                return


def _check_form(
    env: EnvSpec, raw_obs: Any, obs_keys: tuple[str, ...] | None, space: gym.Space[Any], obs_dim: int, action_dim: int
) -> None:
    if isinstance(raw_obs, tuple):
        raise ConfigError(
            f"The environment {env.id!r} does not fit the dataset: it gives a Tuple of {len(raw_obs)} observations; "
            "wrap it with gymnasium.wrappers.FlattenObservation, or choose another environment."
        )
    if isinstance(raw_obs, Mapping) and (obs_keys is None or not set(obs_keys) <= set(raw_obs)):
        held = "vectors" if obs_keys is None else f"the entries {list(obs_keys)}"
        raise ConfigError(
            f"The environment {env.id!r} does not fit the dataset: its observations are entries {sorted(raw_obs)}, "
            f"where the data have {held}; record that environment, wrap it so that it gives what the data have "
            "(gymnasium.wrappers.FlattenObservation makes one vector of all entries), or choose another environment."
        )
    try:
        obs: Float[np.ndarray, "1 obs"] = flatten_obs(raw_obs, obs_keys)
    except ValueError as error:
        said = str(error).rstrip(".")
        raise ConfigError(
            f"The environment {env.id!r} does not fit the dataset: {said}; choose another environment."
        ) from error
    shape = obs.shape[1:]
    is_continuous = isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating)
    if shape != (obs_dim,) or not is_continuous or space.shape != (action_dim,):
        raise ConfigError(
            f"The environment {env.id!r} does not fit the dataset: its observations are of shape {shape} and its "
            f"actions are {space}, those of the dataset of shape ({obs_dim},) and ({action_dim},); choose another "
            "environment."
        )
    if not np.isfinite(obs).all():
        raise ConfigError(f"The environment {env.id!r} begins with an observation that is not finite; mend it.")


@contextlib.contextmanager
def _tried(env: EnvSpec, when: str) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"The environment {env.id!r} raised {type(error).__name__} {when} ({where_raised(error)}); mend it: {_API}."
        ) from error


def limit_note(env: EnvSpec, most_steps: int, flag: str = "--evaluation.max-steps") -> str | None:
    """The sentence on where episodes are cut that the environment has no limit for; `None` where it has one. `flag`: by
    which the user chooses that.
    """
    if env.max_episode_steps is not None:
        return None
    return (
        f"The environment {env.id!r} has no limit of steps: an episode that it does not end is cut after "
        f"{most_steps:,} ({flag}), and counts as truncated."
    )
