"""Successive halving finds the best setting, by few episodes of the others, and changes nothing for noise."""

import numpy as np
import pytest

from owma.tune.halving import halve, is_better, rounds


class _Game:
    """Candidates whose return on a start state is a number of their own plus what the start state and chance add."""

    def __init__(self, means: dict[str, float], noise: float = 0.0, threshold: float | None = None) -> None:
        self.means, self.noise, self.threshold = means, noise, threshold
        self.played: list[tuple[str, int, int, str]] = []

    def play(self, name: str, seed: int, episodes: int, stage: str) -> list[dict]:
        self.played.append((name, seed, episodes, stage))
        rng = np.random.default_rng([seed, sorted(self.means).index(name)])
        returns = self.means[name] + 10 * np.arange(episodes) + self.noise * rng.standard_normal(episodes)
        success = None if self.threshold is None else returns >= self.threshold
        return [
            {"seed": seed, "episode": i, "return": value, "success": None if success is None else bool(success[i])}
            for i, value in enumerate(returns)
        ]


@pytest.mark.parametrize(("first", "most", "sizes"), [(4, 16, [4, 4, 8]), (3, 10, [3, 3, 4]), (5, 5, [5])])
def test_each_round_has_as_many_episodes_as_all_before_it(first: int, most: int, sizes: list[int]) -> None:
    assert rounds(first, most) == sizes


def test_the_best_wins_and_the_others_cost_little() -> None:
    game = _Game({name: float(i % 6) for i, name in enumerate("abcdefg")}, noise=0.1)
    found = halve("abcdefg", game.play, seed=7, first=4, most=16)
    assert found.winner == found.best == "f"
    # 7, 4 and 2 candidates in three rounds; the first of all, which is to be replaced, plays on beside the best.
    assert {name: len(rows) for name, rows in found.rows.items()} == dict(zip("abcdefg", (16, 4, 8, 8, 16, 16, 4)))
    assert sum(episodes for _, _, episodes, _ in game.played) == 4 * 7 + 4 * 4 + 8 * 2 + (4 + 8)
    # All that are compared have had the same start states.
    starts = {stage: {(seed, episodes) for _, seed, episodes, s in game.played if s == stage} for stage in "123"}
    assert starts == {"1": {(7, 4)}, "2": {(8, 4)}, "3": {(9, 8)}}


def test_success_counts_before_return() -> None:
    game = _Game({"first": 0.0, "succeeds": 5.0, "earns": 3.0}, threshold=5.0)
    found = halve(("first", "earns", "succeeds"), game.play, seed=0, first=2, most=4)
    assert found.winner == "succeeds"


def test_noise_changes_nothing() -> None:
    """Of equal candidates the first stays in most tunings: the best of seven is above it by chance, but not by much."""
    stays = []
    for seed in range(40):
        found = halve(
            "abcdefg", _Game(dict.fromkeys("abcdefg", 0.0), noise=1.0).play, seed=100 * seed, first=4, most=16
        )
        stays.append(found.winner == "a")
    always_best = 1 / 7
    assert np.mean(stays) > 2 * always_best


def test_better_is_by_more_than_a_standard_error_of_the_pairs() -> None:
    def rows(values) -> list[dict]:
        return [{"seed": 0, "episode": i, "return": v, "success": None} for i, v in enumerate(values)]

    base = np.array([0.0, 100.0, 200.0, 300.0])  # start states differ a hundred times more than the candidates do
    assert is_better(rows(base + 1), rows(base))
    assert not is_better(rows(base), rows(base))
    # Differences of mean 1 with a standard error of 1.15, and of 0.58.
    assert not is_better(rows(base + [-1, 3, -1, 3]), rows(base))
    assert is_better(rows(base + [0, 2, 0, 2]), rows(base))
