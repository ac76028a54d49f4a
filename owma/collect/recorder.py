"""Episodes of an environment, kept in parts as they come, so that a collection that is killed goes on.

A part is an `.npz` file of whole episodes and the state of the random numbers after them. It gets its name last, in one
rename, so that whatever is there is whole.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from owma._internal.json import jsonable
from owma._internal.npz import read_npz

_PART_STEPS = 4_000
"""Of a part, at least: about a second of simulation."""
_FLAT = "obs"


class Recorder:
    """Records what an environment is made to do: `reset`, `step`, ..., then `keep`, for every episode.

    ```python
    recorder = Recorder(env, folder)
    number = recorder.resume(rng)          # episodes that are there; `rng` goes on where they ended
    while number < episodes:
        recorder.reset(seed=...)
        recorder.step(action)
        recorder.keep(rng)
    ```

    `folder` holds the parts, and may hold other files. `env` must not change observations that it has returned, which
    are kept as they are.
    """

    def __init__(self, env: gym.Env, folder: Path) -> None:
        self.env, self.folder = env, folder
        self._kept: list[dict[str, Any]] = []
        self._now: dict[str, Any] = {}
        self._parts = 0
        self._state: str | None = None
        self.num_steps = 0
        """Of the episodes that are kept."""
        self.notes: dict[str, Any] = {}
        """What else the dataset's metadata are to hold, in plain values."""
        self.files: list[Path] = []
        """What is to lie in the dataset's folder, beside its data."""

    @property
    def has_ended(self) -> bool:
        """Whether the environment has ended the episode."""
        return bool(self._now["terminated"][-1] or self._now["truncated"][-1])

    def reset(self, *, seed: int, options: Mapping[str, Any] | None = None) -> Any:
        """Begin an episode; the environment's observation."""
        obs, _ = self.env.reset(seed=seed, options=None if options is None else dict(options))
        kept = None if options is None else jsonable(options)
        self._now = {"seed": seed, "options": kept, "obs": [obs], "action": [], "reward": [], "terminated": []}
        self._now["truncated"] = []
        return obs

    def step(self, action: np.ndarray) -> Any:
        """One step; the environment's observation."""
        obs, reward, terminated, truncated, _ = self.env.step(action)
        fields = ("obs", "action", "reward", "terminated", "truncated")
        for name, value in zip(fields, (obs, action, reward, terminated, truncated)):
            self._now[name].append(value)
        return obs

    def keep(self, rng: np.random.Generator) -> None:
        """End the episode, as truncated unless it has terminated; what follows draws from `rng` as it is now."""
        if not self._now["terminated"][-1]:
            self._now["truncated"][-1] = True
        self._kept.append(self._now)
        self.num_steps += len(self._now["action"])
        self._now, self._state = {}, json.dumps(rng.bit_generator.state)
        if sum(len(episode["action"]) for episode in self._kept) >= _PART_STEPS:
            self.flush()

    def flush(self) -> None:
        """Write the episodes that are in no part yet; one that was not ended is left out."""
        if not self._kept:
            return
        arrays: dict[str, np.ndarray] = {"state": np.array(self._state)}
        arrays["lengths"] = np.array([len(episode["action"]) for episode in self._kept])
        arrays["made"] = np.array(json.dumps([[episode["seed"], episode["options"]] for episode in self._kept]))
        for name in ("action", "reward", "terminated", "truncated"):
            arrays[name] = np.concatenate([np.asarray(episode[name]) for episode in self._kept])
        rows = [obs for episode in self._kept for obs in episode["obs"]]
        if isinstance(rows[0], Mapping):
            arrays |= {f"{_FLAT}.{key}": np.stack([row[key] for row in rows]) for key in rows[0]}
        else:
            arrays[_FLAT] = np.stack(rows)
        temporary = self.folder / f"part.{os.getpid()}.tmp.npz"
        np.savez(temporary, **arrays)  # pyright: ignore[reportArgumentType]  (none is called `allow_pickle`)
        temporary.rename(self.folder / _part_name(self._parts))
        self._parts += 1
        self._kept = []

    def resume(self, rng: np.random.Generator) -> int:
        """The number of episodes that are in parts; `rng` is put where it was after the last of them."""
        episodes = 0
        while (part := _read(self.folder / _part_name(self._parts))) is not None:
            episodes += len(part["lengths"])
            self.num_steps += int(part["lengths"].sum())
            rng.bit_generator.state = json.loads(str(part["state"]))
            self._parts += 1
        return episodes

    def episodes(self) -> Iterator[dict[str, Any]]:
        """All episodes that are in parts, in the form of Minari's `EpisodeBuffer`."""
        number = 0
        for index in range(self._parts):
            part = read_npz(self.folder / _part_name(index))
            ends = np.cumsum(part["lengths"])
            for i, (end, (seed, options)) in enumerate(zip(ends, json.loads(str(part["made"])))):
                rows = slice(end - part["lengths"][i], end)
                obs = slice(rows.start + i, rows.stop + i + 1)  # one more than actions in each
                yield {
                    "id": number,
                    "seed": seed,
                    "options": None if options is None else {key: np.array(value) for key, value in options.items()},
                    "observations": part[_FLAT][obs]
                    if _FLAT in part
                    else {k.partition(".")[2]: a[obs] for k, a in part.items() if k.startswith(f"{_FLAT}.")},
                    "actions": part["action"][rows],
                    "rewards": part["reward"][rows],
                    "terminations": part["terminated"][rows],
                    "truncations": part["truncated"][rows],
                }
                number += 1


def _part_name(index: int) -> str:
    return f"part-{index:06d}.npz"


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """A part; `None` where it is missing, or damaged: it is then made again."""
    try:
        return read_npz(path)
    except (OSError, ValueError):
        return None
