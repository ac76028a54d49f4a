"""How long a decision takes, and how much of it is arithmetic that the algorithm needs.

    python benchmarks/adaptation_latency.py --json runs/reference/latency/summary.json

Single decisions of every planner by the default value; adaptation beside its floor (its passes through the network as
matrix products alone, in their shapes), beside a bare `lax.scan` of the same arithmetic without diffrax, beside the
published configuration, and beside itself with a linear value and no proposals, as it was at commit 58c66c1; and how
the latency grows with steps, draws, levels and width, and the throughput with the batch. What is compared takes turns
in one process, on the networks of the default preset (untrained: what numbers they hold makes no difference to the
time).
Groups of rows are kept as they are measured; a campaign that was stopped goes on with the next group.
"""

import dataclasses
import json
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matched import SCALED, settle
from published import published_model

from owma._internal.command import command, enable_compilation_cache, parse
from owma._internal.cores import usable_cores
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma._internal.types import Array, Float, PyTree
from owma.config.json import to_json
from owma.config.presets import PRESETS
from owma.diffusion import FiLMDenoiser
from owma.diffusion.nets import FiLMNet
from owma.outcomes.kernel import KernelValue
from owma.outcomes.pessimism import LowerBound, recorded_outcomes
from owma.outcomes.value import AbstractValue, LinearValue
from owma.planners import (
    PLANNERS,
    PUBLISHED,
    AbstractPlanner,
    AbstractPlannerConfig,
    AgentModel,
    OnlineAdaptation,
    RandomShooting,
)
from owma.results import plots
from owma.runs.folder import RunFolder, versions
from owma.runs.parts import skeleton

_OBS, _ACTIONS, _PSI = 4, 2, 7
"""Sizes of the two-route model."""

_SWEEPS: Mapping[str, Sequence[int]] = {
    "adaptation steps": (0, 2, 5, 10, 20),
    "draws": (8, 16, 32, 64, 128),
    "levels": (5, 10, 20),
    "width": (32, 64, 128, 256),
}
_BATCHES = (1, 4, 16, 32, 64)
_BATCHED: Mapping[str, AbstractPlannerConfig] = {
    "online_adaptation": OnlineAdaptation(),
    "random_shooting_32": RandomShooting(num_samples=32),
}

_PUBLISHED_STEPS = 2
"""Adaptation steps of the published configuration that are timed; a decision has ten."""


@dataclasses.dataclass(frozen=True)
class Latency:
    """Milliseconds of decisions."""

    decisions: int = 200
    """Of each row."""
    quick: bool = False
    """Few decisions, three planners, no sweeps: that it runs, not what it shows."""
    json: Path = Path("runs/latency/summary.json")
    """The baseline; rows, table and picture go beside it."""


@dataclasses.dataclass(frozen=True)
class Program:
    """Something compiled, and what it is called with."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    compile_s: float
    memory_mb: float
    """Of temporaries."""

    def call(self) -> Any:
        return self.function(*self.arguments)


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(Latency, prog="python benchmarks/adaptation_latency.py", description=__doc__)
    enable_compilation_cache()
    # A warm cache would hide what compilation takes.
    jax.config.update("jax_enable_compilation_cache", False)
    out = RunFolder(arguments.json.parent)
    settings = {"decisions": arguments.decisions, "quick": arguments.quick, "adaptation": to_json(OnlineAdaptation())}
    settle(out, settings | {"versions": versions()})
    rows = out.read_jsonl("rows.jsonl", drop_torn=True) if (out.path / "rows.jsonl").exists() else []
    for group, measure in _groups(arguments):
        if any(row["group"] == group for row in rows):
            continue
        # Whole groups only: what is compared was measured together.
        rows += measure()
        out.write_jsonl("rows.jsonl", rows)
        jax.clear_caches()
    _write(arguments, out, rows)
    show_result(arguments.json)


def _groups(arguments: Latency) -> Iterator[tuple[str, Callable[[], list[dict[str, Any]]]]]:
    rounds = 10 if arguments.quick else arguments.decisions
    yield "planners", lambda: _planners(rounds, quick=arguments.quick)
    if arguments.quick:
        return
    yield "published", _published
    for name, config in _BATCHED.items():
        yield f"batch, {name}", lambda name=name, config=config: _batches(name, config, max(rounds // 20, 1))
    for axis in _SWEEPS:
        yield axis, lambda axis=axis: _sweep(axis, max(rounds // 4, 1))


def shipped(*, width: int | None = None, num_steps: int | None = None, is_linear: bool = False) -> AgentModel:
    """The default preset's networks, with numbers that mean nothing; `is_linear`: with a linear value."""
    preset = PRESETS["two-routes"][1]
    world = dataclasses.replace(
        preset.world, width=width or preset.world.width, solver_steps=num_steps or preset.world.solver_steps
    )
    parts = skeleton(dataclasses.replace(preset, world=world), _OBS, _ACTIONS, _PSI)
    model = parts.agent_model("linear" if is_linear else preset.value.kind)
    three, linear = jnp.full(_PSI, 3.0), LinearValue(jnp.ones(_PSI), jnp.asarray(0.0))
    value = linear if is_linear else _with_linear(model.value, linear)
    return eqx.tree_at(lambda m: (m.world.chain.low, m.world.chain.high, m.value), model, (-three, three, value))


