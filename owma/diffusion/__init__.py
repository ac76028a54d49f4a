"""Diffusion models of conditional distributions: denoisers, the calibrated chain, deterministic samplers."""

from owma.diffusion.calibration import ErrorCurve as ErrorCurve, measure_errors as measure_errors
from owma.diffusion.denoiser import (
    AbstractDenoiser as AbstractDenoiser,
    FiLMDenoiser as FiLMDenoiser,
    InlineDenoiser as InlineDenoiser,
    Readout as Readout,
    ReadoutDenoiser as ReadoutDenoiser,
    TabulatedDenoiser as TabulatedDenoiser,
    conditioning_table as conditioning_table,
    low_discrepancy_uniform as low_discrepancy_uniform,
    readout_of as readout_of,
    same_network as same_network,
    velocity_loss as velocity_loss,
    velocity_target as velocity_target,
)
from owma.diffusion.likelihood import (
    AbstractTrace as AbstractTrace,
    ExactTrace as ExactTrace,
    HutchinsonTrace as HutchinsonTrace,
    ODELikelihood as ODELikelihood,
)
from owma.diffusion.sampler import (
    Chain as Chain,
    Means as Means,
    PathSample as PathSample,
    transition_terms as transition_terms,
)
from owma.diffusion.solvers import ODESampler as ODESampler, unrolled as unrolled
