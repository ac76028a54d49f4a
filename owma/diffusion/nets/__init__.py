"""Neural networks, independent of diffusion and of tasks."""

from owma.diffusion.nets.film import FiLMNet as FiLMNet
from owma.diffusion.nets.linear import Linear as Linear
from owma.diffusion.nets.residual import ResidualMLP as ResidualMLP
