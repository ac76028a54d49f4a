"""Figures as PNG files with an SVG beside each, from plain arrays.

matplotlib is imported where it is used, without its global state.
"""

from owma.results.plots.analysis import (
    ablation as ablation,
    centres as centres,
    convergence as convergence,
    decisions as decisions,
    profiles as profiles,
    promised_against_realised as promised_against_realised,
    promises_kept as promises_kept,
    trade_off as trade_off,
    value_before_after as value_before_after,
)
from owma.results.plots.colours import planner_colours as planner_colours
from owma.results.plots.comparison import (
    attainment_against_latency as attainment_against_latency,
    latency as latency,
    skew_curve as skew_curve,
    success_against_latency as success_against_latency,
    successes as successes,
    value_against_divergence as value_against_divergence,
)
from owma.results.plots.diagnosis import (
    calibration_and_spread as calibration_and_spread,
    policy_errors as policy_errors,
    promises_by_price as promises_by_price,
    rank_histograms as rank_histograms,
)
from owma.results.plots.one_run import (
    adaptation_curves as adaptation_curves,
    decision_histogram as decision_histogram,
    maze_trajectories as maze_trajectories,
    training_curves as training_curves,
)
from owma.results.plots.transfer import (
    few_shot as few_shot,
    few_shot_of_trainings as few_shot_of_trainings,
    maze_heat as maze_heat,
)
