"""What a tuning tries, and what is kept of it."""

from pathlib import Path

import pytest

from owma._internal.errors import ConfigError
from owma.config.experiment import EvaluationConfig
from owma.config.planners import GuidedDiffusion, OnlineAdaptation, TiltedResampling
from owma.config.tune import TuneConfig
from owma.runs.folder import RunFolder
from owma.runs.tuned import keep_tuned, read_tuned


def test_candidates_are_the_planner_and_every_price_with_every_knob() -> None:
    config = TuneConfig(planners=("guided_diffusion",), kl_coefs=(0.25, 1.0), knobs=("num_samples=8,16",))
    planner = GuidedDiffusion(guidance_coef=4.0, num_samples=8)
    assert config.candidates("g", planner) == {
        "g": planner,
        "g-guidance_coef=1": GuidedDiffusion(guidance_coef=1.0, num_samples=8),
        "g-num_samples=16": GuidedDiffusion(guidance_coef=4.0, num_samples=16),
        "g-guidance_coef=1-num_samples=16": GuidedDiffusion(guidance_coef=1.0, num_samples=16),
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"planners": ("static",)}, "static: nothing of it is to be tuned"),
        ({"planners": ("dreamer",)}, "those that have a price"),
        ({"kl_coefs": (0.0,)}, "must be positive"),
        ({"first_episodes": 8, "episodes": 4}, "first_episodes=8, episodes=4"),
        ({"knobs": ("colour=1",)}, "has no field 'colour'"),
    ],
)
def test_a_mistake_is_a_sentence(fields: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TuneConfig(**fields)


def test_settings_of_one_planner_come_before_the_price_of_all() -> None:
    config = EvaluationConfig(kl_coef=0.5, settings=("online_adaptation.kl_coef=2",))
    named = config.named_planners()
    assert named["online_adaptation"] == OnlineAdaptation(kl_coef=2.0)
    assert named["tilted_resampling"] == TiltedResampling(kl_coef=0.5)
    again = config.with_settings(["online_adaptation.kl_coef=3", "cem.num_elites=8"])
    assert again.settings == ("online_adaptation.kl_coef=3", "cem.num_elites=8")
    for setting in ("online_adaptation.kl_coef=1,2", "kl_coef=1", "dreamer.kl_coef=1"):
        with pytest.raises(ConfigError, match="no setting of a planner"):
            EvaluationConfig(settings=(setting,))


def test_what_was_tuned_is_kept_planner_by_planner(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert read_tuned(folder) == ()
    keep_tuned(folder, "cem", ["cem.kl_coef=1"], {"folder": "tunings/tune/v1"})
    keep_tuned(folder, "svdd", ["svdd.kl_coef=2"], {"folder": "tunings/tune/v2"})
    keep_tuned(folder, "cem", ["cem.kl_coef=0.5"], {"folder": "tunings/tune/v3"})
    assert set(read_tuned(folder)) == {"svdd.kl_coef=2", "cem.kl_coef=0.5"}
    keep_tuned(folder, "svdd", [], {})
    assert read_tuned(folder) == ("cem.kl_coef=0.5",)
    for damaged in ("[]", '{"settings": ["cem.colour=1"]}'):
        (tmp_path / "tuned.json").write_text(damaged)
        with pytest.raises(ConfigError, match="remove it, or tune again"):
            read_tuned(folder)
