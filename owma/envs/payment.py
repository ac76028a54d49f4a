"""Which reward functions an environment pays itself."""

from gymnasium.envs.registration import EnvSpec

from owma.envs.ogbench import env_of_reward
from owma.envs.two_routes import TWO_ROUTES_ID

_OF_TWO_ROUTES = ("owma.envs:preferred_route_reward", "owma.envs.two_routes:preferred_route_reward")


def pays(env: EnvSpec, reward: str) -> bool:
    """Whether the rewards of an environment are those of a reward function, by its `module:function`.

    Its episodes need no other judge then, and what it calls success is success in the task.
    """
    if env.id == TWO_ROUTES_ID:
        return reward in _OF_TWO_ROUTES and env.kwargs.get("preferred", "lower") == "lower"
    own = env_of_reward(reward)
    return own is not None and own.kwargs["env_id"] == env.kwargs.get("env_id")
