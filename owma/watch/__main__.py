"""`python -m owma.watch RUN`: losses, held-out losses, and promises against what is realised, as they come.

It reads what a run writes into its folder, and nothing else: it may be started, stopped and started again at any time,
on another machine that sees the folder, too.
"""

import dataclasses
import time
from pathlib import Path

import tyro

from owma._internal.command import command, parse
from owma._internal.errors import ConfigError
from owma._internal.stdout import result_stream
from owma.watch.view import Watched, picture


@dataclasses.dataclass(frozen=True)
class Watch:
    """Shows a run in the terminal as it goes on: losses, held-out losses, promises against what is realised."""

    run: tyro.conf.Positional[Path]
    """runs/NAME (its newest version, also one that begins later) or runs/NAME/v<N>; a sweep, too."""
    every: float = 2.0
    """Seconds from one look at the folder to the next."""
    once: bool = False
    """Look once and end; so it does where the output is no terminal."""

    def __post_init__(self) -> None:
        if not self.every > 0:
            raise ConfigError(f"every={self.every}: seconds, more than 0.")


def main() -> None:
    """Parse, show, and go on showing until the run has ended or somebody presses Ctrl-C."""
    arguments = parse(Watch, prog="python -m owma.watch")
    seen = Watched.read(arguments.run)  # a mistake is answered before anything is drawn
    from rich.console import Console

    stream = result_stream()
    if arguments.once or stream is None or not stream.isatty():
        Console(file=stream, width=100).print(picture(seen))
        return
    from rich.live import Live

    with Live(picture(seen), console=Console(file=stream), auto_refresh=False) as live:
        try:
            while not seen.is_finished:
                time.sleep(arguments.every)
                seen = Watched.read(arguments.run)
                live.update(picture(seen), refresh=True)
        except KeyboardInterrupt:
            pass  # one stops looking; the run goes on


if __name__ == "__main__":
    command(main)
