"""From rows as a file has them to transitions: where episodes end, and which observation follows each step."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from owma._internal.types import Bool, Float
from owma.outcomes.transitions import Transitions

_TRUE, _FALSE = np.ones(1, bool), np.zeros(1, bool)


@dataclass(frozen=True)
class Steps:
    """Rows in recorded order, of which some may be no transitions."""

    obs: Float[np.ndarray, "n obs"]
    action: Float[np.ndarray, "n act"]
    reward: Float[np.ndarray, " n"]
    next_obs: Float[np.ndarray, "n obs"] | None
    """`None` where a step leads to the observation of the row that follows."""
    terminated: Bool[np.ndarray, " n"]
    """Whether the episode ended for good after this step."""
    truncated: Bool[np.ndarray, " n"]
    """Whether recording stopped after this step."""
    final: Bool[np.ndarray, " n"]
    """Whether the row holds an episode's last observation only, and no step."""

    def __len__(self) -> int:
        return len(self.obs)


def to_transitions(chunks: Iterator[Steps]) -> Iterator[Transitions]:
    """The transitions among the rows of one file, a piece for each chunk; the file's end is an episode's end.

    Without `next_obs`, what followed a truncated step was not recorded: the step is dropped, and the one before it is
    the last of its episode. A step that terminated is kept, for the termination matters more than where it happened:
    unless a `final` row follows, its own observation stands in for the next one.

    **Arguments:** `chunks`: consecutive rows.
    """
    held: Steps | None = None
    for chunk, is_last in _knowing_the_last(chunks):
        rows = chunk if held is None else _joined(held, chunk)
        if is_last:
            rows = dataclasses.replace(rows, truncated=rows.truncated | (_last(len(rows)) & ~rows.terminated))
            # Nothing follows; a row that is dropped stands there.
            nothing = dataclasses.replace(_cut(rows, slice(-1, None)), terminated=_FALSE, truncated=_TRUE, final=_FALSE)
            rows = _joined(rows, nothing)
        # The last row waits for the one that follows it.
        held = _cut(rows, slice(-1, None))
        yield _complete(rows)


def _knowing_the_last(chunks: Iterator[Steps]) -> Iterator[tuple[Steps, bool]]:
    held = None
    for chunk in chunks:
        if held is not None:
            yield held, False
        held = chunk
    if held is not None:
        yield held, True


def _complete(rows: Steps) -> Transitions:
    """The transitions among all rows but the last."""
    here = _cut(rows, slice(None, -1))
    following = rows.obs[1:]
    if rows.next_obs is not None:
        assert here.next_obs is not None
        keep, next_obs = ~here.final, here.next_obs
        truncated = here.truncated & ~here.terminated
    else:
        dropped = rows.final | (rows.truncated & ~rows.terminated)
        keep = ~dropped[:-1]
        stand_in = here.terminated & ~rows.final[1:]
        next_obs = np.where(stand_in[:, None], here.obs, following)
        truncated = ~here.terminated & dropped[1:]
    return Transitions(
        obs=here.obs[keep],
        action=here.action[keep],
        reward=here.reward[keep],
        next_obs=next_obs[keep],
        terminated=here.terminated[keep],
        truncated=truncated[keep],
    )


def _last(rows: int) -> Bool[np.ndarray, " n"]:
    return np.arange(rows) == rows - 1


def _joined(first: Steps, second: Steps) -> Steps:
    joined: dict[str, Any] = {"next_obs": None}
    for name, values in vars(first).items():
        if values is not None:
            joined[name] = np.concatenate([values, getattr(second, name)])
    return Steps(**joined)


def _cut(rows: Steps, part: slice) -> Steps:
    kept: dict[str, Any] = {name: None if values is None else values[part] for name, values in vars(rows).items()}
    return Steps(**kept)
