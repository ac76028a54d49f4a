"""Environments as users have them, each with something that is not as in Gymnasium's own; importing registers them."""

import functools
from typing import Any

import gymnasium as gym
import numpy as np

REACHED = 0.3
"""Within which the goal of `Reach` is reached."""


class Point(gym.Env[np.ndarray, np.ndarray]):
    """A place and a speed, pushed by one number; the reward is minus the distance to 1. `odd` names the oddity."""

    metadata = {"render_modes": ["human", "rgb_array"]}
    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(self, odd: str = "", render_mode: str | None = None) -> None:
        if odd == "make" or render_mode == "human":
            raise ValueError("host must be given")
        self.odd, self.render_mode = odd, render_mode
        kind = np.float64 if odd == "float64" else np.float32
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), kind)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if self.odd == "reset":
            raise RuntimeError("the simulator is not running")
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        if self.odd == "nan":
            self.state[1] = np.nan
        return self.state if self.odd == "no info" else (self.state, {})  # its own array, which it goes on writing to

    def step(self, action: np.ndarray) -> Any:
        assert action.flags.writeable and action.dtype == self.action_space.dtype
        if self.odd == "step":
            raise OSError("the arm is not plugged in")
        if self.odd == "in place":
            action *= 0.5
        self.state[:] = 0.95 * self.state + np.array([0.05 * self.state[1], 0.1 * float(action[0])])
        reward: Any = -abs(float(self.state[0]) - 1)
        if self.odd == "four":
            return self.state, reward, False, {}
        if self.odd == "array":
            reward = np.array([reward])
        if self.odd == "rewards":
            reward = np.zeros(2)
        if self.odd == "nan reward":
            reward = np.nan
        info = {"success": np.array([self.state[0] > 0]), "found": np.zeros(self.np_random.integers(1, 9))}
        return self.state, reward, np.bool_(False), np.bool_(False), info


class OldApi(Point):
    """Resets without a seed."""

    def reset(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return np.zeros(2, np.float32)


class Reach(gym.Env[Any, np.ndarray]):
    """A point in the plane that goes where it is pushed, to a goal of each episode's own: 0 there, else -1."""

    def __init__(self, fixed: bool = False) -> None:
        self.fixed = fixed
        sizes = {"observation": 3, "achieved_goal": 2, "desired_goal": 2}
        boxes: dict[str, gym.Space[Any]] = {
            name: gym.spaces.Box(-np.inf, np.inf, (size,), np.float32) for name, size in sizes.items()
        }
        self.observation_space = gym.spaces.Dict(boxes)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2)
        self.goal = np.ones(2) if self.fixed else self.np_random.uniform(-1, 1, 2)
        return self._obs(), {}

    def step(self, action: np.ndarray) -> Any:
        self.place = np.clip(self.place + 0.2 * action, -1.5, 1.5)
        reached = bool(np.linalg.norm(self.place - self.goal) < REACHED)
        return self._obs(), float(reached) - 1, False, False, {"is_success": reached}

    def _obs(self) -> dict[str, np.ndarray]:
        """What it has reached stands at the end of its observation."""
        observation = np.array([np.linalg.norm(self.place), *self.place])
        parts = {"observation": observation, "achieved_goal": self.place, "desired_goal": self.goal}
        return {name: part.astype(np.float32) for name, part in parts.items()}


class Parts(gym.Env[Any, np.ndarray]):
    """Observed in parts of any name, one of them a single number, as of the DeepMind Control Suite."""

    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float64)

    def __init__(self, size: int = 2) -> None:
        shapes = {"position": (size,), "height": (), "velocity": (1,)}
        self.observation_space = gym.spaces.Dict(
            {name: gym.spaces.Box(-np.inf, np.inf, shape, np.float64) for name, shape in shapes.items()}
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place, self.speed = self.np_random.uniform(-1, 1, 2)
        return self._obs(), {}

    def step(self, action: np.ndarray) -> Any:
        self.speed = 0.9 * self.speed + 0.1 * float(action[0])
        self.place = self.place + 0.1 * self.speed
        return self._obs(), -abs(self.place), False, False, {}

    def _obs(self) -> dict[str, np.ndarray]:
        position = np.array([np.cos(self.place), np.sin(self.place)])
        return {"position": position, "height": np.array(position[1]), "velocity": np.array([self.speed])}


def _make(size: int = 2, **kwargs: Any) -> gym.Env[Any, Any]:
    return Parts(int(size), **kwargs)


for _name, _odd in (
    *(("Plain", ""), ("Make", "make"), ("Reset", "reset"), ("Step", "step"), ("NoInfo", "no info"), ("Four", "four")),
    *(("Nan", "nan"), ("NanReward", "nan reward"), ("Array", "array"), ("Rewards", "rewards"), ("InPlace", "in place")),
    ("Float64", "float64"),
):
    gym.register(f"own/{_name}-v0", entry_point="own_envs:Point", kwargs={"odd": _odd}, max_episode_steps=10)
gym.register("own/OldApi-v0", entry_point="own_envs:OldApi", max_episode_steps=10)
gym.register("own/Endless-v0", entry_point="own_envs:Point")
gym.register("own/Reach-v0", entry_point="own_envs:Reach", max_episode_steps=15)
gym.register("own/ByFunction-v0", entry_point=_make, kwargs={"size": 2}, max_episode_steps=12)
gym.register("own/ByPartial-v0", entry_point=functools.partial(_make, size=2), max_episode_steps=12)
gym.register("own/ByArray-v0", entry_point=_make, kwargs={"size": np.array(2)}, max_episode_steps=12)
