"""Named configurations, for `python -m owma.train PRESET`."""

from collections.abc import Mapping

from owma.data_config import StitchCollect, TwoRoutesCollect
from owma.experiment_config import EvaluationConfig, ExperimentConfig
from owma.material_config import GoalTaskConfig
from owma.policy_config import PolicyConfig
from owma.training_config import TrainingConfig
from owma.value_config import ValueConfig
from owma.world_config import WorldConfig

TWO_ROUTES = ExperimentConfig()

STITCH = ExperimentConfig(
    name="stitch",
    data=StitchCollect(),
    # The middle of the last cell of the U.
    task=GoalTaskConfig(goal=(-1.0, -1.0)),
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
        planners=("static", "random_shooting", "guided_diffusion", "online_adaptation", "published"),
        episodes=2,
        timed_decisions=0,
    ),
)

PRESETS: Mapping[str, tuple[str, ExperimentConfig]] = {
    "two-routes": ("The rare of two routes is worth taking; 2 % of the data take it.", TWO_ROUTES),
    "stitch": ("A maze recorded in pieces, none of which leads from start to goal.", STITCH),
    "smoke": ("All of it in about a minute, too little to learn much.", SMOKE),
}
