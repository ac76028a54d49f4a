"""Log-densities under the probability-flow ODE."""

import abc
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Float, PRNGKeyArray, RealScalarLike, Scalar
from owma.diffusion.calibration import MAX_RATIO
from owma.diffusion.denoiser import AbstractDenoiser
from owma.diffusion.schedule import karras_grid
from owma.diffusion.solvers import unit_steps


class AbstractTrace(eqx.Module):
    """An estimator of the trace of a Jacobian."""

    @abc.abstractmethod
    def probes(self, dims: int, *, key: PRNGKeyArray) -> Float[Array, "probes x"]:
        r"""Vectors z with $E\,\mathrm{mean}(z^\top A z) = \mathrm{tr}\,A$, held fixed along a solve."""


class ExactTrace(AbstractTrace):
    """The exact trace, at one Jacobian-vector product per dimension."""

    def probes(self, dims: int, *, key: PRNGKeyArray) -> Float[Array, "probes x"]:
        del key
        return jnp.sqrt(dims) * jnp.eye(dims)


class HutchinsonTrace(AbstractTrace):
    """Random signs (Hutchinson 1989; FFJORD, Grathwohl et al., arXiv 1810.01367): unbiased, at a cost that does not
    grow with the dimension.
    """

    num_probes: int = eqx.field(static=True, default=4)

    def probes(self, dims: int, *, key: PRNGKeyArray) -> Float[Array, "probes x"]:
        return jax.random.rademacher(key, (self.num_probes, dims), jnp.float32)


class ODELikelihood(eqx.Module):
    r"""$\log p(\psi)$ under the probability-flow ODE $\mathrm{d}y/\mathrm{d}r = (y - \hat x_0(y, r))/r$ started at
    $r = 100$ from $N(0, 1 + r^2)$ and stopped at `min_ratio`: the law of `ODESampler` without its last step, and *not*
    that of the chain which defines p_φ.

    By the instantaneous change of variables (Song et al., arXiv 2011.13456, eq. 39), solved upwards in r together with
    $\mathrm{d}\log p/\mathrm{d}r = -\mathrm{div}$.
    """

    trace: AbstractTrace
    solver: diffrax.AbstractSolver = diffrax.Heun()
    num_steps: int = eqx.field(static=True, default=64)
    min_ratio: float = eqx.field(static=True, default=0.05)

    def __call__(
        self,
        denoiser: AbstractDenoiser,
        context: Float[Array, " context"],
        psi: Float[Array, " x"],
        *,
        key: PRNGKeyArray,
    ) -> Scalar:
        """In nats; `key` draws the probes of the trace."""
        dims = psi.shape[0]
        upwards = np.asarray(karras_grid(self.num_steps, MAX_RATIO, self.min_ratio))[::-1]
        levels = diffrax.LinearInterpolation(
            jnp.arange(self.num_steps + 1, dtype=psi.dtype), jnp.asarray(upwards.copy(), psi.dtype)
        )
        probes = self.trace.probes(dims, key=key)

        def slope(t: RealScalarLike, state: Float[Array, " extended"], args: None) -> Float[Array, " extended"]:
            del args
            ratio = levels.evaluate(t)
            conditioning = denoiser.condition(ratio, context)

            def velocity(y: Float[Array, " x"]) -> Float[Array, " x"]:
                return (y - denoiser(y, ratio, conditioning)) / ratio

            drift, push = jax.linearize(velocity, state[:-1])
            divergence = jnp.mean(jax.vmap(lambda z: z @ push(z))(probes))
            return jnp.append(drift, divergence)

        # (ψ, 0) is integrated up to (y, ∫div) as one vector, because a control term multiplies an array; then
        # log p(ψ) = log N(y; 0, 1 + r²) + ∫div.
        term = diffrax.ControlTerm(slope, levels)
        start = jnp.append(psi, 0.0)
        solution: Any = diffrax.diffeqsolve(term, self.solver, y0=start, **unit_steps(self.num_steps))
        end = solution.ys[-1]
        y, expansion = end[:-1], end[-1]
        variance = 1 + MAX_RATIO**2
        log_end = -0.5 * (jnp.sum(jnp.square(y)) / variance + dims * np.log(2 * np.pi * variance))
        return log_end + expansion
