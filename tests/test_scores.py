"""Metrics as benchmarks define them: D4RL's normalised score, OGBench's success."""

import functools
import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError
from owma.data import Origin, env_settings
from owma.envs import load_robotics
from owma.results.scores import (
    D4RL_REFERENCES,
    d4rl_name,
    d4rl_normalized_score,
    d4rl_reference,
    dense_return,
    ogbench_success,
    unfit_scores,
    with_scores,
)


def test_random_is_zero_and_the_expert_a_hundred() -> None:
    for name, random, expert in (("hopper-medium-v2", -20.272305, 3234.3), ("kitchen-partial-v0", 0.0, 4.0)):
        np.testing.assert_allclose(
            d4rl_normalized_score(np.array([random, expert, (random + expert) / 2]), name), [0, 100, 50], atol=1e-9
        )
    # The hopper's published 3,000 is 92.8: (3000 + 20.272305) / 3254.572305.
    assert d4rl_normalized_score(np.array([3000.0]), "hopper-expert-v0").item() == pytest.approx(92.8009, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("antmaze-medium-diverse-v2", (0.0, 1.0)),
        ("ant-medium-v2", (-325.6, 3879.7)),
        ("downloads/hopper_medium_replay-v2.hdf5", (-20.272305, 3234.3)),
        ("maze2d-umaze-v1", (23.85, 161.86)),
        ("maze2d-umaze-dense-v1", (68.537689, 193.66285642381482)),
        ("maze2d-umaze-v0", None),
        ("mujoco/hopper/medium-v0", None),  # Minari's, of another environment version
        ("D4RL/antmaze/medium-diverse-v1", None),  # Minari's: its episodes do not end at the goal
        ("owma/pointmaze-umaze-1000-seed0-v0", None),
        ("hopper-medium-v2-mine", None),
    ],
)
def test_references_are_those_of_d4rls_own_names(name: str, reference: tuple[float, float] | None) -> None:
    assert d4rl_reference(name) == reference


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("hopper_mixed.hdf5", "hopper-medium-replay-v0"),
        ("walker_mixed.hdf5", "walker2d-medium-replay-v0"),
        ("ant_medium_expert.hdf5", "ant-medium-expert-v0"),
        ("halfcheetah_full_replay-v2.hdf5", "halfcheetah-full-replay-v2"),
        ("ant_random_expert.hdf5", None),  # it has no reference returns
        ("maze2d-umaze-sparse-v1.hdf5", "maze2d-umaze-v1"),
        ("maze2d-umaze-dense-v1.hdf5", "maze2d-umaze-dense-v1"),
        ("maze2d-open-sparse.hdf5", "maze2d-open-v0"),
        ("maze2d-umaze-sparse.hdf5", None),  # of v0, whose references are others
        ("Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse.hdf5", "antmaze-umaze-v0"),
        ("Ant_maze_u-maze_noisy_multistart_True_multigoal_True_sparse_fixed.hdf5", "antmaze-umaze-diverse-v2"),
        ("Ant_maze_big-maze_noisy_multistart_True_multigoal_False_sparse_fixed.hdf5", "antmaze-medium-play-v2"),
        ("Ant_maze_hardest-maze_noisy_multistart_True_multigoal_True_sparse.hdf5", "antmaze-large-diverse-v0"),
        ("mini_kitchen_microwave_kettle_light_slider-v0.hdf5", "kitchen-complete-v0"),
        ("kitchen_microwave_kettle_light_slider-v0.hdf5", "kitchen-partial-v0"),
        ("kitchen_microwave_kettle_bottomburner_light-v0.hdf5", "kitchen-mixed-v0"),
    ],
)
def test_d4rls_files_are_its_datasets(file: str, name: str | None) -> None:
    assert d4rl_name(f"downloads/{file}") == d4rl_name(file.removesuffix(".hdf5")) == name
    assert (d4rl_reference(file) is None) == (name is None)
    if name is not None:
        assert d4rl_reference(file) == d4rl_reference(name)


