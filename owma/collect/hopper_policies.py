r"""Linear policies of Hopper for the four tasks of `owma.envs.hopper`, searched for by CMA-ES, good and bad ones kept.

$a = \mathrm{clip}(W s + b, \pm 1)$ is enough to hop (Mania et al. 2018, arXiv 1803.07055). The search is Hansen's (*The
CMA Evolution Strategy: A Tutorial*, arXiv 1604.00772), over policies of observations that are standardised by those of
random actions. The same settings give the same policies.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from owma._internal.errors import ConfigError
from owma._internal.npz import read_npz
from owma._internal.types import Float, HostArray, Int
from owma.envs import hopper

HOPPER_ID = "Hopper-v5"
TASKS: Mapping[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "forward": hopper.forward,
    "backward": hopper.backward,
    "stand": hopper.stand,
    "jump": hopper.jump,
}
"""What is searched for, in this order."""

STAGES: Mapping[str, float] = {"early": 0.25, "middle": 0.6, "late": 1.0}
"""What is kept of a search: of the policies that are checked, those whose return in whole episodes comes nearest to
this share of the way from the first one's to the highest."""

_OBS, _ACTIONS = 11, 3
_POPULATION = 16
_SCALE = 0.3
"""Standard deviation of the first candidates, in actions for one standard deviation of an observation."""
_HORIZON = 400
"""Steps of an episode in the first half of a search, at most: many hops. In the second half episodes are whole: what
is fastest for so long falls soon after."""
_ALIVE: Mapping[str, float] = {"jump": 1.0}
"""Added to a task's reward at every step of the search, not to the returns that are reported, as Hopper-v5's own reward
has it: without it the search for `jump` ends with one leap and a fall; with it that for `backward` stands still."""
_CHECKS = 5
"""Episodes, as long as the environment's own, that a policy which is kept is judged by."""
_TRIED, _FINALISTS = 12, 5
"""Generations whose middling candidates are checked, and those of the highest mean scores, whose best policies are:
which of these hops on for a whole episode only a check tells."""

_CANDIDATES, _EPISODE, _CHECK = 1, 2, 3
"""What random numbers are drawn for; each has its own."""


_ARRAYS = ("seed", "generation", "weight", "bias", "returns", "steps")
"""Fields of `LinearPolicies` beside the names."""


