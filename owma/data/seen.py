"""What reading the episodes of a dataset shows, beside their transitions."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from owma.data.dataset import RowFacts
from owma.data.names import named
from owma.data.precision import Precision


class Seen:
    """Of episodes as Minari has them: what float32 does to their numbers, and which of their arrays are not read."""

    def __init__(self) -> None:
        self._obs = Precision("Observation")
        self._others = {"action": Precision("Action"), "reward": Precision("Reward")}
        self._unread: dict[str, None] = {}

    def see(self, episodes: Iterable[Mapping[str, Any]], obs_keys: tuple[str, ...] | None) -> None:
        """`episodes`: with `obs`, `action`, `reward`, and `unread`, the names of the other arrays."""
        for episode in episodes:
            obs = episode["obs"]
            flat = np.asarray(obs) if obs_keys is None else np.concatenate([obs[key] for key in obs_keys], axis=1)
            self._obs.see(flat[:-1], np.diff(flat.astype(np.float64), axis=0))
            for name, precision in self._others.items():
                values = np.asarray(episode[name])
                precision.see(values if values.ndim == 2 else values[:, None])
            self._unread |= dict.fromkeys(episode["unread"])

    def row_facts(self) -> RowFacts:
        """So far."""
        notes = [note for kind in (self._obs, *self._others.values()) for note in kind.notes()]
        if self._unread:
            notes.append(f"Arrays that are not read: {named(list(self._unread))}.")
        large = {part: kind.too_large for part, kind in (("obs", self._obs), *self._others.items())}
        return RowFacts(notes=tuple(notes), rounded=tuple(self._obs.lost()), too_large=large)


def names_below(value: Any, name: str) -> list[str]:
    """The arrays in a value of mappings and arrays, as `name/entry/...`."""
    if isinstance(value, Mapping):
        return [below for key, part in value.items() for below in names_below(part, f"{name}/{key}")]
    return [name]
