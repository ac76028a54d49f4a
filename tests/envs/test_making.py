"""Environments of the user's own, however odd, are tried before any training: refused in a sentence, or made to fit."""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import NormalizeObservation, NormalizeReward

from owma._internal.errors import ConfigError, OwmaError
from owma.agent.act import Agent
from owma.envs import actions_inside, check_env, find_env, limit_note, make_env, vector_env
from owma.eval.rollout import run_episodes
from owma.eval.trajectories import roll_out
from owma.outcomes.testbeds import testbed_policy
from owma.planners import Static

pytestmark = [
    pytest.mark.cases,
    pytest.mark.filterwarnings("ignore::UserWarning:gymnasium", "ignore::DeprecationWarning:gymnasium"),
]


def _check(name: str) -> None:
    check_env(find_env(f"own_envs:own/{name}-v0"), None, obs_dim=2, action_dim=1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Make", r"cannot be made \(ValueError: host must be given; .*own_envs.py, line \d+\); install what it needs"),
        ("Reset", r"RuntimeError as it was reset \(the simulator is not running; .*own_envs.py, line \d+\); mend"),
        ("OldApi", r"TypeError as it was reset \(.*'seed'.*\); mend it: Gymnasium's API is reset\(seed=..., options="),
        ("NoInfo", "as it was reset .*Gymnasium's API is reset"),
        ("Step", "OSError at step 1 .the arm is not plugged in"),
        ("Four", "at step 1 .*step.action., which returns .obs, reward, terminated, truncated, info."),
        ("Nan", "begins with an observation that is not finite"),
        ("NanReward", "returned a reward that is not finite at step 1"),
        ("Rewards", r"`reward` of shape \(2,\)"),
    ],
)
def test_a_mistake_is_one_sentence_before_training(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        _check(name)
    assert f"'own/{name}-v0'" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["Plain", "Array", "InPlace", "Float64", "Endless"])
def test_what_any_agent_of_numpy_could_act_in_is_made_to_fit(name: str) -> None:
    """The stand-ins look at their actions: copies that may be written to, of the space's own type."""
    _check(name)
    with vector_env(find_env(f"own/{name}-v0"), 3, most_steps=7) as envs:
        first, _ = envs.reset(seed=1)
        start, action = first.copy(), np.full((3, 1), 0.5, np.float32)
        action.flags.writeable = False
        for step in range(1, 8):
            _, reward, terminated, truncated, infos = envs.step(action)
            assert reward.shape == (3,) and np.isfinite(reward).all() and not terminated.any()
            assert truncated.all() == (step == 7 and name == "Endless"), "cut where it has no limit of its own"
            assert infos["success"].shape == (3,) and "found" not in infos
        np.testing.assert_array_equal(action, np.full((3, 1), 0.5, np.float32))
        np.testing.assert_array_equal(first, start)  # the simulator goes on writing into what it has handed out


def test_without_a_limit_episodes_are_cut_and_that_is_said(gaussian_model) -> None:
    env = find_env("own_envs:own/Endless-v0")
    said = limit_note(env, 30)
    assert said is not None and "'own/Endless-v0' has no limit of steps" in said and "after 30" in said
    assert "(--evaluation.max-steps)" in said and "(--max-steps)" in str(limit_note(env, 30, "--max-steps"))
    assert limit_note(find_env("own/Plain-v0"), 30) is None
    model = gaussian_model([0.0, 1.0], [1.0, 1.0], [1.0, 0.0])
    policy = testbed_policy(2, 1, 2)  # of one push
    model = dataclasses.replace(model, policy=policy)
    with vector_env(env, 2, most_steps=30) as envs:
        rows = run_episodes(
            Agent(model, Static().build(), replan_every=10), envs, planner_name="s", seed=0, timed_decisions=0
        ).rows
    assert [row["steps"] for row in rows] == [30, 30]


def test_an_action_at_a_bound_is_not_counted_as_moved() -> None:
    """0.1 in float32 is more than 0.1 in float64."""
    space = gym.spaces.Box(-0.1, 0.1, (1,), np.float64)
    action = np.array([[0.1], [0.05], [0.2]], np.float32)
    taken, moved = actions_inside(action, space)
    assert taken.dtype == np.float64 and all(space.contains(row) for row in taken) and moved.tolist() == [0, 0, 1]
    assert not np.shares_memory(actions_inside(action, gym.spaces.Box(-1, 1, (1,), np.float32))[0], action)


