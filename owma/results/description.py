"""What a run works on, in words: what every command says before it begins."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

    from owma.data import OfflineDataset


def describe_data(dataset: "OfflineDataset") -> str:
    """Which data they are, how many, how their episodes ended, and what a state and an action are made of."""
    transitions = dataset.transitions
    episodes, terminated = int(transitions.ends.sum()), int(transitions.terminated.sum())
    keys = f" ({' and '.join(dataset.obs_keys)})" if dataset.obs_keys else ""
    return (
        f"{dataset.dataset_id}: {len(transitions):,} transitions in {episodes:,} episodes, {terminated:,} terminated "
        f"and {episodes - terminated:,} cut; observations of {transitions.obs.shape[1]} numbers{keys}, actions of "
        f"{transitions.action.shape[1]}"
    )


def describe_env(env: "EnvSpec | None") -> str:
    """Where planners act, and for how long."""
    if env is None:
        return "none; nothing is evaluated"
    limit = env.max_episode_steps
    return f"{env.id}, {'no limit of steps of its own' if limit is None else f'{limit:,} steps'}"
