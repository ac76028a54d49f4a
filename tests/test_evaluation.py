"""Planners compared on the same start states; an evaluation that was interrupted goes on."""

import contextlib
import dataclasses
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from line_world import LineWorld, line_world
from rich.console import Console

from owma._internal.errors import ConfigError
from owma.config.experiment import EvaluationConfig
from owma.config.names import check_run_name
from owma.config.planners import (
    CEM,
    COMPARED,
    NAMED,
    PLANNERS,
    PUBLISHED,
    SVDD,
    FKSteering,
    GuidedDiffusion,
    OnlineAdaptation,
    RandomShooting,
    Static,
    TiltedResampling,
    TwistedSMC,
    planner_name,
)
from owma.config.planners.base import AbstractPlannerConfig
from owma.config.planners.budgets import kl_coef_notes, matched, with_kl_coef
from owma.data import Origin
from owma.eval.evaluate import draw, evaluate_planners
from owma.eval.judge import Judge
from owma.eval.setup import EvaluationSetup
from owma.outcomes.tasks import RewardTask
from owma.results.baselines import summarise_baselines
from owma.results.tables import results_markdown, results_table, summarise
from owma.runs.folder import RunFolder

TWO = {"static": Static(), "random_shooting": RandomShooting(num_samples=4)}


@pytest.fixture
def compare(gaussian_model, tmp_path: Path) -> Callable[..., tuple[RunFolder, dict, list[str]]]:
    """Evaluate in the folder of this test: folder, results, and the labels of what was really run."""
    model = gaussian_model([0.0, 1.0], [1.0, 1.0], [1.0, 0.0])
    folder = RunFolder(tmp_path)

    def compare(planners=TWO, timed=0, says_success=True, warn=None, **named) -> tuple[RunFolder, dict, list[str]]:
        labels: list[str] = []

        @contextlib.contextmanager
        def progress(label: str, total: int, done: int) -> Iterator[Callable[..., None]]:
            labels.append(label)
            yield lambda *_, **__: None

        config = EvaluationConfig(episodes=3, replan_every=2, timed_decisions=timed)
        named = {"env": line_world(says_success=says_success), "obs_keys": None} | named
        setup = EvaluationSetup(model, config, **named)
        results = evaluate_planners(planners, setup, folder, seed=1, progress=progress, warn=warn)
        return folder, results, labels

    return compare


def test_rows_results_and_start_states(compare) -> None:
    folder, results, labels = compare()
    rows = folder.read_jsonl("episodes.jsonl")
    assert [(row["planner"], row["seed"], row["episode"]) for row in rows] == [(n, 1, i) for n in TWO for i in range(3)]
    beside = folder.read_jsonl("baselines.jsonl")
    assert results == summarise(rows) | {"baselines": summarise_baselines(beside)} == folder.read_json("results.json")
    assert labels == ["evaluating static", "evaluating random_shooting", "evaluating random_actions"]
    starts = [np.load(folder.path / "traces" / f"{name}.npz")["positions"][:, 0] for name in TWO]
    np.testing.assert_array_equal(starts[0], [[1000, 0], [1001, 0], [1002, 0]])
    np.testing.assert_array_equal(*starts)


def test_a_benchmarks_own_score_stands_beside_the_return(compare) -> None:
    hopper, warned = dataclasses.replace(line_world(), id="test/Hopper-v0"), []
    folder, plain, _ = compare(env=hopper)
    origin = Origin("hopper-medium-v2", None, None, (0.0, 10.0))
    # Rows that were written without scores get them as the evaluation goes on.
    _, results, labels = compare(env=hopper, dataset=origin, warn=warned.append)
    assert labels == [] and warned == []
    for name, entry in results["planners"].items():
        returned, (low, high) = entry["return"], entry["intervals"]["return"]
        assert returned == plain["planners"][name]["return"] and "d4rl_normalized_score" not in plain["planners"][name]
        assert entry["d4rl_normalized_score"] == pytest.approx(100 * (returned + 20.272305) / 3254.572305)
        assert entry["minari_normalized_score"] == pytest.approx(returned / 10)
        assert entry["intervals"]["minari_normalized_score"] == pytest.approx([low / 10, high / 10])
    rows = folder.read_jsonl("episodes.jsonl")
    assert all(row["minari_normalized_score"] == row["return"] / 10 for row in rows)
    beside = folder.read_jsonl("baselines.jsonl")
    assert results == folder.read_json("results.json") == summarise(rows) | {"baselines": summarise_baselines(beside)}
    assert [row["minari_normalized_score"] for row in beside] == [row["return"] / 10 for row in beside]


