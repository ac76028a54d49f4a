"""Does data larger than memory train, and as fast? Peak resident memory and updates a second, mapped and in memory.

    python benchmarks/memory_mapped.py --json runs/memory-mapped/summary.json

Writes made-up transitions of an ant's sizes as files of arrays (random walks: what numbers they hold makes no
difference here), and trains the default networks on them in a process of its own that may hold a tenth of them; then
on a tenth of the files, held in memory, because an update costs the same whatever the dataset's size
(`training_throughput.py`). Updates are timed from the first report to the last, without what is read and compiled
before. To be shown: a peak of 2 GiB at most, at 0.8 times the updates of memory at least. Takes five times the
dataset's size on disk: files, memory-mapped copy, and the rows that training reads.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from owma._internal.command import command, enable_compilation_cache, parse
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma.config.data import ArrayFolder
from owma.config.experiment import EvaluationConfig, ExperimentConfig
from owma.config.task import RecordedTaskConfig
from owma.config.training import TrainingConfig
from owma.config.value import ValueConfig
from owma.runs.folder import RunFolder, versions
from owma.train.experiment import Experiment
from owma.train.inputs import prepare_experiment

_OBS, _ACTION, _EPISODE = 29, 8, 1000
_ROW = 4 * (2 * _OBS + _ACTION + 1) + 2
"""Bytes of a transition in memory."""
_FILE_ROWS = 200_000


@dataclasses.dataclass(frozen=True)
class MemoryMapped:
    """Training on data that are larger than the memory it may take."""

    gib: float = 5.0
    """Size of the dataset."""
    updates: int = 3000
    """Of each training."""
    quick: bool = False
    """A hundredth of the data and few updates: that it runs, not what it shows."""
    scratch: Path | None = None
    """Where the data go while it runs; a temporary folder by default."""
    json: Path = Path("runs/memory-mapped/summary.json")
    """Where the summary goes; rows and table go beside it."""


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(MemoryMapped, prog="python benchmarks/memory_mapped.py", description=__doc__)
    if arguments.quick:
        arguments = dataclasses.replace(arguments, gib=arguments.gib / 100, updates=150)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as name:
        scratch = Path(name)
        whole, tenth = scratch / "whole", scratch / "tenth"
        num_files = max(10, round(arguments.gib * 2**30 / _ROW / _FILE_ROWS))
        rows = round(arguments.gib * 2**30 / _ROW / num_files / _EPISODE) * _EPISODE
        _write_data(whole, num_files, rows)
        tenth.mkdir()
        for path in sorted(whole.iterdir())[: num_files // 10]:
            os.link(path, tenth / path.name)
        results = [
            {"data": name, "gib": size} | _in_a_process(folder, memory, arguments.updates, scratch)
            for name, folder, size, memory in (
                ("memory-mapped", whole, arguments.gib, arguments.gib / 10),
                ("in memory", tenth, arguments.gib / 10, arguments.gib),
            )
        ]
    _write(arguments, results)
    show_result(arguments.json)


def _write_data(folder: Path, num_files: int, rows: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    ends = np.arange(rows) % _EPISODE == _EPISODE - 1
    with open_progress("writing files", num_files, 0) as advance:
        for i in range(num_files):
            steps = rng.standard_normal((rows // _EPISODE, _EPISODE, _OBS), np.float32)
            obs = np.cumsum(0.1 * steps, axis=1).reshape(rows, _OBS)
            np.savez(
                folder / f"{i:04}.npz",
                obs=obs,
                action=rng.uniform(-1, 1, (rows, _ACTION)).astype(np.float32),
                reward=(obs[:, 0] > 1).astype(np.float32),
                terminated=np.zeros(rows, bool),
                truncated=ends,
            )
            advance(1)


def _in_a_process(folder: Path, memory_gib: float, updates: int, scratch: Path) -> dict[str, float]:
    """One training in a process of its own, whose peak is then that of the training alone."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_train, folder, memory_gib, updates, scratch).result()


def _train(folder: Path, memory_gib: float, updates: int, scratch: Path) -> dict[str, float]:
    os.environ["XDG_CACHE_HOME"] = str(scratch / "cache")  # the copy goes where the data are, and is gone with them
    enable_compilation_cache()
    reports: list[tuple[float, int]] = []

    @contextlib.contextmanager
    def watched(label: str, total: int, done: int) -> Iterator[Callable[..., None]]:
        with open_progress(label, total, done) as advance:

            def report(count: int = 1, **note: str) -> None:
                if label.startswith("training p("):
                    reports.append((time.perf_counter(), count))
                advance(count, **note)

            yield report

    config = ExperimentConfig(
        name=f"memory-mapped-{folder.name}",
        data=ArrayFolder(folder),
        task=RecordedTaskConfig(),
        training=TrainingConfig(updates=updates, report_every=max(updates // 20, 10)),
        value=ValueConfig(updates=100, report_every=100),
        evaluation=EvaluationConfig(episodes=0),
    )
    run = RunFolder.create(scratch, config.name)
    began = time.perf_counter()
    inputs = prepare_experiment(config, watched, memory_gib=memory_gib)
    gathered = time.perf_counter()
    Experiment(config, inputs, run, watched).train()
    (first, _), *later = reports
    return {
        "mapped": inputs.dataset.transitions.is_mapped,
        "transitions": len(inputs.dataset.transitions),
        "gather_s": gathered - began,
        "train_s": time.perf_counter() - gathered,
        "updates_per_s": sum(count for _, count in later) / (later[-1][0] - first),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,  # Linux counts in KiB
    }


def _write(arguments: MemoryMapped, rows: list[dict]) -> None:
    out = RunFolder(arguments.json.parent)
    out.path.mkdir(parents=True, exist_ok=True)
    out.write_jsonl("rows.jsonl", rows)
    mapped, inside = rows
    ratio = mapped["updates_per_s"] / inside["updates_per_s"]
    lines = ["| data | GiB | transitions | read s | train s | updates/s | peak GiB |", "|-|-:|-:|-:|-:|-:|-:|"]
    for row in rows:
        numbers = f"{row['gather_s']:.0f} | {row['train_s']:.0f} | {row['updates_per_s']:.0f} | {row['peak_gib']:.2f}"
        lines.append(f"| {row['data']} | {row['gib']:.2f} | {row['transitions']:,} | {numbers} |")
    lines += ["", f"Updates of memory-mapped data against those of memory: {ratio:.2f}."]
    (out.path / "table.md").write_text("\n".join(lines) + "\n")
    show_result("\n".join(lines))
    metrics = [
        {"key": "peak/memory-mapped", "value": mapped["peak_gib"], "unit": "GiB", "better": "lower"},
        {"key": "rate/memory-mapped over memory", "value": ratio, "unit": "ratio", "better": "higher"},
    ]
    config = {"gib": arguments.gib, "updates": arguments.updates}
    arguments.json.write_text(
        json.dumps({"metrics": metrics, "machine": versions(), "config": config}, indent=1) + "\n"
    )


if __name__ == "__main__":
    command(main)
