"""What environments say of success, from the infos that their copies really give."""

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from owma._internal.errors import OwmaError
from owma.envs import kitchen, load_robotics, reported_success
from owma.envs.make import vector_env
from owma.envs.success import one_success

pytestmark = pytest.mark.filterwarnings("ignore:.*The observations returned by `(reset|step)` and:UserWarning")


def test_a_flag_is_read_and_silence_is_no_failure() -> None:
    of_two = {"owma/TwoRoutes-v0": [False, False], "Hopper-v5": None, "FetchReach-v4": [False, False]}
    load_robotics()
    for env_id, expected in of_two.items():
        with vector_env(gym.spec(env_id), 2) as envs:
            envs.reset(seed=0)
            *_, infos = envs.step(envs.action_space.sample())
        reported = reported_success(infos)
        assert (reported if reported is None else reported.tolist()) == expected
    # One copy of three does not say.
    infos = {"success": np.array([True, False, False]), "_success": np.array([True, True, False])}
    np.testing.assert_array_equal(reported_success(infos), [True, False, False])


@pytest.mark.parametrize("removed", [True, False])
def test_the_kitchen_succeeds_when_no_subtask_is_left(removed: bool) -> None:
    """Two copies: in the first the microwave is opened, then the cabinet, in the second the microwave alone."""
    load_robotics()
    spec = copy.deepcopy(gym.spec("FrankaKitchen-v1"))
    spec.kwargs |= {
        "tasks_to_complete": ["microwave", "slide cabinet"],
        "remove_task_when_completed": removed,
        "terminate_on_tasks_completed": removed,
    }
    said = []
    with vector_env(spec, 2) as envs:
        seeds: Any = [0, 1]  # gymnasium's annotation forgets that a list is accepted
        envs.reset(seed=seeds)
        for opened in ([], [(0, "microwave"), (1, "microwave")], [(0, "slide cabinet")]):
            for number, name in opened:
                simulator: Any = envs.envs[number].unwrapped  # pyright: ignore[reportAttributeAccessIssue]
                joints, goal = kitchen.OBJECTS[name]
                simulator.data.qpos[list(joints)] = goal
            *_, infos = envs.step(np.zeros((2, 9), np.float32))
            reported = reported_success(infos)
            assert reported is not None
            said.append(reported.tolist())
    assert said == [[False, False], [False, False], [True, False]]


@pytest.mark.cases
@pytest.mark.parametrize(
    ("said", "read"),
    [(True, True), (np.bool_(False), False), (1, True), (0.0, False), ([False], False), (np.array([[1]]), True)],
)
def test_one_truth_value_is_read_in_any_form(said: Any, read: bool) -> None:
    assert one_success(said, "success") is read


@pytest.mark.cases
@pytest.mark.parametrize(
    "said", ["False", "", 0.3, np.nan, 2, [], [True, False], np.array([]), {"a": True}, {}, object(), b"1", 1j]
)
def test_what_is_no_truth_value_is_no_success(said: Any) -> None:
    with pytest.raises(TypeError, match=r"info\['success'\] is .*, not True or False") as error:
        one_success(said, "success")
    assert "\n" not in str(error.value)
    with pytest.raises(OwmaError, match="does not say whether it succeeded.*mend it"):
        reported_success({"success": [True, said]})
