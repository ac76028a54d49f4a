"""The configuration of a diagnosis: how much is looked at, and where a figure is called good, doubtful or bad."""

import dataclasses
import math

from owma._internal.errors import ConfigError
from owma.config.fields import check_seeds


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Where a figure is called good, doubtful or bad.

    They are provisional: chosen by what the figures mean and by how far they vary with the episodes that are held out,
    and not ranked yet by the success of runs. What rests on few held-out episodes is called bad only where chance, or
    a second measure, does not speak against it.
    """

    skill: float = -0.05
    """Of the energy score against nearest neighbours: a model below it says less than the recorded futures of like
    states, which take no training. A twentieth is what fifty held-out episodes leave open."""
    bad_skill: float = -0.25
    """Where it errs by a quarter more than they do, the training of the model has failed."""
    calibration: float = 0.05
    """Mean distance of the coverage of central intervals from nominal. The widths of a chain are calibrated on episodes
    such as these, and a calibrated model has 0.03 by chance on a hundred episodes."""
    bad_calibration: float = 0.12
    """An interval of 50 % that holds 38 % or 62 %: the chance of a rare outcome is then off by a factor."""
    narrow: float = 0.8
    """Spread of the model over that of the data. A ten-step chain without calibrated widths keeps 54 to 70 % of a
    Gaussian's variance, and with them all of it: what is lost is lost in training."""
    collapsed: float = 0.6
    """Below it the model has collapsed: rare outcomes go first, and adaptation cannot pay for what has no density."""
    wide: float = 1.4
    """Above it draws are too far from each other: some of them are no outcomes of the state."""
    too_wide: float = 2.5
    """More than half of the model's variance is not the data's."""
    use: float = 0.01
    """Share of the policy's squared error that the recorded outcome saves, beside another outcome of the state. Where
    actions are noisy it is small, so that doubt begins near 0; at 0 a plan changes nothing."""
    value: float = 0.9
    """R² of the value on episodes that it was not fitted to. Between states returns differ more than within one, which
    is what plans are chosen by; R² within a state is therefore below this."""
    bad_value: float = 0.5
    """Where training says that what planners promise is a guess."""
    value_within: float = 0.5
    """R² among the outcomes of like states, at starts: below it, half of what a plan is chosen by is error."""
    bad_value_within: float = 0.1
    """Below it, outcomes are ranked by chance."""
    recognised: float = 0.5
    """Share of what the recorded best returns beyond the median that V says of it: below it, a plan that leads there
    looks half as good as it is."""
    bad_recognised: float = 0.1
    """Below it V cannot tell the best from what is usual, and no search by it will choose it."""
    near_best: float = 0.25
    """An episode is near the best where its return lies in the last quarter of the way from the median to the best:
    the noise of actions alone makes a return differ by a tenth."""
    support: int = 10
    """Episodes near the best: as many are needed for their share to be known to a third."""
    bad_support: int = 3
    """With fewer, what is best was an accident, which training may never see twice."""
    kept_share: float = 0.5
    """Share of outcomes near the best among the model's draws over that among the recorded ones: a rare way is drawn
    half as often by a ten-step chain."""
    lost_share: float = 0.1
    """Below it the model has lost the best outcomes, and adaptation has to pay for finding them again."""
    backed: float = 0.5
    """Share of what adaptation promises beyond the mean that recorded outcomes return which are chosen by the same
    price: below it, most of the gain is the value's word alone."""
    beyond: float = 0.05
    """Share of the range of recorded returns by which a promise may pass the best of them before it is called bad."""

    def __post_init__(self) -> None:
        for worse, better in (
            ("bad_skill", "skill"),
            ("calibration", "bad_calibration"),
            ("collapsed", "narrow"),
            ("narrow", "wide"),
            ("wide", "too_wide"),
            ("bad_value", "value"),
            ("bad_value_within", "value_within"),
            ("bad_recognised", "recognised"),
            ("bad_support", "support"),
            ("lost_share", "kept_share"),
        ):
            low, high = getattr(self, worse), getattr(self, better)
            if not low <= high:
                raise ConfigError(f"{worse}={low}, {better}={high}: the former must not be above the latter.")
        if not 0 < self.near_best < 1:
            raise ConfigError(f"near_best={self.near_best}: is a share, above 0 and below 1.")


@dataclasses.dataclass(frozen=True)
class DiagnoseConfig:
    """What is looked at, and how it is judged."""

    states: int = 512
    """States of held-out episodes, drawn at random, at most; a run's training looks at 256 before it warns."""
    draws: int = 64
    """Outcomes that the model draws in each."""
    actions: int = 16
    """Actions that the policy draws in each."""
    neighbours: int = 32
    """Recorded states, no two of one episode, that a state is compared with."""
    most_guessed: float = 0.5
    """Only states are looked at where what the model itself has to add to a recorded outcome, after the last state of a
    truncated episode, has at most this weight; all, where there is none."""
    starts: int = 32
    """States at which episodes begin, where plans are made."""
    kl_coefs: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
    """Values of lambda at which plans are made, beside the run's own."""
    seed: int = 0
    """Of the states and of all draws."""
    thresholds: Thresholds = Thresholds()

    def __post_init__(self) -> None:
        check_seeds(self.seed)
        for name, least in (("states", 2), ("draws", 2), ("actions", 2), ("neighbours", 2), ("starts", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}: must be at least {least}.")
        if not all(0 < kl_coef < math.inf for kl_coef in self.kl_coefs):
            raise ConfigError(f"kl_coefs={self.kl_coefs}: must be positive.")
        if not 0 <= self.most_guessed <= 1:
            raise ConfigError(f"most_guessed={self.most_guessed}: is a share, from 0 to 1.")


QUICK = DiagnoseConfig(states=256, draws=32)
"""What the end of a training looks at: a few seconds, whatever the data."""
