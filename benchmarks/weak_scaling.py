"""How training scales with devices, each of which is given the same share of a batch: virtual devices of one machine.

    python benchmarks/weak_scaling.py --json runs/weak-scaling/summary.json

One, two, four and eight devices in processes of their own (`--xla_force_host_platform_device_count`), each with as
many transitions of a batch as the default preset has in all; beside each, one device with that whole batch. **Virtual
devices share the cores of this machine**, all of which one device uses already: efficiency can but fall here, and what
tells is the last column, what dividing a batch and adding up gradients costs. What a device holds is what it would hold
anywhere.
"""

import dataclasses
import gc
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from adaptation_latency import compiled, settle, shipped, timed
from training_throughput import walks

from owma._internal.command import command, parse
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma._internal.types import Array, PyTree
from owma.config.presets import PRESETS
from owma.runs.folder import RunFolder, versions
from owma.train.devices import replicate
from owma.train.outcome import OutcomeTrainer, TrainingState
from owma.train.rows import OutcomeData

_PRESET = PRESETS["two-routes"][1]


@dataclasses.dataclass(frozen=True)
class WeakScaling:
    """Training on 1, 2, 4 and 8 virtual devices."""

    devices: tuple[int, ...] = (1, 2, 4, 8)
    """How many; efficiency is that against the first."""
    share: int = _PRESET.training.batch_size
    """Transitions of a batch on each device."""
    transitions: int = 200_000
    """Of the dataset, which is whole on every device."""
    rounds: int = 20
    """Times that each row is measured."""
    updates: int = 10
    """Updates in each of them, in one scan; without recalibration, which every device does for itself."""
    quick: bool = False
    """Two devices, few rounds, a small batch, less data: that it runs, not what it shows."""
    measure: tuple[int, int] | None = None
    """Of a process started for it: print the row of so many devices, which it has, and transitions of a batch."""
    json: Path = Path("runs/weak-scaling/summary.json")
    """Where the summary goes; rows and table go beside it."""


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(WeakScaling, prog="python benchmarks/weak_scaling.py", description=__doc__)
    if arguments.quick:
        arguments = dataclasses.replace(
            arguments, devices=(1, 2), share=64, transitions=2_000, rounds=2, updates=2, quick=False
        )
    if arguments.measure is not None:
        show_result(json.dumps(_row(arguments, *arguments.measure)))
        return
    out = RunFolder(arguments.json.parent)
    settings = {name: value for name, value in dataclasses.asdict(arguments).items() if name not in ("json", "measure")}
    settle(out, settings | {"versions": versions()})
    rows = out.read_jsonl("rows.jsonl", drop_torn=True) if (out.path / "rows.jsonl").exists() else []
    wanted = [(n, n * arguments.share) for n in arguments.devices]
    wanted += [(1, batch) for n, batch in wanted if n > 1]
    with open_progress("devices", len(wanted), len(rows)) as advance:
        for devices, batch in wanted:
            if any((row["devices"], row["batch"]) == (devices, batch) for row in rows):
                continue
            rows.append(_measured(arguments, devices, batch))
            out.append_jsonl("rows.jsonl", rows[-1])
            advance(1)
    _write(arguments, out, rows, settings)
    show_result(arguments.json)


