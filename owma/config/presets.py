"""Named configurations, for `python -m owma.train PRESET`."""

import dataclasses
import operator
from collections.abc import Callable, Mapping
from typing import Any

from owma.config.data import (
    AntMazeCollect,
    HopperCollect,
    OGBenchMazeCollect,
    OGBenchPlayCollect,
    PointMazeCollect,
    StitchCollect,
    TwoRoutesCollect,
)
from owma.config.experiment import EvaluationConfig, ExperimentConfig
from owma.config.features import FeaturesConfig
from owma.config.policy import PolicyConfig
from owma.config.task import GoalTaskConfig, MinariDataset, RecordedTaskConfig, RewardTaskConfig, describe_task
from owma.config.training import TrainingConfig
from owma.config.value import ValueConfig
from owma.config.world import WorldConfig

TWO_ROUTES = ExperimentConfig()

STITCH = ExperimentConfig(
    name="stitch",
    data=StitchCollect(),
    # The middle of the last cell of the U.
    task=GoalTaskConfig(goal=(-1.0, -1.0)),
)

# Of a point's four numbers the task reads where it is; its goal is a metre wide, in mazes of 5 to 12 m.
_POINT_FEATURES = FeaturesConfig(coordinates=2, bandwidth=1.0)

# Goals are those of the collector's `task_cells`, and the radius is the environment's own.
POINTMAZE_UMAZE = ExperimentConfig(
    name="pointmaze-umaze",
    data=PointMazeCollect(maze="umaze"),
    task=GoalTaskConfig(goal=(-1.0, -1.0), radius=0.45),
    world=WorldConfig(features=_POINT_FEATURES),
)

POINTMAZE_MEDIUM = ExperimentConfig(
    name="pointmaze-medium",
    data=PointMazeCollect(maze="medium"),
    task=GoalTaskConfig(goal=(1.5, -2.5), radius=0.45),
    world=WorldConfig(features=_POINT_FEATURES, discount=0.99),
    training=TrainingConfig(updates=10_000),
)

POINTMAZE_LARGE = ExperimentConfig(
    name="pointmaze-large",
    data=PointMazeCollect(maze="large"),
    task=GoalTaskConfig(goal=(4.5, 1.0), radius=0.45),
    # The way takes some 330 steps. Chosen on seed 100: after half as many updates, plans far from the data fail.
    world=WorldConfig(features=_POINT_FEATURES, discount=0.995),
    training=TrainingConfig(updates=20_000),
)

# Of an ant's 29 numbers the task reads where it is, in mazes of 12 m and 24 m, through which it walks for 300 steps and
# more. What decides here, on seed 100: a goal without an edge, of which a linear value can tell; wide conditions
# (`embed_width`), for the gait is in the policy's; and outcomes as they were recorded, for what the model draws after
# the end of an episode would be a third of them, and tells nothing of where the ant went.
_ANT_WORLD = WorldConfig(
    features=FeaturesConfig(num_features=128, coordinates=2, bandwidth=0.7), discount=0.997, width=192, embed_width=256
)
_ANT_POLICY = PolicyConfig(width=192, embed_width=512, solver_steps=3)
_ANT_TRAINING = TrainingConfig(target="monte_carlo", after_truncation="stay", obs_noise=0.03, updates=24_000)

ANTMAZE_UMAZE = ExperimentConfig(
    name="antmaze-umaze",
    data=AntMazeCollect(maze="umaze"),
    # The other end of the U (`owma.collect.ant_maze.EVALUATION_CELLS`), and the environment's own radius. Of slopes of
    # 2, 3 and 4 m this is the best on seed 100.
    task=GoalTaskConfig(goal=(-4.0, -4.0), radius=0.45, falloff=3.0),
    world=_ANT_WORLD,
    policy=_ANT_POLICY,
    training=_ANT_TRAINING,
)

ANTMAZE_MEDIUM = ExperimentConfig(
    name="antmaze-medium",
    data=AntMazeCollect(maze="medium"),
    # The far corner, 28 m away. Slope and price are the best on seed 100, of slopes of 2, 3, 5, 7 and 10 m.
    task=GoalTaskConfig(goal=(10.0, -10.0), radius=0.45, falloff=5.0),
    world=_ANT_WORLD,
    policy=_ANT_POLICY,
    training=_ANT_TRAINING,
    evaluation=EvaluationConfig(kl_coef=0.5),
)

