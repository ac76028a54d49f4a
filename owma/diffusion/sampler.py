"""The stochastic chain whose last state defines p_φ(ψ|s)."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Bool, Float, Int, PRNGKeyArray, RealScalarLike, Scalar
from owma.diffusion.calibration import MAX_RATIO, ErrorCurve
from owma.diffusion.denoiser import AbstractDenoiser, Conditioning, conditioning_table, readout_of, same_network
from owma.diffusion.schedule import arctan_grid
from owma.diffusion.solvers import unit_steps


class PathSample(eqx.Module):
    """One sample of a chain, with the divergence of its path from a reference chain."""

    psi: Float[Array, " x"]
    """The sample ψ."""
    mean: Float[Array, " x"]
    """x̂₀ at the last level: ψ without the noise of the last transition."""
    kl: Scalar
    """½ Σ_k ‖(μ'_k − μ_k)/s̃_k‖² along the path, in nats; its expectation is the path KL. 0 without a reference."""
    log_weight: Scalar
    """log dP/dP' of the path: log-density of the reference chain minus that of this one. 0 without a reference."""
    states: Float[Array, "levels x"]
    """y_0 … y_K, at which the denoiser was evaluated."""
    hidden: Float[Array, "levels width"] | None = None
    """Hidden activations of a `ReadoutDenoiser` at `states`; `None` for other denoisers."""


class Chain(eqx.Module):
    r"""The Markov chain of K steps and one last transition whose final state *defines* $p_\phi(\psi\mid s)$.

    With levels $r_0 > \dots > r_K$ and $y_0\sim N(0, 1 + r_0^2)$, step $k$ is
    $y_{k+1} = y_k + C_k(\hat x_0 - y_k) + \tilde S_k\xi_k$, where

    $S_k = \eta\,r_{k+1}\sqrt{1 - r_{k+1}^2/r_k^2}$, $\quad C_k = 1 - \sqrt{r_{k+1}^2 - S_k^2}/r_k$,
    $\quad \tilde S_k^2 = S_k^2 + C_k^2 v_k$,

    and then $\psi = \hat x_0(y_K) + \sqrt{v_K}\,\xi_K$. $v_k$ is the error of $\hat x_0$ at level $k$
    (Analytic-DPM, Bao et al., arXiv 2201.06503), with which Gaussians are sampled exactly for any K. In the variable
    $x=\alpha y$ this is the ancestral step of DDIM (Song et al., arXiv 2010.02502, eq. 12) with widened noise.

    $\hat x_0$ is clipped to `low` and `high`, the range of the data (static thresholding, Saharia et al., arXiv
    2205.11487). A posterior mean lies in the convex hull of the data: clipping never changes an exact denoiser, can
    only reduce the error of others, and keeps adaptation and guidance from leaving the range of the data.
    """

    ratios: Float[Array, " levels"]
    gain: Float[Array, " steps"]
    width: Float[Array, "steps x"]
    last_width: Float[Array, " x"]
    low: Float[Array, " x"]
    high: Float[Array, " x"]
    compact: bool = eqx.field(static=True, default=False)
    """Whether loops over the chain are kept rolled, for small programs that compile quickly (see `unrolled`)."""

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
        """A chain of `num_steps` steps, uniform in arctan σ/α down to `min_ratio`, with widths from `errors`.

        **Arguments:** `eta`: DDIM's η, in [0, 1]; `data_range`: minimum and maximum of the data, per coordinate; `None`
        for no clipping.
        """
        grid = np.asarray(arctan_grid(num_steps, MAX_RATIO, min_ratio))
        narrow = eta * grid[1:] * np.sqrt(1 - np.square(grid[1:] / grid[:-1]))
        gain = 1 - np.sqrt(np.maximum(np.square(grid[1:]) - np.square(narrow), 0.0)) / grid[:-1]
        error_variance = errors(jnp.asarray(grid, jnp.float32))
        variance = jnp.asarray(np.square(narrow)[:, None], jnp.float32) + (
            jnp.asarray(np.square(gain)[:, None], jnp.float32) * error_variance[:-1]
        )
        infinity = jnp.full(error_variance.shape[1], jnp.inf)
        low, high = (-infinity, infinity) if data_range is None else data_range
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
        """K + 1: the transitions of the chain, and the network evaluations for one sample."""
        return self.num_steps + 1

    @property
    def gains(self) -> Float[Array, " levels"]:
        """C_k of all K + 1 transitions. That of the last one is 1: ψ = y_K + 1·(x̂₀ − y_K) + √v_K ξ."""
        return jnp.append(self.gain, 1.0)

    @property
    def widths(self) -> Float[Array, "levels x"]:
        """S̃_k of all K + 1 transitions; that of the last one is √v_K."""
        return jnp.concatenate([self.width, self.last_width[None]])

    def noise(self, *, key: PRNGKeyArray) -> Float[Array, "draws x"]:
        """The standard normal noise of one sample, in K + 2 rows: for y_0 and for the K + 1 transitions."""
        return jax.random.normal(key, (self.num_steps + 2, self.width.shape[1]))

    def start(self, noise: Float[Array, " x"]) -> Float[Array, " x"]:
        """y_0 from standard normal noise."""
        return jnp.sqrt(1 + jnp.square(self.ratios[0])) * noise

    def move(
        self, y: Float[Array, " x"], mean: Float[Array, " x"], noise: Float[Array, " x"], k: Int[Array, ""] | int
    ) -> tuple[Float[Array, " x"], Float[Array, " x"]]:
        r"""The two increments of transition k, $C_k(\hat x_0 - y)$ and $\tilde S_k\xi$; `mean` is $\hat x_0$, `noise`
        is ξ.
        """
        return self.gains[k] * (mean - y), self.widths[k] * noise

    def simulate(
        self,
        denoiser: AbstractDenoiser,
        context: Float[Array, " context"],
        noise: Float[Array, "draws x"],
        *,
        reference: AbstractDenoiser | None = None,
        gradient_steps: int | None = None,
    ) -> PathSample:
        """One sample, differentiable in `denoiser` and `noise`.

        **Arguments:** `noise`: as `noise` returns it. `reference`: a denoiser from whose chain the divergence of the
        path is accumulated, over all K + 1 transitions, both means at the states of *this* chain. `gradient_steps`:
        only so many of the last transitions are differentiated, the earlier ones being constants; `None` for all.
        """
        chain = jax.lax.stop_gradient(self)
        zero = jnp.zeros((), noise.dtype)
        means = Means.prepare(chain, denoiser, context, reference)
        path = _ChainState(chain.start(noise[0]), zero, zero, means.no_hidden(noise.dtype))
        path = jax.tree.map(lambda leaf: leaf[None], path)
        split = 0 if gradient_steps is None else max(self.num_transitions - gradient_steps, 0)
        for first, last in ((0, split), (split, self.num_transitions)):
            if first == last:
                continue
            term = _ChainTerm(means, noise[1:])
            start = jax.tree.map(lambda states: states[-1], path)
            if last == split:
                term, start = jax.lax.stop_gradient((term, start))
            steps = unit_steps(last - first, first=first, compact=chain.compact)
            states = diffrax.diffeqsolve(term, _ChainSolver(), y0=start, **steps).ys
            path = jax.tree.map(lambda before, after: jnp.concatenate([before, after[1:]]), path, states)
        psi = path.y[-1]
        mean = psi - chain.last_width * noise[-1]
        hidden = None if path.hidden is None else path.hidden[1:]
        return PathSample(psi, mean, path.kl[-1], path.log_weight[-1], path.y[:-1], hidden)


class Mean(eqx.Module):
    """x̂₀ of a denoiser at one state."""

    mean: Float[Array, " x"]
    shift: Float[Array, " x"] | None
    """`mean` minus that of the reference; `None` without a reference."""
    hidden: Float[Array, " width"] | None
    """Hidden activations of a `ReadoutDenoiser`; `None` for other denoisers."""


class Means(eqx.Module):
    """x̂₀ of a denoiser, and of a reference if there is one, in one context at the levels of a chain."""

    denoiser: AbstractDenoiser
    reference: AbstractDenoiser | None
    chain: Chain
    table: Conditioning
    reference_table: Conditioning
    together: bool = eqx.field(static=True)
    """Whether both are evaluated as one batch (`same_network`)."""
    same_hidden: bool = eqx.field(static=True)
    """Whether both are `ReadoutDenoiser`s that differ in their last layers only, and share their hidden activations."""

    @classmethod
    def prepare(
        cls,
        chain: Chain,
        denoiser: AbstractDenoiser,
        context: Float[Array, " context"],
        reference: AbstractDenoiser | None = None,
    ) -> "Means":
        # Conditioning depends on the level and the context only: it is computed for all levels at once, before the
        # loop.
        table = conditioning_table(denoiser, chain.ratios, context)
        if reference is None:
            return cls(denoiser, None, chain, table, None, together=False, same_hidden=False)
        reference_table = conditioning_table(reference, chain.ratios, context)
        together = same_network(denoiser, reference)
        same_hidden = together and readout_of(denoiser) is not None and table.modulation is reference_table.modulation
        return cls(denoiser, reference, chain, table, reference_table, together, same_hidden)

    def __call__(self, y: Float[Array, " x"], k: Int[Array, ""] | int) -> Mean:
        """x̂₀ at y and the k-th level."""
        ratio = self.chain.ratios[k]
        conditioning, other = jax.tree.map(lambda leaf: leaf[k], (self.table, self.reference_table))
        readout = readout_of(self.denoiser)
        if readout is not None and (self.reference is None or self.same_hidden):
            hidden = readout.hidden(y, ratio, conditioning)
            mean = self._clipped(readout.read(hidden, y, ratio, conditioning))
            if self.reference is None:
                return Mean(mean, None, hidden)
            return Mean(mean, mean - self._clipped(readout.read(hidden, y, ratio, other)), hidden)
        if self.reference is None:
            return Mean(self._clipped(self.denoiser(y, ratio, conditioning)), None, None)
        if self.together:
            both = jax.tree.map(lambda a, b: jnp.stack([a, b]), conditioning, other)
            mean, reference = jax.vmap(lambda c: self._clipped(self.denoiser(y, ratio, c)))(both)
        else:
            mean = self._clipped(self.denoiser(y, ratio, conditioning))
            reference = self._clipped(self.reference(y, ratio, other))
        return Mean(mean, mean - reference, None)

    def no_hidden(self, dtype: jnp.dtype) -> Float[Array, " width"] | None:
        """Zeros of the shape of `Mean.hidden`; `None` if that is `None`."""
        shape = jax.eval_shape(self, self.chain.low, 0).hidden
        return None if shape is None else jnp.zeros(shape.shape, dtype)

    def of_levels(self, states: Float[Array, "levels x"]) -> Float[Array, "levels x"]:
        """x̂₀ at one state of each level."""
        # The table's rows are mapped over with the states: looking them up would be a gather, whose transpose is slow.
        return jax.vmap(lambda y, ratio, c: self._clipped(self.denoiser(y, ratio, c)))(
            states, self.chain.ratios, self.table
        )

    def _clipped(self, mean: Float[Array, " x"]) -> Float[Array, " x"]:
        return jnp.clip(mean, self.chain.low, self.chain.high)


class _ChainState(eqx.Module):
    y: Float[Array, "..."]
    kl: Float[Array, "..."]
    log_weight: Float[Array, "..."]
    hidden: Float[Array, "..."] | None
    """Hidden activations of the transition that led here."""


_StepControl = tuple[Int[Array, ""], Float[Array, " x"]]


class _ChainTerm(diffrax.AbstractTerm):
    """`Chain` as a controlled differential equation over the step index: Euler's method on it is the chain.

    The state is (y, path KL, path log-weight); the vector field is x̂₀ (and its difference from the reference's) with
    the y where it was evaluated; the control is the index k of the transition and its noise ξ_k.
    """

    means: Means
    noise: Float[Array, "levels x"]

    def vf(self, t: RealScalarLike, y: _ChainState, args: None) -> tuple[Mean, Float[Array, "..."]]:
        del args
        return self.means(y.y, _step_index(t)), y.y

    def contr(self, t0: RealScalarLike, t1: RealScalarLike, **kwargs: object) -> _StepControl:
        del t1, kwargs
        k = _step_index(t0)
        return k, self.noise[k]

    def prod(self, vf: tuple[Mean, Float[Array, "..."]], control: _StepControl) -> _ChainState:
        (mean, y), (k, noise), chain = vf, control, self.means.chain
        drift, scaled_noise = chain.move(y, mean.mean, noise, k)
        move = drift + scaled_noise
        if mean.shift is None:
            kl = log_weight = jnp.zeros((), move.dtype)
        else:
            kl, log_weight = transition_terms(chain.gains[k] * mean.shift / chain.widths[k], noise)
        # The hidden activations are only recorded: without this, their unused derivatives would be propagated.
        return _ChainState(move, kl, log_weight, jax.lax.stop_gradient(mean.hidden))


class _ChainSolver(diffrax.AbstractSolver):
    """Euler's method, except that `hidden` is replaced in every step instead of incremented."""

    term_structure = diffrax.AbstractTerm
    interpolation_cls = diffrax.LocalLinearInterpolation

    def order(self, terms: diffrax.AbstractTerm) -> int:
        del terms
        return 1

    def init(
        self, terms: diffrax.AbstractTerm, t0: RealScalarLike, t1: RealScalarLike, y0: _ChainState, args: None
    ) -> None:
        del terms, t0, t1, y0, args

    def step(
        self,
        terms: diffrax.AbstractTerm,
        t0: RealScalarLike,
        t1: RealScalarLike,
        y0: _ChainState,
        args: None,
        solver_state: None,
        made_jump: bool | Bool[Array, ""] | Bool[np.ndarray, ""],
    ) -> tuple[_ChainState, None, dict[str, _ChainState], None, diffrax.RESULTS]:
        del made_jump
        move = terms.vf_prod(t0, y0, args, terms.contr(t0, t1))
        y1 = _ChainState(y0.y + move.y, y0.kl + move.kl, y0.log_weight + move.log_weight, move.hidden)
        return y1, None, {"y0": y0, "y1": y1}, solver_state, diffrax.RESULTS.successful

    def func(
        self, terms: diffrax.AbstractTerm, t0: RealScalarLike, y0: _ChainState, args: None
    ) -> tuple[Mean, Float[Array, "..."]]:
        return terms.vf(t0, y0, args)


def transition_terms(shift: Float[Array, " x"], noise: Float[Array, " x"]) -> tuple[Scalar, Scalar]:
    """The KL and the log-weight of a Gaussian transition whose mean is shifted by `shift`, in units of its width."""
    kl = 0.5 * jnp.sum(jnp.square(shift))
    return kl, -jnp.sum(shift * noise) - kl


def _step_index(t: RealScalarLike) -> Int[Array, ""]:
    # t is a whole number, which float32 represents exactly; rounding only documents that.
    return jnp.round(t).astype(jnp.int32)