def _measured(arguments: WeakScaling, devices: int, batch: int) -> dict[str, Any]:
    """A row, from a process that has so many devices."""
    flags = [os.environ.get("XLA_FLAGS", ""), f"--xla_force_host_platform_device_count={devices}"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(flags).strip()}
    numbers = {name: getattr(arguments, name) for name in ("share", "transitions", "rounds", "updates")}
    call = [sys.executable, __file__, "--measure", str(devices), str(batch)]
    call += [part for name, number in numbers.items() for part in (f"--{name}", str(number))]
    process = subprocess.run(call, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


def _row(arguments: WeakScaling, devices: int, batch: int) -> dict[str, Any]:
    if jax.device_count() != devices:
        raise RuntimeError(f"--measure {devices} in a process of {jax.device_count()} devices")
    # A warm cache would hide what compilation takes.
    jax.config.update("jax_enable_compilation_cache", False)
    trainer, state = _trainer(arguments.transitions, batch)

    def updates(trainer: OutcomeTrainer, state: TrainingState) -> tuple[TrainingState, Array]:
        return trainer.updates(state, arguments.updates)

    program = compiled(updates, trainer, state)
    reached, _ = program.call()  # what training holds; at the start the averages are the parameters themselves
    times = timed({"updates": program}, arguments.rounds, f"{devices} devices, batches of {batch:,}")["updates"]
    ms = float(np.median(times)) / arguments.updates
    return {
        "devices": devices,
        "batch": batch,
        "ms_p50": ms,
        "ms_p5": float(np.percentile(times, 5)) / arguments.updates,
        "ms_p95": float(np.percentile(times, 95)) / arguments.updates,
        "updates_per_s": 1e3 / ms,
        "transitions_per_s": 1e3 * batch / ms,
        "compile_s": program.compile_s,
        "temporaries_bytes": int(1e6 * program.memory_mb),
        "state_bytes": _held(reached),
        "data_bytes": _held((trainer.data, trainer.held_out)),
        "live_bytes": _held(jax.live_arrays()),
        "process_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _trainer(rows: int, batch: int) -> tuple[OutcomeTrainer, TrainingState]:
    """As training has them on all devices; what it made them from is let go of."""
    transitions, config = walks(rows), dataclasses.replace(_PRESET.training, batch_size=batch)
    model, everything = shipped(), np.ones(len(transitions), bool)
    (data,) = OutcomeData.build(model.world, transitions, everything, horizon=config.horizon)
    held_out = data.rows(jnp.arange(min(10_000, rows)))
    trainer = OutcomeTrainer(model.world, model.policy, data, held_out, config, _PRESET.world)
    replicated = replicate((trainer, trainer.init(key=jax.random.key(0))))
    del model, data, held_out, trainer
    gc.collect()
    return replicated


def _held(tree: PyTree) -> int:
    """Bytes of a tree's arrays on the device that holds most of them, of those in one place once."""
    held: dict[Any, dict[int, int]] = {device: {} for device in jax.local_devices()}
    for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array)):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        for shard in leaf.addressable_shards:
            held[shard.device][shard.data.unsafe_buffer_pointer()] = shard.data.nbytes
    return max(sum(sizes.values()) for sizes in held.values())


def _write(
    arguments: WeakScaling, out: RunFolder, rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]
) -> None:
    by_size = {(row["devices"], row["batch"]): row for row in rows}
    first = by_size[arguments.devices[0], arguments.devices[0] * arguments.share]
    machine, metrics = versions(), []
    lines = [
        "| devices | batch | updates/s | transitions/s | efficiency | MB a device: parameters and optimiser | data "
        "| all arrays | temporaries | MB of the process | time over one device with the same batch |",
        "|-:" * 11 + "|",
    ]
    for devices in arguments.devices:
        row, whole = (by_size[n, devices * arguments.share] for n in (devices, 1))
        speed_up = row["transitions_per_s"] / first["transitions_per_s"]
        efficiency, over = speed_up * first["devices"] / devices, row["ms_p50"] / whole["ms_p50"]
        sizes = ("state_bytes", "data_bytes", "live_bytes", "temporaries_bytes", "process_bytes")
        cells = [f"{row['updates_per_s']:.3g}", f"{row['transitions_per_s']:,.0f}", f"{efficiency:.2f}"]
        cells += [*(f"{row[name] / 1e6:,.3g}" for name in sizes), f"{over:.2f}"]
        lines.append(f"| {devices} | {row['batch']:,} | {' | '.join(cells)} |")
        for name, value, unit, better in (
            ("updates_per_s", row["updates_per_s"], "updates/s", "higher"),
            ("transitions_per_s", row["transitions_per_s"], "transitions/s", "higher"),
            ("efficiency", efficiency, "ratio", "higher"),
            ("over_one_device", over, "ratio", "lower"),
            *((name, row[name], "bytes", "lower") for name in sizes),
        ):
            metrics.append({"key": f"weak_scaling/{devices}/{name}", "value": value, "unit": unit, "better": better})
    lines += [
        "",
        f"{arguments.share} transitions of each batch on a device, dataset of {arguments.transitions:,}, median of "
        f"{arguments.rounds} rounds of {arguments.updates} updates, recalibration left out. **The devices are virtual "
        f"and share {machine['cpu_count']} cores**, which one device uses alone already: efficiency (transitions a "
        f"second and device, over those of {first['devices']}) says how the cores are shared, not how machines of "
        "their own would scale. The last column has as much arithmetic on both sides, and is what dividing it costs. "
        "All arrays: with the state before updates and after them.",
    ]
    (out.path / "table.md").write_text("\n".join(lines) + "\n")
    show_result("\n".join(lines))
    summary = {"metrics": metrics, "machine": machine, "config": settings}
    arguments.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    command(main)
