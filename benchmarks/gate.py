"""Whether something became slower: key ratios of this checkout, held against the committed ones.

    python benchmarks/gate.py

Ratios of programs that take turns in one process, so that they hold on machines that differ twofold: a decision over
its floor, over a bare scan and over one with a linear value; throughput of many over one; a fresh process's first
decision over its imports; an update with ten times the data. Exits with 1 where one is worse than the committed one by
more than its tolerance. After a change that is meant to cost, keep what it measures as the new baseline: `--keep`.
"""

import dataclasses
import json
import statistics
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from adaptation_latency import Products, bare, compiled, decision, shipped, timed
from cold_start import start_process
from training_throughput import updates_of, walks

from owma._internal.command import command, enable_compilation_cache, parse
from owma._internal.cores import usable_cores
from owma._internal.errors import ConfigError
from owma._internal.stdout import show_result
from owma._internal.types import Array, Float, PyTree
from owma.agent.export import export_agent
from owma.config.presets import PRESETS
from owma.demo.model import demo_agent
from owma.diffusion import FiLMDenoiser
from owma.outcomes.pessimism import recorded_outcomes
from owma.planners import OnlineAdaptation, RandomShooting
from owma.runs.folder import versions

_BASELINE = Path(__file__).parent.parent / "runs" / "reference" / "gate" / "summary.json"
_MANY = 32


