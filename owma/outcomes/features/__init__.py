"""Cumulants c(s) behind one interface."""

from owma.config.features import FeaturesConfig as FeaturesConfig, FeatureTrainingConfig as FeatureTrainingConfig
from owma.outcomes.features.base import AbstractFeatures as AbstractFeatures
from owma.outcomes.features.fourier import FourierFeatures as FourierFeatures
from owma.outcomes.features.identity import IdentityFeatures as IdentityFeatures
from owma.outcomes.features.learned import LearnedFeatures as LearnedFeatures
from owma.outcomes.features.part import PartFeatures as PartFeatures
from owma.outcomes.features.polynomial import PolynomialFeatures as PolynomialFeatures
from owma.outcomes.features.random import RandomFeatures as RandomFeatures
from owma.outcomes.features.reward import RecordedReward as RecordedReward
