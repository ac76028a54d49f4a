"""Cumulants c(s) behind one interface."""

from owma.features.base import AbstractFeatures as AbstractFeatures
from owma.features.fourier import FourierFeatures as FourierFeatures
from owma.features.identity import IdentityFeatures as IdentityFeatures
from owma.features_config import FeaturesConfig as FeaturesConfig
