"""Collecting whichever dataset a configuration is of."""

from owma.collect.ant_maze import collect_antmaze
from owma.collect.claim import OnSteps
from owma.collect.hopper import collect_hopper
from owma.collect.ogbench import collect_ogbench_maze, collect_ogbench_noisy, collect_ogbench_play
from owma.collect.point_maze import collect_pointmaze, collect_stitch, collect_two_routes
from owma.config.data import (
    AntMazeCollect,
    CollectConfig,
    HopperCollect,
    OGBenchMazeCollect,
    OGBenchNoisyCollect,
    OGBenchPlayCollect,
    StitchCollect,
    TwoRoutesCollect,
)


def collect(config: CollectConfig, progress: OnSteps | None = None) -> str:
    """Collect the dataset of `config` with the collector of its class, and return its id."""
    if isinstance(config, TwoRoutesCollect):
        return collect_two_routes(config, progress)
    if isinstance(config, StitchCollect):
        return collect_stitch(config, progress)
    if isinstance(config, AntMazeCollect):
        return collect_antmaze(config, progress)
    if isinstance(config, HopperCollect):
        return collect_hopper(config, progress)
    if isinstance(config, OGBenchMazeCollect):
        return collect_ogbench_maze(config, progress)
    if isinstance(config, OGBenchPlayCollect):
        return collect_ogbench_play(config, progress)
    if isinstance(config, OGBenchNoisyCollect):
        return collect_ogbench_noisy(config, progress)
    return collect_pointmaze(config, progress)
