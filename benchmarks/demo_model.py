"""What `owma demo` ships, from a trained run: the numbers of its page, and the model; and how soon the page is there.

    python -m owma.train two-routes --evaluation.episodes 0 && python benchmarks/demo_model.py runs/two-routes

Writes `owma/demo/told.json` and `owma/demo/model.npz` of the checkout that it lies in, or into `--into`, and the moving
picture of the README. Then a fresh process starts `python -m owma.demo`, `--repeats` times, with nothing kept of the
one before. A machine with nothing else to do gives the milliseconds that the page says.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tyro

from owma._internal.command import command, enable_compilation_cache, parse
from owma._internal.errors import ConfigError
from owma._internal.json import canonical, jsonable, replace_text
from owma._internal.stdout import show_result
from owma.runs.folder import versions

_CHECKOUT = Path(__file__).parent.parent


@dataclasses.dataclass(frozen=True)
class DemoModel:
    """Writes what the demo ships, and measures its start."""

    run: tyro.conf.Positional[Path]
    """A run that was trained on the two routes."""
    into: Path = _CHECKOUT / "owma" / "demo"
    """The folder that is written to."""
    gif: Path = _CHECKOUT / "runs" / "reference" / "demo" / "hero.gif"
    """The moving picture."""
    keep: bool = False
    """Write nothing there: only measure."""
    quick: bool = False
    """Two balls and eight draws into a folder that is thrown away, and one start: that it runs, not what it shows."""
    repeats: int = 5
    """Starts that are timed."""
    json: Path = Path("runs/demo-model/summary.json")
    """Seconds and bytes."""


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(DemoModel, prog="python benchmarks/demo_model.py", description=__doc__)
    if arguments.repeats < 1:
        raise ConfigError(f"repeats={arguments.repeats}: at least one start is timed.")
    with tempfile.TemporaryDirectory() as scratch:
        into = Path(scratch) if arguments.quick else arguments.into
        gif = Path(scratch) / "hero.gif" if arguments.quick else arguments.gif
        if not arguments.keep:
            _write(arguments, into, gif)
        seconds, page_bytes = _starts(1 if arguments.quick else arguments.repeats, Path(scratch))
        trained = json.loads((into / "told.json").read_text())["run"]
        sizes = {path.name: path.stat().st_size for path in (into / "told.json", into / "model.npz", gif)}
    metrics = [
        {"key": "seconds_to_page/cold", "value": statistics.median(seconds), "unit": "s", "better": "lower"},
        {"key": "bytes/page", "value": page_bytes, "unit": "B", "better": "lower"},
        *({"key": f"bytes/{name}", "value": size, "unit": "B", "better": "lower"} for name, size in sizes.items()),
    ]
    for metric in metrics:
        show_result(f"{metric['key']}: {metric['value']:,.4g} {metric['unit']}")
    summary = {"metrics": metrics, "machine": versions(), "config": {**trained, "seconds": seconds}}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(summary, indent=1) + "\n")
    show_result(arguments.json)


def _write(arguments: DemoModel, into: Path, gif: Path) -> None:
    enable_compilation_cache()
    from owma.demo.hero import moving_picture
    from owma.demo.model import keep_model
    from owma.demo.told import open_run, tell

    run = open_run(arguments.run)
    told = tell(run, episodes=2, draws=8) if arguments.quick else tell(run)
    into.mkdir(parents=True, exist_ok=True)
    replace_text(into / "told.json", canonical(jsonable(told)) + "\n")
    keep_model(run, into / "model.npz")
    moving_picture(told, gif)


def _starts(count: int, scratch: Path) -> tuple[list[float], int]:
    """Seconds from the start of the command to its end, which is when the page is there; and its bytes."""
    seconds, page = [], scratch / "page.html"
    for _ in range(count):
        began = time.perf_counter()
        call = [sys.executable, "-m", "owma.demo", "--no-open", "--out", str(page)]
        subprocess.run(call, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    return seconds, page.stat().st_size


if __name__ == "__main__":
    command(main)
