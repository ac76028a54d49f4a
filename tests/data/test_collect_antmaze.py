"""AntMaze collected by the packaged ant."""

import dataclasses
import importlib.resources
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from owma._internal.errors import ConfigError
from owma.collect.ant_maze import EVALUATION_CELLS, PLAY_CELLS, direction_ant, marked
from owma.collect.waypoints import cell_path, free_cells
from owma.config.presets import ANTMAZE_MEDIUM, ANTMAZE_UMAZE
from owma.data import AntMazeCollect, OfflineDataset, collect_antmaze, command_for, load_minari
from owma.envs import MazeMap, cell_position, load_robotics
from owma.outcomes.transitions import Transitions

UMAZE = AntMazeCollect(steps=3000)


def _map(maze: str) -> MazeMap:
    load_robotics()
    name = {"umaze": "UMaze", "medium": "Medium", "large": "Large"}[maze]
    return gym.spec(f"AntMaze_{name}-v5").kwargs["maze_map"]


def _same(first: Transitions, second: Transitions) -> bool:
    return all(np.array_equal(getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(first))


@pytest.fixture(scope="module")
def umaze(tmp_path_factory: pytest.TempPathFactory) -> tuple[OfflineDataset, list[int]]:
    """The dataset of `UMAZE`, and how many steps there were after each of its episodes."""
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(tmp_path_factory.mktemp("datasets")))
        return load_minari(collect_antmaze(UMAZE, lambda done, total: seen.append(done))), seen


def test_umaze_diverse_has_the_form_of_the_published_sets(umaze: tuple[OfflineDataset, list[int]]) -> None:
    dataset, seen = umaze
    data = dataset.transitions
    assert dataset.dataset_id == "owma/antmaze-umaze-diverse-3000-seed0-v0"
    assert dataset.obs_keys == ("achieved_goal", "observation")
    assert data.obs.shape == (3000, 29) and data.action.shape == (3000, 8)
    assert dataset.action_low.tolist() == [-1] * 8 and np.abs(data.action).max() <= 1
    lengths = np.diff(np.append(data.episode_starts, len(data)))
    assert (lengths <= 700).all() and np.cumsum(lengths).tolist() == seen
    assert not data.terminated.any() and set(data.reward.tolist()) == {0.0, 1.0}
    # Most goals are reached. Nothing jumps: neither within an episode nor, by a wrong last state, at its end.
    assert np.mean([episode.any() for episode in np.split(data.reward, data.episode_starts[1:])]) >= 0.6
    assert np.linalg.norm(data.next_obs[:, :2] - data.obs[:, :2], axis=1).max() < 0.5
    inside = ~data.ends[:-1]
    np.testing.assert_array_equal(data.next_obs[:-1][inside], data.obs[1:][inside])
    assert dataset.env_spec is not None and dataset.env_refusal is None
    assert dataset.env_spec.id == "owma/AntMaze-v0" and dataset.env_spec.max_episode_steps == 700


def test_same_settings_same_data_and_other_seeds_other_data() -> None:
    small = AntMazeCollect(steps=300)
    first = load_minari(collect_antmaze(small)).transitions
    again = load_minari(collect_antmaze(dataclasses.replace(small, overwrite=True))).transitions
    other = load_minari(collect_antmaze(dataclasses.replace(small, seed=1))).transitions
    assert _same(first, again) and not _same(first, other)


def test_an_interrupted_collection_goes_on_to_the_same_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("owma.collect.recorder._PART_STEPS", 1000)
    whole = AntMazeCollect(steps=2700, fallen_steps=20)
    reference = load_minari(collect_antmaze(whole)).transitions

    def stop(done: int, _: int) -> None:
        if done >= 1800:  # one part is on disk, and the episodes after it are written as the collection ends
            raise KeyboardInterrupt

    again, seen = dataclasses.replace(whole, dataset_id="owma/again-v0"), []
    with pytest.raises(KeyboardInterrupt):
        collect_antmaze(again, stop)
    resumed = load_minari(collect_antmaze(again, lambda done, _: seen.append(done))).transitions
    assert seen[0] > 1800 and _same(reference, resumed)


