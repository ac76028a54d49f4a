"""What is said of the figures of a diagnosis."""

from typing import Any

import pytest

from owma._internal.errors import ConfigError
from owma.config.diagnose import DiagnoseConfig, Thresholds
from owma.results.diagnosis import (
    Finding,
    policy_findings,
    promise_findings,
    support_findings,
    value_findings,
    worst,
)

_LIMITS = Thresholds()


@pytest.mark.parametrize(
    ("promise", "chosen", "verdict", "said"),
    [
        (40.0, 38.0, "good", "95 % of the gain."),
        (40.0, 10.0, "doubtful", "20 % of the gain."),  # like outcomes return little: V alone says so
        (50.0, 40.0, "bad", "more than was ever recorded."),
        (2.5, 2.5, "good", "no more than the recorded mean."),
    ],
)
def test_a_promise_is_held_against_what_was_recorded(promise: float, chosen: float, verdict: str, said: str) -> None:
    price = {"kl_coef": 0.25, "promise": promise, "chosen": chosen, "kl": 3.0}
    figures = {"worst": 0.0, "recorded": 2.5, "best": 45.0, "static": 2.0, "kl_coef": 0.25, "knee": None}
    found, prices = promise_findings({**figures, "prices": [price | {"kl_coef": 1.0, "promise": 0.0}, price]}, _LIMITS)
    assert found.verdict == verdict and found.sentence.endswith(said)
    assert "no advice" in prices.sentence and "owma tune" in prices.sentence


def test_the_model_may_have_lost_what_the_data_show_rarely() -> None:
    figures: dict[str, Any] = {"episodes": 1000, "best": 40.0, "median": 5.0, "within_reach": 0.1, "near_best": 40}
    figures |= {"near_best_mean": 35.0, "near_best_values": None}
    for near, value, drawn, verdicts in (
        (40, 34.0, 0.03, ["good", "good", "good"]),
        (4, 12.0, 0.01, ["doubtful", "doubtful", "doubtful"]),
        (1, 3.0, 0, ["bad"] * 3),
    ):
        shares = {"near_best": near, "near_best_value": value, "recorded_share": 0.04, "drawn_share": drawn}
        assert [found.verdict for found in support_findings(figures | shares, _LIMITS)] == verdicts
    figures |= {"near_best_value": 3.0, "near_best_values": {"linear": 4.0, "decoder 1": 36.0}}
    _, of_best, drawn_best = support_findings(figures | {"recorded_share": 0.0, "drawn_share": 0.0}, _LIMITS)
    assert "return from their starts V says 3: linear 4, decoder 1 36. Trained with" in of_best.sentence
    figures |= {"near_best_values": {"kernel": 4.0, "decoder 1": 36.0}}  # which has it already
    _, of_best, _ = support_findings(figures | {"recorded_share": 0.0, "drawn_share": 0.0}, _LIMITS)
    assert of_best.sentence.endswith("V says 3: kernel 4, decoder 1 36.")
    assert drawn_best.verdict == "doubtful"


def test_a_policy_that_ignores_outcomes_is_bad() -> None:
    def verdict(told: float, other: float, low: float) -> str:
        errors = {"error": told, "error_other_outcome": other, "error_other_state": 1.5}
        (found,) = policy_findings(errors | {"use": 1 - told / other, "use_interval": (low, 1.0)}, _LIMITS)
        return found.verdict

    assert verdict(0.4, 0.5, 0.1) == "good"
    assert verdict(0.4, 0.5, -0.1) == "doubtful"  # of few episodes
    assert verdict(0.5, 0.5, -0.1) == "bad"
    assert verdict(1.2, 1.5, 0.1) == "bad"  # worse than the mean action


def test_a_value_is_judged_by_other_episodes_and_within_a_state() -> None:
    figures = {"held_out": {"linear": 0.4, "decoder 1": 0.95}, "within": 0.3}
    assert [found.verdict for found in value_findings(figures, 0.05, _LIMITS)] == ["good", "bad"]
    figures = {"held_out": None, "within": None}
    assert [found.verdict for found in value_findings(figures, None, _LIMITS)] == ["unknown", "unknown"]


def test_the_worst_finding_is_the_verdict() -> None:
    def of(*verdicts: Any) -> str:
        return worst([Finding("x", verdict, "") for verdict in verdicts])

    assert of("good", "unknown") == "good" and of("good", "bad", "doubtful") == "bad" and of() == "unknown"


def test_thresholds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="collapsed=0.9, narrow=0.8"):
        Thresholds(collapsed=0.9)
    with pytest.raises(ConfigError, match="draws=1: must be at least 2"):
        DiagnoseConfig(draws=1)
