"""Distributions with closed-form denoiser, tilt and optimum, and the best objective that a chain attains on them."""

from owma.outcomes.testbeds.ceiling import Ceiling as Ceiling, chain_ceiling as chain_ceiling
from owma.outcomes.testbeds.gaussian import GaussianDenoiser as GaussianDenoiser
from owma.outcomes.testbeds.mixture import GaussianMixtureDenoiser as GaussianMixtureDenoiser
from owma.outcomes.testbeds.world import testbed_policy as testbed_policy, testbed_world as testbed_world