OGBENCH_STITCH = ExperimentConfig(
    name="ogbench-stitch",
    data=OGBenchMazeCollect(kind="stitch"),
    # The task that OGBench evaluates by default: within a metre of a place, and here with a slope about it.
    task=GoalTaskConfig(goal=(20.0, 20.0), radius=1.0, falloff=3.0),
    world=WorldConfig(features=FeaturesConfig(num_features=128, bandwidth=0.5), discount=0.998, embed_width=128),
    training=TrainingConfig(updates=10_000),
)

# Where an observation holds the cube's position.
_CUBE = 19

OGBENCH_CUBE = ExperimentConfig(
    name="ogbench-cube",
    data=OGBenchPlayCollect(steps=300_000),
    # Likewise, with a slope of 5 cm about the 4 cm within which the cube is there: lengths are tenths of a metre.
    task=GoalTaskConfig(goal=(0.75, 0.0, 0.2), radius=0.4, falloff=0.5, first_coordinate=_CUBE),
    world=WorldConfig(
        features=FeaturesConfig(num_features=128, coordinates=3, first_coordinate=_CUBE, bandwidth=0.5),
        discount=0.99,
        max_dims=48,
        embed_width=256,
    ),
    policy=PolicyConfig(embed_width=256),
    training=TrainingConfig(updates=12_000),
    # At a half of this price plans promise twice what draws of the model promise, and bring nothing (seed 100).
    evaluation=EvaluationConfig(kl_coef=0.5),
)

HOPPER = ExperimentConfig(
    name="hopper",
    data=HopperCollect(),
    # One of four that the run serves: the others are told by `owma.transfer --task hopper-backward ...`.
    task=RewardTaskConfig("owma.envs.hopper:forward"),
    # Of 11 numbers the first seven, posture and how fast the torso moves, of which all four rewards are functions; of
    # their products a linear value explains 97 to 99 % of each task's returns.
    world=WorldConfig(features=FeaturesConfig(kind="polynomial", coordinates=7), discount=0.99),
    training=TrainingConfig(updates=10_000),
)

SMOKE = ExperimentConfig(
    name="smoke",
    data=TwoRoutesCollect(skew=0.2, episodes=20),
    # One layer each: most of a short run is compilation, which grows with depth.
    world=WorldConfig(width=32, depth=1, embed_width=32, solver_steps=4),
    policy=PolicyConfig(width=32, depth=1, embed_width=32),
    training=TrainingConfig(updates=200, batch_size=128, report_every=200),
    value=ValueConfig(num_tasks=8, depth=1, updates=200, report_every=200),
    evaluation=EvaluationConfig(
        planners=("static", "random_shooting", "guided_diffusion_single", "online_adaptation", "published"),
        episodes=2,
        timed_decisions=0,
    ),
)

OWN = ExperimentConfig(
    name="own",
    # To be named.
    data=MinariDataset(""),
    task=RecordedTaskConfig(),
    # Chosen by a linear value's R^2 on 8,000 random steps, before the state of termination counted in outcomes. Where
    # episodes terminate, sums of these tell how long they last (1.00 in InvertedPendulum and MountainCar, 0.98 in
    # Hopper), which those of polynomials (0.38, 0.46, 0.90) do not. Elsewhere neither is better throughout: 0.48 for
    # 0.54 in Pusher, 0.20 for 0.26 in Reacher, 0.25 for 0.20 in PointMaze, within 0.01 in three others.
    world=WorldConfig(features=FeaturesConfig(num_features=128), discount=0.99),
)

