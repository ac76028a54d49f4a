import contextlib
import dataclasses
import subprocess
import sys

import gymnasium as gym
import minari
import numpy as np
import pytest

from owma._internal.command import command
from owma._internal.errors import ConfigError, DatasetError
from owma._internal.progress import progress
from owma.collect.store import claimed
from owma.collect.waypoints import cell_path, free_cell_at, jittered_waypoints
from owma.config.presets import PRESETS
from owma.config.task import GoalTaskConfig
from owma.data import (
    PointMazeCollect,
    StitchCollect,
    TwoRoutesCollect,
    collect,
    collect_pointmaze,
    collect_stitch,
    collect_two_routes,
    command_for,
    dataset_folder,
    is_claimed,
    is_collected,
    load_minari,
)
from owma.envs import MAZE_MAP, cell_at, cell_center, preferred_route_reward

SMALL = TwoRoutesCollect(skew=0.2, episodes=5)


def visited(positions, row, col):
    x, y = cell_center(row, col)
    return bool(((np.abs(positions - [x, y]) < 0.5).all(axis=-1)).any())


def same(first, second):
    return all(np.array_equal(getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(first))


def test_two_routes_has_the_exact_skew_and_reaches_the_goal():
    seen = []
    name = collect_two_routes(SMALL, progress=lambda done, total: seen.append((done, total)))
    assert name == "owma/two-routes-skew0p2-5x200-seed0-v0"
    assert seen == [(200 * n, 1000) for n in range(1, 6)]
    dataset = load_minari(name)
    data = dataset.transitions
    assert dataset.obs_keys == ("observation",)
    assert dataset.env_spec is not None and dataset.env_spec.id == "owma/TwoRoutes-v0"
    assert dataset.env_spec.max_episode_steps == 300
    paths = data.next_obs.reshape(5, 200, 4)[..., :2]
    lower = [visited(path, 5, 1) for path in paths]
    assert sum(lower) == 1 and [visited(path, 1, 5) for path in paths] == [not is_lower for is_lower in lower]
    arrived = np.linalg.norm(paths - np.array([2.0, -2.0]), axis=-1) <= 0.45
    assert (arrived.argmax(axis=1) > 100).all()
    assert arrived[:, -20:].all()  # it stays
    # The reward recorded is the one that relabelling gives.
    np.testing.assert_allclose(data.reward, preferred_route_reward(data.obs, data.action, data.next_obs), atol=1e-5)
    assert not data.terminated.any() and np.flatnonzero(data.truncated).tolist() == [199, 399, 599, 799, 999]


def test_same_settings_same_data():
    first = load_minari(collect_two_routes(SMALL)).transitions
    again = load_minari(collect_two_routes(dataclasses.replace(SMALL, overwrite=True))).transitions
    other = load_minari(collect_two_routes(dataclasses.replace(SMALL, seed=1))).transitions
    assert same(first, again) and not same(first, other)
    maze = PointMazeCollect(steps=500)
    first = load_minari(collect_pointmaze(maze)).transitions
    again = load_minari(collect_pointmaze(dataclasses.replace(maze, dataset_id="owma/again-v0"))).transitions
    assert same(first, again)


def test_no_skew_no_rare_route():
    config = TwoRoutesCollect(skew=0.0, episodes=3, steps=180)
    paths = load_minari(collect_two_routes(config)).transitions.next_obs.reshape(3, 180, 4)[..., :2]
    assert not any(visited(path, 5, 1) for path in paths)


def test_no_piece_of_a_way_leads_from_start_to_goal():
    config = StitchCollect(episodes=40, steps=60)
    dataset = load_minari(collect_stitch(config))
    assert dataset.dataset_id == "owma/stitch-umaze-40x60-seed0-v0"
    paths = dataset.transitions.next_obs.reshape(40, 60, 4)[..., :2]
    near = [np.linalg.norm(paths - np.array(cell), axis=-1) <= 0.5 for cell in ((-1.0, 1.0), (-1.0, -1.0))]
    at_start, at_goal = (cell.any(axis=1) for cell in near)
    assert at_start.any() and at_goal.any() and not (at_start & at_goal).any()
    assert dataset.env_spec is not None
    # What is evaluated has that start and that goal, and no others.
    env = gym.make(dataset.env_spec)
    for seed in range(3):
        obs, _ = env.reset(seed=seed)
        assert np.linalg.norm(obs["achieved_goal"] - [-1, 1]) < 0.5
        assert np.linalg.norm(obs["desired_goal"] - [-1, -1]) < 0.5
    env.close()


def test_episodes_are_as_long_as_asked_whatever_the_limit_of_the_evaluation():
    stored = minari.load_dataset(collect_two_routes(TwoRoutesCollect(episodes=2, steps=310)))
    assert [len(episode) for episode in stored] == [310, 310]
    assert [np.flatnonzero(episode.truncations).tolist() for episode in stored] == [[309], [309]]
    assert stored.env_spec is not None and stored.env_spec.max_episode_steps == 310
    evaluation = stored.recover_environment(eval_env=True)
    assert evaluation.spec is not None and evaluation.spec.max_episode_steps == 300
    evaluation.close()


def test_existing_data_are_reused_and_never_replaced_unasked():
    config = TwoRoutesCollect(episodes=1, steps=20, dataset_id="mine/routes-v1")
    assert not is_collected(config)
    collect_two_routes(config)
    written = (dataset_folder("mine/routes-v1") / "data" / "main_data.hdf5").stat().st_mtime_ns
    assert is_collected(config) and collect_two_routes(config) == "mine/routes-v1"
    other = dataclasses.replace(config, skew=0.5, steps=30)
    with pytest.raises(DatasetError, match=r"other settings \(skew 0.02 and not 0.5, steps 20 and not 30\)"):
        collect_two_routes(other)
    assert (dataset_folder("mine/routes-v1") / "data" / "main_data.hdf5").stat().st_mtime_ns == written
    collect_two_routes(dataclasses.replace(other, overwrite=True))
    assert len(load_minari("mine/routes-v1").transitions) == 30


@pytest.mark.parametrize("metadata", [None, "", "[]", "3", "{}", '{"owma_collect": [1]}', "[" * 100_000])
def test_a_folder_of_other_origin_is_refused(metadata):
    data = dataset_folder(SMALL.name) / "data"
    data.mkdir(parents=True)
    if metadata is not None:
        (data / "metadata.json").write_text(metadata)
    with pytest.raises(DatasetError, match="was not written by this command.*--overwrite"):
        collect_two_routes(SMALL)


@pytest.mark.parametrize("when", ["collecting", "writing"])
def test_an_interrupt_leaves_nothing_and_keeps_what_was_there(datasets, monkeypatch, when):
    config = TwoRoutesCollect(episodes=2, steps=20)
    collect_two_routes(config)
    before = load_minari(config.name).transitions

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if when == "writing":
            patch.setattr(minari, "create_dataset_from_buffers", interrupted)
        for again in (dataclasses.replace(config, overwrite=True), dataclasses.replace(config, seed=9)):
            with pytest.raises(KeyboardInterrupt):
                collect_two_routes(again, progress=interrupted if when == "collecting" else None)
    other = dataclasses.replace(config, seed=9)
    assert not dataset_folder(other.name).exists() and not is_claimed(other.name)
    assert same(before, load_minari(config.name).transitions)
    # The episodes that were whole are kept, and go into the same data.
    assert len(list(datasets.glob(".collecting-*/part-*"))) == 2
    resumed = load_minari(collect_two_routes(other)).transitions
    whole = dataclasses.replace(other, dataset_id="owma/whole-v0")
    assert same(resumed, load_minari(collect_two_routes(whole)).transitions)
    collect_two_routes(dataclasses.replace(config, overwrite=True))
    assert not list(datasets.glob(".collecting-*"))


def _stopped_after(episodes):
    def report(done, total):
        if done >= 20 * episodes:
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize("kind", ["two routes", "pointmaze", "stitch"])
def test_a_collection_that_was_stopped_goes_on(datasets, monkeypatch, kind):
    monkeypatch.setattr("owma.collect.recorder._PART_STEPS", 25)  # two episodes a part
    config = {
        "two routes": TwoRoutesCollect(episodes=7, steps=20, skew=0.5),
        "pointmaze": PointMazeCollect(steps=1000),
        "stitch": StitchCollect(episodes=7, steps=20),
    }[kind]
    for stops in (3, 5) if kind != "pointmaze" else (15, 30):
        with pytest.raises(KeyboardInterrupt):
            collect(config, _stopped_after(stops))
    reported = []
    collect(config, lambda done, total: reported.append(done))
    began = reported[0] // (300 if kind == "pointmaze" else 20)
    assert began > 2  # the first to be made now
    whole = dataclasses.replace(config, dataset_id="owma/whole-v0")
    assert same(load_minari(config.name).transitions, load_minari(collect(whole)).transitions)
    stored = [minari.load_dataset(name) for name in (config.name, "owma/whole-v0")]
    seeds = [[item.get("seed") for item in data.storage.get_episode_metadata(range(3))] for data in stored]
    assert seeds[0] == seeds[1] and None not in seeds[0]


def test_parts_of_other_settings_or_damaged_are_made_again(datasets, monkeypatch):
    monkeypatch.setattr("owma.collect.recorder._PART_STEPS", 15)
    config = TwoRoutesCollect(episodes=4, steps=20, dataset_id="owma/mine-v0")
    with pytest.raises(KeyboardInterrupt):
        collect_two_routes(dataclasses.replace(config, seed=5), progress=_stopped_after(2))
    with pytest.raises(KeyboardInterrupt):
        collect_two_routes(config, progress=_stopped_after(3))
    parts = sorted(datasets.glob(".collecting-*/part-*"))
    assert len(parts) == 3
    parts[1].write_bytes(parts[1].read_bytes()[:500])
    collect_two_routes(config)
    whole = dataclasses.replace(config, dataset_id="owma/whole-v0")
    assert same(load_minari("owma/mine-v0").transitions, load_minari(collect_two_routes(whole)).transitions)


def test_a_killed_collection_leaves_no_dataset(datasets):
    # The worst moment: all is written, nothing is moved into place yet, and no handler runs.
    code = """
import os, minari
from owma.data import TwoRoutesCollect, collect_two_routes
create = minari.create_dataset_from_buffers
minari.create_dataset_from_buffers = lambda *args, **kwargs: (create(*args, **kwargs), os._exit(9))
collect_two_routes(TwoRoutesCollect(episodes=1, steps=20))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    config = TwoRoutesCollect(episodes=1, steps=20)
    assert list(datasets.glob(".collecting-*")) and not is_collected(config) and not is_claimed(config.name)
    assert minari.list_local_datasets() == {}
    assert len(load_minari(collect_two_routes(config)).transitions) == 20
    assert not list(datasets.glob(".collecting-*"))


def test_a_claim_is_waited_for(datasets):
    class Enough(Exception):
        pass

    waits = []

    def waiting():
        waits.append(1)
        if len(waits) == 3:
            raise Enough

    with claimed("owma/mine-v0"):
        assert is_claimed("owma/mine-v0") and not is_claimed("owma/other-v0")
        with pytest.raises(Enough), claimed("owma/mine-v0", waiting):
            pass
    assert not is_claimed("owma/mine-v0") and not list(datasets.iterdir())
    with claimed("owma/mine-v0", waiting):
        pass
    assert len(waits) == 3


def test_one_collects_and_the_other_takes_it(datasets, monkeypatch):
    config = TwoRoutesCollect(episodes=2, steps=20)
    first = contextlib.ExitStack()
    first.enter_context(claimed(config.name))
    written = []

    def first_ends_while_the_second_waits(*_):
        assert not written
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["owma.collect.claim"], "claimed", lambda *_: contextlib.nullcontext())
            collect_two_routes(config)
        written.append((dataset_folder(config.name) / "data" / "main_data.hdf5").stat().st_mtime_ns)
        first.close()

    assert collect_two_routes(config, first_ends_while_the_second_waits) == config.name
    assert written == [(dataset_folder(config.name) / "data" / "main_data.hdf5").stat().st_mtime_ns]


def test_pointmaze_goals_are_true_and_move_on_arrival():
    config = PointMazeCollect(maze="umaze", steps=750, seed=1)
    name = collect_pointmaze(config)
    assert name == "owma/pointmaze-umaze-750-seed1-v0"
    stored = minari.load_dataset(name)
    assert [len(episode) for episode in stored] == [300, 300, 150]
    arrivals = 0
    for episode in stored:
        obs = episode.observations
        near = np.linalg.norm(obs["achieved_goal"] - obs["desired_goal"], axis=1)[1:] <= 0.45
        # The goal that is recorded is the one that was rewarded,
        np.testing.assert_array_equal(near, episode.rewards == 1.0)
        moved = (np.diff(obs["desired_goal"], axis=0) != 0).any(axis=1)
        # and it moves after an arrival, and only then.
        np.testing.assert_array_equal(moved[1:], near[:-1])
        arrivals += near.sum()
        assert np.abs(episode.actions).max() <= 1 and episode.truncations[-1]
    assert arrivals >= 5  # about 75 steps a goal
    spec = load_minari(name).env_spec
    assert spec is not None and spec.kwargs["reset_target"] is False and spec.kwargs["continuing_task"] is True


@pytest.mark.parametrize("maze", ["umaze", "medium", "large"])
def test_pointmaze_presets_pay_at_the_goal_that_their_environment_judges(maze):
    preset = PRESETS[f"pointmaze-{maze}"][1]
    assert isinstance(preset.data, PointMazeCollect) and isinstance(preset.task, GoalTaskConfig)
    dataset = load_minari(collect_pointmaze(dataclasses.replace(preset.data, steps=1000)))
    assert dataset.env_spec is not None
    env = gym.make(dataset.env_spec)
    for seed in range(3):
        obs, _ = env.reset(seed=seed)
        # The environment draws its goal within a quarter of a cell of the middle.
        assert np.abs(obs["desired_goal"] - preset.task.goal).max() <= 0.25
        assert np.linalg.norm(obs["achieved_goal"] - preset.task.goal) > 1
    env.close()


def test_names_say_what_made_the_data_and_how_to_make_it_again():
    configs = [
        TwoRoutesCollect(),
        TwoRoutesCollect(skew=0.05, action_noise=0.25, seed=7),
        TwoRoutesCollect(skew=0.0, steps=100),
        PointMazeCollect(maze="large", action_noise=0.0),
        StitchCollect(steps=50),
    ]
    assert len({config.name for config in configs}) == len(configs)
    commands = [command_for(config.name) for config in configs]
    assert commands == [
        "python -m owma.collect two-routes",
        "python -m owma.collect two-routes --seed 7 --skew 0.05 --action-noise 0.25",
        "python -m owma.collect two-routes --skew 0.0 --steps 100",
        "python -m owma.collect pointmaze --maze large --action-noise 0.0",
        "python -m owma.collect stitch --steps 50",
    ]
    assert command_for("D4RL/pen/human-v2") is None
    assert command_for(configs[0].name.replace("0p02", "little")) is None


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (TwoRoutesCollect(skew=1.5), "--skew .* got 1.5"),
        (TwoRoutesCollect(episodes=0), "--episodes must be at least 1"),
        (TwoRoutesCollect(action_noise=-1.0), "--action-noise"),
        (TwoRoutesCollect(seed=-1), "--seed"),
        (TwoRoutesCollect(dataset_id="no version"), "is not a Minari dataset id"),
        (TwoRoutesCollect(dataset_id="owma/dots-0.5-v0"), "is not a Minari dataset id"),
    ],
)
def test_settings_out_of_range(config, match):
    with pytest.raises(ConfigError, match=match):
        collect_two_routes(config)


def test_paths():
    path = cell_path(MAZE_MAP, (1, 1), (5, 1))
    assert path == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]
    with pytest.raises(ValueError, match="No path"):
        cell_path(MAZE_MAP, (1, 1), (3, 3))
    assert free_cell_at(MAZE_MAP, -1.45, 0.0) == (3, 1)  # pressed 5 cm into the block
    waypoints = jittered_waypoints(MAZE_MAP, path, np.random.default_rng(0))
    assert [cell_at(x, y) for x, y in waypoints] == path and tuple(waypoints[-1]) == cell_center(5, 1)
    assert (np.ptp(waypoints[:-1, 0]) > 0) and np.abs(waypoints[:, 0] + 2).max() <= 0.25


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "owma.collect", *arguments], capture_output=True, text=True)


def test_the_command(datasets):
    flags = ["two-routes", "--episodes", "2", "--steps", "30", "--skew", "0.5"]
    done = run(*flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(datasets / "owma" / "two-routes-skew0p5-2x30-seed0-v0")]
    assert "60 of 60 steps" in done.stderr and "Adroit" not in done.stderr and "Warning" not in done.stderr
    again = run(*flags)
    assert again.stdout == done.stdout and "is there already" in again.stderr
    bad = run("two-routes", "--skew", "2")
    assert bad.returncode == 2 and bad.stderr.startswith("owma: error: --skew") and len(bad.stderr.splitlines()) == 1


def test_errors_become_a_sentence_and_an_exit_code(capsys):
    def fail(error):
        raise error

    with pytest.raises(SystemExit) as stop:
        command(lambda: fail(DatasetError("It is gone; fetch it.")))
    assert stop.value.code == 2 and capsys.readouterr().err == "owma: error: It is gone; fetch it.\n"
    with pytest.raises(SystemExit) as stop:
        command(lambda: fail(KeyboardInterrupt()))
    assert stop.value.code == 130
    with pytest.raises(ZeroDivisionError):
        command(lambda: fail(ZeroDivisionError()))


def test_progress_as_lines(capsys):
    with progress("training", 10, done=4) as advance:
        advance(3)
        advance(3, note="loss 0.5")
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and err.startswith("training: 10 of 10 steps, ") and err.endswith(", loss 0.5\n")
