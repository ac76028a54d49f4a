"""Build cumulants from a configuration."""

import dataclasses

from owma._internal.types import PRNGKeyArray
from owma.config.features import FeaturesConfig
from owma.outcomes.features.base import AbstractFeatures
from owma.outcomes.features.fourier import FourierFeatures
from owma.outcomes.features.identity import IdentityFeatures
from owma.outcomes.features.learned import LearnedFeatures
from owma.outcomes.features.part import PartFeatures
from owma.outcomes.features.polynomial import PolynomialFeatures
from owma.outcomes.features.random import RandomFeatures
from owma.outcomes.features.reward import RecordedReward


def build_features(config: FeaturesConfig, obs_dim: int, *, key: PRNGKeyArray) -> AbstractFeatures:
    """The cumulants of `config`; learned ones are untrained (`owma.train.features.FeatureTrainer` trains them).

    Raises `ConfigError` as `FeaturesConfig.check`.
    """
    config.check(obs_dim)
    if config.coordinates:
        start, stop = config.looked_at.start, config.looked_at.stop
        of_all = dataclasses.replace(config, coordinates=0, first_coordinate=0)
        return PartFeatures(build_features(of_all, config.coordinates, key=key), start, stop)
    if config.kind == "identity":
        return IdentityFeatures()
    if config.kind == "reward":
        return RecordedReward()
    if config.kind == "polynomial":
        return PolynomialFeatures(config.degree)
    if config.kind == "random":
        return RandomFeatures(
            obs_dim, config.num_features, config.bandwidth, width=config.width, depth=config.depth, key=key
        )
    if config.is_learned:
        return LearnedFeatures(obs_dim, config.num_features, width=config.width, depth=config.depth, key=key)
    return FourierFeatures(obs_dim, config.num_features, config.bandwidth, key=key)
