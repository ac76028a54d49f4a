"""`python -m owma.collect`: make a dataset by scripted control or trained policies, without a network.

Prints the folder of the dataset last, whether it was collected now or was there already. What simulates is imported
when the flags have been read, so that `--help` and a mistake in a flag are answered at once.
"""

import sys
from typing import Annotated, TypeAlias

import tyro

from owma._internal.command import command, parse, resumable, same_command
from owma._internal.progress import progress
from owma._internal.stdout import show_result
from owma.config.data import (
    AntMazeCollect,
    CollectConfig,
    HopperCollect,
    OGBenchMazeCollect,
    OGBenchNoisyCollect,
    OGBenchPlayCollect,
    PointMazeCollect,
    StitchCollect,
    TwoRoutesCollect,
)

Collect: TypeAlias = (
    Annotated[TwoRoutesCollect, tyro.conf.subcommand(TwoRoutesCollect.command_name)]
    | Annotated[PointMazeCollect, tyro.conf.subcommand(PointMazeCollect.command_name)]
    | Annotated[StitchCollect, tyro.conf.subcommand(StitchCollect.command_name)]
    | Annotated[AntMazeCollect, tyro.conf.subcommand(AntMazeCollect.command_name)]
    | Annotated[HopperCollect, tyro.conf.subcommand(HopperCollect.command_name)]
    | Annotated[OGBenchMazeCollect, tyro.conf.subcommand(OGBenchMazeCollect.command_name)]
    | Annotated[OGBenchPlayCollect, tyro.conf.subcommand(OGBenchPlayCollect.command_name)]
    | Annotated[OGBenchNoisyCollect, tyro.conf.subcommand(OGBenchNoisyCollect.command_name)]
)


def main() -> None:
    """Parse, collect, print the folder."""
    config: CollectConfig = parse(
        Collect,
        prog="python -m owma.collect",
        description="Make a dataset by scripted control or trained policies, without a network.",
    )
    from owma.collect.claim import is_collected
    from owma.collect.store import dataset_folder, is_claimed

    if is_collected(config):
        print(f"{config.name} is there already; --overwrite collects it again.", file=sys.stderr)
    else:
        if is_claimed(config.name):
            print(f"{config.name} is being collected by another process; waiting for it.", file=sys.stderr)
        with resumable(same_command("owma.collect")):
            _collect(config)
    show_result(dataset_folder(config.name))


def _collect(config: CollectConfig) -> None:
    from owma.collect.claim import num_steps
    from owma.collect.dispatch import collect

    done = 0
    with progress("collecting", num_steps(config)) as advance:

        def report(now_done: int, _: int) -> None:
            nonlocal done
            advance(now_done - done)
            done = now_done

        collect(config, report)


if __name__ == "__main__":
    command(main)
