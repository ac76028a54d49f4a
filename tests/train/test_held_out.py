"""A Gaussian model of outcomes against data of its own law, of a wider one and of a shifted one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.config.diagnose import Thresholds
from owma.outcomes.testbeds import GaussianDenoiser, testbed_world
from owma.outcomes.world import draw_each
from owma.results.diagnosis import Finding, outcome_findings
from owma.train.held_out import RecordedOutcomes, outcome_figures


@pytest.fixture(scope="module")
def draws() -> np.ndarray:
    """Of N((1, −1), diag(1, 0.25)), in each of 400 states."""
    world = testbed_world(GaussianDenoiser(jnp.asarray([1.0, -1.0]), jnp.asarray([1.0, 0.25])), num_steps=5)
    return draw_each(world, np.zeros((400, 2), np.float32), 32, key=jax.random.key(0))


def _judged(draws: np.ndarray, *, shift: float = 0.0, scale: float = 1.0) -> tuple[dict, dict[str, Finding]]:
    """Figures and findings, of data of the law's own means and variances, moved and stretched."""
    rng = np.random.default_rng(1)
    psi = np.array([1.0, -1.0]) + shift + np.sqrt(scale) * rng.normal(size=(400, 2)) * [1.0, 0.5]
    nothing = np.zeros((400, 2), np.float32)
    recorded = RecordedOutcomes(nothing, nothing, psi, np.zeros(400), np.arange(400) // 2)
    figures = outcome_figures(recorded, draws, seed=0)
    return figures, {finding.about: finding for finding in outcome_findings(figures, Thresholds())}


def test_a_right_model_is_calibrated_and_spreads_as_far_as_the_data(draws: np.ndarray) -> None:
    figures, found = _judged(draws)
    assert draws.shape == (400, 32, 2)
    assert found["calibration"].verdict == found["spread"].verdict == "good"
    assert figures["spread"] == pytest.approx(1.0, abs=0.15) and figures["calibration"] < 0.05
    assert np.array(figures["histograms"]) == pytest.approx(0.1, abs=0.06)
    # All states are alike: knowing them is worth nothing.
    assert figures["skill_marginal"] == pytest.approx(0.0, abs=0.02)


def test_a_model_of_half_the_variance_has_collapsed(draws: np.ndarray) -> None:
    figures, found = _judged(draws, scale=2.0)
    assert figures["spread"] == pytest.approx(0.5, abs=0.08) and figures["coverage_bias"] < -0.05
    assert found["spread"].verdict == "bad" and "has collapsed" in found["spread"].sentence
    assert _judged(draws, scale=0.3)[1]["spread"].sentence.endswith("far too wide.")


def test_a_shifted_model_scores_worse(draws: np.ndarray) -> None:
    (right, _), (shifted, found) = _judged(draws), _judged(draws, shift=1.0)
    assert shifted["energy_score"] > right["energy_score"] + 0.3
    assert found["outcomes"].verdict == "bad"  # all other outcomes are a better guess