def _with_linear(value: AbstractValue, linear: LinearValue) -> LowerBound:
    """The default's bound, untrained, over a linear value that is not zero."""
    assert isinstance(value, LowerBound) and isinstance(value.linear, KernelValue)
    return eqx.tree_at(lambda bound: bound.linear.linear, value, linear)


def decision(config: AbstractPlannerConfig, model: AgentModel) -> Program:
    """One decision of a planner, compiled."""

    def decide(planner: AbstractPlanner, model: AgentModel, obs: Float[Array, " obs"], key: Array) -> PyTree:
        return planner.plan(model, obs, planner.init(model), key=key)

    return compiled(decide, config.build(), model, jnp.ones(_OBS), jax.random.key(0))


def compiled(function: Callable, *args: Any) -> Program:
    """`function` compiled for `args`."""
    jitted: Any = eqx.filter_jit(function)
    began = time.perf_counter()
    program = jitted.lower(*args).compile()
    seconds = time.perf_counter() - began
    memory = program.compiled.memory_analysis().temp_size_in_bytes / 1e6
    return Program(program, args, seconds, memory)


def bare(config: AbstractPlannerConfig, model: AgentModel) -> Program:
    """The same decision, its chains run by `lax.scan` alone."""

    def scanned(term: Any, solver: Any, *, t0: float, t1: float, y0: PyTree, adjoint: Any, **about: Any) -> Any:
        del about

        def step(state: PyTree, t: Array) -> tuple[PyTree, PyTree]:
            state, *_ = solver.step(term, t, t + 1, state, None, None, made_jump=False)
            return state, state

        _, states = jax.lax.scan(step, y0, jnp.arange(t0, t1, dtype=jnp.float32), unroll=adjoint.unroll)
        return types.SimpleNamespace(
            ys=jax.tree.map(lambda start, rest: jnp.concatenate([start[None], rest]), y0, states)
        )

    with mock.patch.object(diffrax, "diffeqsolve", scanned):
        return decision(config, model)