def test_the_environment_pays_a_benchmarks_score_whoever_judges(compare) -> None:
    hopper = dataclasses.replace(line_world(), id="test/Hopper-v0")
    nothing = Judge(RewardTask(lambda obs, action, next_obs: np.zeros(len(obs))))
    folder, _, _ = compare(
        {"static": Static()}, env=hopper, dataset=Origin("hopper-medium-v2", None, None, None), judge=nothing
    )
    rows = folder.read_jsonl("episodes.jsonl")
    assert [(row["return"], row["env_return"]) for row in rows] == [(0, 3e6), (0, 10), (0, 15)]
    assert [row["d4rl_normalized_score"] for row in rows] == pytest.approx(
        [100 * (paid + 20.272305) / 3254.572305 for paid in (3e6, 10, 15)]
    )


_DATA = {
    "planner": "data",
    "episodes": 7,
    "success": None,
    "return": 3.5,
    "steps": 20.0,
    "intervals": {"return": [3.0, 4.0], "success": None},
    "discounted": [0.0, 5.0],
}


def test_planners_are_held_against_random_actions_and_the_data(compare) -> None:
    """Whatever an agent does in the line world, its episodes have 3, 4 and 5 steps; the first, of seed 1000, is paid a
    million a step.
    """
    folder, results, _ = compare({"static": Static()}, data_row=_DATA)
    drawn, data = results["baselines"]["random_actions"], results["baselines"]["data"]
    assert drawn["return"] == results["planners"]["static"]["return"] == pytest.approx(3_000_025 / 3)
    assert (drawn["success"], drawn["kl"], drawn["value"]) == (pytest.approx(2 / 3), None, None)
    assert data == {key: value for key, value in _DATA.items() if key != "planner"}
    shown = results_markdown(results).splitlines()
    assert shown[3].startswith("| random_actions | 67 [") and shown[4] == "| data | – | 3.5 [3, 4] " + 6 * "| – " + "|"
    assert "7 recorded episodes, of 20 steps" in shown[6] and "static" in shown[2]
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(results_table(results))
    assert {"random_actions", "data"} <= {
        line.split()[0] for line in console.export_text().splitlines() if line.split()
    }
    # Neither is a rival, and neither is made again.
    assert list(results["planners"]) == ["static"]
    assert compare({"static": Static()}, data_row=_DATA)[1:] == (results, [])


class _Fragile(LineWorld):
    """It takes small actions, such as those of a plan, and no others."""

    def __init__(self, *, gives_nan: bool, most_action: float = 1000.0) -> None:
        super().__init__(terminates=True, most_action=most_action)
        self.gives_nan = gives_nan

    def step(self, action: np.ndarray):
        obs, reward, terminated, truncated, info = super().step(action)
        if np.abs(action).max() > 100:
            if not self.gives_nan:
                raise FloatingPointError("it blew up")
            reward = np.nan
        return obs, reward, terminated, truncated, info


def _fragile(**kwargs: Any) -> EnvSpec:
    entry_point: Any = _Fragile
    return EnvSpec("test/Fragile-v0", entry_point, kwargs=kwargs, disable_env_checker=True)


