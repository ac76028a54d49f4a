"""Hopper's behaviour data: policies by CMA-ES, kept at three stages, and a mixture of them."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from owma._internal.errors import ConfigError, DatasetError
from owma.collect import hopper, hopper_policies
from owma.collect.hopper_policies import STAGES, TASKS, LinearPolicies, load_policies, search_policies
from owma.config.presets import HOPPER
from owma.config.task import parse_task
from owma.data import HopperCollect, collect, collect_hopper, command_for, dataset_folder, load_minari, num_steps
from owma.outcomes.transitions import Transitions

pytest.importorskip("cma", reason="needs owma[hopper]")

SMALL = HopperCollect(steps=300, search_steps=150, random_share=0.3)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches of two or three generations."""
    monkeypatch.setattr(hopper_policies, "_POPULATION", 4)
    monkeypatch.setattr(hopper_policies, "_HORIZON", 20)
    monkeypatch.setattr(hopper_policies, "_CHECKS", 1)


@pytest.fixture
def policies() -> LinearPolicies:
    """Two that fall soon, and one that does not."""
    rng = np.random.default_rng(0)
    return LinearPolicies(
        task=("forward", "stand", "stand"),
        stage=("late", "early", "late"),
        seed=np.array([0, 0, 0]),
        generation=np.array([9, 1, 5]),
        weight=0.3 * rng.normal(size=(3, 3, 11)),
        bias=0.1 * rng.normal(size=(3, 3)),
        returns=np.array([30.0, 10.0, 900.0]),
        steps=np.array([20.0, 40.0, 1000.0]),
    )