@pytest.mark.parametrize("wrapper", [NormalizeObservation, NormalizeReward])
def test_running_statistics_are_refused_by_name(wrapper) -> None:
    """In the description of an environment, as a recording has it, or within what a function makes."""
    with wrapper(make_env(find_env("own_envs:own/Plain-v0"))) as recorded:
        spec = recorded.spec
    frozen = []

    def make(**kwargs: Any) -> gym.Env:
        del kwargs
        env = wrapper(gym.make("own/Plain-v0"))
        env.update_running_mean = not frozen
        return env

    gym.register("own/Wrapped-v0", entry_point=make, max_episode_steps=10)
    by_description = gym.spec("own/Plain-v0")
    described = EnvSpec(
        by_description.id,
        entry_point=by_description.entry_point,
        max_episode_steps=10,
        additional_wrappers=spec.additional_wrappers[-1:],
    )
    for env in (described, gym.spec("own/Wrapped-v0")):
        with pytest.raises(ConfigError, match=f"is wrapped in {wrapper.__name__}, whose running statistics .*record"):
            check_env(env, None, obs_dim=2, action_dim=1)
    frozen.append(True)  # with statistics of its own, that are the same every time
    check_env(gym.spec("own/Wrapped-v0"), None, obs_dim=2, action_dim=1)


class _Odd(gym.Env):
    """Points in a plane, of which one thing is odd."""

    def __init__(self, space: gym.Space, obs: Any, info: Any = None) -> None:
        self.observation_space, self.action_space = space, gym.spaces.Box(-1, 1, (1,))
        self.obs, self.said = obs, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.obs, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.said is None:
            raise SystemExit(7)
        return self.obs, 0.0, False, False, self.said


_LINE = gym.spaces.Box(-1, 1, (1,))
_PLANE = gym.spaces.Box(-1, 1, (2,))
_PART = np.zeros(1, np.float32)


@pytest.mark.parametrize(
    ("space", "obs", "info", "said"),
    [
        (gym.spaces.Dict(a=_LINE, b=_LINE), {"a": _PART, "b": _PART}, {}, r"entries \['a', 'b'\], where the data have"),
        (gym.spaces.Tuple((_LINE, _LINE)), (_PART, _PART), {}, "a Tuple of 2 observations; wrap it with .*Flatten"),
        (_PLANE, np.zeros((2, 1)), {}, r"reset returned an observation of shape \(2, 1\), its .* is of \(2,\)\)"),
        (_PLANE, None, {}, "reset returned nothing as an observation"),
        (_PLANE, np.zeros(2), None, r"SystemExit at step 1 \(7; .*test_making.py, line \d+\)"),
        (_PLANE, np.zeros(2), {"success": "False"}, r"at step 1 \(info\['success'\] is 'False', not True or False"),
        (_PLANE, np.zeros(2), {"is_success": np.zeros(0)}, r"info\['is_success'\] is array.*, not True or False"),
    ],
)
def test_what_is_odd_is_named_in_the_users_terms(space: gym.Space, obs: Any, info: Any, said: str) -> None:
    spec = EnvSpec("own/Odd-v0", entry_point=lambda **_: _Odd(space, obs, info), max_episode_steps=9)
    with pytest.raises(ConfigError, match=said) as error:
        check_env(spec, None, obs_dim=2, action_dim=1)
    assert "obs_keys" not in str(error.value) and "shape_base" not in str(error.value)


class _Late(_Odd):
    """Goes wrong at its third step, in one of several ways."""

    def __init__(self, way: str) -> None:
        super().__init__(_PLANE, np.zeros(2), {})
        self.way, self.steps = way, 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps <= 3:
            return self.obs, 0.0, False, False, {}
        if self.way == "exit":
            raise SystemExit(7)
        if self.way == "raise":
            raise RuntimeError("boom")
        obs = {"nan": self.obs * np.nan, "grown": np.zeros(3)}.get(self.way, self.obs)
        return obs, 1e300 if self.way == "huge" else 0.0, False, False, {"success": "no"} if self.way == "text" else {}


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("exit", r"raised SystemExit after 3 steps \(7; .*test_making.py, line \d+\); mend .*run it again"),
        ("raise", r"raised RuntimeError after 3 steps \(boom; .*test_making.py, line \d+\); mend .*run it again"),
        ("grown", r"observation of shape \(3,\), its observation_space is of \(2,\)\); mend .*run it again"),
        ("text", r"info\['success'\] is 'no', not True or False\); mend .*run it again"),
        ("nan", "returned an observation that is not finite after 4 steps; mend"),
        ("huge", r"gave a reward of 1e\+300 after 3 steps, too large for float32; divide"),
    ],
)
def test_what_goes_wrong_later_is_one_sentence_too(way: str, said: str) -> None:
    spec = EnvSpec("own/Late-v0", entry_point=lambda **_: _Late(way), max_episode_steps=9)
    check_env(spec, None, obs_dim=2, action_dim=1)
    with vector_env(spec, 2) as envs, pytest.raises(OwmaError, match=said) as error:
        roll_out(lambda obs, done, step: np.zeros((2, 1), np.float32), envs, seed=0, flatten=np.asarray)
    assert "\n" not in str(error.value)
