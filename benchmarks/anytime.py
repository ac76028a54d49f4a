"""What a decision attains when time is short: under a deadline, and with a warm start.

    python benchmarks/anytime.py --json runs/reference/anytime/summary.json

Decisions at the states of one episode after another, in their order, on a two-route model. J of a decision is V/scale −
λ KL of its plan (an upper bound of the divergence of the plan's law); what is attained is J above the trained model's,
as a share of what the default decision of ten steps gains at the same states. The machine should be idle.
"""

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matched import TrainedRun, two_routes

from owma._internal.command import command, enable_compilation_cache, parse
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma._internal.types import Array, Float, PyTree
from owma.config.presets import PRESETS
from owma.envs.make import vector_env
from owma.eval.rollout import run_episodes
from owma.planners import AbstractPlanner, AgentModel, OnlineAdaptation, PlanInfo, PlanResult
from owma.runs.folder import RunFolder, versions


@dataclasses.dataclass(frozen=True)
class Anytime:
    """Deadlines and warm starts."""

    skew: float = 0.02
    """Share of the episodes that take the rare route."""
    seed: int = 1
    """Of the model; settings were chosen on seeds 100 to 102."""
    episodes: int = 5
    """Episodes that the states come from."""
    every: int = 1
    """Steps of an episode between two decisions."""
    deadlines: tuple[float, ...] = (15.0,)
    """Milliseconds."""
    quick: bool = False
    """A model that was hardly trained, one episode: that it runs, not what it shows."""
    runs: Path = Path("runs")
    """Where the trained run is, or goes."""
    json: Path = Path("runs/anytime/summary.json")
    """The baseline; rows and table go beside it."""


_DEFAULT = OnlineAdaptation()

VARIANTS: Mapping[str, OnlineAdaptation] = {
    "10 steps": _DEFAULT,
    "2 steps": dataclasses.replace(_DEFAULT, adaptation_steps=2),
    "2 steps, warm": dataclasses.replace(_DEFAULT, adaptation_steps=2, warm_start=True),
    "10 steps, warm": dataclasses.replace(_DEFAULT, warm_start=True),
}


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(Anytime, prog="python benchmarks/anytime.py", description=__doc__)
    enable_compilation_cache()
    if arguments.quick:
        arguments = dataclasses.replace(arguments, episodes=1, skew=0.2, every=20)
    preset = PRESETS["smoke" if arguments.quick else "two-routes"][1]
    trained = two_routes(preset, arguments.skew, arguments.seed, arguments.runs, open_progress)
    episodes = _states(trained, arguments)
    rows = [
        row
        for name, config in VARIANTS.items()
        for row in _decisions(name, config.build(), trained.run.model, episodes)
    ]
    for deadline_ms in arguments.deadlines:
        rows += _deadline(f"deadline {deadline_ms:g} ms", trained, episodes, deadline_ms)
    _write(arguments, rows)
    show_result(arguments.json)


def _states(trained: TrainedRun, arguments: Anytime) -> list[Float[np.ndarray, "steps obs"]]:
    """Where the default planner goes."""
    assert trained.inputs.env is not None  # the presets evaluate
    agent = trained.run.agent(_DEFAULT, replan_every=10)
    with vector_env(trained.inputs.env, arguments.episodes) as envs:
        episodes = run_episodes(agent, envs, planner_name="10 steps", seed=arguments.seed, timed_decisions=0)
    return list(episodes.observations[:, : -1 : arguments.every])


@eqx.filter_jit
def _decide(
    planner: AbstractPlanner, model: AgentModel, obs: Float[Array, " obs"], state: PyTree, key: Array
) -> tuple[PyTree, PlanInfo]:
    _, state, info = planner.plan(model, obs, state, key=key)
    return state, info


