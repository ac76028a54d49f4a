"""Offline datasets: reading them, and making them by scripted control."""

from owma.data.ant_maze import collect_antmaze as collect_antmaze
from owma.data.collect import (
    collect as collect,
    collect_pointmaze as collect_pointmaze,
    collect_stitch as collect_stitch,
    collect_two_routes as collect_two_routes,
    command_for as command_for,
)
from owma.data.collection import is_collected as is_collected, num_steps as num_steps
from owma.data.minari import (
    OfflineDataset as OfflineDataset,
    load_minari as load_minari,
    reward_is_constant as reward_is_constant,
)
from owma.data.oracles import (
    collect_ogbench_maze as collect_ogbench_maze,
    collect_ogbench_play as collect_ogbench_play,
)
from owma.data.store import (
    dataset_folder as dataset_folder,
    datasets_root as datasets_root,
    is_claimed as is_claimed,
)
from owma.data_config import (
    AntMazeCollect as AntMazeCollect,
    OGBenchMazeCollect as OGBenchMazeCollect,
    OGBenchPlayCollect as OGBenchPlayCollect,
    PointMazeCollect as PointMazeCollect,
    StitchCollect as StitchCollect,
    TwoRoutesCollect as TwoRoutesCollect,
)
