"""OGBench's data made again by its oracles."""

import dataclasses

import numpy as np
import pytest

from owma._internal.errors import ConfigError
from owma._internal.types import Float, HostArray
from owma.data import (
    OGBenchMazeCollect,
    OGBenchNoisyCollect,
    OGBenchPlayCollect,
    collect_ogbench_maze,
    collect_ogbench_noisy,
    collect_ogbench_play,
    command_for,
    load_minari,
)
from owma.outcomes.transitions import Transitions

pytest.importorskip("ogbench")


def _same(first: Transitions, second: Transitions) -> bool:
    return all(np.array_equal(getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(first))


def _lengths(data: Transitions) -> list[int]:
    return np.diff(np.append(data.episode_starts, len(data))).tolist()


def _cells(positions: Float[HostArray, "n 2"]) -> np.ndarray:
    return np.floor(np.asarray(positions) / 4 + 1.5).astype(int)


def test_navigate_goes_from_goal_to_goal() -> None:
    dataset = load_minari(collect_ogbench_maze(OGBenchMazeCollect(steps=1300)))
    data = dataset.transitions
    assert dataset.obs_keys is None and dataset.env_spec is not None
    assert dataset.env_spec.id == "owma/ogbench-pointmaze-medium-v0" and dataset.env_refusal is None
    assert data.obs.shape == (1300, 2) and data.action.shape == (1300, 2) and _lengths(data) == [1000, 300]
    assert not data.terminated.any() and np.abs(data.action).max() == 1.0
    # A goal is given up as it is reached: 12 cells of 4 m at 0.2 m a step, and some at once, being drawn twice.
    arrivals = int((data.reward == 1).sum())
    assert 6 <= arrivals <= 30
    assert np.linalg.norm(data.next_obs - data.obs, axis=1).max() < 0.3
    assert len({tuple(cell) for cell in _cells(data.obs)}) >= 12


def test_stitch_goes_four_cells_and_no_farther() -> None:
    data = load_minari(collect_ogbench_maze(OGBenchMazeCollect(kind="stitch", steps=1000))).transitions
    assert _lengths(data) == [200] * 5
    for rows in np.split(np.arange(1000), 5):
        cells = _cells(data.obs[rows])
        visited = {tuple(cell) for cell in cells}
        assert 4 <= len(visited) <= 8  # jitter takes it into neighbours
        assert np.abs(cells[-1] - cells[0]).sum() <= 5 and data.reward[rows].any()


def test_play_of_the_cube_moves_it_and_lets_go() -> None:
    dataset = load_minari(collect_ogbench_play(OGBenchPlayCollect(steps=300)))
    data = dataset.transitions
    assert dataset.env_spec is not None and dataset.env_spec.id == "owma/ogbench-cube-single-v0"
    assert data.obs.shape == (300, 28) and data.action.shape == (300, 5) and _lengths(data) == [300]
    height, place = data.obs[:, 21], data.obs[:, 19:21]
    assert height.max() > 1.0 and height[-1] < 2.5  # decimetres: it is lifted
    assert np.ptp(place, axis=0).max() > 1.0 and set(data.reward.tolist()) == {0.0, 1.0}
    assert np.linalg.norm(data.next_obs[:, 12:15] - data.obs[:, 12:15], axis=1).max() < 1.0


def test_a_noisy_cube_is_moved_too_by_actions_of_which_some_are_random() -> None:
    data = load_minari(collect_ogbench_noisy(OGBenchNoisyCollect(steps=300))).transitions
    calm = OGBenchNoisyCollect(steps=300, action_noise=0.0, random_share=0.0)
    without = load_minari(collect_ogbench_noisy(calm)).transitions
    for each in (data, without):
        assert each.obs.shape == (300, 28) and _lengths(each) == [300]
        assert each.obs[:, 21].max() > 1.0 and np.ptp(each.obs[:, 19:21], axis=0).max() > 1.0  # lifted, and moved

    def turns(transitions: Transitions) -> float:
        return float(np.abs(np.diff(np.asarray(transitions.action)[:, 3])).mean())

    assert turns(data) > 1.5 * turns(without)  # a tenth of its actions is drawn anew
    with pytest.raises(ConfigError, match="--random-share must be from 0 to 1"):
        collect_ogbench_noisy(OGBenchNoisyCollect(random_share=1.5))


@pytest.mark.parametrize("scene", ["scene", "puzzle-3x3"])
def test_play_of_other_things(scene) -> None:
    data = load_minari(collect_ogbench_play(OGBenchPlayCollect(scene=scene, steps=150))).transitions
    assert len(data) == 150 and data.reward.any()
    moved = np.ptp(data.obs[:, 19:], axis=0)
    assert (moved > 0.1).any()


@pytest.mark.parametrize(
    ("collect", "config"),
    [
        (collect_ogbench_maze, OGBenchMazeCollect(kind="stitch", steps=300)),
        (collect_ogbench_play, OGBenchPlayCollect(steps=60)),
        (collect_ogbench_noisy, OGBenchNoisyCollect(steps=60)),
    ],
)
def test_same_settings_same_data_whatever_was_drawn_before(collect, config) -> None:
    first = load_minari(collect(config)).transitions
    np.random.uniform(size=7)
    again = load_minari(collect(dataclasses.replace(config, overwrite=True))).transitions
    other = load_minari(collect(dataclasses.replace(config, seed=1))).transitions
    assert _same(first, again) and not _same(first, other)


def test_an_interrupted_play_goes_on_to_the_same_data(monkeypatch) -> None:
    monkeypatch.setattr("owma.collect.ogbench._PLAY_LENGTH", 60)
    monkeypatch.setattr("owma.collect.recorder._PART_STEPS", 1)
    config = OGBenchPlayCollect(steps=180)
    reference = load_minari(collect_ogbench_play(config)).transitions

    def stop(done: int, _: int) -> None:
        if done >= 120:
            raise KeyboardInterrupt

    again, seen = dataclasses.replace(config, dataset_id="owma/again-v0"), []
    with pytest.raises(KeyboardInterrupt):
        collect_ogbench_play(again, stop)
    resumed = load_minari(collect_ogbench_play(again, lambda done, _: seen.append(done))).transitions
    assert seen == [180] and _same(reference, resumed)


def test_names_and_commands() -> None:
    maze = OGBenchMazeCollect(maze="giant", kind="stitch", action_noise=0.25)
    assert maze.name == "owma/ogbench-pointmaze-giant-stitch-1000000-noise0p25-seed0-v0"
    assert command_for(maze.name) == (
        "python -m owma.collect ogbench-maze --maze giant --kind stitch --action-noise 0.25"
    )
    play = OGBenchPlayCollect(scene="puzzle-3x3", plan_noise=0.0, seed=2)
    assert play.name == "owma/ogbench-puzzle-3x3-play-1000000-noise0-seed2-v0"
    assert command_for(play.name) == (
        "python -m owma.collect ogbench-play --seed 2 --scene puzzle-3x3 --plan-noise 0.0"
    )
    noisy = OGBenchNoisyCollect(action_noise=0.2, random_share=0.05)
    assert noisy.name == "owma/ogbench-cube-single-noisy-1000000-noise0p2-random0p05-seed0-v0"
    assert command_for(noisy.name) == "python -m owma.collect ogbench-noisy --action-noise 0.2 --random-share 0.05"
    with pytest.raises(ConfigError, match="--plan-noise must not be negative"):
        collect_ogbench_play(dataclasses.replace(play, plan_noise=-1.0))
    with pytest.raises(ConfigError, match="--action-noise must not be negative"):
        collect_ogbench_maze(dataclasses.replace(maze, action_noise=-1.0))
