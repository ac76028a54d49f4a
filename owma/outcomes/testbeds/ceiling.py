"""The best objective that a chain attains in one dimension, by dynamic programming."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Float, Scalar
from owma.diffusion import AbstractDenoiser, Chain, Means


class Ceiling(NamedTuple):
    """Objectives of a chain of Gaussian transitions."""

    prior: float
    """J₀ = E[V] of the chain as it is."""
    ceiling: float
    """max J over all transition means, as functions of the state, the widths being fixed."""
    optimum: float
    """J* = λ log E exp(V/λ) of the chain's own law."""


def chain_ceiling(
    chain: Chain,
    denoiser: AbstractDenoiser,
    value: Callable[[Float[Array, " x"]], Scalar],
    kl_coef: float,
    *,
    num_states: int = 1001,
    num_shifts: int = 241,
    max_shift: float = 6.0,
    num_nodes: int = 48,
) -> Ceiling:
    r"""Dynamic programming backward over the transitions $y' \sim N(\mu_k(y), \tilde s_k^2)$, on a grid of states per
    level:

    $W_k(y) = \max_u\ E_\xi W_{k+1}(\mu_k(y) + \tilde s_k(u + \xi)) - \tfrac\lambda2u^2$ for the ceiling, and
    $h_k(y) = E_\xi\,h_{k+1}(\mu_k(y) + \tilde s_k\xi)$ for the optimum, with Gauss-Hermite quadrature for ξ.

    **Arguments:**

    - `chain`, `denoiser`: in one dimension; the context is ignored.
    - `value`: V, in units in which λ = `kl_coef`.
    - `num_states`, `num_shifts`, `max_shift`, `num_nodes`: the grids of y and u, the latter in widths, and of ξ.

    Raises `ValueError` in more than one dimension.
    """
    if chain.width.shape[1] != 1:
        raise ValueError(f"chain_ceiling works in one dimension; this chain has {chain.width.shape[1]}.")
    ratios, gains = np.asarray(chain.ratios, np.float64), np.asarray(chain.gains, np.float64)
    widths = np.asarray(chain.widths, np.float64)[:, 0]
    nodes, quadrature = np.polynomial.hermite_e.hermegauss(num_nodes)
    quadrature = quadrature / quadrature.sum()
    means = Means.prepare(chain, denoiser, jnp.zeros(1))
    denoised = jax.jit(jax.vmap(lambda y, k: means(y, k).mean[0], in_axes=(0, None)))
    shifts = np.linspace(-max_shift, max_shift, num_shifts)

    # Sinh-spaced: dense near the outcomes, and out to eight standard deviations of the level.
    def states(level: int) -> Float[np.ndarray, " n"]:
        reach = np.arcsinh(8 * np.sqrt(1 + ratios[level] ** 2) / _DENSE)
        return _DENSE * np.sinh(np.linspace(-reach, reach, num_states))

    grid = np.linspace(-_REACH, _REACH, 8 * num_states)
    last = np.asarray(jax.vmap(value)(jnp.asarray(grid[:, None], jnp.float32)), np.float64)
    prior, best, log_h = last, last, last / kl_coef
    for level in reversed(range(len(ratios))):
        y = states(level)
        x0 = np.asarray(denoised(jnp.asarray(y[:, None], jnp.float32), level), np.float64)
        mean = y + gains[level] * (x0 - y)
        reached = mean[:, None] + widths[level] * nodes
        prior = _interpolate(reached, grid, prior) @ quadrature
        logs = _interpolate(reached, grid, log_h)
        top = logs.max(axis=1, keepdims=True)
        log_h = top[:, 0] + np.log(np.exp(logs - top) @ quadrature)
        # W after a shift depends on the shifted mean only: smooth it once, then interpolate for every u.
        centres = np.linspace(*_reach(mean, widths[level] * max_shift), 16 * num_states)
        smoothed = _interpolate(centres[:, None] + widths[level] * nodes, grid, best) @ quadrature
        options = _interpolate(mean[:, None] + widths[level] * shifts, centres, smoothed)
        best = (options - 0.5 * kl_coef * np.square(shifts)).max(axis=1)
        grid = y
    start = np.sqrt(1 + ratios[0] ** 2) * nodes
    logs = _interpolate(start, grid, log_h)
    return Ceiling(
        prior=float(_interpolate(start, grid, prior) @ quadrature),
        ceiling=float(_interpolate(start, grid, best) @ quadrature),
        optimum=float(kl_coef * (logs.max() + np.log(np.exp(logs - logs.max()) @ quadrature))),
    )


_DENSE = 1.0
"""The grid of states is uniform below this, and exponential above."""

_REACH = 60.0
"""Outcomes beyond this do not occur."""


def _reach(mean: Float[np.ndarray, " n"], margin: float) -> tuple[float, float]:
    return float(mean.min() - margin), float(mean.max() + margin)


def _interpolate(
    x: Float[np.ndarray, "*shape"], grid: Float[np.ndarray, " n"], table: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "*shape"]:
    """Linear between the points of the grid and, with the slope of the last two, beyond its ends."""
    inside = np.interp(x, grid, table)
    low = (table[1] - table[0]) / (grid[1] - grid[0]) * np.minimum(x - grid[0], 0.0)
    high = (table[-1] - table[-2]) / (grid[-1] - grid[-2]) * np.maximum(x - grid[-1], 0.0)
    return inside + low + high
