"""What may make a value explain more of a task's returns, for the configuration that it was trained by."""

import math
from collections.abc import Mapping
from typing import Any

from owma.config.experiment import ExperimentConfig
from owma.config.features import MOST_MONOMIALS, FeaturesConfig


def advise(config: ExperimentConfig, row: Mapping[str, Any], *, obs_dim: int, kept: int) -> str:
    """A clause that names flags, the likeliest first.

    Outcomes are sums of cumulants along the recorded episodes. So a linear value's R^2 hangs on which cumulants they
    are, and on how many directions of them are kept; longer training of the models changes nothing of it.

    **Arguments:** `row`: of phase `task` in `metrics.jsonl`. `obs_dim`: numbers of an observation. `kept`: of an
    outcome, after whitening.
    """
    features, decoder, linear = config.world.features, row["r2_decoder"], row["r2_linear"]
    if linear is None:
        return "take a task whose returns differ, or more data"
    ways = [*_decoder_ways(config, decoder, linear), *_feature_ways(features, obs_dim)]
    size = features.size(obs_dim)
    if kept < size:
        limit, flag = config.world.max_dims, "--world.max-dims"
        if kept < limit:
            limit, flag = config.world.min_variance, "--world.min-variance"
        ways.append(f"more than {kept} of the {size} directions of their sums, by another {flag} (now {limit:g})")
    return (
        f"what may help: {'; '.join(ways)}. What an action costs, or any reward of what is not in the observations, no "
        "outcome tells"
    )


def _decoder_ways(config: ExperimentConfig, decoder: float, linear: float) -> list[str]:
    value = config.value
    if value.kind == "pessimistic":  # it trusts the better one by itself
        return []
    if value.kind == "linear":
        return [f"--value.kind decoder, of which R^2 = {decoder:.2f}"] if decoder > linear + 0.1 else []
    ways = [f"--value.kind linear, of which R^2 = {linear:.2f}"] if linear > decoder + 0.1 else []
    return [*ways, f"more --value.updates (now {value.updates:,}) and --value.num-labels (now {value.num_labels:,})"]


def _feature_ways(features: FeaturesConfig, obs_dim: int) -> list[str]:
    ways = []
    dims = features.coordinates or obs_dim
    if dims < obs_dim:
        first = features.first_coordinate
        reset = (
            "--world.features.first-coordinate 0 --world.features.coordinates 0"
            if first
            else "--world.features.coordinates 0"
        )
        ways.append(
            f"outcomes of all {obs_dim} numbers of an observation and not of {first} to {first + dims - 1} alone "
            f"({reset})"
        )

    def products(degree: int) -> bool:
        return math.comb(dims + degree, degree) - 1 <= MOST_MONOMIALS

    fourier = "--world.features.kind fourier"
    further = [f"--world.features.degree {features.degree + 1}"] if products(features.degree + 1) else []
    polynomial = ["--world.features.kind polynomial"] if products(2) else []
    others = {
        "identity": [fourier, *polynomial],
        "polynomial": [fourier, *further],
        "reward": [fourier, *polynomial],
    }.get(features.kind)
    if others is None:
        of_kind = f"--world.features.{'pretraining.updates' if features.is_learned else 'bandwidth'}"
        others = [
            *polynomial,
            f"--world.features.num-features {2 * features.num_features} (now {features.num_features})",
            f"another {of_kind}",
        ]
    return [*ways, f"other cumulants: {', or '.join(others)}"]
