"""Environments of other packages by the commands alone: recorded, trained on, evaluated in, told a goal, exported."""

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import jax
import numpy as np
import pytest

import owma
import owma.eval.__main__
import owma.inspect
import owma.train.__main__
import owma.transfer.__main__
from owma.envs import make_env

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TINY = (
    *("--training.updates", 20, "--value.updates", 20, "--evaluation.episodes", 2, "--evaluation.timed-decisions", 0),
    *("--evaluation.planners", "static"),
)
BRIEF = ("--episodes", 1, "--timed-decisions", 0)


@pytest.fixture(autouse=True)
def forget() -> Iterator[Callable[[], None]]:
    """Makes of this process one that has not imported `own_envs`; so it is before and after every test."""

    def forget() -> None:
        sys.modules.pop("own_envs", None)
        for name in [name for name in gym.registry if name.startswith("own/")]:
            del gym.registry[name]

    forget()
    yield forget
    forget()


def _record(env_id: str, episodes: int = 8) -> None:
    """Random actions, as Minari writes them; of an environment that a function makes, Minari takes no description."""
    import minari
    import own_envs
    from minari.data_collector import EpisodeBuffer

    del own_envs
    rng, buffers = np.random.default_rng(0), []
    with make_env(gym.spec(env_id)) as env:
        for number in range(episodes):
            states, rewards, done = [env.reset(seed=number)[0]], [], False
            actions: Any = []
            while not done:
                actions.append(rng.uniform(-1, 1, env.action_space.shape).astype(env.action_space.dtype))
                obs, reward, _, done, _ = env.step(actions[-1])
                states.append(obs)
                rewards.append(reward)
            parts = {key: np.stack([state[key] for state in states]) for key in states[0]}
            ends = [False] * (len(actions) - 1)
            buffers.append(
                EpisodeBuffer(
                    id=number,
                    observations=parts,
                    actions=np.stack(actions),  # pyright: ignore[reportArgumentType]  (Minari takes arrays too)
                    rewards=rewards,
                    terminations=[*ends, False],
                    truncations=[*ends, True],
                )
            )
        spec = gym.spec(env_id)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            minari.create_dataset_from_buffers(
                "mine/own-v0",
                buffers,
                env=spec if isinstance(spec.entry_point, str) else None,
                observation_space=env.observation_space,
                action_space=env.action_space,
            )


@pytest.mark.slow
def test_a_goal_environment_of_another_package(invoke, elsewhere: Path, forget) -> None:
    _record("own/Reach-v0")
    forget()
    said = invoke(owma.inspect.main, "mine/own-v0").stdout
    state = "The state is observation (coordinates 0 to 2) and desired_goal (coordinates 3 to 4); achieved_goal is not"
    assert f"{state} read again, it is coordinates 1 to 2" in said
    data = ("smoke", "data:minari-dataset", "--data.dataset", "mine/own-v0", "task:recorded-task-config", *TINY)
    # What only the dataset names is not imported; the refusal says how it is named.
    said = invoke(owma.train.__main__.main, *data).refused()
    assert "--evaluation.env own_envs:own/Reach-v0, or import it with --trust own_envs" in said
    assert "own_envs" not in sys.modules and not Path("runs").exists()
    done = invoke(owma.train.__main__.main, *data, "--evaluation.env", "own_envs:own/Reach-v0", "--name", "reach")
    assert done.code == 0 and state in done.stderr, done.stderr
    forget()
    # A later process knows the environment by its id and module, and imports nothing that it is not told to.
    run = owma.load("runs/reach")
    assert run.env_spec is None and run.obs_keys == ("observation", "desired_goal") and "own_envs" not in sys.modules
    with pytest.raises(owma.ConfigError, match="--env own_envs:own/Reach-v0, or import it with --trust own_envs"):
        gym.make(run.env)
    refused = invoke(owma.eval.__main__.main, "runs/reach", "planner:static", *BRIEF).refused()
    assert "--env own_envs:own/Reach-v0" in refused
    for flags in (("--env", "own_envs:own/Reach-v0"), ("--trust", "own_envs")):
        forget()
        done = invoke(owma.eval.__main__.main, "runs/reach", "planner:static", *BRIEF, *flags)
        assert done.code == 0, done.stderr
    forget()
    goal = ("--task", "goal:0.5,0.5@0.3,0.5,1", "--labels", 100, "--planners", "static")
    done = invoke(owma.transfer.__main__.main, "runs/reach", *goal, "--env", "own_envs:own/Reach-v0", *BRIEF)
    assert done.code == 0 and state in done.stderr, done.stderr
    # Imported by the user, it is known; and the exported agent acts in it, which writes to what it is given.
    run = owma.load("runs/reach")
    with gym.make(run.env) as env:
        agent = owma.load_exported(owma.export_agent(run.agent(owma.Static()), "reach.npz"))
        obs, _ = env.reset(seed=0)
        action, _, _ = agent.act(obs, agent.init(), key=jax.random.key(0))
        env.step(action)


def test_an_environment_that_a_function_makes(invoke, elsewhere: Path, forget) -> None:
    """As all of shimmy's are: kept by its id, its module and its arguments."""
    _record("own/ByPartial-v0")
    data = ("smoke", "data:minari-dataset", "--data.dataset", "mine/own-v0", "task:recorded-task-config", *TINY)
    refused = invoke(owma.train.__main__.main, *data, "--evaluation.env", "own_envs:own/ByArray-v0").refused()
    assert "arguments that a run cannot keep" in refused and not Path("runs").exists()
    forget()
    done = invoke(owma.train.__main__.main, *data, "--evaluation.env", "own_envs:own/ByPartial-v0", "--name", "parts")
    assert done.code == 0, done.stderr
    forget()
    done = invoke(owma.eval.__main__.main, "runs/parts", "planner:static", *BRIEF, "--trust", "own_envs")
    assert done.code == 0, done.stderr
    assert owma.load("runs/parts").env_id == "own/ByPartial-v0"
