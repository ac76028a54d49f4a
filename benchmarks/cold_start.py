"""How long a fresh process takes to its first decision, once what it compiles is on disk.

    python benchmarks/cold_start.py runs/two-routes --json runs/cold-start/summary.json

Four ways: a run that is loaded as the commands load it; an agent exported to one file, with the cache of compiled
programs that the commands keep; a compact one; and the first file with nothing kept. Each in processes of its own,
`--repeats` times after one that fills the cache. What is imported late (orbax) counts among the imports.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import tyro

from owma._internal.command import command, parse
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma.runs.folder import RunFolder, versions

_PROCESS = """
import json, statistics, sys, time
began = time.perf_counter()
import jax, numpy as np, orbax.checkpoint, owma, owma.api.run, owma.agent.act, owma.planners
imported = time.perf_counter()
{body}
first, later = time.perf_counter(), []
for i in range(100):
    started = time.perf_counter()
    act(jax.random.key(i))
    later.append(time.perf_counter() - started)
ms = 1e3 * statistics.median(later)
print(json.dumps({{"imports_s": imported - began, "first_decision_s": first - imported, "later_decisions_ms": ms}}))
"""

_BODIES = {
    "run": """
agent = owma.load(sys.argv[1]).agent(planner=owma.OnlineAdaptation())
obs, start = np.zeros(agent.obs_size, np.float32), agent.init()
act = lambda key: agent.act(obs, start, key=key)
act(jax.random.key(0))
""",
    "exported": """
agent = owma.load_exported(sys.argv[2])
obs, start = np.zeros(int(sys.argv[3]), np.float32), agent.init()
act = lambda key: agent.act(obs, start, key=key)
act(jax.random.key(0))
""",
}


@dataclasses.dataclass(frozen=True)
class ColdStart:
    """Seconds to the first decision."""

    run: tyro.conf.Positional[Path]
    """A trained run."""
    repeats: int = 5
    """Processes that are timed, of each way."""
    quick: bool = False
    """One process each: that it runs, not what it shows."""
    json: Path = Path("runs/cold-start/summary.json")
    """The baseline; the rows go beside it."""


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(ColdStart, prog="python benchmarks/cold_start.py", description=__doc__)
    repeats = 1 if arguments.quick else arguments.repeats
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "programs"
        exported, compact = Path(scratch) / "agent.npz", Path(scratch) / "compact.npz"
        size = _export(arguments.run, exported, compact)
        rows = []
        ways = (
            ("run", exported, cache),
            ("exported", exported, cache),
            ("exported, compact", compact, cache),
            ("exported, nothing kept", exported, None),
        )
        with open_progress("fresh processes", len(ways) * (repeats + 1), 0) as advance:
            for name, file, kept in ways:
                for i in range(-1, repeats):
                    row = start_process(name.split(",")[0], arguments.run, file, size, kept)
                    if i >= 0:
                        rows.append({"way": name} | row)
                    advance(1)
    _write(arguments, rows)


def _export(run: Path, path: Path, compact: Path) -> int:
    import owma

    agent = owma.load(run).agent(planner=owma.OnlineAdaptation())
    owma.export_agent(agent, path)
    owma.export_agent(agent, compact, compact=True)
    return agent.obs_size


def start_process(body: str, run: Path, exported: Path, obs_size: int, cache: Path | None) -> dict[str, float]:
    """What a fresh process takes, in seconds and milliseconds; see `_PROCESS`.

    **Arguments:** `body`: one of `_BODIES`; `cache`: where compiled programs are kept, if they are.
    """
    kept = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment = os.environ | kept | ({} if cache is None else {"JAX_COMPILATION_CACHE_DIR": str(cache)})
    code = _PROCESS.format(body=_BODIES[body])
    call = [sys.executable, "-c", code, str(run), str(exported), str(obs_size)]
    process = subprocess.run(call, env=environment, capture_output=True, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


def _write(arguments: ColdStart, rows: list[dict]) -> None:
    out = RunFolder(arguments.json.parent)
    out.path.mkdir(parents=True, exist_ok=True)
    out.write_jsonl("rows.jsonl", rows)
    lines = [
        "| start | imports s | then to the first decision s, median | longest | later ones ms |",
        "|-|-:|-:|-:|-:|",
    ]
    metrics = []
    for way in dict.fromkeys(row["way"] for row in rows):
        keys = ("imports_s", "first_decision_s", "later_decisions_ms")
        imports, first, later = ([row[key] for row in rows if row["way"] == way] for key in keys)
        median, later = statistics.median(first), statistics.median(later)
        lines.append(f"| {way} | {statistics.median(imports):.2f} | {median:.2f} | {max(first):.2f} | {later:.1f} |")
        metrics.append({"key": f"first_decision_s/{way}", "value": median, "unit": "s", "better": "lower"})
    (out.path / "table.md").write_text("\n".join(lines) + "\n")
    show_result("\n".join(lines))
    config = {"run": str(arguments.run), "repeats": arguments.repeats}
    arguments.json.write_text(
        json.dumps({"metrics": metrics, "machine": versions(), "config": config}, indent=1) + "\n"
    )
    show_result(arguments.json)


if __name__ == "__main__":
    command(main)
