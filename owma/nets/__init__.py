"""Networks: shapes in, shapes out, nothing of diffusion or of tasks."""

from owma.nets.film import FiLMNet as FiLMNet
from owma.nets.linear import Linear as Linear
from owma.nets.residual import ResidualMLP as ResidualMLP