@pytest.mark.parametrize(("gives_nan", "said"), [(True, "sum is not finite"), (False, "it blew up")])
def test_an_environment_that_random_actions_spoil_leaves_the_planners_row(gives_nan: bool, said: str, compare) -> None:
    warned: list[str] = []
    folder, results, _ = compare({"static": Static()}, env=_fragile(gives_nan=gives_nan), warn=warned.append)
    assert list(results["planners"]) == ["static"] and "baselines" not in results
    assert len(warned) == 1 and "random_actions is left out" in warned[0] and said in warned[0]
    # Such a row, as it was once written, is not read.
    folder.write_jsonl("baselines.jsonl", [{"planner": "random_actions", "return": None}])
    assert compare({"static": Static()}, env=_fragile(gives_nan=gives_nan))[1] == results


def test_bounds_that_stand_for_none_are_the_datas(compare) -> None:
    warned: list[str] = []
    env = _fragile(gives_nan=False, most_action=float(np.finfo(np.float32).max))
    _, results, _ = compare({"static": Static()}, env=env, warn=warned.append)
    assert "random_actions" in results["baselines"]
    assert len(warned) == 1 and "have no bounds" in warned[0]


def test_rows_of_before_that_the_environment_judged_are_not_mixed_with_those_of_a_task(compare) -> None:
    folder, before, _ = compare(random_actions=False)
    task = Judge(RewardTask(lambda obs, action, next_obs: 2 * np.ones(len(obs))))
    # All are there: they stay what they are, and nothing of the task stands beside.
    assert compare(judge=task)[1:] == (before, [])
    folder.write_jsonl("episodes.jsonl", folder.read_jsonl("episodes.jsonl")[:-1])
    _, after, labels = compare(judge=task)
    assert labels == ["evaluating static", "evaluating random_shooting", "evaluating random_actions"]
    assert {row["return"] for row in folder.read_jsonl("episodes.jsonl")} == {6, 8, 10}
    assert after["planners"]["static"]["env_return"] == pytest.approx(3_000_025 / 3)


def test_a_score_of_another_environment_is_withheld_with_a_warning(compare) -> None:
    warned: list[str] = []
    folder, results, _ = compare(dataset=Origin("hopper-medium-v2", None, None, None), warn=warned.append)
    assert len(warned) == 1 and "for Hopper, which test/LineWorld-v0 is not" in warned[0]
    assert all("d4rl_normalized_score" not in row for row in folder.read_jsonl("episodes.jsonl"))
    assert all("d4rl_normalized_score" not in entry for entry in results["planners"].values())


class _GoalLine(gym.ObservationWrapper):
    """LineWorld as a maze has it: a goal of each episode's own, 30 m to the right of its start."""

    def __init__(self, maze_map: Any = (), reset_target: bool = False, continuing_task: bool = True) -> None:
        super().__init__(LineWorld(terminates=True))
        box = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.observation_space = gym.spaces.Dict({"observation": box, "desired_goal": box})

    def observation(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        return {"observation": observation, "desired_goal": observation * [1, 0] + np.array([30, 0], np.float32)}


def _goal_line(**kwargs: Any) -> EnvSpec:
    entry_point: Any = _GoalLine
    return EnvSpec("test/GoalLine-v0", entry_point, kwargs=kwargs, disable_env_checker=True)


def test_a_maze_has_a_dense_return(compare) -> None:
    """Episodes seeded with s stand at (s, t) after t of 3 + s % 4 steps, s = 1000, 1001, 1002."""
    folder, results, _ = compare({"static": Static()}, env=_goal_line(maze_map=[[0]]), obs_keys=("observation",))
    expected = [sum(np.exp(-np.hypot(30, t) / 20) for t in range(1, steps + 1)) for steps in (3, 4, 5)]
    rows = folder.read_jsonl("episodes.jsonl")
    np.testing.assert_allclose([row["dense_return"] for row in rows], expected, rtol=1e-5)
    entry = results["planners"]["static"]
    assert entry["dense_return"] == pytest.approx(np.mean(expected), rel=1e-5)
    low, high = entry["intervals"]["dense_return"]
    assert low < entry["dense_return"] < high


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"maze_map": [[0]], "reset_target": True}, {"maze_map": [[0]], "continuing_task": False}],
    ids=["no maze", "a moving goal", "an end at the goal"],
)
def test_without_a_goal_to_stay_at_there_is_no_dense_return(kwargs: dict[str, Any], compare) -> None:
    folder, _, _ = compare({"static": Static()}, env=_goal_line(**kwargs), obs_keys=("observation",))
    assert all("dense_return" not in row for row in folder.read_jsonl("episodes.jsonl"))


