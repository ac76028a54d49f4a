"""What is said of a dataset, against data for which all of it is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from owma.data import open_folder, summarise_dataset


def summary(folder: Path, **arrays: Any) -> dict[str, Any]:
    np.savez(folder / "1.npz", **arrays)
    return summarise_dataset(open_folder(folder))


@pytest.mark.cases
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_figures_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    """They are the same whether the rows come at once or in pieces."""
    monkeypatch.setattr("owma.data.arrays.rows_in_piece", lambda *_: piece)
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(41, 3))
    obs[:, 2] = 5
    obs, following = obs[:-1], obs[1:] + 100.0 * np.isin(np.arange(40), [9, 29])[:, None]
    action = rng.uniform(-0.9, 0.9, (40, 2)).astype(np.float32)
    reward = np.arange(40.0)
    ends = np.isin(np.arange(40), [9, 29])
    facts = summary(
        tmp_path, obs=obs, action=action, next_obs=following, reward=reward, terminated=ends, truncated=np.zeros(40)
    )
    assert (facts["transitions"], facts["episodes"], facts["terminated"], facts["truncated"]) == (40, 3, 2, 1)
    assert facts["observations"]["shape"] == [3] and facts["observations"]["dtype"] == "float64"
    assert facts["actions"]["dtype"] == "float32" and facts["env"] is None and facts["form"] == "folder of arrays"
    columns = facts["observations"]["columns"]
    for name, expected in (("low", obs.min(0)), ("high", obs.max(0)), ("mean", obs.mean(0)), ("std", obs.std(0))):
        np.testing.assert_allclose([column[name] for column in columns], expected, rtol=1e-5, atol=1e-6)
    assert facts["lengths"]["smallest"] == 10 and facts["lengths"]["largest"] == 20
    # 0 + ... + 9, 10 + ... + 29, 30 + ... + 39.
    assert (facts["returns"]["smallest"], facts["returns"]["median"], facts["returns"]["largest"]) == (45, 345, 390)
    assert facts["rewards"]["columns"][0] == pytest.approx({"low": 0, "high": 39, "mean": 19.5, "std": reward.std()})
    far, constant = facts["warnings"]
    assert "`next_obs` of 2 last steps" in far and constant == "Observation coordinates that never vary: 2."


def test_coverage_and_bounds(tmp_path: Path) -> None:
    # Along the diagonal of a grid of 32 by 32; half of the actions at either bound.
    obs = np.repeat(np.linspace(0, 1, 320), 2)[:, None]
    action = np.where(np.arange(640) % 4 < 2, np.where(np.arange(640) % 4, -1.0, 1.0), 0.0)[:, None]
    obs = np.hstack([obs, obs])
    facts = summary(tmp_path, obs=obs, action=action, next_obs=np.vstack([obs[1:], obs[-1:]]))
    assert facts["coverage"] == pytest.approx(32 / 1024) and facts["at_bounds"] == 0.5
    text = " ".join(facts["warnings"])
    for part in (
        "50% of all action entries",
        "recorded reward is 0 throughout",
        "No episode terminates",
        "one episode",
    ):
        assert part in text


def test_duplicates_and_what_is_not_finite(tmp_path: Path) -> None:
    obs = np.arange(20.0)[:, None]
    obs[[3, 4]] = obs[[5, 6]]
    obs[10] = np.nan
    action = np.zeros((20, 1))
    facts = summary(tmp_path, obs=obs, action=action, next_obs=obs + 1)
    # Rows 3 and 5, 4 and 6.
    assert facts["duplicates"] == pytest.approx(4 / 20)
    text = " ".join(facts["warnings"])
    assert "1 observations are not finite" in text and "20.0% of the transitions are there more than once" in text
    assert "Action coordinates that never vary: 0" in text
    assert facts["observations"]["columns"][0]["high"] == 19


def test_nothing_in_it(tmp_path: Path) -> None:
    facts = summary(tmp_path, obs=np.zeros((1, 2)), action=np.zeros((1, 1)))
    assert facts["transitions"] == 0 and "There is no transition in it" in facts["warnings"][-1]
