"""Metrics as benchmarks define them: D4RL's normalised score, OGBench's success."""

import numpy as np
import pytest

from owma._errors import ConfigError
from owma.scores import (
    D4RL_REFERENCES,
    benchmark_scores,
    d4rl_normalized_score,
    d4rl_reference,
    ogbench_success,
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


def test_every_expert_is_better_than_chance() -> None:
    assert all(random < expert for random, expert in D4RL_REFERENCES.values())


def test_a_dataset_of_another_benchmark_has_no_score() -> None:
    with pytest.raises(ConfigError, match="no reference returns for 'owma/two-routes-v0'"):
        d4rl_normalized_score(np.zeros(2), "owma/two-routes-v0")
    rows = [{"return": 2.0}, {"return": 4.0}]
    assert benchmark_scores(rows, "owma/two-routes-v0") == {}
    found = benchmark_scores(rows, "kitchen-mixed-v0")
    assert found["d4rl_normalized_score"] == 75.0
    low, high = found["d4rl_normalized_score_interval"]
    assert 50 <= low <= 75 <= high <= 100


def test_ogbench_success_is_a_mean_over_tasks_and_not_over_episodes() -> None:
    successes = {1: [True] * 8, 2: [True, False], 3: [False], 4: [False] * 3, 5: [True, True, False, False]}
    found = ogbench_success(successes)
    assert found["ogbench_success"] == pytest.approx((1 + 0.5 + 0 + 0 + 0.5) / 5)
    assert found["tasks"] == {"1": 1.0, "2": 0.5, "3": 0.0, "4": 0.0, "5": 0.5}
    low, high = found["interval"]
    assert 0.2 <= low < found["ogbench_success"] < high <= 0.6
    assert ogbench_success(successes) == found


def test_episodes_that_all_agree_are_no_certainty() -> None:
    none = ogbench_success({task: [False] * 16 for task in range(1, 6)})
    # Wilson's upper limit of 0 of 16 is 0.194; five of them as squares add up.
    assert none["interval"] == [0.0, pytest.approx(0.1936 / 5**0.5, abs=1e-3)]
    mixed = ogbench_success({task: [task < 3] * 8 for task in range(1, 6)})
    low, high = mixed["interval"]
    assert mixed["ogbench_success"] == 0.4 and 0.3 < low < 0.4 < high < 0.55


def test_fewer_than_five_tasks_are_refused() -> None:
    with pytest.raises(ConfigError, match="there are episodes of 1, 3; evaluate all five"):
        ogbench_success({1: [True], 2: [], 3: [False], 4: [], 5: []})