def _same(first: Transitions, second: Transitions) -> bool:
    return all(np.array_equal(getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(first))


def _metadata(name: str) -> dict[str, Any]:
    import minari

    return minari.load_dataset(name).storage.metadata


def test_the_dataset_says_what_made_it(tiny: None) -> None:
    seen: list[tuple[int, int]] = []
    dataset = load_minari(collect_hopper(SMALL, lambda done, total: seen.append((done, total))))
    data = dataset.transitions
    assert dataset.dataset_id == "owma/hopper-300-random0p3-search150-seed0-v0"
    assert dataset.env_spec is not None and dataset.env_spec.id == "Hopper-v5" and dataset.env_refusal is None
    assert data.obs.shape == (300, 11) and data.action.shape == (300, 3)
    # Falls terminate; only the last episode is cut.
    assert data.terminated.sum() >= 3 and np.array_equal(data.ends[:-1], data.terminated[:-1])
    assert seen[-1] == (num_steps(SMALL), num_steps(SMALL)) == (900, 900)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    rows = _metadata(dataset.dataset_id)["owma_policies"]
    assert [(row["task"], row["stage"]) for row in rows] == [(task, stage) for task in TASKS for stage in STAGES]
    assert {row["seed"] for row in rows} == {0}
    kept = load_policies(dataset_folder(dataset.dataset_id) / "policies.npz")
    assert kept.rows() == rows and all(row["steps"] >= 1 for row in rows)
    # Data and environment are those of the rewards.
    forward, healthy = data.next_obs[:, 5], 1 - data.terminated
    assert np.corrcoef(data.reward - healthy, forward)[0, 1] > 0.9


def test_every_episode_is_of_the_policy_that_it_names(policies: LinearPolicies, tmp_path: Path) -> None:
    import minari

    policies.save(tmp_path / "mine.npz")
    config = HopperCollect(steps=600, action_noise=0.0, random_share=0.3, policies=tmp_path / "mine.npz")
    stored = minari.load_dataset(collect_hopper(config))
    numbers = [item["options"]["policy"] for item in stored.storage.get_episode_metadata(range(stored.total_episodes))]
    assert {-1, 0, 1, 2} >= {int(number) for number in numbers} >= {-1, 0, 1}
    for number, episode in zip(numbers, stored):
        assert np.abs(episode.actions).max() <= 1
        wanted = [policies.act(int(number), obs) for obs in episode.observations[:-1]]
        is_policys = np.allclose(np.clip(wanted, -1, 1), episode.actions, atol=1e-6)
        assert is_policys == (number >= 0)


def test_policies_are_drawn_so_that_each_fills_as_many_steps(policies: LinearPolicies) -> None:
    shares = hopper._shares(policies, 0.1)
    of_steps = shares * np.array([hopper._RANDOM_LENGTH, *policies.steps])
    np.testing.assert_allclose(of_steps / of_steps.sum(), [0.1, 0.3, 0.3, 0.3])
    assert shares.sum() == pytest.approx(1.0) and (hopper._shares(policies, 0.0)[0]) == 0


def test_the_length_of_random_episodes_is_what_it_is_said_to_be() -> None:
    env = gym.make("Hopper-v5", disable_env_checker=True)
    rng, lengths = np.random.default_rng(1), []
    for seed in range(100, 160):
        env.reset(seed=seed)
        lengths.append(1)
        while not env.step(rng.uniform(-1, 1, 3).astype(np.float32))[2]:
            lengths[-1] += 1
    env.close()
    assert np.mean(lengths) == pytest.approx(hopper._RANDOM_LENGTH, abs=3 * np.std(lengths) / 60**0.5)


def test_given_policies_make_the_data_that_their_search_made(tiny: None) -> None:
    name = collect_hopper(SMALL)
    file = dataset_folder(name) / "policies.npz"
    again = dataclasses.replace(SMALL, policies=file, search_steps=1)
    assert num_steps(again) == 300 and again.name != name
    assert _same(load_minari(name).transitions, load_minari(collect_hopper(again)).transitions)
    assert _metadata(again.name)["owma_policies"] == _metadata(name)["owma_policies"]
    # They count by what they hold, not by where they lie, and what they made outlives them.
    moved = file.rename(file.with_name("moved.npz"))
    assert collect_hopper(again) == again.name
    assert collect_hopper(dataclasses.replace(again, policies=moved, dataset_id=again.name)) == again.name
    kept = load_policies(moved)
    dataclasses.replace(kept, bias=kept.bias + 1).save(moved)
    with pytest.raises(DatasetError, match="other settings"):
        collect_hopper(dataclasses.replace(again, policies=moved, dataset_id=again.name))


def test_the_same_settings_give_the_same_data_whatever_was_drawn_before(tiny: None) -> None:
    first = load_minari(collect_hopper(SMALL)).transitions
    np.random.uniform(size=7)
    again = load_minari(collect_hopper(dataclasses.replace(SMALL, overwrite=True))).transitions
    other = load_minari(collect_hopper(dataclasses.replace(SMALL, seed=1))).transitions
    assert _same(first, again) and not _same(first, other)


def test_what_was_interrupted_goes_on_to_the_same_data(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("owma.collect.recorder._PART_STEPS", 20)
    reference = load_minari(collect_hopper(SMALL)).transitions
    rolled: list[str] = []
    roll = hopper_policies._Search._roll

    def counted(self: Any, *arguments: Any) -> Any:
        rolled.append(self._task)
        return roll(self, *arguments)

    again, begun = dataclasses.replace(SMALL, dataset_id="owma/again-v0"), []
    monkeypatch.setattr(hopper_policies._Search, "_roll", counted)
    # In a search after its first generation, after a task, within the next one, and among the episodes.
    for stop in (1, 150, 200, 600, 750):
        first: list[int] = []

        def report(done: int, _: int, stop: int = stop, first: list[int] = first) -> None:
            first.append(done)
            if done >= stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            collect(again, report)
        begun.append(first[0])
    assert _same(reference, load_minari(collect(again)).transitions) and begun == sorted(begun)
    interrupted, rolled[:] = rolled.copy(), []
    collect_hopper(dataclasses.replace(SMALL, dataset_id="owma/whole-v0"))
    assert interrupted == rolled  # nothing was simulated twice


def test_a_search_finds_what_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hopper_policies, "TASKS", {"stand": TASKS["stand"]})
    monkeypatch.setattr(hopper_policies, "_HORIZON", 100)
    monkeypatch.setattr(hopper_policies, "_CHECKS", 2)
    policies = search_policies(tmp_path, seed=0, steps=6000, action_noise=0.1, progress=lambda _: None)
    assert policies.task == ("stand",) * 3 and policies.stage == ("early", "middle", "late")
    assert policies.returns.tolist() == sorted(policies.returns.tolist()) and policies.returns[0] < policies.returns[-1]
    # Nothing that is drawn at first stands for a second, of 125 steps.
    assert policies.steps[-1] > 125 and policies.returns[-1] > 0.5 * policies.steps[-1]


def test_a_file_that_holds_no_policies_is_refused(policies: LinearPolicies, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    policies.save(path)
    assert load_policies(path).rows() == policies.rows() and not list(tmp_path.glob("*.tmp.npz"))
    with np.load(path) as arrays:
        whole = dict(arrays)
    for name, value, match in (
        ("bias", np.full((3, 3), np.nan), "`bias` is not finite"),
        ("weight", policies.weight[:, :2], "`weight` is of shape"),
        ("task", np.array(["stand"]), "`task` is of shape"),
        ("seed", np.zeros(3), "`seed` is of shape .* and type float64"),
        ("steps", np.zeros(3), "takes no step"),
    ):
        np.savez(path, **(whole | {name: value}))  # pyright: ignore[reportArgumentType]  (no `allow_pickle`)
        with pytest.raises(ConfigError, match=match):
            collect_hopper(HopperCollect(policies=path))
    path.write_bytes(b"nothing")
    for file in (path, tmp_path / "absent.npz"):
        with pytest.raises(ConfigError, match="policies.npz"):
            collect_hopper(HopperCollect(policies=file))


def test_without_the_package_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cma", None)
    with pytest.raises(ConfigError, match=r"pip install 'owma\[hopper\]'.*--policies"):
        collect_hopper(SMALL)


def test_the_presets_cumulants_see_what_the_rewards_see() -> None:
    count = HOPPER.world.features.coordinates
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(50, 11))
    other = np.concatenate([obs[:, :count], rng.normal(size=(50, 11 - count))], axis=1)
    for reward in TASKS.values():
        np.testing.assert_array_equal(reward(obs, obs[:, :3], obs), reward(obs, obs[:, :3], other))
    assert isinstance(HOPPER.data, HopperCollect) and HOPPER.task == parse_task("hopper-forward")


def test_names_and_commands() -> None:
    assert HopperCollect().name == "owma/hopper-200000-seed0-v0"
    assert command_for(HopperCollect().name) == "python -m owma.collect hopper"
    assert command_for(HopperCollect(action_noise=0.25, random_share=0.2, search_steps=7, seed=3).name) == (
        "python -m owma.collect hopper --seed 3 --action-noise 0.25 --random-share 0.2 --search-steps 7"
    )
    given = HopperCollect(policies=Path("sets/my set/policies.npz"))
    assert given.name == "owma/hopper-200000-by-my-set-policies-seed0-v0" and command_for(given.name) is None
    for wrong, match in (
        ({"steps": 0}, "--steps"),
        ({"search_steps": 0}, "--search-steps"),
        ({"random_share": 1.0}, "--random-share"),
        ({"action_noise": -0.1}, "--action-noise"),
        ({"seed": -1}, "--seed"),
    ):
        with pytest.raises(ConfigError, match=match):
            collect_hopper(dataclasses.replace(HopperCollect(), **wrong))