def _decisions(
    name: str, planner: AbstractPlanner, model: AgentModel, episodes: list[Float[np.ndarray, "steps obs"]]
) -> list[dict[str, Any]]:
    rows = []
    jax.block_until_ready(_decide(planner, model, jnp.asarray(episodes[0][0]), planner.init(model), jax.random.key(0)))
    with open_progress(name, sum(map(len, episodes)), 0) as advance:
        for episode, states in enumerate(episodes):
            state = planner.init(model)
            for step, obs in enumerate(states):
                began = time.perf_counter()
                state, info = jax.block_until_ready(_decide(planner, model, jnp.asarray(obs), state, _key(step)))
                ms = 1e3 * (time.perf_counter() - began)
                rows.append(_row(name, episode, model, info, ms))
                advance(1)
    return rows


def _deadline(
    name: str, trained: TrainedRun, episodes: list[Float[np.ndarray, "steps obs"]], deadline_ms: float
) -> list[dict[str, Any]]:
    agent, rows = trained.run.agent(_DEFAULT, deadline_ms=deadline_ms), []
    state = agent.init()
    with open_progress(name, sum(map(len, episodes)), 0) as advance:
        for episode, states in enumerate(episodes):
            for step, obs in enumerate(states):
                began = time.perf_counter()
                _, state, info = agent.act(obs, state, key=_key(step))
                ms = 1e3 * (time.perf_counter() - began)
                rows.append(_row(name, episode, agent.model, info.plan, ms) | {"overrun": bool(info.overrun)})
                advance(1)
    return rows


def _key(step: int) -> Array:
    return jax.random.key(step)


def _row(name: str, episode: int, model: AgentModel, info: PlanInfo, ms: float) -> dict[str, Any]:
    scale = float(model.value_scale)
    assert info.curves is not None
    return {
        "variant": name,
        "episode": episode,
        "ms": ms,
        "gain": (float(info.value) - float(np.mean(info.prior_values))) / scale - _DEFAULT.kl_coef * float(info.kl),
        "steps": int(np.isfinite(info.curves.objective).sum()),
        "fallback": int(info.result) != PlanResult.PLANNED,
    }


def _write(arguments: Anytime, rows: list[dict[str, Any]]) -> None:
    out = RunFolder(arguments.json.parent)
    out.path.mkdir(parents=True, exist_ok=True)
    out.write_jsonl("rows.jsonl", rows)
    whole = float(np.mean([row["gain"] for row in rows if row["variant"] == "10 steps"]))
    lines = [
        "| decision | share of the default's gain | p50 ms | p99 ms | steps p50 | decisions in time % |",
        "|-|" + "-:|" * 5,
    ]
    metrics = []
    for name in dict.fromkeys(row["variant"] for row in rows):
        here = [row for row in rows if row["variant"] == name]
        gains, ms = np.array([row["gain"] for row in here]), np.array([row["ms"] for row in here])
        share, error = gains.mean() / whole, gains.std() / np.sqrt(len(gains)) / whole
        kept = 1 - float(np.mean([row["overrun"] for row in here])) if "overrun" in here[0] else None
        steps = float(np.median([row["steps"] for row in here]))
        lines.append(
            f"| {name} | {share:.3f} ± {error:.3f} | {np.percentile(ms, 50):.1f} | {np.percentile(ms, 99):.1f} | "
            f"{steps:g} | {'–' if kept is None else f'{100 * kept:.1f}'} |"
        )
        metrics.append({"key": f"anytime/{name}/share", "value": share, "unit": "share", "better": "higher"})
        metrics.append(
            {"key": f"anytime/{name}/p50_ms", "value": float(np.median(ms)), "unit": "ms", "better": "lower"}
        )
        metrics.append({"key": f"anytime/{name}/steps", "value": steps, "unit": "steps", "better": "higher"})
        if kept is not None:
            metrics.append({"key": f"anytime/{name}/kept", "value": kept, "unit": "share", "better": "higher"})
    each = len([row for row in rows if row["variant"] == "10 steps"])
    lines += ["", f"{each} decisions of each; ± is one standard error over decisions."]
    (out.path / "table.md").write_text("\n".join(lines) + "\n")
    show_result("\n".join(lines))
    config = dataclasses.asdict(arguments) | {"json": str(arguments.json), "runs": str(arguments.runs)}
    summary = {"metrics": metrics, "machine": versions(), "config": config}
    arguments.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    command(main)
