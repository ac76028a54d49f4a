"""Which episodes are held out: whole ones, and none that alone shows what it shows."""

import numpy as np
import pytest

from owma.outcomes.transitions import Transitions
from owma.train.split import singularity, split_episodes


def _transitions(ways: np.ndarray, *, length: int = 6, noise: float = 0.1) -> Transitions:
    """An episode for each of `ways`, which goes there from the origin, with some noise."""
    rng = np.random.default_rng(0)
    there = np.linspace(0, 1, length + 1)[:, None] * np.asarray(ways, float)[:, None]
    walks = (there + noise * rng.normal(size=there.shape)).astype(np.float32)
    n = len(ways) * length
    last = np.tile(np.arange(length) == length - 1, len(ways))
    obs, next_obs = walks[:, :-1].reshape(n, 2), walks[:, 1:].reshape(n, 2)
    return Transitions(obs, np.zeros((n, 1), np.float32), np.zeros(n, np.float32), next_obs, last, np.zeros(n, bool))


def _held_out(transitions: Transitions, share: float, seed: int, spare_singular: bool) -> set[int]:
    _, held_out = split_episodes(transitions, share, seed=seed, spare_singular=spare_singular)
    return set(transitions.episode_ids[held_out].tolist())


_COMMON, _RARE = np.tile([[1.0, 0.0]], (40, 1)), np.array([[-1.0, 2.0]])


@pytest.mark.parametrize("spare_singular", [False, True])
@pytest.mark.parametrize("share, count", [(0.25, 3), (0.001, 1), (0.999, 11)])
def test_whole_episodes_are_held_out(share: float, count: int, spare_singular: bool) -> None:
    transitions = _transitions(np.random.default_rng(0).normal(size=(12, 2)))
    fitted, held_out = split_episodes(transitions, share, seed=1, spare_singular=spare_singular)
    np.testing.assert_array_equal(fitted, ~held_out)
    episodes = transitions.episode_ids
    assert len(np.unique(episodes[held_out])) == count
    assert not set(episodes[fitted]) & set(episodes[held_out])
    again = split_episodes(transitions, share, seed=1, spare_singular=spare_singular)
    np.testing.assert_array_equal(held_out, again[1])


def test_one_episode_is_trained_on_and_held_out_at_once() -> None:
    fitted, held_out = split_episodes(_transitions(np.ones((1, 2))), 0.1, seed=0, spare_singular=True)
    assert fitted.all() and held_out.all()


def test_the_only_episode_of_its_kind_is_trained_on() -> None:
    once, often = (_transitions(np.concatenate([_COMMON, np.tile(_RARE, (n, 1))])) for n in (1, 10))
    seeds = range(60)
    assert any(40 in _held_out(once, 0.2, seed, spare_singular=False) for seed in seeds), "by chance it is held out"
    assert not any(40 in _held_out(once, 0.2, seed, spare_singular=True) for seed in seeds)
    # Of ten that are alike the model learns from nine what it needs for the other: there is nothing to spare.
    assert any({*range(40, 50)} & _held_out(often, 0.2, seed, spare_singular=True) for seed in seeds)


def test_singularity_is_the_distance_to_the_nearest_other() -> None:
    ways = np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0], [5.0, 5.0]])
    first, second, third, last = singularity(_transitions(ways, noise=0.01), np.arange(4), np.arange(4))
    assert first == pytest.approx(second) and first < 0.1
    # Both the mean and the last state are as far as the way is longer: by one of 1.64 standard deviations, or three.
    np.testing.assert_allclose([third, last], np.array([1.0, 3.0]) * 2 / np.std(ways[:, 0]), rtol=0.05)
    assert singularity(_transitions(ways), np.array([0]), np.array([0]))[0] == np.inf