@dataclass(frozen=True)
class LinearPolicies:
    r"""Policies $a = \mathrm{clip}(W_i s + b_i, \pm 1)$ of Hopper, and what they are worth."""

    task: tuple[str, ...]
    """What each was searched for."""
    stage: tuple[str, ...]
    """Of `STAGES`."""
    seed: Int[np.ndarray, " policies"]
    """Of its search."""
    generation: Int[np.ndarray, " policies"]
    """Of its search."""
    weight: Float[np.ndarray, "policies 3 11"]
    bias: Float[np.ndarray, "policies 3"]
    returns: Float[np.ndarray, " policies"]
    """Sum of the task's rewards over an episode with the search's action noise, a mean over a few."""
    steps: Float[np.ndarray, " policies"]
    """Until the hopper falls, of 1000 at most; likewise."""

    def act(self, policy: int, obs: Float[HostArray, "11"]) -> Float[np.ndarray, "3"]:
        """The action of policy number `policy` before it is clipped to [-1, 1]."""
        return self.weight[policy] @ obs + self.bias[policy]

    def rows(self) -> list[dict[str, Any]]:
        """What there is to say of each, in plain values."""
        return [
            {
                "task": task,
                "stage": stage,
                "seed": int(self.seed[i]),
                "generation": int(self.generation[i]),
                "return": float(self.returns[i]),
                "steps": float(self.steps[i]),
            }
            for i, (task, stage) in enumerate(zip(self.task, self.stage))
        ]

    def save(self, path: Path) -> None:
        """Write an `.npz` file, whole or not at all."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        _write(path, {"task": np.array(self.task), "stage": np.array(self.stage), **arrays})


def load_policies(path: Path) -> LinearPolicies:
    """Policies of a file that `LinearPolicies.save` has written.

    **Raises:** `ConfigError` if it is none.
    """
    try:
        arrays = read_npz(path)
        count = len(arrays["weight"])
        shapes = {"weight": (count, _ACTIONS, _OBS), "bias": (count, _ACTIONS)}
        for name in ("task", "stage", *_ARRAYS):
            array, wanted = arrays[name], shapes.get(name, (count,))
            kind = "U" if name in ("task", "stage") else "i" if name in ("seed", "generation") else "f"
            if array.shape != wanted or array.dtype.kind != kind:
                raise ValueError(f"`{name}` is of shape {array.shape} and type {array.dtype}")
            if kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"`{name}` is not finite")
        if not count or not (arrays["steps"] >= 1).all():
            raise ValueError("it holds no policy, or one that takes no step")
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(
            f"Policies cannot be read from {path} ({error}); name the `policies.npz` in the folder of a dataset that "
            "`python -m owma.collect hopper` has made, or leave --policies out."
        ) from error
    task, stage = (tuple(arrays[name].tolist()) for name in ("task", "stage"))
    return LinearPolicies(task, stage, **{name: arrays[name] for name in _ARRAYS})


def search_policies(
    folder: Path, *, seed: int, steps: int, action_noise: float, progress: Callable[[int], None]
) -> LinearPolicies:
    """Search for policies of every task, and keep those of all `STAGES`.

    A search that was interrupted goes on: `folder` holds the returns of all candidates so far, from which CMA-ES is
    brought to where it was without simulating any of them again.

    **Arguments:**

    - `folder`: for files of this search, one with the same arguments each.
    - `steps`: simulation steps for each task; the last generation is finished.
    - `action_noise`: standard deviation of the noise on candidates' actions.
    - `progress`: called after every generation with the number of steps done, of `steps` times the tasks; an exception
      that it raises interrupts the search.

    **Raises:** `ConfigError` without the package `cma`.
    """
    try:
        import cma
    except ImportError as error:
        raise ConfigError(
            f"Hopper's policies are searched for with an extra package: pip install 'owma[hopper]' ({error}); or pass "
            "--policies FILE with some that were found before."
        ) from error
    del cma
    env: Any = gym.make(HOPPER_ID, disable_env_checker=True)
    try:
        populations = []
        for number, task in enumerate(TASKS):
            kept = folder / f"policies-{task}.npz"
            if not kept.exists():
                search = _Search(env, task, seed=seed, action_noise=action_noise)
                for done in search.run(folder / f"search-{task}.npz", steps):
                    progress(number * steps + min(done, steps))
                search.kept().save(kept)
            populations.append(load_policies(kept))
            progress((number + 1) * steps)
    finally:
        env.close()
    return joined(populations)


def joined(parts: Sequence[LinearPolicies]) -> LinearPolicies:
    """All of them, in order."""
    task, stage = (tuple(name for part in parts for name in getattr(part, field)) for field in ("task", "stage"))
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    return LinearPolicies(task, stage, **arrays)


class _Search:
    """CMA-ES for one task."""

    def __init__(self, env: gym.Env, task: str, *, seed: int, action_noise: float) -> None:
        import cma

        assert env.spec is not None and env.spec.max_episode_steps is not None
        self._env: Any = env.unwrapped
        self._limit = env.spec.max_episode_steps
        self._task, self._seed, self._action_noise = task, seed, action_noise
        self._mean, self._scale = _random_statistics(env.unwrapped)
        normal = np.random.default_rng(self._entropy(_CANDIDATES)).standard_normal
        options = {
            "popsize": _POPULATION,
            # Numbers of our own, where cma would seed NumPy's global ones; no file that it reads options from; silence.
            "seed": np.nan,
            "randn": lambda *shape: normal(shape),
            "signals_filename": "",
            "verbose": -10,
            "verb_log": 0,
        }
        self._strategy = cma.CMAEvolutionStrategy(np.zeros(_ACTIONS * (_OBS + 1)), _SCALE, options)
        # Of each generation: the mean score of its candidates, the centre that they were drawn about, and a middling
        # and the best one of them.
        self._levels: list[float] = []
        self._chosen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def run(self, log: Path, steps: int) -> Iterator[int]:
        """Generations until `steps` are simulated; the number so far after each. `log` holds their returns."""
        done, scores, lengths = 0, *_read_log(log)
        replayed = len(scores)
        while done < steps:
            number, centre = len(self._levels), self._strategy.mean.copy()
            candidates = self._strategy.ask()
            if number >= replayed:
                limit = _HORIZON if done < steps / 2 else self._limit
                rolled = [self._roll(candidate, (_EPISODE, number), limit) for candidate in candidates]
                alive = _ALIVE.get(self._task, 0.0)
                scores.append(np.array([returned + alive * length for returned, length in rolled]))
                lengths.append(np.array([length for _, length in rolled]))
                _write(log, {"scores": np.stack(scores), "lengths": np.stack(lengths)})
            self._strategy.tell(candidates, -scores[number])
            self._levels.append(float(scores[number].mean()))
            order = np.argsort(scores[number], kind="stable")
            self._chosen.append((centre, candidates[order[len(order) // 2]], candidates[order[-1]]))
            done += int(lengths[number].sum())
            if number >= replayed - 1:
                yield done

    def kept(self) -> LinearPolicies:
        """The policies of all stages."""
        checked: list[tuple[int, np.ndarray, np.ndarray]] = []
        for generation, policy in self._eligible():
            rolled = [self._roll(policy, (_CHECK, generation, check), self._limit) for check in range(_CHECKS)]
            checked.append((generation, policy, np.mean(rolled, axis=0)))
        returns = np.array([worth[0] for _, _, worth in checked])
        first, best = returns[0], returns.max()
        chosen: list[int] = []
        for share in sorted(STAGES.values(), reverse=True):
            distances = np.abs(returns - first - share * (best - first))
            distances[chosen] = np.inf  # none twice
            chosen.append(int(distances.argmin()))
        ranked = [checked[i] for i in sorted(chosen, key=lambda i: returns[i])]
        affine = [self._affine(policy) for _, policy, _ in ranked]
        return LinearPolicies(
            task=(self._task,) * len(STAGES),
            stage=tuple(STAGES),
            seed=np.full(len(STAGES), self._seed),
            generation=np.array([generation for generation, _, _ in ranked]),
            weight=np.stack([weight for weight, _ in affine]),
            bias=np.stack([bias for _, bias in affine]),
            returns=np.array([worth[0] for _, _, worth in ranked]),
            steps=np.array([worth[1] for _, _, worth in ranked]),
        )

    def _eligible(self) -> Iterator[tuple[int, np.ndarray]]:
        """Generation and policy of what is checked, the first generation first."""
        levels = np.array(self._levels)
        wanted = np.linspace(levels[0], levels.max(), _TRIED, endpoint=False)
        for generation in np.unique([int((levels >= level).argmax()) for level in wanted]).tolist():
            yield generation, self._chosen[generation][1]
        for generation in np.argsort(-levels, kind="stable")[:_FINALISTS].tolist():
            centre, _, best = self._chosen[generation]
            yield generation, centre
            yield generation, best

    def _roll(
        self, candidate: Float[np.ndarray, " parameters"], entropy: tuple[int, ...], limit: int
    ) -> tuple[float, float]:
        """The task's return of an episode, and its steps; `entropy` gives its start and its action noise."""
        rng = np.random.default_rng(self._entropy(*entropy))
        noise = rng.normal(0.0, self._action_noise, (limit, _ACTIONS))
        weight, bias = self._affine(candidate)
        obs, _ = self._env.reset(seed=int(rng.integers(2**31)))
        rows = []
        for row in noise:
            action = np.minimum(np.maximum(weight @ obs + bias + row, -1.0), 1.0)
            obs, _, terminated, _, _ = self._env.step(action)
            rows.append(obs)
            if terminated:
                break
        after = np.stack(rows)
        return float(TASKS[self._task](after, np.zeros((len(after), _ACTIONS)), after).sum()), float(len(after))

    def _entropy(self, *more: int) -> tuple[int, ...]:
        return (self._seed, list(TASKS).index(self._task), *more)

    def _affine(
        self, candidate: Float[np.ndarray, " parameters"]
    ) -> tuple[Float[np.ndarray, "3 11"], Float[np.ndarray, "3"]]:
        """W and b of observations as they are, from those of standardised ones."""
        weight = candidate[: _ACTIONS * _OBS].reshape(_ACTIONS, _OBS) / self._scale
        return weight, candidate[_ACTIONS * _OBS :] - weight @ self._mean


def _random_statistics(env: Any) -> tuple[Float[np.ndarray, "11"], Float[np.ndarray, "11"]]:
    """Mean and standard deviation of observations in twenty episodes of uniformly random actions."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(20):
        obs, _ = env.reset(seed=seed)
        terminated = False
        while not terminated:
            rows.append(obs)
            obs, _, terminated, _, _ = env.step(rng.uniform(-1.0, 1.0, _ACTIONS))
    return np.mean(rows, axis=0), np.std(rows, axis=0)


def _read_log(log: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns and steps of each generation's candidates."""
    try:
        arrays = read_npz(log)
        scores, lengths = arrays["scores"], arrays["lengths"]
    except (OSError, ValueError, KeyError):  # not there, or torn
        return [], []
    return list(scores), list(lengths)


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.tmp.npz")
    np.savez(temporary, **arrays)  # pyright: ignore[reportArgumentType]  (none is called `allow_pickle`)
    temporary.rename(path)
