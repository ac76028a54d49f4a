"""From Python alone: arrays and environments as users have them, to a run, its rows, another task and actions."""

import dataclasses
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import jax
import numpy as np
import pytest

import owma

pytestmark = pytest.mark.filterwarnings("ignore:The environment 'session:UserWarning")

SMALL: dict[str, Any] = {
    "world": owma.WorldConfig(width=8, depth=1, embed_width=8, features=owma.FeaturesConfig(num_features=8)),
    "policy": owma.PolicyConfig(width=8, depth=1, embed_width=8),
    "value": owma.ValueConfig(num_tasks=4, num_labels=64, width=8, depth=1, updates=4, batch_size=16, report_every=2),
    # Without a bootstrap, whose sampler takes longer to compile than all else.
    "training": owma.TrainingConfig(
        target="monte_carlo", after_truncation="stay", updates=4, batch_size=16, report_every=2
    ),
}
FEW = owma.RandomShooting(num_samples=4)


class Cart(gym.Env[np.ndarray, np.ndarray]):
    """A place and a speed, pushed by one number, for ten steps; registered nowhere."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.state, self.steps = self.np_random.uniform(-1, 1, 2).astype(np.float32), 0
        return self.state, {}

    def step(self, action: np.ndarray) -> Any:
        self.state = (0.95 * self.state + [0.05 * self.state[1], 0.1 * float(action[0])]).astype(np.float32)
        self.steps += 1
        return self.state, -abs(float(self.state[0])), False, self.steps == 10, {}


def recorded(episodes: int = 12) -> dict[str, np.ndarray]:
    """Random pushes, under Minari's and D4RL's names."""
    env, rng, rows = Cart(), np.random.default_rng(0), []
    for episode in range(episodes):
        obs, cut = env.reset(seed=episode)[0], False
        while not cut:
            push = rng.uniform(-1, 1, 1).astype(np.float32)
            after, reward, end, cut, _ = env.step(push)
            rows.append((obs, push, reward, after, end, cut))
            obs = after
    names = ("observations", "actions", "rewards", "next_observations", "terminations", "truncations")
    return {name: np.array(values) for name, values in zip(names, zip(*rows))}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    yield


def test_from_arrays_in_memory_to_actions() -> None:
    """The script of a notebook: nothing is registered, and nothing but the run is written."""
    data = recorded()

    def right(obs: np.ndarray, action: np.ndarray, next_obs: np.ndarray) -> np.ndarray:
        return next_obs[:, 0]

    def stop(label: str, done: int, total: int, note: str) -> None:
        if label.startswith("training V"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        owma.fit(data, task=right, env=Cart, name="cart", progress=stop, **SMALL)
    assert "the same call of owma.fit goes on with it" in stopped.value.__notes__[0]
    seen: list[tuple[str, int, int, str]] = []
    run = owma.fit(data, task=right, env=Cart, name="cart", progress=lambda *report: seen.append(report), **SMALL)
    rows = owma.evaluate(run, {"few": FEW, "static": "static"}, episodes=2, timed_decisions=0, progress=False)
    # What was tuned was tuned for this task, and not for another.
    tuned = run.config.evaluation.with_settings(["online_adaptation.kl_coef=3", "cem.num_elites=8"])
    config = dataclasses.replace(run.config, evaluation=tuned)
    run = dataclasses.replace(run, config=config, tuned=("online_adaptation.kl_coef=3",))
    left = run.tell(lambda obs, action, next_obs: -next_obs[:, 0])
    assert left.config.evaluation.settings == ("cem.num_elites=8",) and not left.tuned
    told = left.evaluate(owma.Static(), episodes=2, timed_decisions=0, progress=False)

    agent, env = left.agent(FEW), gym.make(run.env)
    obs, state = env.reset(seed=0)[0], agent.init()
    values: list[float] = []
    for key in jax.random.split(jax.random.key(0), 3):
        action, state, info = agent.act(obs, state, key=key)
        obs, *_ = env.step(action)  # refuses an action outside of its space
        values.append(float(info.plan.value))

    assert np.isfinite(values).all() and np.isfinite(obs).all()
    assert [row["planner"] for row in rows] == ["few", "few", "static", "static"]
    # Judged by the task that each was told: the sum of places, and of minus them, from the same start states.
    assert all((row.get("env_return") or 0) < 0 for row in rows + told)
    by_task = [row["return"] for row in rows[2:]], [row["return"] for row in told]
    assert all(here is not None and there is not None and here * there < 0 for here, there in zip(*by_task))
    assert len(run.rows()) == 6 and {row.get("evaluation") for row in run.rows()} == {"planners", "static"}
    assert {report[0] for report in seen} == {"training V(psi, z)"}, "what was trained before the stop is kept"
    assert seen[-1][1:3] == (4, 4)
    assert repr(run).startswith("Run('cart', 'runs/cart/v1', data='data', task='the reward function ")
    assert any(path.name == "training.png" for path in run.plot())
    # What is told is the values alone, by the same ridge regression: of the opposite rewards, the opposite weights.
    assert left.parts.world is run.parts.world and left.parts.policy is run.parts.policy
    assert float(left.parts.linear.bias) == pytest.approx(-float(run.parts.linear.bias), abs=0.3)

    # The same call returns the run; it is found by its contents, not by their names alone.
    assert owma.fit(data, task=right, env=Cart, name="cart", progress=False, **SMALL).folder.path == run.folder.path
    other = owma.fit(data, task=lambda obs, action, next_obs: obs[:, 1], name="cart", progress=False, **SMALL)
    assert other.folder.path.name == "v2" and other.env_id is None

    # Loaded like any other run; what no file holds is asked for, in a sentence.
    loaded = owma.load("runs/cart/v1")
    assert json.loads((loaded.folder.path / "config.json").read_text())["name"] == "cart"
    action_again, *_ = loaded.agent(FEW).act(obs, loaded.agent(FEW).init(), key=jax.random.key(1))
    assert np.array_equal(action_again, run.agent(FEW).act(obs, agent.init(), key=jax.random.key(1))[0])
    with pytest.raises(
        owma.ConfigError, match=r"The environment Cart .* give it again: owma.load\('runs/cart/v1', env"
    ):
        loaded.env  # noqa: B018
    assert len(loaded.read_data().transitions) == 120 and loaded.tell([0.5]).config.task == owma.GoalTaskConfig((0.5,))
    with pytest.warns(UserWarning, match="right, was given to a Python session.* give it again: owma.load"):
        alone = owma.evaluate(loaded, "static", env=Cart(), episodes=2, timed_decisions=0, progress=False)
    assert all("env_return" not in row for row in alone)
    again = owma.load("runs/cart/v1", task=right, env=Cart)
    same = again.evaluate("static", episodes=2, timed_decisions=0, progress=False)
    assert [row["return"] for row in same] == [row["return"] for row in rows[2:]]


def test_from_a_minari_dataset_of_the_pendulum() -> None:
    import minari

    env = minari.DataCollector(gym.make("Pendulum-v1", max_episode_steps=20))
    env.action_space.seed(0)
    for episode in range(6):
        env.reset(seed=episode)
        cut = False
        while not cut:
            *_, cut, _ = env.step(env.action_space.sample())
    with warnings.catch_warnings(action="ignore"):  # Minari wants to know who made it, and how well it plays
        data = env.create_dataset("mine/pendulum-v0")
    env.close()

    run = owma.fit(data, name="pendulum", progress=False, **SMALL)
    assert run.env_id == "Pendulum-v1" and run.config.data == owma.MinariDataset("mine/pendulum-v0")
    rows = owma.evaluate(run, [FEW], env="Pendulum-v1", episodes=1, timed_decisions=0, max_steps=20, progress=False)
    assert len(rows) == 1 and rows[0]["steps"] == 200 and "env_return" not in rows[0]
    upright = run.tell(owma.GoalTask(np.array([1.0, 0.0]), radius=0.5))
    action, *_ = upright.agent(owma.Static()).act(
        np.zeros(3), upright.agent(owma.Static()).init(), key=jax.random.key(0)
    )
    assert action.shape == (1,)
    # By its id it is the same run, and from disk the same environment.
    assert owma.fit("mine/pendulum-v0", name="pendulum", progress=False, **SMALL).folder.path == run.folder.path
    assert owma.load("runs/pendulum").env.id == "Pendulum-v1"
