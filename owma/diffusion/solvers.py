"""Fixed-step solves with diffrax, and the deterministic sampler.

Every solve runs over the step index t = 0, 1, …, K, and the noise levels enter as a *control*, a table over that index:
dy = f(y) dr. diffrax then needs no traced times and no step-size control, and its Euler method is DDIM.
"""

import functools as ft
from collections.abc import Callable
from typing import Any, TypeVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, PRNGKeyArray, PyTree, RealScalarLike
from owma.diffusion.calibration import MAX_RATIO
from owma.diffusion.denoiser import AbstractDenoiser
from owma.diffusion.schedule import karras_grid

State = TypeVar("State", bound=PyTree)


class ScanAdjoint(diffrax.AbstractAdjoint):
    """Differentiates through the solver's steps, as `diffrax.DirectAdjoint`, for a static number of steps.

    The loop is one `jax.lax.scan`: residuals of the backward pass are stored, nothing is recomputed. Memory grows with
    the number of steps, which is negligible for a few dozen steps of a small state. diffrax's own adjoints support
    adaptive steps, and recompute or pad for that.
    """

    unroll: bool = True
    """Whether the loop is unrolled."""

    def loop(
        self,
        *,
        terms: PyTree,
        saveat: diffrax.SaveAt,
        init_state: PyTree,
        max_steps: int | None,
        throw: bool,
        passed_solver_state: bool,
        passed_controller_state: bool,
        **kwargs: Any,
    ) -> tuple[PyTree, Any]:
        del throw, passed_solver_state, passed_controller_state
        if max_steps is None:
            raise ValueError("ScanAdjoint needs `max_steps`: the number of steps is the length of the scan.")

        def outer(cond_fun: Callable, body_fun: Callable, init_val: State, **options: Any) -> State:
            del cond_fun, options
            return _scan(body_fun, init_val, max_steps, unroll=self.unroll)

        return self._loop(
            terms=terms,
            saveat=saveat,
            init_state=init_state,
            max_steps=max_steps,
            inner_while_loop=ft.partial(eqx.internal.while_loop, kind="lax"),
            outer_while_loop=outer,
            **kwargs,
        )


MOST_UNROLLED = 16
"""Loops of more steps are not unrolled."""


def unrolled(num_steps: int, *, compact: bool = False) -> bool:
    """Whether to unroll a loop of `num_steps` steps; never if the program is to be `compact`.

    On a CPU a step of a small network takes half as long unrolled, because XLA's loop has an overhead per step and
    copies its carry. Compilation of ten steps takes two to three times as long, and grows with their number.
    """
    return num_steps <= MOST_UNROLLED and not compact


def _scan(body: Callable[[State], State], state: State, num_steps: int, *, unroll: bool) -> State:
    # Some of diffrax's bookkeeping starts as Python numbers; the carry of a scan must be arrays.
    numbers, static = eqx.partition(state, eqx.is_array_like)
    arrays = jax.tree.map(jnp.asarray, numbers)

    def step(arrays: PyTree, _: None) -> tuple[PyTree, None]:
        new_numbers = eqx.filter(body(eqx.combine(arrays, static)), eqx.is_array_like)
        return jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), new_numbers, arrays), None

    arrays, _ = jax.lax.scan(step, arrays, None, length=num_steps, unroll=unroll)
    return eqx.combine(arrays, static)


def unit_steps(num_steps: int, *, first: int = 0, compact: bool = False) -> dict[str, Any]:
    """Keyword arguments of `diffrax.diffeqsolve` for `num_steps` unit steps starting at index `first`.

    The solution's `ys` are the `num_steps` + 1 states, stacked. Differentiable; errors do not raise (`throw=False`).
    `compact`: as in `unrolled`.
    """
    return {
        "t0": float(first),
        "t1": float(first + num_steps),
        "dt0": 1.0,
        "max_steps": num_steps,
        "stepsize_controller": diffrax.ConstantStepSize(),
        "saveat": diffrax.SaveAt(t0=True, steps=True),
        "adjoint": ScanAdjoint(unroll=unrolled(num_steps, compact=compact)),
        "throw": False,
    }


class ODESampler(eqx.Module):
    r"""Samples by the probability-flow equation $\mathrm{d}y/\mathrm{d}r = (y-\hat x_0(y, r))/r$, without noise.

    Fast, for uses that need no density. With `diffrax.Euler()` this is DDIM with $\eta=0$ (Song et al., arXiv
    2010.02502), with `diffrax.Heun()` the second-order step of EDM (Karras et al., arXiv 2206.00364, algorithm 1); any
    explicit Runge-Kutta solver of diffrax works.
    """

    solver: diffrax.AbstractSolver
    num_steps: int = eqx.field(static=True)
    min_ratio: float = eqx.field(static=True)

    def __call__(
        self, denoiser: AbstractDenoiser, context: Float[Array, " context"], *, key: PRNGKeyArray, dims: int
    ) -> Float[Array, " x"]:
        """One sample of `dims` coordinates: x̂₀ at the last level."""
        return self.transport(denoiser, context, jax.random.normal(key, (dims,)))

    def transport(
        self, denoiser: AbstractDenoiser, context: Float[Array, " context"], start: Float[Array, " x"]
    ) -> Float[Array, " x"]:
        """The sample that the flow maps standard normal noise `start` to."""
        ratios = jnp.asarray(karras_grid(self.num_steps, MAX_RATIO, self.min_ratio), start.dtype)
        # Linear interpolation makes the control proportional to t within a step, so that higher-order solvers keep
        # their order.
        levels = diffrax.LinearInterpolation(jnp.arange(self.num_steps + 1, dtype=start.dtype), ratios)

        def slope(t: RealScalarLike, y: Float[Array, " x"], args: None) -> Float[Array, " x"]:
            del args
            ratio = levels.evaluate(t)
            return (y - denoiser(y, ratio, denoiser.condition(ratio, context))) / ratio

        term = diffrax.ControlTerm(slope, levels)
        y0 = jnp.sqrt(1 + jnp.square(ratios[0])) * start
        solution: Any = diffrax.diffeqsolve(term, self.solver, y0=y0, **unit_steps(self.num_steps))
        y = solution.ys[-1]
        return denoiser(y, ratios[-1], denoiser.condition(ratios[-1], context))
