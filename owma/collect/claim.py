"""What all collections share: one process collects a dataset, once, and what it was made with is kept with it."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from owma._internal.digest import file_digest
from owma._internal.errors import ConfigError, DatasetError
from owma.collect.recorder import Recorder
from owma.collect.store import check_dataset_id, claimed, dataset_recorder, stored_settings
from owma.config.data import CollectConfig, HopperCollect, OGBenchPlayCollect, StitchCollect, TwoRoutesCollect

OnSteps: TypeAlias = Callable[[int, int], None]
"""A callback that is called from time to time with the number of steps simulated so far and in total."""

HOPPER_TASKS = 4
"""Searches that precede a dataset of Hopper."""


def num_steps(config: CollectConfig) -> int:
    """Steps to simulate: those of the whole dataset, and of Hopper those of the search before it."""
    if isinstance(config, HopperCollect):
        return config.steps + (HOPPER_TASKS * config.search_steps if config.policies is None else 0)
    of_one_episode = isinstance(config, TwoRoutesCollect | StitchCollect)
    return config.episodes * config.steps if of_one_episode else config.steps


def is_collected(config: CollectConfig) -> bool:
    """Whether the dataset is there already, so that collecting would return at once.

    **Raises:** `ConfigError` for an id that Minari would not take, `DatasetError` if the id is taken by other data.
    """
    check_dataset_id(config.name)
    if config.overwrite:
        return False
    stored, wanted = stored_settings(config.name), settings_of(config)
    if stored is None:
        return False
    if isinstance(config, HopperCollect) and config.policies is not None and not config.policies.exists():
        wanted["policies"] = stored.get("policies")  # a dataset may outlive the file that it was made by
    if stored != wanted:
        differing = [key for key in sorted(stored | wanted) if stored.get(key) != wanted.get(key)]
        values = ", ".join(f"{key} {stored.get(key)} and not {wanted.get(key)}" for key in differing)
        raise DatasetError(
            f"Dataset {config.name} exists with other settings ({values}); choose another --dataset-id, or replace it "
            "with --overwrite."
        )
    return True


@contextmanager
def missing(config: CollectConfig, progress: OnSteps | None) -> Iterator[bool]:
    """Whether the dataset is to be collected, and nobody else does; a process that is at it already is waited for."""
    # In both places: a refusal does not wait, and what was waited for is there.
    if is_collected(config):
        yield False
        return

    def waiting() -> None:
        if progress is not None:
            progress(0, num_steps(config))  # where a request to stop is obeyed

    with claimed(config.name, waiting):
        yield not is_collected(config)


def recorder_for(
    config: CollectConfig,
    env: gym.Env,
    eval_env: EnvSpec,
    description: str,
    algorithm: str = "jittered waypoints, proportional-derivative control, Gaussian action noise",
) -> AbstractContextManager[Recorder]:
    """`dataset_recorder` for the dataset that `config` names; `algorithm`: a short description of the policy."""
    return dataset_recorder(
        config.name,
        env,
        eval_env=eval_env,
        settings=settings_of(config),
        description=description,
        algorithm=algorithm,
        overwrite=config.overwrite,
    )


def settings_of(config: CollectConfig) -> dict[str, Any]:
    """What determines the data, and nothing else."""
    values = dataclasses.asdict(config)
    del values["dataset_id"], values["overwrite"]
    if isinstance(config, HopperCollect) and config.policies is not None:
        # Not where they lie, but what they are.
        del values["search_steps"]
        values["policies"] = _digest(config.policies)
    return {"kind": type(config).__name__, **values}


def check_positive(config: CollectConfig, *names: str) -> None:
    """**Raises:** `ConfigError` unless the fields `names` are at least 1, and noise and seed not negative."""
    for name in names:
        if getattr(config, name) < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least 1; got {getattr(config, name)}.")
    is_play = isinstance(config, OGBenchPlayCollect)
    noise = ("plan-noise", config.plan_noise) if is_play else ("action-noise", config.action_noise)
    for flag, value in (noise, ("seed", config.seed)):
        if not value >= 0:
            raise ConfigError(f"--{flag} must not be negative; got {value}.")


def _digest(file: Path) -> str | None:
    try:
        return file_digest(file)
    except OSError:
        return None