def test_an_environment_that_says_nothing_of_success_has_none_and_no_picture_of_it(compare) -> None:
    folder, results, _ = compare(timed=1, says_success=False)
    assert {entry["success"] for entry in results["planners"].values()} == {None}
    assert all(entry["ms_p50"] for entry in results["planners"].values())
    assert "| static | – | " in results_markdown(results)
    assert not list(folder.plots.glob("success*"))


@pytest.mark.parametrize("torn", [False, True])
def test_an_interrupted_evaluation_goes_on(torn: bool, compare) -> None:
    folder, results, _ = compare()
    rows = folder.read_jsonl("episodes.jsonl")
    folder.write_jsonl("episodes.jsonl", rows[:-1])
    if torn:
        with folder.episodes_jsonl.open("a") as file:
            file.write('{"planner": "rand')
    folder.results_json.unlink()
    _, again, labels = compare()
    assert labels == ["evaluating random_shooting"]  # static is there, whole
    assert again == results and folder.read_jsonl("episodes.jsonl") == rows
    assert compare()[2] == [] and folder.read_jsonl("episodes.jsonl") == rows


def test_pictures_of_a_decision(compare) -> None:
    small = OnlineAdaptation(adaptation_steps=2, n_adaptation_samples=4, adapt="all", kl_coef=0.1)
    folder, results, _ = compare({"online_adaptation": small})
    assert results["planners"]["online_adaptation"]["fallbacks"] == 0  # every plan is finite
    pictures = {path.name for path in folder.plots.glob("*.png")}
    assert pictures == {"online_adaptation_values.png", "online_adaptation_adaptation.png", "success.png"}
    assert {path.stem for path in folder.plots.glob("*.svg")} == {Path(name).stem for name in pictures}


def test_a_training_run_compares_every_planner_and_the_published_settings() -> None:
    planners = EvaluationConfig().named_planners()
    wanted = {"static", "random_shooting", "guided_diffusion_single", "tilted_resampling"}
    assert set(planners) == wanted | {"twisted_smc_256", "online_adaptation", "published"}
    # Each name is that of the class whose settings it has; `published` has others of ours.
    assert planners["online_adaptation"] == OnlineAdaptation() != planners["published"]
    assert isinstance(planners.pop("published"), OnlineAdaptation)
    for name, planner in planners.items():
        assert type(planner).__name__.lower() == re.sub("_single|_256|_", "", name)


def test_every_method_can_be_asked_for_by_name() -> None:
    rest = ("fk_steering", "svdd", "noise_optimization", "cem", "adaptation_off")
    planners = EvaluationConfig(planners=rest).named_planners()
    kinds = [type(planner).__name__ for planner in planners.values()]
    assert tuple(planners) == rest
    assert kinds == ["FKSteering", "SVDD", "NoiseOptimization", "CEM", "OnlineAdaptation"]
    assert planners["adaptation_off"] != OnlineAdaptation()  # what it would be by default


