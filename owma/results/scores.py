"""Metrics as the benchmarks define them, under the benchmarks' own names, beside return and success.

- `d4rl_normalized_score` (D4RL, Fu et al. 2020, arXiv 2004.07219): 100 (return - random)/(expert - random).
- `minari_normalized_score` (`minari.get_normalized_score`): the same without the 100, by the returns that a dataset of
  Minari's keeps as `ref_min_score` and `ref_max_score`. Datasets without them (such as `mujoco/hopper/medium-v0`) have
  no score.
- `dense_return` (DiSPO, Zhu et al. 2024, arXiv 2403.06328): what its authors report of AntMaze.
- `ogbench_success` (OGBench, Park et al. 2024, arXiv 2410.20092): the success rate over an environment's five tasks,
  each evaluated by `python -m owma.transfer RUN --ogbench-tasks`.

A score on a dataset is given only where nothing that can be checked says that the environment is another one than the
score's (`unfit_scores`). What cannot be checked remains: Gymnasium's -v5 is not D4RL's -v2, gymnasium-robotics' mazes
place starts and goals in other ways than D4RL's, and so a D4RL score may be compared with published ones only as far
as that goes.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError
from owma._internal.types import Bool, Float, HostArray
from owma.data import Origin, env_settings
from owma.results.intervals import wilson

_GYM = r"(random|medium|expert|medium-replay|full-replay|medium-expert)-v[0-2]"
_ANTMAZE = r"(umaze|umaze-diverse|medium-play|medium-diverse|large-play|large-diverse)-v[02]"
D4RL_REFERENCES: Mapping[str, tuple[float, float]] = {
    rf"hopper-{_GYM}": (-20.272305, 3234.3),
    rf"halfcheetah-{_GYM}": (-280.178953, 12135.0),
    rf"walker2d-{_GYM}": (1.629008, 4592.3),
    rf"ant-{_GYM}": (-325.6, 3879.7),
    rf"antmaze-{_ANTMAZE}": (0.0, 1.0),
    r"kitchen-(complete|partial|mixed)-v0": (0.0, 4.0),
    r"maze2d-open-v0": (0.01, 20.66),
    r"maze2d-umaze-v1": (23.85, 161.86),
    r"maze2d-medium-v1": (13.13, 277.39),
    r"maze2d-large-v1": (6.7, 273.99),
    r"maze2d-open-dense-v0": (11.17817, 27.166538620695782),
    r"maze2d-umaze-dense-v1": (68.537689, 193.66285642381482),
    r"maze2d-medium-dense-v1": (44.264742, 297.4552547777125),
    r"maze2d-large-dense-v1": (30.569041, 303.4857382709002),
}
"""Names of datasets, as regular expressions, to the mean returns of a random policy and of an expert: `REF_MIN_SCORE`
and `REF_MAX_SCORE` of `d4rl/infos.py` (github.com/Farama-Foundation/D4RL, commit 0ace16d)."""

_GYM_FILES = r"(hopper|halfcheetah|walker2d|ant)-(random|medium|expert|medium-expert)"
_ANT_FILES = {
    ("u", False, False): "umaze",
    ("u", True, True): "umaze-diverse",
    ("big", True, False): "medium-play",
    ("big", True, True): "medium-diverse",
    ("hardest", True, False): "large-play",
    ("hardest", True, True): "large-diverse",
}
D4RL_FILES: Mapping[str, str] = {
    _GYM_FILES: r"\1-\2-v0",
    r"(hopper|halfcheetah|ant)-mixed": r"\1-medium-replay-v0",
    r"walker-mixed": "walker2d-medium-replay-v0",
    r"maze2d-open-sparse": "maze2d-open-v0",
    r"maze2d-open-dense": "maze2d-open-dense-v0",
    r"maze2d-(umaze|medium|large)-sparse-v1": r"maze2d-\1-v1",
    r"mini-kitchen-microwave-kettle-light-slider-v0": "kitchen-complete-v0",
    r"kitchen-microwave-kettle-light-slider-v0": "kitchen-partial-v0",
    r"kitchen-microwave-kettle-bottomburner-light-v0": "kitchen-mixed-v0",
    **{
        f"Ant-maze-{maze}-maze-noisy-multistart-{starts}-multigoal-{goals}-sparse{fixed}": f"antmaze-{name}-{version}"
        for (maze, starts, goals), name in _ANT_FILES.items()
        for fixed, version in (("", "v0"), ("-fixed", "v2"))
    },
}
"""Names of D4RL's files that are not those of its datasets, as regular expressions with `-` for `_`, to the latter:
`DATASET_URLS` of the same `d4rl/infos.py`."""

_GYM_ENVS = {"hopper": "Hopper", "halfcheetah": "HalfCheetah", "walker2d": "Walker2d", "ant": "Ant"}
_MAZE_SHAPES = {"open": (5, 7), "umaze": (5, 5), "medium": (8, 8), "large": (9, 12)}
"""Rows and columns of D4RL's maps, and of gymnasium-robotics' alike."""
_MAZE2D_STEPS = {"open": 150, "umaze": 300, "medium": 600, "large": 800}
"""`max_episode_steps` of `d4rl/pointmaze/__init__.py`, of the versions above."""
_KITCHEN_TASKS = {
    "complete": {"microwave", "kettle", "light switch", "slide cabinet"},
    "partial": {"microwave", "kettle", "light switch", "slide cabinet"},
    "mixed": {"microwave", "kettle", "bottom burner", "light switch"},
}
"""`TASK_ELEMENTS` of `d4rl/kitchen/kitchen_envs.py`."""

DENSE_LENGTH = 20.0
"""Metres over which the reward of `dense_return` falls to 1/e."""

OGBENCH_TASKS = (1, 2, 3, 4, 5)
"""The `task_id`s that every OGBench environment has."""


def d4rl_name(dataset: str) -> str | None:
    """D4RL's name of a dataset, such as `hopper-medium-v2`; `None` for those of others.

    `dataset`: that name, or the name of the dataset's file; a folder before it and `.hdf5` after it do not count.
    """
    name = dataset.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".hdf5").replace("_", "-")
    files = (re.fullmatch(pattern, name) for pattern in D4RL_FILES)
    own = next((match.expand(D4RL_FILES[match.re.pattern]) for match in files if match), name)
    return own if any(re.fullmatch(pattern, own) for pattern in D4RL_REFERENCES) else None


def d4rl_reference(dataset: str) -> tuple[float, float] | None:
    """The returns (random, expert) that scores on a D4RL dataset (see `d4rl_name`) refer to; `None` for others."""
    name = d4rl_name(dataset)
    references = (D4RL_REFERENCES[pattern] for pattern in D4RL_REFERENCES if re.fullmatch(pattern, name or ""))
    return next(references, None)


def d4rl_normalized_score(returns: Float[HostArray, " n"], dataset: str) -> Float[np.ndarray, " n"]:
    r"""$100\,(R - R_{random})/(R_{expert} - R_{random})$ of undiscounted returns R of whole episodes.

    It may be compared with published numbers only where the episodes are of D4RL's environment: its rewards, episode
    length and version. Raises `ConfigError` if D4RL has no dataset of that name.
    """
    reference = d4rl_reference(dataset)
    if reference is None:
        raise ConfigError(
            f"D4RL has no reference returns for {dataset!r}; name one of its datasets, such as hopper-medium-v2, or "
            "report the return."
        )
    random, expert = reference
    return 100 * (np.asarray(returns, np.float64) - random) / (expert - random)


def ogbench_success(successes: Mapping[int, Sequence[bool] | Bool[HostArray, " n"]]) -> dict[str, Any]:
    """OGBench's success rate: the mean over an environment's five tasks of the share of episodes that succeed.

    **Arguments:** `successes`: `task_id` to whether each episode of the task succeeded.

    **Returns:** `ogbench_success` in [0, 1], its 95 % `interval` and `tasks`, the share of each. The interval is of
    Wilson's limits of each task, whose distances from the shares add up as squares do (Zou and Donner 2008, Statistics
    in Medicine 27).

    Raises `ConfigError` if it is not the five tasks, or one has no episode: a mean over fewer is another metric.
    """
    if set(successes) != set(OGBENCH_TASKS) or any(len(rates) == 0 for rates in successes.values()):
        raise ConfigError(
            f"OGBench's success is over tasks {', '.join(map(str, OGBENCH_TASKS))}, and there are episodes of "
            f"{', '.join(str(task) for task, rates in successes.items() if len(rates)) or 'none'}; evaluate all five."
        )
    shares = {task: np.asarray(successes[task], np.float64) for task in OGBENCH_TASKS}
    tasks = {str(task): float(rates.mean()) for task, rates in shares.items()}
    mean = float(np.mean(list(tasks.values())))
    limits = np.array([wilson(float(rates.mean()), float(len(rates))) for rates in shares.values()])
    below, above = np.linalg.norm(limits - np.array(list(tasks.values()))[:, None], axis=0) / len(tasks)
    return {"ogbench_success": mean, "interval": [float(mean - below), float(mean + above)], "tasks": tasks}


def dense_return(positions: Float[HostArray, "steps 2"], goal: Float[HostArray, " 2"]) -> float:
    r"""$\sum_t e^{-\|p_t - g\|/20}$, the undiscounted return of DiSPO's dense reward for AntMaze (arXiv 2403.06328).

    **Arguments:** `positions`: (x, y) in metres after each step that was taken; `goal`: likewise.

    It says something only of episodes of one length: where reaching the goal ended them, who is there first would have
    the least.
    """
    distance = np.linalg.norm(np.asarray(positions, np.float64) - np.asarray(goal, np.float64), axis=-1)
    return float(np.exp(-distance / DENSE_LENGTH).sum())


def unfit_scores(origin: Origin, env: EnvSpec) -> dict[str, str]:
    """The scores on a dataset that episodes in `env` have no claim to, each with a sentence that says why."""
    reasons = {}
    name = d4rl_name(origin.dataset_id)
    misfit = None if name is None else _d4rl_misfit(name, env)
    if misfit is not None:
        reasons["d4rl_normalized_score"] = (
            f"no D4RL normalized score is given: that of {name} is for {misfit}, which {env.id} is not, as it is here."
        )
    said = origin.env_id, origin.env_settings
    if origin.references is not None and origin.env_id is not None and said != (env.id, env_settings(env)):
        reasons["minari_normalized_score"] = (
            f"no Minari normalized score is given: that of {origin.dataset_id} is for {origin.env_id} with "
            f"{origin.env_settings}, and the environment is {env.id} with {env_settings(env)}."
        )
    return reasons


def with_scores(rows: Sequence[Mapping[str, Any]], origin: Origin, env: EnvSpec) -> list[dict[str, Any]]:
    """Rows of an evaluation in `env`, each with the scores on the run's dataset that its return comes to: the
    environment's own, `env_return`, where a task judges.

    These are `d4rl_normalized_score` for D4RL's datasets and `minari_normalized_score` for those of Minari that have
    references; none of `unfit_scores`.
    """
    paid = [row.get("env_return", row["return"]) for row in rows]
    returns = np.array([np.nan if value is None else float(value) for value in paid])
    by_key = {}
    if d4rl_name(origin.dataset_id) is not None:
        by_key["d4rl_normalized_score"] = d4rl_normalized_score(returns, origin.dataset_id)
    if origin.references is not None:
        low, high = origin.references
        by_key["minari_normalized_score"] = (returns - low) / (high - low)
    unfit = unfit_scores(origin, env)
    fit = {
        key: [score if np.isfinite(score) else None for score in scores.tolist()]
        for key, scores in by_key.items()
        if key not in unfit
    }
    return [dict(row) | {key: scores[i] for key, scores in fit.items()} for i, row in enumerate(rows)]


def _d4rl_misfit(name: str, env: EnvSpec) -> str | None:
    """What episodes the D4RL dataset's score is for, where those of `env` are others."""
    kind, which, *rest = name.split("-")
    base, said = env.id.rsplit("/", 1)[-1].partition("-v")[0], env.kwargs
    if kind in _GYM_ENVS:
        fits, wanted = base == _GYM_ENVS[kind], _GYM_ENVS[kind]
    elif kind == "kitchen":
        tasks = _KITCHEN_TASKS[which]
        fits = base == "FrankaKitchen" and set(said.get("tasks_to_complete", ())) == tasks
        fits &= said.get("remove_task_when_completed", True)  # else one that is done pays again at every step
        wanted = f"FrankaKitchen with tasks_to_complete {', '.join(sorted(tasks))}, each paid once"
    else:
        maze_map = said.get("maze_map") or [[]]
        paid = "dense" if "dense" in rest else "sparse"
        fits = (len(maze_map), len(maze_map[0])) == _MAZE_SHAPES[which]
        fits &= said.get("reward_type", "sparse") == paid and not said.get("reset_target", False)
        continuing = said.get("continuing_task", True)  # as gymnasium-robotics has it
        if kind == "antmaze":
            fits &= base.startswith("AntMaze") and not continuing
            wanted = (
                f"an AntMaze, {which}, with sparse rewards and episodes that end at the goal (continuing_task=False)"
            )
        else:
            steps = _MAZE2D_STEPS[which]
            fits &= base.startswith("PointMaze") and continuing and env.max_episode_steps == steps
            wanted = f"a PointMaze, {which}, with {paid} rewards and episodes of {steps} steps that go on at the goal"
    return None if fits else wanted