PRESETS: Mapping[str, tuple[str, ExperimentConfig]] = {
    "two-routes": ("The rare of two routes is worth taking; 2 % of the data take it.", TWO_ROUTES),
    "stitch": ("A maze recorded in pieces, none of which leads from start to goal.", STITCH),
    "pointmaze-umaze": ("A point mass around a U, recorded from one random goal to the next.", POINTMAZE_UMAZE),
    "pointmaze-medium": ("The same in a maze of 26 cells.", POINTMAZE_MEDIUM),
    "pointmaze-large": ("The same in a maze of 46 cells.", POINTMAZE_LARGE),
    "antmaze-umaze": ("A simulated ant of eight joints walks around a U.", ANTMAZE_UMAZE),
    "antmaze-medium": ("The same ant in a maze of 26 cells, from corner to corner.", ANTMAZE_MEDIUM),
    "ogbench-stitch": ("OGBench's pointmaze-medium, recorded in pieces of four cells.", OGBENCH_STITCH),
    "ogbench-cube": ("OGBench's cube-single: play with a cube, to be put in one place.", OGBENCH_CUBE),
    "hopper": ("Hopper, recorded while it hops, stands, jumps and falls: one run for four tasks.", HOPPER),
    "own": ("Data of your own, which you name, and the rewards recorded with them.", OWN),
    "smoke": ("All of it in about a minute, too little to learn much.", SMOKE),
}


_BUDGET = ("updates", "batch_size", "report_every")
"""Of training, whatever the data."""


def fit_preset_to_data(
    config: ExperimentConfig, is_flag_given: Callable[[str], bool]
) -> tuple[ExperimentConfig, tuple[str, ...]]:
    """A preset of which the data may have been exchanged, without what was meant for its own data alone.

    Of data of another environment its task says nothing: in its place come the rewards recorded with them. The numbers
    of an observation that its features look at are others': in their place come the features of `OWN`.

    **Arguments:** `is_flag_given(field)`: whether the user has set a field, by its dotted name, or anything in it.
    That stays.

    **Returns:** the configuration, and a sentence on each part that was replaced, and on settings that were not though
    they may not fit.
    """
    presets, notes = [preset for _, preset in PRESETS.values()], []
    if not is_flag_given("task") and not any(
        p.task == config.task and _same_place(p.data, config.data) for p in presets
    ):
        if not isinstance(config.task, RecordedTaskConfig):
            notes.append(
                f"the preset's task, {describe_task(config.task)}, is not of these data: the task is the rewards "
                "recorded with them; for another one, pass task:goal-task-config --task.goal X Y, "
                "task:reward-task-config --task.reward MODULE:FUNCTION, or whatever else --help-all lists."
            )
        config = dataclasses.replace(config, task=RecordedTaskConfig())
    features = config.world.features
    chosen = [field.name for field in dataclasses.fields(features) if is_flag_given(f"world.features.{field.name}")]
    is_theirs = any(
        type(p.data) is type(config.data) and p.world.features.looked_at == features.looked_at for p in presets
    )
    if features.coordinates and not is_theirs and not {"coordinates", "first_coordinate"} & set(chosen):
        neutral = dataclasses.replace(OWN.world.features, **{name: getattr(features, name) for name in chosen})
        first = features.first_coordinate
        shown = f"--world.features.coordinates {features.coordinates}"
        shown += f" --world.features.first-coordinate {first}" if first else ""
        notes.append(
            f"the preset's features look at part of its own observations ({shown}); of these data they are "
            f"{neutral.kind} features of all numbers, as in the preset `own` (--world.features.*)."
        )
        config = dataclasses.replace(config, world=dataclasses.replace(config.world, features=neutral))
    if not any(type(p.data) is type(config.data) for p in presets if p is not OWN):
        training = (field.name for field in dataclasses.fields(config.training) if field.name not in _BUDGET)
        kept = [f"training.{name}" for name in training]
        values = {field: operator.attrgetter(field) for field in kept if not is_flag_given(field)}
        differ = [(field, get(config), get(OWN)) for field, get in values.items() if get(config) != get(OWN)]
        if differ:
            flags = (f"--{name.replace('_', '-')} {here} (there: {there})" for name, here, there in differ)
            notes.append(
                f"settings that were chosen for the preset's own data stay, and differ from those of the preset `own`: "
                f"{', '.join(flags)}."
            )
    return config, tuple(notes)


def _same_place(one: Any, other: Any) -> bool:
    """Whether two data sets are of one environment: settings of a collector that choose it are the same."""
    places = ("maze", "scene")
    return type(one) is type(other) and all(getattr(one, f, None) == getattr(other, f, None) for f in places)
