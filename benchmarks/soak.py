"""Does an agent stay what it is over a long time? Memory, compilations and latency of very many decisions in a row.

    python benchmarks/soak.py --json runs/soak/summary.json
    python benchmarks/soak.py --run runs/two-routes --json runs/soak/run.json

100,000 decisions of a tiny model with Gaussian outcomes, or 20,000 of a trained run; episodes of `--steps` decisions,
each with a state of its own from `Agent.init`. To be shown: the resident memory of the last nine tenths grows by less
than 1 %, nothing is compiled after the warm-up, and the 99th percentile of a decision's milliseconds in the last tenth
is at most 1.2 times that of the first. The machine should be idle.
"""

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import owma
from owma._internal.command import command, enable_compilation_cache, parse
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma._internal.types import Float
from owma.agent.act import Agent
from owma.outcomes.testbeds import GaussianDenoiser, testbed_policy, testbed_world
from owma.outcomes.value import LinearValue
from owma.planners import AgentModel, OnlineAdaptation
from owma.runs.folder import RunFolder, versions


@dataclasses.dataclass(frozen=True)
class Soak:
    """Many decisions in a row."""

    run: Path | None = None
    """A trained run; by default a tiny model that needs no training."""
    decisions: int | None = None
    """100,000 of the tiny model, 20,000 of a run, unless given."""
    warm_up: int = 200
    """Decisions before anything is measured: programs are compiled, and pools of memory filled."""
    steps: int = 1_000
    """Decisions of an episode."""
    deadline_ms: float | None = None
    """Milliseconds that a decision may take; by default all steps of adaptation are made."""
    warm_start: bool = True
    """Whether a decision goes on from the one before: what could grow, or drift, does so then."""
    quick: bool = False
    """A few hundred decisions: that it runs, not what it shows."""
    json: Path = Path("runs/soak/summary.json")
    """Where the summary goes; samples of memory go beside it."""


_EVERY = 100
"""Decisions between two samples of memory."""


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(Soak, prog="python benchmarks/soak.py", description=__doc__)
    enable_compilation_cache()
    wanted = arguments.decisions or (100_000 if arguments.run is None else 20_000)
    if arguments.quick:
        arguments, wanted = dataclasses.replace(arguments, warm_up=20, steps=50), min(wanted, 300)
    agent = _agent(arguments)
    ms, memory, compiled, counts = _soak(agent, wanted, arguments)
    _write(arguments, ms, memory, compiled, counts)
    show_result(arguments.json)


def _agent(arguments: Soak) -> Agent:
    if arguments.run is not None:
        planner = OnlineAdaptation(warm_start=arguments.warm_start)
        return owma.load(arguments.run).agent(planner, deadline_ms=arguments.deadline_ms)
    mean, variance = jnp.asarray([0.0, 1.0]), jnp.asarray([1.0, 0.5])
    policy = testbed_policy(2, 2, 2)
    value = LinearValue(jnp.asarray([1.0, -1.0]), jnp.zeros(()))
    model = AgentModel(testbed_world(GaussianDenoiser(mean, variance)), policy, value, jnp.ones(()))
    planner = OnlineAdaptation(
        adaptation_steps=2, n_adaptation_samples=8, adapt="all", kl_coef=0.5, warm_start=arguments.warm_start
    )
    return Agent(model, planner.build(), deadline_ms=arguments.deadline_ms)


def _soak(
    agent: Agent, decisions: int, arguments: Soak
) -> tuple[Float[np.ndarray, " decisions"], list[int], int, dict[str, int]]:
    """Milliseconds of each decision, bytes of resident memory every hundred, programs compiled after the warm-up, and
    how often an action was no good, a plan fell back, a decision came late."""
    compiled, measuring = 0, False

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        nonlocal compiled
        del duration_secs
        compiled += measuring and event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(listen)
    observation = agent.model.world.observation
    mean, std = np.asarray(observation.mean), np.asarray(observation.std)
    rng = np.random.default_rng(0)
    keys = jax.random.split(jax.random.key(0), 1_000)
    low, high = np.asarray(agent.model.policy.low), np.asarray(agent.model.policy.high)
    ms, memory = np.empty(decisions), []
    counts = {"fallbacks": 0, "overruns": 0, "clipped": 0, "unsafe": 0}
    state = agent.init()
    with open_progress("soak", arguments.warm_up + decisions, 0) as advance:
        for number in range(-arguments.warm_up, decisions):
            measuring = number >= 0
            if number % arguments.steps == 0:
                state = agent.init()
            obs = (mean + std * rng.standard_normal(mean.shape)).astype(np.float32)
            key = keys[number % len(keys)]
            began = time.perf_counter()
            action, state, info = agent.act(obs, state, key=key)
            took = 1e3 * (time.perf_counter() - began)
            advance()
            if number < 0:
                continue
            ms[number] = took
            counts["fallbacks"] += int(info.plan.result) != 0
            counts["overruns"] += bool(info.overrun)
            counts["clipped"] += bool(info.clipped)
            counts["unsafe"] += not (np.isfinite(action).all() and (action >= low).all() and (action <= high).all())
            if number % _EVERY == 0:
                memory.append(_resident())
    return ms, memory, compiled, counts


def _resident() -> int:
    """Bytes of this process in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _write(
    arguments: Soak, ms: Float[np.ndarray, " decisions"], memory: list[int], compiled: int, counts: dict[str, int]
) -> None:
    tenth = max(1, len(ms) // 10)
    first, last = (float(np.percentile(part, 99)) for part in (ms[:tenth], ms[-tenth:]))
    # Means of a tenth of the samples each: one sample may fall on a pause of the collector.
    begin = len(memory) // 10
    share = max(1, len(memory) // 10)
    before, after = float(np.mean(memory[begin : begin + share])), float(np.mean(memory[-share:]))
    metrics = [
        ("soak/memory_growth", 100 * (after / before - 1), "%", "lower"),
        ("soak/memory_after_mib", after / 2**20, "MiB", "lower"),
        ("soak/compilations", compiled, "programs", "lower"),
        ("soak/p99_first_ms", first, "ms", "lower"),
        ("soak/p99_last_ms", last, "ms", "lower"),
        ("soak/p99_ratio", last / first, "ratio", "lower"),
        *((f"soak/{name}", count, "decisions", "lower") for name, count in counts.items()),
    ]
    config = dataclasses.asdict(arguments) | {"decisions": len(ms)}
    out = RunFolder(arguments.json.parent)
    out.path.mkdir(parents=True, exist_ok=True)
    out.write_jsonl(
        f"{arguments.json.stem}_memory.jsonl",
        ({"decision": _EVERY * i, "resident_bytes": sample} for i, sample in enumerate(memory)),
    )
    summary = {
        "metrics": [
            {"key": key, "value": value, "unit": unit, "better": better} for key, value, unit, better in metrics
        ],
        "machine": versions(),
        "config": json.loads(json.dumps(config, default=str)),
    }
    out.write_json(arguments.json.name, summary)


if __name__ == "__main__":
    command(main)