@dataclasses.dataclass(frozen=True)
class Products:
    """Passes through the network that a decision cannot do without, none of them done twice."""

    passes: Mapping[int, int]
    """By the number of draws in a pass: passes that must wait for one another, level after level."""

    @classmethod
    def of_adaptation(cls, config: OnlineAdaptation, levels: int, kept: int) -> "Products":
        """For the default settings: the filter `readout`, whose metric needs no product, and the path KL.

        A step draws, φ and φ + Δφ sharing the network, and goes back. The plan is chosen from draws of both, in one
        pass of twice as many rows, which counts as two, and from proposals, for which each of the `kept` outcomes is
        judged at one level.
        """
        passes = {config.n_adaptation_samples: levels * (2 * config.adaptation_steps + 2)}
        for draws, more in ((config.proposals, levels), (kept, 1)) if config.proposals and kept else ():
            passes[draws] = passes.get(draws, 0) + more
        return cls(passes)

    def program(self, net: FiLMNet) -> Program:
        layers = [net.trunk_in.weight, *(layer.weight for layer in net.trunk), net.trunk_out.weight]

        def there_and_back(x: Float[Array, "rows x"], _: None) -> tuple[Float[Array, "rows x"], None]:
            for weight in layers:
                x = x @ weight.T
            for weight in reversed(layers):
                x = x @ weight
            return x, None

        def products(*starts: Float[Array, "_ x"]) -> list[Array]:
            # A pass has as many products there as back; an odd one more is half of a round.
            return [
                jax.lax.scan(there_and_back, x, None, length=-(-passes // 2))[0]
                for x, passes in zip(starts, self.passes.values(), strict=True)
            ]

        return compiled(products, *(jnp.zeros((rows, layers[0].shape[1])) for rows in self.passes))


def timed(programs: Mapping[str, Program], rounds: int, label: str) -> dict[str, Float[np.ndarray, " rounds"]]:
    """Milliseconds of each program, in turns, so that none has the machine to itself."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    with open_progress(label, rounds, 0) as advance:
        for i in range(rounds + 1):
            for name, program in programs.items():
                began = time.perf_counter()
                jax.block_until_ready(program.call())
                # The first round makes buffers.
                if i > 0:
                    times[name].append(1e3 * (time.perf_counter() - began))
            if i > 0:
                advance(1)
    return {name: np.array(values) for name, values in times.items()}


def _row(group: str, name: str, times: Float[np.ndarray, " rounds"], program: Program, **more: Any) -> dict[str, Any]:
    p50, p95, p99 = (float(np.percentile(times, q)) for q in (50, 95, 99))
    row = {"group": group, "name": name, "ms_p50": p50, "ms_p95": p95, "ms_p99": p99, "decisions": len(times)}
    return row | {"compile_s": program.compile_s, "memory_mb": program.memory_mb} | more


def _planners(rounds: int, *, quick: bool) -> list[dict[str, Any]]:
    model, ours = shipped(), OnlineAdaptation()
    planners: dict[str, AbstractPlannerConfig] = dict(PLANNERS)
    if quick:
        planners = {name: planners[name] for name in ("static", "random_shooting", "online_adaptation")}
    else:
        planners |= {name: make(1.0) for name, make in SCALED.items() if name not in planners}
        planners["adaptation_warm"] = dataclasses.replace(ours, adaptation_steps=2, warm_start=True)
    levels = model.world.chain.num_transitions
    denoiser = model.world.denoiser
    assert isinstance(denoiser, FiLMDenoiser)
    programs = {name: decision(config, model) for name, config in planners.items()}
    kept = recorded_outcomes(model.value)
    assert kept is not None
    programs["adaptation_floor"] = Products.of_adaptation(ours, levels, len(kept)).program(denoiser.net)
    programs["adaptation_bare_scan"] = bare(ours, model)
    programs["adaptation_linear"] = decision(dataclasses.replace(ours, proposals=0), shipped(is_linear=True))
    times = timed(programs, rounds, "planners")
    passes = {name: int(programs[name].call()[2].nfe) for name in planners}
    rows = [_row("planners", name, times[name], programs[name], nfe=passes.get(name)) for name in programs]
    return rows


def _published() -> list[dict[str, Any]]:
    """The published configuration takes too long for ten steps: what one takes follows from two and none."""
    heavy, reference = published_model(shipped(), key=jax.random.key(0)), {}
    for steps in (0, _PUBLISHED_STEPS):
        program = decision(dataclasses.replace(PUBLISHED, adaptation_steps=steps), heavy)
        reference[steps] = (timed({"published": program}, 2, f"published, {steps} steps")["published"], program)
    none, some = (float(np.median(reference[steps][0])) for steps in (0, _PUBLISHED_STEPS))
    whole = none + (some - none) * PUBLISHED.adaptation_steps / _PUBLISHED_STEPS
    return [_row("published", "published_unet", np.array([whole]), reference[_PUBLISHED_STEPS][1], scaled=True)]


def _sweep(axis: str, rounds: int) -> list[dict[str, Any]]:
    ours, programs = OnlineAdaptation(), {}
    for value in _SWEEPS[axis]:
        config, model = ours, shipped()
        if axis == "adaptation steps":
            config = dataclasses.replace(ours, adaptation_steps=value)
        elif axis == "draws":
            config = dataclasses.replace(ours, n_adaptation_samples=value)
        else:
            model = shipped(width=value) if axis == "width" else shipped(num_steps=value)
        programs[f"{value}"] = decision(config, model)
    times = timed(programs, rounds, axis)
    return [_row(axis, name, times[name], program) for name, program in programs.items()]


def _batches(name: str, config: AbstractPlannerConfig, rounds: int) -> list[dict[str, Any]]:
    """Decisions a second: many in one program, beside as many single ones on all cores, as `owma.eval.rollout` has
    them.
    """
    model, planner = shipped(), config.build()

    def decide(planner: AbstractPlanner, model: AgentModel, obs: Float[Array, "n obs"], keys: Array) -> PyTree:
        return jax.vmap(lambda o, k: planner.plan(model, o, None, key=k))(obs, keys)

    def keys(n: int) -> Array:
        return jax.random.split(jax.random.key(0), n)

    batched = {n: compiled(decide, planner, model, jnp.ones((n, _OBS)), keys(n)) for n in _BATCHES}
    single = decision(config, model)
    with ThreadPoolExecutor(usable_cores()) as pool:

        def all_cores(n: int) -> PyTree:
            return list(pool.map(lambda _: jax.block_until_ready(single.call()), range(n)))

        singles = {n: dataclasses.replace(single, function=all_cores, arguments=(n,)) for n in _BATCHES}
        kinds = {f"batch, {name}": batched, f"singles on all cores, {name}": singles}
        programs = {f"{group} {n}": program for group, by_size in kinds.items() for n, program in by_size.items()}
        times = timed(programs, rounds, f"batches of {name}")
    rows = []
    for group, by_size in kinds.items():
        for n, program in by_size.items():
            taken = times[f"{group} {n}"]
            rows.append(_row(group, f"{n}", taken, program, decisions_per_s=1e3 * n / float(np.median(taken))))
    return rows


def _ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the rows are measured for."""
    p50 = {row["name"]: row["ms_p50"] for row in rows if row["group"] == "planners"}
    ours = p50["online_adaptation"]
    ratios = {"floor": ours / p50["adaptation_floor"], "bare scan": ours / p50["adaptation_bare_scan"]}
    ratios["with a linear value and no proposals"] = ours / p50["adaptation_linear"]
    if "published_unet" in p50:
        ratios["speedup over published"] = p50["published_unet"] / ours
    for name in ("online_adaptation", "random_shooting_32"):
        one = [row["decisions_per_s"] for row in rows if (row["group"], row["name"]) == (f"batch, {name}", "1")]
        for row in rows:
            if row["name"] == "32" and row["group"].endswith(f", {name}"):
                ratios[f"throughput of 32, {row['group']}"] = row["decisions_per_s"] / one[0]
    return ratios


def _write(arguments: Latency, out: RunFolder, rows: Sequence[dict[str, Any]]) -> None:
    # One more planner, timed apart because it takes so long.
    rows = [row | {"group": "planners"} if row["group"] == "published" else row for row in rows]
    ratios = _ratios(rows)
    lines = ["| group | row | p50 ms | p95 | p99 | compile s | temporaries MB | passes | decisions/s |"]
    lines.append("|-|-" + "|-:" * 7 + "|")
    for row in rows:
        cells = [row["group"], row["name"], *(f"{row[key]:.3g}" for key in ("ms_p50", "ms_p95", "ms_p99"))]
        cells += [f"{row['compile_s']:.1f}", f"{row['memory_mb']:.3g}", f"{row.get('nfe') or '–'}"]
        cells.append(f"{row['decisions_per_s']:.0f}" if "decisions_per_s" in row else "–")
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {name}: {ratio:.3g}" for name, ratio in ratios.items()), ""]
    lines.append(f"`published_unet` is scaled from {_PUBLISHED_STEPS} adaptation steps to ten.")
    (out.path / "table.md").write_text("\n".join(lines) + "\n")
    show_result("\n".join(lines))
    metrics = [
        {"key": f"ms_p50/{row['group']}/{row['name']}", "value": row["ms_p50"], "unit": "ms", "better": "lower"}
        for row in rows
    ] + [{"key": f"ratio/{name}", "value": ratio, "unit": "ratio"} for name, ratio in ratios.items()]
    summary = {"metrics": metrics, "machine": versions(), "config": {"decisions": arguments.decisions}}
    arguments.json.write_text(json.dumps(summary, indent=1) + "\n")
    plots.latency(out.path / "latency.png", rows)


if __name__ == "__main__":
    command(main)
