"""Which environment the reward functions of this package were written for."""

from gymnasium.envs.registration import EnvSpec

_HOMES = {
    "owma.envs:preferred_route_reward": "TwoRoutes",
    "owma.envs.two_routes:": "TwoRoutes",
    "owma.envs.hopper:": "Hopper",
    "owma.envs.kitchen:": "Kitchen",
}
"""Beginnings of `module:function`, and what the environment's id has in it. OGBench's are known by `env_of_reward`."""


def foreign_reward(reward: str, env: EnvSpec) -> str | None:
    """Why a reward, by its `module:function`, is not of the environment; `None` where it may be.

    Functions of other modules are taken to be of any environment: whoever wrote them knows what they read.
    """
    for beginning, name in _HOMES.items():
        if reward.startswith(beginning) and name not in env.id:
            return (
                f"The reward {reward} reads the observations of {name}, and the environment is {env.id!r}, whose "
                "numbers mean something else."
            )
    return None