def test_a_name_means_one_planner_in_every_command() -> None:
    assert all(NAMED[name] == planner for name, planner in (*PLANNERS.items(), *COMPARED.items(), *matched().items()))
    assert len(set(NAMED.values())) == len(NAMED)
    # What a run trains and compares by default is what it was, each under a name of its own.
    assert list(PLANNERS.values()) == [
        *(Static(), RandomShooting(), GuidedDiffusion(), TiltedResampling(), TwistedSMC(num_particles=256)),
        *(OnlineAdaptation(), PUBLISHED),
    ]
    assert NAMED["guided_diffusion"] == GuidedDiffusion(num_samples=333)
    assert NAMED["twisted_smc"] == TwistedSMC(num_particles=500)


@pytest.mark.parametrize("name", list(NAMED))
def test_a_planner_is_called_what_the_registry_calls_it(name: str) -> None:
    assert planner_name(NAMED[name]) == name


def test_other_settings_have_another_name() -> None:
    """Of every class, also those whose name has several capitals in a row."""
    for config, name in (
        (OnlineAdaptation(kl_coef=0.1), "online_adaptation-kl_coef=0.1"),
        (OnlineAdaptation(adaptation_steps=0, kl_coef=0.5), "adaptation_off-kl_coef=0.5"),
        (CEM(num_samples=128, num_elites=25), "cem-num_samples=128"),
        (SVDD(num_candidates=7), "svdd-num_candidates=7"),
        (FKSteering(num_particles=7), "fk_steering-num_particles=7"),
        (TwistedSMC(num_particles=7), "twisted_smc-num_particles=7"),
        (GuidedDiffusion(num_samples=5), "guided_diffusion-num_samples=5"),
    ):
        assert planner_name(config) == name
        check_run_name(name)


def test_all_planners_are_given_one_price() -> None:
    planners = EvaluationConfig(planners=tuple(NAMED), kl_coef=0.5).named_planners()
    assert list(planners) == list(NAMED)
    prices = {name: getattr(planner, "kl_coef", None) for name, planner in planners.items()}
    # The published settings have a price of their own, and what does not weigh the divergence has none.
    assert prices.pop("published") == NAMED["published"].kl_coef != 0.5  # pyright: ignore[reportAttributeAccessIssue]
    assert {name for name, price in prices.items() if price is None} == {
        *("static", "random_shooting", "guided_diffusion", "guided_diffusion_single"),
    }
    assert set(prices.values()) == {None, 0.5}
    assert planners["guided_diffusion"].guidance_coef == 2.0  # pyright: ignore[reportAttributeAccessIssue]
    assert EvaluationConfig(planners=tuple(NAMED)).named_planners() == dict(NAMED)
    with pytest.raises(ConfigError, match="kl_coef=0.0: must be positive"):
        EvaluationConfig(kl_coef=0.0)
    (note,) = kl_coef_notes(NAMED, 0.5)
    assert note == "published keeps its own kl_coef=1; kl_coef=0.5 is for the other planners."
    assert kl_coef_notes(NAMED, 1.0) == kl_coef_notes(NAMED, None) == kl_coef_notes(["cem"], 0.5) == ()


@dataclasses.dataclass(frozen=True)
class _Unweighed(AbstractPlannerConfig):
    def build(self) -> Any:
        raise NotImplementedError


def test_a_planner_without_kl_coef_is_given_none() -> None:
    with pytest.raises(ConfigError, match="_Unweighed has no kl_coef, so that it cannot be given 0.5"):
        with_kl_coef(_Unweighed(), 0.5)


def test_a_maze_with_one_start_and_one_goal_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "traces").mkdir()
    np.savez(tmp_path / "traces" / "static.npz", positions=np.zeros((1, 5, 2), np.float32))
    results = {"planners": {"static": {"success": 1.0, "ms_p50": None}}}
    picture = tmp_path / "plots" / "trajectories.png"
    for row, drawn in (([1, 0, 0, 1], False), ([1, "r", 0, 1], False), ([1, "r", "g", 1], True)):
        env = EnvSpec("test/Maze-v0", kwargs={"maze_map": [[1, 1, 1, 1], row, [1, 1, 1, 1]]})
        draw(RunFolder(tmp_path), results, env)
        assert picture.exists() == drawn
