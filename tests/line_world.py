"""An environment whose episodes can be worked out by hand."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec


class LineWorld(gym.Env[np.ndarray, np.ndarray]):
    """Rewards 1, 2, 3, ...; an episode that was seeded with s ends after 3 + s % 4 steps, with success if s is even."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(
        self,
        *,
        terminates: bool,
        spoilt_after: int | None = None,
        spoilt_reward: bool = False,
        most_action: float = 1.0,
        says_success: bool = True,
    ) -> None:
        self.terminates, self.says_success = terminates, says_success
        self.spoilt_after, self.spoilt_reward = spoilt_after, spoilt_reward
        self.action_space = gym.spaces.Box(-most_action, most_action, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        # An unseeded reset is an automatic one: what follows must not be counted.
        self.start = 1000 if seed is None else seed
        self.step_number = 0
        return self._obs(), {}

    def step(self, action: np.ndarray):
        assert self.action_space.contains(action)
        self.step_number += 1
        ended = self.step_number == 3 + self.start % 4
        success = ended and self.start % 2 == 0
        reward = float(self.step_number) if self.start != 1000 else 1e6
        reward = np.nan if self.spoilt_reward else reward
        info = {"success": success} if self.says_success else {}
        return self._obs(), reward, ended and self.terminates, ended and not self.terminates, info

    def _obs(self) -> np.ndarray:
        spoilt = self.spoilt_after is not None and self.step_number >= self.spoilt_after
        return np.array([self.start, np.nan if spoilt else self.step_number], np.float32)


def line_world(*, terminates: bool = True, **kwargs: Any) -> EnvSpec:
    """Not registered anywhere; the arguments are those of `LineWorld`."""
    return EnvSpec(
        "test/LineWorld-v0",
        entry_point=LineWorld,  # pyright: ignore[reportArgumentType]  (a class is such a callable)
        kwargs={"terminates": terminates, **kwargs},
        disable_env_checker=True,
    )
