"""How far does the ant come that AntMaze's data are recorded of? What an agent that imitates it can hope for.

    python benchmarks/demonstrator.py --json runs/demonstrator/summary.json

It is told the way, waypoint by waypoint, as no agent is: from the start and to the goal of the evaluation, in the very
episodes that `owma.train` and `owma.sweep` evaluate in. Once as it is recorded, once without the noise on its actions.
An ant that falls on its back does not get up again; that is how it fails.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from owma._internal.command import command, parse
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma.collect.ant_maze import WaypointAnt, environments, is_on_its_back
from owma.config.data import AntMazeCollect
from owma.envs import MazeMap
from owma.results.intervals import counted, interval
from owma.runs.folder import RunFolder, versions


@dataclasses.dataclass(frozen=True)
class Demonstrator:
    """The ant that data are recorded of, from start to goal of the evaluation."""

    mazes: tuple[Literal["umaze", "medium", "large"], ...] = ("umaze", "medium")
    """Which."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Of the evaluations whose episodes these are."""
    episodes: int = 32
    """Of each seed."""
    quick: bool = False
    """Two episodes in one maze: that it runs, not what it shows."""
    json: Path = Path("runs/demonstrator/summary.json")
    """The baseline; rows and table go beside it."""


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(Demonstrator, prog="python benchmarks/demonstrator.py", description=__doc__)
    if arguments.quick:
        arguments = dataclasses.replace(arguments, mazes=("umaze",), seeds=(1,), episodes=2)
    noises = (AntMazeCollect.action_noise, 0.0)
    rows = []
    total = len(arguments.mazes) * len(noises) * len(arguments.seeds) * arguments.episodes
    with open_progress("walking", total, 0) as advance:
        for maze in arguments.mazes:
            spec = environments(AntMazeCollect(maze=maze))[1]
            env, maze_map = gym.make(spec, disable_env_checker=True), spec.kwargs["maze_map"]
            for noise in noises:
                for seed in arguments.seeds:
                    for episode in range(arguments.episodes):
                        row = {"maze": maze, "action_noise": noise, "seed": seed, "episode": episode}
                        rows.append(row | _walk(env, maze_map, noise, seed, episode))
                        advance(1)
            env.close()
    _write(arguments, rows)


def _walk(env: gym.Env[Any, Any], maze_map: MazeMap, noise: float, seed: int, episode: int) -> dict[str, Any]:
    """One episode, until the ant arrives, lies on its back, or the time is up."""
    obs, _ = env.reset(seed=1000 * seed + episode)
    ant = WaypointAnt(maze_map, obs, noise, np.random.default_rng((seed, episode)))
    arrived = fallen = over = False
    steps = 0
    while not (arrived or fallen or over):
        obs, _, terminated, truncated, info = env.step(ant.act(obs))
        arrived, fallen, over = bool(info["success"]), is_on_its_back(obs["observation"]), terminated or truncated
        steps += 1
    return {"success": arrived, "fallen": fallen and not arrived, "steps": steps}


def _write(arguments: Demonstrator, rows: list[dict[str, Any]]) -> None:
    out = RunFolder(arguments.json.parent)
    out.path.mkdir(parents=True, exist_ok=True)
    out.write_jsonl("rows.jsonl", rows)
    text, metrics = table(rows)
    (out.path / "table.md").write_text(text)
    show_result(text, end="")
    config = {"mazes": arguments.mazes, "seeds": arguments.seeds, "episodes": arguments.episodes}
    arguments.json.write_text(
        json.dumps({"metrics": metrics, "machine": versions(), "config": config}, indent=1) + "\n"
    )
    show_result(arguments.json)


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The Markdown table, and the numbers of the summary; nothing is trained, so seeds are of start states only."""
    lines = [
        "| maze | noise | episodes | success % [95 %] | on its back % | steps to the goal, median |",
        "|-|-:|-:|-:|-:|-:|",
    ]
    metrics = []
    for maze, noise in dict.fromkeys((row["maze"], row["action_noise"]) for row in rows):
        episodes = [row for row in rows if (row["maze"], row["action_noise"]) == (maze, noise)]
        success = np.array([row["success"] for row in episodes], float)
        low, high = interval(success, [row["seed"] for row in episodes], bounds=(0.0, 1.0)) or (np.nan, np.nan)
        took = [row["steps"] for row in episodes if row["success"]]
        fallen = np.mean([row["fallen"] for row in episodes])
        share = f"{100 * success.mean():.0f} [{100 * low:.0f}, {100 * high:.0f}]"
        median = f"{np.median(took):.0f}" if took else "–"
        lines.append(f"| {maze} | {noise:g} | {len(episodes)} | {share} | {100 * fallen:.0f} | {median} |")
        metrics.append(
            {"key": f"success/{maze}, noise {noise:g}", "value": success.mean(), "unit": "share", "better": "higher"}
        )
    seeds = counted(len({row["seed"] for row in rows}), "seed")
    kind = f"bootstrap that resamples the {seeds} of start states, then episodes within them, widened for few seeds"
    lines += ["", f"[95 %]: {kind}."]
    return "\n".join(lines) + "\n", metrics


if __name__ == "__main__":
    command(main)
