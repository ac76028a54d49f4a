"""Behaviour data of Gymnasium's Hopper-v5 without a network: a mixture of policies for four tasks, and random actions.

One dataset, and one run that is trained on it, serves all four (`owma.envs.hopper`). The policies are those of
`owma.collect.hopper_policies`: of each task three, that an early, a middle and the last stage of a search have reached.
"""

import copy
from collections.abc import Callable

import gymnasium as gym
import numpy as np

from owma._internal.errors import ConfigError
from owma._internal.types import Float
from owma.collect.claim import OnSteps, check_positive, missing, num_steps, recorder_for
from owma.collect.hopper_policies import HOPPER_ID, LinearPolicies, load_policies, search_policies
from owma.collect.recorder import Recorder
from owma.config.data import HopperCollect

POLICIES_KEY = "owma_policies"
"""The entry of a dataset's metadata that tells of each policy its task, stage, seed, generation, return and steps."""
POLICIES_FILE = "policies.npz"
"""In the dataset's folder: the policies."""

_RANDOM_LENGTH = 22.7
"""Mean steps until uniformly random actions end in a fall."""


def collect_hopper(config: HopperCollect, progress: OnSteps | None = None) -> str:
    """Search for policies, or take those given; then collect episodes of them, one policy drawn for each.

    They are drawn so that each is to fill as many steps as any other, however soon it falls. The option `policy` of an
    episode's reset says whose it is: a number in `POLICIES_FILE`, or -1 for random actions. Rewards are Hopper-v5's
    own; an episode terminates with a fall. Evaluations are of Hopper-v5.

    **Arguments:**

    - `config`: the settings.
    - `progress`: called after every generation of a search and after every episode.

    **Returns:** the Minari id. A dataset of that id and these settings is reused, unless `config.overwrite`.

    **Raises:** `ConfigError` for values out of range, a file that holds no policies, and a search without the package
    `cma`; `DatasetError` if the id is taken by other data.
    """
    check_positive(config, "steps", "search_steps")
    if not 0 <= config.random_share < 1:
        raise ConfigError(f"--random-share is a share of the steps, from 0 to below 1; got {config.random_share}.")
    with missing(config, progress) as is_missing:
        if is_missing:
            given = None if config.policies is None else load_policies(config.policies)
            _collect(config, given, progress or _nobody)
    return config.name


def _nobody(done: int, total: int) -> None:
    del done, total


def _collect(config: HopperCollect, given: LinearPolicies | None, progress: Callable[[int, int], None]) -> None:
    total = num_steps(config)
    searched = total - config.steps
    env, eval_env = gym.make(HOPPER_ID, disable_env_checker=True), copy.deepcopy(gym.spec(HOPPER_ID))
    assert eval_env.max_episode_steps is not None
    description = "Hopper-v5: policies for forward, backward, stand and jump at three stages, and random actions."
    algorithm = "linear policies found by CMA-ES, Gaussian action noise; uniformly random actions"
    with recorder_for(config, env, eval_env, description, algorithm) as recorder:
        policies = given or search_policies(
            recorder.folder,
            seed=config.seed,
            steps=config.search_steps,
            action_noise=config.action_noise,
            progress=lambda done: progress(done, total),
        )
        policies.save(recorder.folder / POLICIES_FILE)
        recorder.files.append(recorder.folder / POLICIES_FILE)
        recorder.notes[POLICIES_KEY] = policies.rows()
        shares = _shares(policies, config.random_share)
        rng = np.random.default_rng(config.seed)
        recorder.resume(rng)
        while recorder.num_steps < config.steps:
            steps = min(eval_env.max_episode_steps, config.steps - recorder.num_steps)
            _roll(recorder, policies, int(rng.choice(len(shares), p=shares)) - 1, steps, config.action_noise, rng)
            progress(searched + recorder.num_steps, total)


def _shares(policies: LinearPolicies, random_share: float) -> Float[np.ndarray, " behaviours"]:
    """Of episodes: of random actions first, then of each policy, the fewer the longer its episodes are."""
    of_steps = np.array([random_share, *[(1 - random_share) / len(policies.steps)] * len(policies.steps)])
    episodes = of_steps / np.array([_RANDOM_LENGTH, *policies.steps])
    return episodes / episodes.sum()


def _roll(
    recorder: Recorder,
    policies: LinearPolicies,
    policy: int,
    steps: int,
    action_noise: float,
    rng: np.random.Generator,
) -> None:
    """One episode, until it terminates or `steps` are done; of random actions if `policy` is -1."""
    obs = recorder.reset(seed=int(rng.integers(2**31)), options={"policy": np.array(policy)})
    is_random = policy < 0
    drawn = rng.uniform(-1.0, 1.0, (steps, 3)) if is_random else rng.normal(0.0, action_noise, (steps, 3))
    for row in drawn:
        action = row if is_random else policies.act(policy, obs) + row
        obs = recorder.step(np.minimum(np.maximum(action, -1.0), 1.0).astype(np.float32))
        if recorder.has_ended:
            break
    recorder.keep(rng)