def test_play_starts_and_ends_in_hand_picked_cells() -> None:
    import minari

    stored = minari.load_dataset(collect_antmaze(AntMazeCollect(maze="medium", goals="play", steps=1500)))
    starts, goals = ([cell_position(*cell, _map("medium"), 4.0) for cell in cells] for cells in PLAY_CELLS["medium"])
    for episode in stored:
        start, goal = (episode.observations[key][0] for key in ("achieved_goal", "desired_goal"))
        assert min(np.abs(np.array(place) - start).max() for place in starts) <= 1.0
        assert min(np.abs(np.array(place) - goal).max() for place in goals) <= 1.0
        assert (episode.observations["desired_goal"] == goal).all()


@pytest.mark.parametrize("maze", ["umaze", "medium", "large"])
def test_hand_picked_cells_are_free_distinct_and_apart(maze: str) -> None:
    free = free_cells(_map(maze))
    starts, goals = PLAY_CELLS[maze]
    assert len({*starts, *goals}) == len(starts) + len(goals) and {*starts, *goals} <= set(free)
    assert {*EVALUATION_CELLS[maze]} <= set(free)
    assert np.mean([len(cell_path(_map(maze), a, b)) for a in starts for b in goals]) >= 5
    cells = marked(_map(maze), starts, goals)
    assert sum(row.count("r") for row in cells) == len(starts) and _map(maze) != cells


def test_a_fallen_ant_ends_the_episode_unless_it_may_lie(umaze: tuple[OfflineDataset, list[int]]) -> None:
    def lying(data: Transitions) -> tuple[np.ndarray, np.ndarray]:
        return np.hypot(data.next_obs[:, 4], data.next_obs[:, 5]) > 0.5**0.5, data.ends  # of the torso's quaternion

    ended, ends = lying(umaze[0].transitions)
    assert 0 < ended.sum() <= 60 * ends.sum()
    config = dataclasses.replace(UMAZE, fallen_steps=0)
    to_the_end, ends = lying(load_minari(collect_antmaze(config)).transitions)
    assert np.flatnonzero(ends).tolist() == [699, 1399, 2099, 2799, 2999]
    assert to_the_end.sum() > ended.sum()


def test_the_ant_walks_where_it_is_told() -> None:
    load_robotics()
    env: Any = gym.make("AntMaze_Open-v5", include_cfrc_ext_in_observation=False, disable_env_checker=True)
    Path(env.unwrapped.tmp_xml_file_path).unlink()
    rng = np.random.default_rng(0)
    for direction in ([1.0, 0.0], [0.0, -1.0]):
        obs, _ = env.reset(seed=0, options={"reset_cell": np.array([2, 3]), "goal_cell": np.array([1, 1])})
        start = obs["achieved_goal"]
        for _ in range(30):
            obs, *_ = env.step(direction_ant().act(obs["observation"], np.array(direction), rng))
        moved = obs["achieved_goal"] - start
        assert moved @ direction > 1.0 and abs(moved @ [direction[1], direction[0]]) < 1.0
    env.close()
    packaged = importlib.resources.files("owma.collect").joinpath("ant_direction.npz")
    assert packaged.is_file() and len(packaged.read_bytes()) < 400_000


@pytest.mark.parametrize("preset", [ANTMAZE_UMAZE, ANTMAZE_MEDIUM])
def test_the_tasks_of_presets_are_the_goals_of_the_evaluation(preset) -> None:
    maze = preset.data.maze
    assert preset.task.radius == 0.45 and preset.task.goal == cell_position(*EVALUATION_CELLS[maze][1], _map(maze), 4.0)


def test_names_and_commands() -> None:
    assert command_for(UMAZE.name) == "python -m owma.collect antmaze --steps 3000"
    config = AntMazeCollect(maze="large", goals="play", action_noise=0.0, fallen_steps=0, seed=3)
    assert config.name == "owma/antmaze-large-play-1000000-noise0-fallen0-seed3-v0"
    assert command_for(config.name) == (
        "python -m owma.collect antmaze --seed 3 --maze large --goals play --action-noise 0.0 --fallen-steps 0"
    )
    for wrong, match in (({"steps": 0}, "--steps"), ({"fallen_steps": -1}, "--fallen-steps"), ({"seed": -1}, "--seed")):
        with pytest.raises(ConfigError, match=match):
            collect_antmaze(dataclasses.replace(UMAZE, **wrong))
