"""Metrics as the benchmarks define them, under the benchmarks' own names, beside return and success.

- `d4rl_normalized_score` (D4RL, Fu et al. 2020, arXiv 2004.07219): 100 (return - random)/(expert - random).
- `ogbench_success` (OGBench, Park et al. 2024, arXiv 2410.20092): the success rate over an environment's five tasks,
  each evaluated by `python -m owma.transfer RUN --ogbench-tasks`.

What other benchmarks report is among the rows of an evaluation already: `return` is the sum of the environment's own
rewards, dense where it is dense, and `success` what the environment says of the episode. Minari's own datasets (such as
`mujoco/hopper/medium-v0`) have no reference returns here: their environments are of other versions than D4RL's, and
nothing that can be read without a network says what a random policy and an expert reach in them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from owma._errors import ConfigError
from owma._types import Bool, Float, HostArray
from owma.tables import interval

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

OGBENCH_TASKS = (1, 2, 3, 4, 5)
"""The `task_id`s that every OGBench environment has."""


def d4rl_reference(dataset: str) -> tuple[float, float] | None:
    """The returns (random, expert) that scores on a D4RL dataset refer to; `None` for other datasets.

    `dataset`: D4RL's own name, such as `hopper-medium-v2`; a folder before it and `.hdf5` after it do not count.
    """
    name = dataset.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".hdf5")
    for pattern, reference in D4RL_REFERENCES.items():
        # D4RL's files write `hopper_medium-v2` for `hopper-medium-v2`.
        if re.fullmatch(pattern, name.replace("_", "-")):
            return reference
    return None


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

    **Returns:** `ogbench_success` in [0, 1], its 95 % `interval` (over episodes, drawn anew within each task) and
    `tasks`, the share of each. Where the episodes of each task agree, to draw them anew says nothing; the interval is
    then of Wilson's limits of each task, whose distances from the shares add up as squares do (Zou and Donner 2008,
    Statistics in Medicine 27).

    Raises `ConfigError` if it is not the five tasks, or one has no episode: a mean over fewer is another metric.
    """
    if set(successes) != set(OGBENCH_TASKS) or any(len(found) == 0 for found in successes.values()):
        raise ConfigError(
            f"OGBench's success is over tasks {', '.join(map(str, OGBENCH_TASKS))}, and there are episodes of "
            f"{', '.join(str(task) for task, found in successes.items() if len(found)) or 'none'}; evaluate all five."
        )
    shares = {task: np.asarray(successes[task], np.float64) for task in OGBENCH_TASKS}
    tasks = {str(task): float(found.mean()) for task, found in shares.items()}
    mean = float(np.mean(list(tasks.values())))
    if any(np.ptp(found) for found in shares.values()):
        rng = np.random.default_rng(0)  # a fixed seed: the same episodes give the same interval
        drawn = [rng.choice(found, (5000, len(found))).mean(axis=1) for found in shares.values()]
        low, high = np.percentile(np.mean(drawn, axis=0), (2.5, 97.5))
    else:
        limits = np.array([interval(found, proportion=True) for found in shares.values()])
        below, above = np.linalg.norm(limits - np.array(list(tasks.values()))[:, None], axis=0) / len(tasks)
        low, high = mean - below, mean + above
    return {"ogbench_success": mean, "interval": [float(low), float(high)], "tasks": tasks}


def benchmark_scores(rows: Sequence[Mapping[str, Any]], dataset: str) -> dict[str, Any]:
    """What the benchmark that a dataset is of reports for one planner, by its own name, beside return and success.

    **Arguments:** `rows`: of an evaluation, of one planner; `dataset`: the name or id of the run's dataset.

    **Returns:** `{"d4rl_normalized_score": mean, "d4rl_normalized_score_interval": [low, high]}` for a D4RL dataset;
    nothing for any other.
    """
    if d4rl_reference(dataset) is None or not rows:
        return {}
    scores = d4rl_normalized_score(np.array([float(row["return"]) for row in rows]), dataset)
    return {
        "d4rl_normalized_score": float(scores.mean()),
        "d4rl_normalized_score_interval": interval(scores),
    }
