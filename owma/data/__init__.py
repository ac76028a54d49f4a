"""Reading offline datasets; the collectors of `owma.collect` are re-exported."""

from typing import TYPE_CHECKING

from owma._internal.moved import renamed
from owma.collect.ant_maze import collect_antmaze as collect_antmaze
from owma.collect.claim import is_collected as is_collected, num_steps as num_steps
from owma.collect.dispatch import collect as collect
from owma.collect.hopper import collect_hopper as collect_hopper
from owma.collect.ogbench import (
    collect_ogbench_maze as collect_ogbench_maze,
    collect_ogbench_noisy as collect_ogbench_noisy,
    collect_ogbench_play as collect_ogbench_play,
)
from owma.collect.point_maze import (
    collect_pointmaze as collect_pointmaze,
    collect_stitch as collect_stitch,
    collect_two_routes as collect_two_routes,
)
from owma.collect.store import (
    dataset_folder as dataset_folder,
    datasets_root as datasets_root,
    is_claimed as is_claimed,
)
from owma.config.data import (
    MEMORY_GIB as MEMORY_GIB,
    AntMazeCollect as AntMazeCollect,
    ArrayFolder as ArrayFolder,
    CollectConfig as CollectConfig,
    D4rlFile as D4rlFile,
    FileConfig as FileConfig,
    HopperCollect as HopperCollect,
    OgbenchFile as OgbenchFile,
    OGBenchMazeCollect as OGBenchMazeCollect,
    OGBenchNoisyCollect as OGBenchNoisyCollect,
    OGBenchPlayCollect as OGBenchPlayCollect,
    PointMazeCollect as PointMazeCollect,
    StitchCollect as StitchCollect,
    TwoRoutesCollect as TwoRoutesCollect,
    command_for as command_for,
)
from owma.data.cache import (
    cache_folder as cache_folder,
    cached as cached,
    is_cache as is_cache,
    open_cache as open_cache,
    write_cache as write_cache,
)
from owma.data.dataset import (
    DatasetSource as DatasetSource,
    OfflineDataset as OfflineDataset,
    Origin as Origin,
    env_settings as env_settings,
    read_origin as read_origin,
    read_whole as read_whole,
    rows_in_piece as rows_in_piece,
)
from owma.data.digest import difference as difference, digest_of as digest_of, is_digest as is_digest
from owma.data.files import open_d4rl as open_d4rl, open_folder as open_folder, open_ogbench as open_ogbench
from owma.data.forms import (
    config_by_name as config_by_name,
    open_by_name as open_by_name,
    open_files as open_files,
)
from owma.data.minari import (
    load_minari as load_minari,
    minari_bytes as minari_bytes,
    open_minari as open_minari,
    reward_is_constant as reward_is_constant,
)
from owma.data.summary import summarise_dataset as summarise_dataset

if not TYPE_CHECKING:
    __getattr__ = renamed("owma.data", {"Recording": "DatasetSource"})
