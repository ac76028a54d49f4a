"""Rows, blocks and mapped pages of transitions."""

from pathlib import Path

import numpy as np
import pytest

from owma.outcomes.transitions import Transitions, release


def _transitions(lengths: list[int]) -> Transitions:
    n = sum(lengths)
    values = np.arange(n, dtype=np.float32)
    ends = np.isin(np.arange(n), np.cumsum(lengths) - 1)
    terminated = ends & (np.arange(n) % 2 == 0)
    return Transitions(values[:, None], values[:, None], values, values[:, None] + 1, terminated, ends & ~terminated)


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, [3, 1, 5, 2]), (4, [4, 5, 2]), (5, [4, 5, 2]), (7, [4, 7]), (9, [9, 2]), (11, [11]), (99, [11])],
)
def test_blocks_are_whole_episodes(most: int, expected: list[int]) -> None:
    blocks = list(_transitions([3, 1, 5, 2]).episode_blocks(most))
    assert [block.stop - block.start for block in blocks] == expected
    assert [block.start for block in blocks] == [0, *(block.stop for block in blocks[:-1])] and blocks[-1].stop == 11


def test_some_rows_end_where_they_end() -> None:
    transitions = _transitions([3, 4])
    part = transitions.ended_rows(np.array([0, 1, 3, 4]))
    assert part.reward.tolist() == [0, 1, 3, 4] and part.truncated.tolist() == [False, False, False, True]
    assert not np.shares_memory(part.obs, transitions.obs) and not transitions.truncated[4]
    # Row 2 terminates: nothing is cut.
    assert transitions.ended_rows(np.array([1, 2])).truncated.tolist() == [False, False]


def test_mapped_rows_survive_the_release_of_their_pages(tmp_path: Path) -> None:
    np.save(tmp_path / "obs.npy", np.arange(5000, dtype=np.float32)[:, None])
    obs = np.load(tmp_path / "obs.npy", mmap_mode="r")
    flags = np.arange(5000) == 4999
    mapped = Transitions(obs, obs, np.zeros(5000, np.float32), obs, flags, ~flags & False)
    assert mapped.is_mapped and not _transitions([2]).is_mapped
    part = mapped.rows(slice(10, 13))
    assert not part.is_mapped and part.obs[:, 0].tolist() == [10, 11, 12]
    release(obs[::2])
    assert float(obs[4321, 0]) == 4321
    release(np.zeros(3))  # nothing to let go of
