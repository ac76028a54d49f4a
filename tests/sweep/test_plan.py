"""Axes by name become points, each once, and every mistake is found before anything runs."""

import pytest

from owma._internal.errors import ConfigError
from owma.config.sweep import SWEEPS, SweepConfig, points, read_points, write_points
from owma.planners import OnlineAdaptation

SKEW, STEPS = "data.skew=0.02,0.1", "online_adaptation.adaptation_steps=5,10"


def test_all_combinations_times_seeds_times_planners() -> None:
    config = SweepConfig(grid=(SKEW, STEPS), seeds=(1, 2), planners=("static", "online_adaptation"))
    planned = points(config)
    # The planner that nothing is varied of acts once in each of the 2 × 2 experiments; the other at 5 and 10 steps.
    assert len(planned) == 4 * (1 + 2)
    first = planned[0]
    assert first.key == "two-routes-skew0.02-seed1/static" and first.settings == {"data.skew": 0.02}
    assert (first.experiment.seed, first.experiment.name) == (1, "two-routes-skew0.02-seed1")
    names = {point.name for point in planned}
    # Ten steps are the default, and that row is the planner's own.
    assert names == {"static", "online_adaptation", "online_adaptation-adaptation_steps=5"}
    assert {point.experiment.data.skew for point in planned} == {0.02, 0.1}  # pyright: ignore[reportAttributeAccessIssue]


def test_one_at_a_time_and_overrides() -> None:
    config = SweepConfig(each=(SKEW, STEPS), overrides=("training.updates=7", "online-adaptation.kl-coef=2"))
    by_key = {point.key: point for point in points(config)}
    assert set(by_key) == {
        "two-routes-seed0/online_adaptation",
        "two-routes-skew0.02-seed0/online_adaptation",
        "two-routes-skew0.1-seed0/online_adaptation",
        "two-routes-seed0/online_adaptation-adaptation_steps=5",
    }
    assert all(point.experiment.training.updates == 7 for point in by_key.values())
    assert by_key["two-routes-seed0/online_adaptation-adaptation_steps=5"].planner == OnlineAdaptation(
        adaptation_steps=5, kl_coef=2.0
    )


def test_one_price_for_all_planners_but_what_is_varied() -> None:
    planners = ("static", "online_adaptation", "published")
    grid = ("evaluation.kl_coef=0.5,1", "online_adaptation.kl_coef=0.25,1")
    planned = points(SweepConfig(grid=grid, planners=planners))
    prices = {point.key: getattr(point.planner, "kl_coef", None) for point in planned}
    assert prices == {
        "two-routes-evaluation.kl_coef0.5-seed0/static": None,
        "two-routes-evaluation.kl_coef0.5-seed0/online_adaptation-kl_coef=0.25": 0.25,
        "two-routes-evaluation.kl_coef0.5-seed0/online_adaptation-kl_coef=1": 1.0,
        "two-routes-evaluation.kl_coef0.5-seed0/published": 1.0,
        "two-routes-evaluation.kl_coef1-seed0/static": None,
        "two-routes-evaluation.kl_coef1-seed0/online_adaptation-kl_coef=0.25": 0.25,
        "two-routes-evaluation.kl_coef1-seed0/online_adaptation": 1.0,
        "two-routes-evaluation.kl_coef1-seed0/published": 1.0,
    }


def test_what_is_said_of_a_planner_goes_before_the_price_of_all() -> None:
    said = ("evaluation.kl_coef=0.5", "online_adaptation.kl_coef=1", "cem.num_iterations=3")
    planned = points(SweepConfig(base="ogbench-cube", overrides=said, planners=("online_adaptation", "cem")))
    assert [(p.planner.kl_coef, p.name) for p in planned] == [(1.0, "online_adaptation"), (0.5, "cem")]  # pyright: ignore
    free = points(SweepConfig(base="ogbench-cube", overrides=("evaluation.kl_coef=null",)))
    assert [point.planner for point in free] == [OnlineAdaptation()]


def test_fields_that_move_together() -> None:
    config = SweepConfig(grid=("data.skew:data.episodes=0.02:1000,0.001:4000",), planners=("static",))
    assert [(point.experiment.name, point.settings) for point in points(config)] == [
        ("two-routes-skew0.02-seed0", {"data.skew": 0.02, "data.episodes": 1000}),
        ("two-routes-skew0.001-seed0", {"data.skew": 0.001, "data.episodes": 4000}),
    ]


@pytest.mark.parametrize("name", SWEEPS)
def test_presets_are_points_that_survive_json(name: str) -> None:
    planned = points(SWEEPS[name][1])
    assert read_points(write_points(planned)) == planned
    assert len({point.key for point in planned}) == len(planned)


def test_ablations_train_once_a_seed() -> None:
    planned = points(SWEEPS["ablations"][1])
    assert len({point.experiment.training_fingerprint for point in planned}) == 3 < len(planned)
    # How often is planned is no part of training either.
    planned = points(SweepConfig(grid=("evaluation.replan_every=1,5,10",)))
    assert len(planned) == 3 and len({point.experiment.training_fingerprint for point in planned}) == 1


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"grid": ("nothing.here=1",)}, "There is no field 'nothing.here': it begins with one of name, seed, data"),
        ({"grid": ("training.nothing=1",)}, "no field 'training.nothing'; there is target, n_step"),
        ({"grid": ("training.updates.more=1",)}, "no field 'training.updates.more'"),
        ({"grid": ("training.updates=few",)}, "training.updates is 'few', not a int"),
        ({"grid": ("data.skew",)}, "'data.skew' is no axis; write FIELD=VALUE,VALUE"),
        ({"grid": ("seed=1,2",)}, "'seed' is no axis: give --seeds"),
        ({"grid": ("data.skew:data.episodes=0.1",)}, "'0.1' has 1 values for 2 fields"),
        ({"each": ("online_adaptation.kl_coef=-1",)}, "kl_coef=-1.0: must not be negative"),
        ({"overrides": ("training.updates=1,2",)}, "an override has one value"),
        ({"planners": ("best",)}, r"planners=\['best'\]: choose from static"),
        ({"base": "none"}, "base='none': there is no such preset; choose from two-routes"),
        ({"seeds": (1, 1)}, "name each seed once"),
        ({"name": "v1"}, "cannot be called 'v1'"),
    ],
)
def test_mistakes(flags: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        points(SweepConfig(**flags))
