"""Cumulants c(s) behind one interface."""

from owma.features.base import AbstractFeatures as AbstractFeatures
from owma.features.fourier import FourierFeatures as FourierFeatures
from owma.features.identity import IdentityFeatures as IdentityFeatures
from owma.features.learned import LearnedFeatures as LearnedFeatures
from owma.features.part import PartFeatures as PartFeatures
from owma.features.polynomial import PolynomialFeatures as PolynomialFeatures
from owma.features.random import RandomFeatures as RandomFeatures
from owma.features.reward import RecordedReward as RecordedReward
from owma.features_config import FeaturesConfig as FeaturesConfig, FeatureTrainingConfig as FeatureTrainingConfig
