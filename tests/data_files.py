"""Files of a few episodes, for tests of how data are read."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from owma.data import open_by_name, summarise_dataset
from owma.data.names import NAMES

LENGTHS = (10, 10, 7, 10, 5)
"""Of the episodes of `walks`: the third terminates, the others are cut."""
RETURNS = [10.0, 20.0, 21.0, 40.0, 25.0]


def walks(lengths: tuple[int, ...] = LENGTHS, terminates: int = 2, dims: int = 3) -> dict[str, np.ndarray]:
    """A point that moves by 1 a step; episode k starts at 100 k and is paid k + 1 a step."""
    start = np.repeat(100.0 * np.arange(len(lengths)), lengths)
    obs = (start + np.concatenate([np.arange(steps) for steps in lengths]))[:, None] + np.zeros(dims)
    last = np.zeros(len(obs), bool)
    last[np.cumsum(lengths) - 1] = True
    terminals = last & (start == 100 * terminates)
    return {
        "observations": obs,
        "next_observations": obs + 1,
        "actions": np.linspace(-1, 1, len(obs), dtype=np.float32)[:, None],
        "rewards": start / 100 + 1,
        "terminals": terminals,
        "timeouts": last & ~terminals,
    }


def without(arrays: dict[str, np.ndarray], *names: str) -> dict[str, np.ndarray]:
    return {name: values for name, values in arrays.items() if name not in names}


def folder(path: Path, **arrays: Any) -> Path:
    path.mkdir(exist_ok=True)
    np.savez(path / "a.npz", **arrays)
    return path


def hdf5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def facts(path: Path, **options: Any) -> tuple[list[float], int, str]:
    """Returns of the episodes (smallest, median, largest, mean), how many terminated, and all warnings."""
    summary = summarise_dataset(open_by_name(str(path), **options))
    assert summary["episodes"] == len(LENGTHS), summary["warnings"]
    returns = summary["returns"]
    assert returns["mean"] == np.mean(RETURNS) and returns["median"] == np.median(RETURNS)
    assert (returns["smallest"], returns["largest"]) == (min(RETURNS), max(RETURNS))
    return returns, summary["terminated"], " ".join(summary["warnings"])


def ways_to_say(lengths: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The ends of episodes of these lengths, in every form in use."""
    stops = np.cumsum(lengths)
    last = np.zeros(stops[-1], bool)
    last[stops - 1] = True
    first = np.append(True, last[:-1])
    numbers = np.repeat(np.arange(len(lengths)), lengths)
    ways: dict[str, np.ndarray] = {name: last for part in ("done", "truncated", "last") for name in NAMES[part]}
    ways |= {name: first for name in NAMES["first"]}
    ways |= {name: stops for name in NAMES["stops"]}
    ways |= {name: np.array(lengths) for name in NAMES["lengths"]}
    ways |= {name: 7 + numbers for name in NAMES["ids"]}
    ways |= {name: np.arange(stops[-1]) - (stops - lengths)[numbers] for name in NAMES["counts"]}
    # Other forms under the same names: numbers of first or last rows, flags, and what floats and columns make of them.
    return ways | {
        "dones ": last[:, None].astype(np.float32),
        "episode_starts ": stops - lengths,
        "episode_ends ": last,
        "episode_ends  ": stops - 1,
        "is_last ": stops - 1,
        "episode_id ": numbers[::-1].copy() * 0 + (numbers % 2),
    }