def test_every_expert_is_better_than_chance() -> None:
    assert all(random < expert for random, expert in D4RL_REFERENCES.values())


def test_a_dataset_of_another_benchmark_has_no_score() -> None:
    with pytest.raises(ConfigError, match="no reference returns for 'owma/two-routes-v0'"):
        d4rl_normalized_score(np.zeros(2), "owma/two-routes-v0")
    rows = [{"return": 2.0}]
    assert with_scores(rows, Origin("owma/two-routes-v0", None, None, None), EnvSpec("Hopper-v5")) == rows


def _env(env_id: str, steps: int | None = None, **kwargs: Any) -> EnvSpec:
    """A registered environment with other arguments and another limit of steps."""
    load_robotics()
    spec = gym.spec(env_id)
    return EnvSpec(
        env_id, spec.entry_point, max_episode_steps=steps or spec.max_episode_steps, kwargs=spec.kwargs | kwargs
    )


_ENDING, _KITCHEN = {"continuing_task": False}, ["microwave", "kettle", "bottom burner", "light switch"]


@pytest.mark.parametrize(
    ("dataset", "env", "score"),
    [
        ("hopper-medium-v2", _env("Hopper-v5"), 100 * (1 + 20.272305) / (3234.3 + 20.272305)),
        ("antmaze-umaze-v2", _env("AntMaze_UMaze-v5", **_ENDING), 100.0),
        ("maze2d-umaze-v1", _env("PointMaze_UMaze-v3"), 100 * (1 - 23.85) / (161.86 - 23.85)),
        ("maze2d-umaze-dense-v1", _env("PointMaze_UMazeDense-v3"), 100 * (1 - 68.537689) / 125.12516742381482),
        ("kitchen-mixed-v0", _env("FrankaKitchen-v1", tasks_to_complete=_KITCHEN), 25.0),
        ("hopper-medium-v2", _env("Walker2d-v5"), "for Hopper, which Walker2d-v5 is not"),
        ("ant-medium-v2", _env("AntMaze_UMaze-v5", **_ENDING), "for Ant, which AntMaze_UMaze-v5 is not"),
        # A return there is of the steps at the goal: 58 of them would be a score of 5800.
        (
            "antmaze-umaze-v2",
            _env("AntMaze_UMaze-v5"),
            "an AntMaze, umaze, with sparse rewards and episodes that end at the goal",
        ),
        ("antmaze-large-play-v2", _env("AntMaze_UMaze-v5", **_ENDING), "an AntMaze, large,"),
        ("antmaze-umaze-v2", _env("AntMaze_UMazeDense-v5", **_ENDING), "an AntMaze, umaze"),
        ("maze2d-umaze-v1", _env("PointMaze_UMaze-v3", **_ENDING), "episodes of 300 steps that go on at the goal"),
        ("maze2d-umaze-v1", _env("PointMaze_UMaze-v3", reset_target=True), "a PointMaze, umaze, with sparse rewards"),
        ("maze2d-umaze-v1", _env("PointMaze_UMaze-v3", steps=500), "episodes of 300 steps"),
        ("maze2d-umaze-dense-v1", _env("PointMaze_UMaze-v3"), "with dense rewards"),
        ("maze2d-umaze-v1", _env("owma/TwoRoutes-v0"), "a PointMaze, umaze"),
        (
            "kitchen-mixed-v0",
            _env("FrankaKitchen-v1", tasks_to_complete=_KITCHEN, remove_task_when_completed=False),
            "once",
        ),
        ("kitchen-mixed-v0", _env("FrankaKitchen-v1"), "with tasks_to_complete bottom burner, kettle, light switch"),
    ],
)
def test_a_d4rl_score_is_of_d4rls_kind_of_episodes_only(dataset: str, env: EnvSpec, score: float | str) -> None:
    origin = Origin(dataset, None, None, None)
    rows, unfit = with_scores([{"return": 1.0, "seed": 3}], origin, env), unfit_scores(origin, env)
    if isinstance(score, str):
        assert rows == [{"return": 1.0, "seed": 3}]
        assert score in unfit["d4rl_normalized_score"] and "no D4RL normalized score" in unfit["d4rl_normalized_score"]
    else:
        assert unfit == {} and rows[0].keys() == {"return", "seed", "d4rl_normalized_score"}
        assert rows[0]["d4rl_normalized_score"] == pytest.approx(score)


