"""The chain whose last draw defines p_φ(ψ|s)."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._types import Array, Float, Int, PRNGKeyArray, RealScalarLike, Scalar
from owma.diffusion.calibration import MAX_RATIO, ErrorCurve
from owma.diffusion.denoiser import AbstractDenoiser, Conditioning, conditioning_table, same_network
from owma.diffusion.solvers import solve_steps
from owma.schedule import arctan_grid


class PathSample(eqx.Module):
    """One sample of a chain, with what it cost."""

    psi: Float[Array, " x"]
    """The sample ψ."""
    mean: Float[Array, " x"]
    """x̂₀ at the last level: ψ without the noise of the last draw."""
    kl: Scalar
    """½ Σ_k ‖(μ'_k − μ_k)/s̃_k‖² along the path, in nats; its expectation is the path KL. 0 without a reference."""
    log_weight: Scalar
    """log dP/dP' of the path that was drawn, reference over chain. 0 without a reference."""
    states: Float[Array, "levels x"]
    """y_0 … y_K: where the denoiser was evaluated."""


class Chain(eqx.Module):
    r"""The K-step Markov chain whose last draw *defines* $p_\phi(\psi\mid s)$.

    With levels $r_0 > \dots > r_K$ and $y_0\sim N(0, 1 + r_0^2)$, step $k$ is
    $y_{k+1} = y_k + C_k(\hat x_0 - y_k) + \tilde S_k\xi_k$, where

    $S_k = \eta\,r_{k+1}\sqrt{1 - r_{k+1}^2/r_k^2}$, $\quad C_k = 1 - \sqrt{r_{k+1}^2 - S_k^2}/r_k$,
    $\quad \tilde S_k^2 = S_k^2 + C_k^2 v_k$,

    and then $\psi = \hat x_0(y_K) + \sqrt{v_K}\,\xi_K$. $v_k$ is the error of $\hat x_0$ at level $k$
    (Analytic-DPM, Bao et al., arXiv 2201.06503): with it a Gaussian is sampled exactly at any K. In the variable
    $x=\alpha y$ this is the ancestral step of DDIM (Song et al., arXiv 2010.02502, eq. 12) with widened noise.

    $\hat x_0$ is kept between `low` and `high`, the range of the data (static thresholding, Saharia et al., arXiv
    2205.11487). A posterior mean lies in the convex hull of the data, so that an exact denoiser is never changed, and
    the error of another only made smaller; and no adaptation or guidance of the means can ask for more than was seen.
    """

    ratios: Float[Array, " levels"]
    gain: Float[Array, " steps"]
    width: Float[Array, "steps x"]
    last_width: Float[Array, " x"]
    low: Float[Array, " x"]
    high: Float[Array, " x"]

    @classmethod
    def calibrated(
        cls,
        errors: ErrorCurve,
        *,
        num_steps: int,
        min_ratio: float,
        eta: float = 1.0,
        data_range: tuple[Float[Array, " x"], Float[Array, " x"]] | None = None,
    ) -> "Chain":
        """A chain of `num_steps` steps, uniform in arctan σ/α down to `min_ratio`, its widths from `errors`.

        `eta` is DDIM's η, in [0, 1]; `data_range` the least and greatest of the data, `None` for no bounds.
        """
        grid = np.asarray(arctan_grid(num_steps, MAX_RATIO, min_ratio))
        narrow = eta * grid[1:] * np.sqrt(1 - np.square(grid[1:] / grid[:-1]))
        gain = 1 - np.sqrt(np.maximum(np.square(grid[1:]) - np.square(narrow), 0.0)) / grid[:-1]
        error_variance = errors(jnp.asarray(grid, jnp.float32))
        variance = jnp.asarray(np.square(narrow)[:, None], jnp.float32) + (
            jnp.asarray(np.square(gain)[:, None], jnp.float32) * error_variance[:-1]
        )
        everywhere = jnp.full(error_variance.shape[1], jnp.inf)
        low, high = (-everywhere, everywhere) if data_range is None else data_range
        return cls(
            ratios=jnp.asarray(grid, jnp.float32),
            gain=jnp.asarray(gain, jnp.float32),
            width=jnp.sqrt(variance),
            last_width=jnp.sqrt(error_variance[-1]),
            low=low,
            high=high,
        )

    @property
    def num_steps(self) -> int:
        return self.gain.shape[0]

    @property
    def num_transitions(self) -> int:
        """Network evaluations for one sample, and transitions of the chain: K steps and the last draw."""
        return self.num_steps + 1

    @property
    def gains(self) -> Float[Array, " levels"]:
        """C_k of all transitions. The last draw is one of them, ψ = y_K + 1·(x̂₀ − y_K) + √v_K ξ."""
        return jnp.append(self.gain, 1.0)

    @property
    def widths(self) -> Float[Array, "levels x"]:
        """S̃_k of all transitions, the last draw included."""
        return jnp.concatenate([self.width, self.last_width[None]])

    def noise(self, *, key: PRNGKeyArray) -> Float[Array, "draws x"]:
        """All the standard normal noise of one sample, K + 2 rows: the start, K steps, the last draw."""
        return jax.random.normal(key, (self.num_steps + 2, self.width.shape[1]))

    def start(self, noise: Float[Array, " x"]) -> Float[Array, " x"]:
        """y_0 from standard normal noise."""
        return jnp.sqrt(1 + jnp.square(self.ratios[0])) * noise

    def simulate(
        self,
        denoiser: AbstractDenoiser,
        context: Float[Array, " context"],
        noise: Float[Array, "draws x"],
        *,
        reference: AbstractDenoiser | None = None,
        gradient_steps: int | None = None,
    ) -> PathSample:
        """One sample, a differentiable function of `denoiser` and `noise`.

        With a `reference` denoiser the divergence of the path from the reference's chain is accumulated, both means
        taken at the state of *this* chain. Every evaluation of `denoiser`, the last one included, is charged.

        `gradient_steps` keeps derivatives to the last so many of the K + 1 transitions: those before are constants.
        """
        chain = jax.lax.stop_gradient(self)
        zero = jnp.zeros((), noise.dtype)
        path = (chain.start(noise[0])[None], zero[None], zero[None])
        split = 0 if gradient_steps is None else max(self.num_transitions - gradient_steps, 0)
        for first, last in ((0, split), (split, self.num_transitions)):
            if first == last:
                continue
            means = Means.prepare(chain, denoiser, context, reference)
            term = _ChainTerm(means, chain.gains, chain.widths, noise[1:])
            start = jax.tree.map(lambda states: states[-1], path)
            if last == split:
                term, start = jax.lax.stop_gradient((term, start))
            steps = solve_steps(term, diffrax.Euler(), start, last - first, first=first)
            path = jax.tree.map(lambda before, after: jnp.concatenate([before, after[1:]]), path, steps)
        states, kl, log_weight = path
        psi = states[-1]
        mean = psi - chain.last_width * noise[-1]
        return PathSample(psi, mean, kl[-1], log_weight[-1], states[:-1])


class Means(eqx.Module):
    """x̂₀ of a denoiser in one context, at the levels of a chain; and by how much it differs from a reference's."""

    denoiser: AbstractDenoiser
    reference: AbstractDenoiser | None
    chain: Chain
    table: Conditioning
    reference_table: Conditioning
    together: bool = eqx.field(static=True)
    """Whether both are evaluated in one product."""

    @classmethod
    def prepare(
        cls,
        chain: Chain,
        denoiser: AbstractDenoiser,
        context: Float[Array, " context"],
        reference: AbstractDenoiser | None = None,
    ) -> "Means":
        # Conditioning depends on the level and the context only: all levels at once, and the loop looks rows up.
        table = conditioning_table(denoiser, chain.ratios, context)
        if reference is None:
            return cls(denoiser, None, chain, table, None, False)
        reference_table = conditioning_table(reference, chain.ratios, context)
        return cls(denoiser, reference, chain, table, reference_table, same_network(denoiser, reference))

    def __call__(
        self, y: Float[Array, " x"], k: Int[Array, ""] | int
    ) -> tuple[Float[Array, " x"], Float[Array, " x"] | None]:
        """x̂₀ at y and the k-th level, and x̂₀ − x̂₀ of the reference; `None` without one."""
        conditioning = jax.tree.map(lambda leaf: leaf[k], self.table)
        if self.reference is None:
            return self._bounded(self.denoiser, y, k, conditioning), None
        other = jax.tree.map(lambda leaf: leaf[k], self.reference_table)
        if self.together:
            both = jax.tree.map(lambda a, b: jnp.stack([a, b]), conditioning, other)
            mean, reference = jax.vmap(lambda c: self._bounded(self.denoiser, y, k, c))(both)
        else:
            mean = self._bounded(self.denoiser, y, k, conditioning)
            reference = self._bounded(self.reference, y, k, other)
        return mean, mean - reference

    def of_levels(self, states: Float[Array, "levels x"]) -> Float[Array, "levels x"]:
        """x̂₀ at one state of each level."""
        # The rows of the table go along with the states: looking them up would be a gather, whose transpose is slow.
        return jax.vmap(lambda y, ratio, c: self._clipped(self.denoiser(y, ratio, c)))(
            states, self.chain.ratios, self.table
        )

    def _bounded(
        self, denoiser: AbstractDenoiser, y: Float[Array, " x"], k: Int[Array, ""] | int, conditioning: Conditioning
    ) -> Float[Array, " x"]:
        return self._clipped(denoiser(y, self.chain.ratios[k], conditioning))

    def _clipped(self, mean: Float[Array, " x"]) -> Float[Array, " x"]:
        return jnp.clip(mean, self.chain.low, self.chain.high)


_ChainState = tuple[Float[Array, " x"], Scalar, Scalar]
_StepControl = tuple[Scalar, Float[Array, " x"], Float[Array, " x"]]


class _ChainTerm(diffrax.AbstractTerm):
    """`Chain` as a controlled differential equation over the step index: Euler's method on it is the chain.

    The state is (y, path KL, path log-weight), the vector field (x̂₀ − y, x̂₀ − x̂₀ of the reference), and the control
    (C_k, S̃_k, ξ_k), a table with one row a transition, the last draw being the last row.
    """

    means: Means
    gains: Float[Array, " levels"]
    widths: Float[Array, "levels x"]
    noise: Float[Array, "levels x"]

    def vf(self, t: RealScalarLike, y: _ChainState, args: None) -> tuple[Float[Array, " x"], Float[Array, " x"] | None]:
        del args
        mean, shift = self.means(y[0], _step_index(t))
        return mean - y[0], shift

    def contr(self, t0: RealScalarLike, t1: RealScalarLike, **kwargs: object) -> _StepControl:
        del t1, kwargs
        k = _step_index(t0)
        return self.gains[k], self.widths[k], self.noise[k]

    def prod(self, vf: tuple[Float[Array, " x"], Float[Array, " x"] | None], control: _StepControl) -> _ChainState:
        (drift, shift), (gain, width, noise) = vf, control
        move = gain * drift + width * noise
        if shift is None:
            return move, jnp.zeros((), move.dtype), jnp.zeros((), move.dtype)
        return move, *transition_terms(gain * shift / width, noise)


def transition_terms(shift: Float[Array, " x"], noise: Float[Array, " x"]) -> tuple[Scalar, Scalar]:
    """The KL and the log-weight of a Gaussian transition whose mean moved by `shift`, in units of its width."""
    kl = 0.5 * jnp.sum(jnp.square(shift))
    return kl, -jnp.sum(shift * noise) - kl


def _step_index(t: RealScalarLike) -> Int[Array, ""]:
    # Whole numbers are exact in float32; rounding states that t is one.
    return jnp.round(t).astype(jnp.int32)
