"""Distributions whose denoiser, tilt and optimum are known in closed form, and the best that a chain can do on them."""

from owma.testbeds.ceiling import Ceiling as Ceiling, chain_ceiling as chain_ceiling
from owma.testbeds.gaussian import GaussianDenoiser as GaussianDenoiser
from owma.testbeds.mixture import GaussianMixtureDenoiser as GaussianMixtureDenoiser
from owma.testbeds.world import testbed_world as testbed_world