def test_minaris_score_is_without_the_hundred_and_of_its_environment() -> None:
    rows, env = [{"return": 10.0}, {"return": 30.0}], EnvSpec("Hopper-v5")
    settings, origin = env_settings(env), functools.partial(Origin, "mine/hops-v0", references=(10.0, 50.0))
    scored = with_scores(rows, origin("Hopper-v5", settings), env)
    assert scored == [rows[0] | {"minari_normalized_score": 0.0}, rows[1] | {"minari_normalized_score": 0.5}]
    elsewhere = origin("Hopper-v4", settings)
    assert with_scores(rows, elsewhere, env) == rows
    said = str(unfit_scores(elsewhere, env))
    assert "mine/hops-v0 is for Hopper-v4 with" in said and "the environment is Hopper-v5 with" in said
    shorter = EnvSpec("Hopper-v5", max_episode_steps=100)
    assert with_scores(rows, origin("Hopper-v5", settings), shorter) == rows
    # The dataset names none: nothing says that it is another.
    assert len(with_scores(rows, origin(None, None), env)[0]) == 2


def test_dense_return_by_hand() -> None:
    positions = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
    expected = math.exp(-5 / 20) + math.exp(-4 / 20) + 1
    assert dense_return(positions, np.array([3.0, 4.0])) == pytest.approx(expected)


def test_ogbench_success_is_a_mean_over_tasks_and_not_over_episodes() -> None:
    successes = {1: [True] * 8, 2: [True, False], 3: [False], 4: [False] * 3, 5: [True, True, False, False]}
    score = ogbench_success(successes)
    assert score["ogbench_success"] == pytest.approx((1 + 0.5 + 0 + 0 + 0.5) / 5)
    assert score["tasks"] == {"1": 1.0, "2": 0.5, "3": 0.0, "4": 0.0, "5": 0.5}
    # Wilson's limits of 8 of 8, 1 of 2, 0 of 1, 0 of 3 and 2 of 4, whose distances add up as squares.
    limits = np.array([(0.6756, 1.0), (0.0945, 0.9055), (0.0, 0.7935), (0.0, 0.5615), (0.15, 0.85)])
    distances = np.linalg.norm(limits - np.array([[1.0], [0.5], [0.0], [0.0], [0.5]]), axis=0) / 5
    np.testing.assert_allclose(score["interval"], 0.4 + distances * [-1, 1], atol=1e-4)
    assert ogbench_success(successes) == score


def test_episodes_that_all_agree_are_no_certainty() -> None:
    none = ogbench_success({task: [False] * 16 for task in range(1, 6)})
    # Wilson's upper limit of 0 of 16 is 0.194; five of them as squares add up.
    assert none["interval"] == [0.0, pytest.approx(0.1936 / 5**0.5, abs=1e-3)]
    # One success more moves the interval by little.
    one = ogbench_success({task: [task == 3 and i == 0 for i in range(16)] for task in range(1, 6)})
    assert none["interval"][1] < one["interval"][1] < none["interval"][1] + 0.03
    mixed = ogbench_success({task: [task < 3] * 8 for task in range(1, 6)})
    low, high = mixed["interval"]
    assert mixed["ogbench_success"] == 0.4 and 0.3 < low < 0.4 < high < 0.55


def test_fewer_than_five_tasks_are_refused() -> None:
    with pytest.raises(ConfigError, match="there are episodes of 1, 3; evaluate all five"):
        ogbench_success({1: [True], 2: [], 3: [False], 4: [], 5: []})
