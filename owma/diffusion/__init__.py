"""Diffusion models of conditional distributions: denoisers, the calibrated chain, deterministic samplers."""

from owma.diffusion.calibration import ErrorCurve as ErrorCurve, measure_errors as measure_errors
from owma.diffusion.denoiser import (
    AbstractDenoiser as AbstractDenoiser,
    FiLMDenoiser as FiLMDenoiser,
    low_discrepancy_uniform as low_discrepancy_uniform,
    velocity_loss as velocity_loss,
    velocity_target as velocity_target,
)
from owma.diffusion.sampler import Chain as Chain, PathSample as PathSample
from owma.diffusion.solvers import ODESampler as ODESampler
