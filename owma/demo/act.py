"""Episodes of the demo's model in the simulator, with and without adaptation, as a table."""

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from owma.agent.act import Agent
from owma.envs.make import vector_env
from owma.envs.two_routes import TWO_ROUTES_ID
from owma.eval.rollout import run_episodes

if TYPE_CHECKING:
    from rich.table import Table


def let_act(agents: dict[str, Agent], episodes: int, *, seed: int, most_steps: int) -> list[dict[str, Any]]:
    """The rows of `episodes` episodes of each of the agents, by the names that they are given."""
    rows = []
    for name, agent in agents.items():
        with vector_env(gym.spec(TWO_ROUTES_ID), episodes, most_steps=most_steps) as envs:
            rows += run_episodes(agent, envs, planner_name=name, seed=seed).rows
    return rows


def acting_table(rows: list[dict[str, Any]]) -> "Table":
    """What the page shows, of episodes that were acted just now."""
    from rich.table import Table

    table = Table("model", "took the lower way", "promised reward", "nats", "ms a decision")
    for name in dict.fromkeys(row["planner"] for row in rows):
        own = [row for row in rows if row["planner"] == name]
        means = [f"{np.mean([row[key] for row in own]):.1f}" for key in ("value", "kl", "ms_p50")]
        table.add_row(name, f"{sum(row['success'] for row in own)} of {len(own)}", *means)
    return table