@dataclasses.dataclass(frozen=True)
class Gate:
    """Key ratios, held against a baseline."""

    rounds: int = 40
    """Of each program."""
    quick: bool = False
    """Three rounds, and no verdict: that it runs, not what it shows."""
    keep: bool = False
    """Write what was measured as the new baseline, and hold it against nothing."""
    baseline: Path = _BASELINE
    """What is compared with, and where `--keep` writes."""
    json: Path = Path("runs/gate/summary.json")
    """Where what was measured goes."""


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A ratio that should not get worse."""

    value: float
    lower_is_better: bool = True
    tolerance: float = 0.15
    """How much worse it may be, as a share of the committed one: about what repeats on one machine differ by."""

    def is_worse(self, than: float) -> bool:
        """Whether it is worse than a committed value by more than its tolerance."""
        worsening = self.value / than if self.lower_is_better else than / self.value
        return worsening > 1 + self.tolerance


def main() -> None:
    """Parse, measure, compare, print the file."""
    arguments = parse(Gate, prog="python benchmarks/gate.py", description=__doc__)
    enable_compilation_cache()
    rounds = 3 if arguments.quick else arguments.rounds
    is_compared = not (arguments.keep or arguments.quick)
    if is_compared and not arguments.baseline.exists():
        raise ConfigError(f"There is no baseline at {arguments.baseline}; measure one with --keep.")
    ratios = _decisions(rounds) | _many(max(rounds // 4, 2)) | _cold_start(1 if arguments.quick else 3)
    ratios |= _flatness(rounds)
    known = _read(arguments.baseline) if is_compared else {}
    if is_compared and (other := known.keys() ^ ratios.keys()):
        raise ConfigError(f"{arguments.baseline} has other ratios ({', '.join(sorted(other))}); renew it with --keep.")
    worse = [name for name, ratio in ratios.items() if name in known and ratio.is_worse(known[name])]
    lines = ["| ratio | here | committed | tolerance | |", "|-|-:|-:|-:|-|"]
    for name, ratio in ratios.items():
        committed = f"{known[name]:.3g}" if name in known else "–"
        verdict = "worse" if name in worse else ""
        lines.append(f"| {name} | {ratio.value:.3g} | {committed} | {100 * ratio.tolerance:.0f} % | {verdict} |")
    show_result("\n".join(lines))
    for path in (arguments.json, arguments.baseline) if arguments.keep else (arguments.json,):
        _write(path, ratios, rounds)
    show_result(arguments.json)
    if worse:
        raise SystemExit(1)


def _read(path: Path) -> dict[str, float]:
    return {metric["key"]: metric["value"] for metric in json.loads(path.read_text())["metrics"]}


def _write(path: Path, ratios: Mapping[str, Ratio], rounds: int) -> None:
    metrics: list[dict[str, Any]] = [
        {"key": name, "value": ratio.value, "unit": "ratio", "better": "lower" if ratio.lower_is_better else "higher"}
        for name, ratio in ratios.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"| {name} | {ratio.value:.3g} | {100 * ratio.tolerance:.0f} % |" for name, ratio in ratios.items()]
    (path.parent / "table.md").write_text("\n".join(["| ratio | | tolerance |", "|-|-:|-:|", *lines]) + "\n")
    summary = {"metrics": metrics, "machine": versions(), "config": {"rounds": rounds}}
    path.write_text(json.dumps(summary, indent=1) + "\n")


def _over(times: Mapping[str, Float[np.ndarray, " rounds"]], name: str, other: str, **about: Any) -> Ratio:
    """The median of the ratios of each round: the two took turns, and what slowed one slowed the other."""
    return Ratio(float(np.median(times[name] / times[other])), **about)


def _decisions(rounds: int) -> dict[str, Ratio]:
    model, ours = shipped(), OnlineAdaptation()
    kept, denoiser = recorded_outcomes(model.value), model.world.denoiser
    assert kept is not None and isinstance(denoiser, FiLMDenoiser)
    programs = {
        "ours": decision(ours, model),
        "floor": Products.of_adaptation(ours, model.world.chain.num_transitions, len(kept)).program(denoiser.net),
        "scan": bare(ours, model),
        "linear": decision(dataclasses.replace(ours, proposals=0), shipped(is_linear=True)),
        "shooting": decision(RandomShooting(), model),
    }
    times = timed(programs, rounds, "decisions")
    return {
        "decision over its floor": _over(times, "ours", "floor"),
        "decision over a bare scan": _over(times, "ours", "scan"),
        "decision over one with a linear value and no proposals": _over(times, "ours", "linear"),
        "1,000 draws over a decision": _over(times, "shooting", "ours"),
    }


def _many(rounds: int) -> dict[str, Ratio]:
    model, shooting = shipped(), RandomShooting(num_samples=32).build()

    def together(obs: Float[Array, "n obs"], keys: Array) -> PyTree:
        return jax.vmap(lambda o, k: shooting.plan(model, o, None, key=k))(obs, keys)

    def batch(n: int) -> tuple[Float[Array, "n obs"], Array]:
        return jnp.ones((n, model.world.observation.mean.shape[0])), jax.random.split(jax.random.key(0), n)

    single = decision(OnlineAdaptation(), model)
    with ThreadPoolExecutor(usable_cores()) as pool:

        def on_all_cores() -> PyTree:
            return list(pool.map(lambda _: jax.block_until_ready(single.call()), range(_MANY)))

        programs = {
            "shooting": compiled(together, *batch(1)),
            "many shooting": compiled(together, *batch(_MANY)),
            "decision": single,
            "many decisions": dataclasses.replace(single, function=on_all_cores, arguments=()),
        }
        times = timed(programs, rounds, "many agents")
    # Decisions a second, of many over one.
    gains = {
        "throughput of 32 agents that shoot, over one": ("shooting", "many shooting"),
        "throughput of 32 agents that adapt, on all cores, over one": ("decision", "many decisions"),
    }
    return {
        name: Ratio(_MANY * float(np.median(times[one] / times[many])), lower_is_better=False)
        for name, (one, many) in gains.items()
    }


def _cold_start(repeats: int) -> dict[str, Ratio]:
    """Of the model that comes with owma, exported, in processes of its own with a warm cache."""
    agent = demo_agent()
    with tempfile.TemporaryDirectory() as scratch:
        cache, file = Path(scratch) / "programs", export_agent(agent, Path(scratch) / "agent.npz")
        rows = [start_process("exported", Path(scratch), file, agent.obs_size, cache) for _ in range(repeats + 1)]
    # The first fills the cache.
    ratio = statistics.median(row["first_decision_s"] / row["imports_s"] for row in rows[1:])
    return {"first decision of an exported agent over its imports": Ratio(ratio, tolerance=0.3)}


def _flatness(rounds: int) -> dict[str, Ratio]:
    training = PRESETS["two-routes"][1].training
    programs = {f"{rows}": updates_of(walks(rows), training, 10) for rows in (200_000, 2_000_000)}
    times = timed(programs, max(rounds // 4, 2), "updates")
    return {"update with 2e6 transitions over 2e5": _over(times, "2000000", "200000")}


if __name__ == "__main__":
    command(main)
