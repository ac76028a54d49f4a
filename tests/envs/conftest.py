import sys
from collections.abc import Iterator

import gymnasium as gym
import pytest


@pytest.fixture(autouse=True)
def _nothing_of_own_envs() -> Iterator[None]:
    """No test knows that another has imported `own_envs`."""

    def forget() -> None:
        sys.modules.pop("own_envs", None)
        for name in [name for name in gym.registry if name.startswith("own/")]:
            del gym.registry[name]

    forget()
    yield
    forget()
