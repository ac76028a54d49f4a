"""Estimators of ∇J in Δφ: through the whole chain, through its end, by adjoints, by weights."""

import abc
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, PRNGKeyArray, PyTree, Scalar
from owma.adaptation.divergence import AbstractDivergence
from owma.adaptation.objective import DecisionProblem
from owma.adaptation.path import scaled_means
from owma.diffusion import Means, PathSample


class Estimate(eqx.Module):
    """A gradient, and what was seen on the way to it."""

    gradient: PyTree
    """∇J, or what the estimator ascends in its place; of Δφ's structure."""
    samples: PathSample
    """The draws of φ + Δφ that it comes from, batched."""
    value: Scalar
    """E[V], in return units."""
    kl: Scalar
    """The divergence of φ + Δφ from φ."""


class AbstractGradient(eqx.Module):
    """An estimator of the gradient of $J = E[V] - \\lambda\\,\\mathrm{KL}$ from draws of the adapted model."""

    path_kl_only: ClassVar[bool]
    """Whether the estimator has the path KL built in, and cannot charge another divergence."""

    @abc.abstractmethod
    def __call__(
        self,
        problem: DecisionProblem,
        delta: PyTree,
        divergence: AbstractDivergence,
        noise: Float[Array, "n draws x"],
        *,
        key: PRNGKeyArray,
    ) -> Estimate:
        """`key` is for the divergence; the draws follow from `noise`."""

    @abc.abstractmethod
    def passes(self, beside: tuple[int, int], num_transitions: int) -> int:
        """Network passes for one draw of a chain of `num_transitions` transitions: forward evaluations and
        vector-Jacobian products, each counted as one; `beside` are those that the divergence adds to each of the
        adapted model's, forward and back (`AbstractDivergence.passes`).
        """


class _AbstractPathwise(AbstractGradient):
    """J differentiated through the chain, of which draws are functions of noise."""

    @property
    @abc.abstractmethod
    def differentiated(self) -> int | None:
        """How many of the last transitions are differentiated; `None` for all."""

    def __call__(
        self,
        problem: DecisionProblem,
        delta: PyTree,
        divergence: AbstractDivergence,
        noise: Float[Array, "n draws x"],
        *,
        key: PRNGKeyArray,
    ) -> Estimate:
        def objective(delta: PyTree) -> tuple[Scalar, tuple[PathSample, Scalar, Scalar]]:
            samples, values = problem.draw(
                delta, noise, with_reference=divergence.needs_paths, gradient_steps=self.differentiated
            )
            kl = divergence(problem, delta, samples, values, noise, key=key)
            return problem.objective(values, kl), (samples, jnp.mean(values), kl)

        gradient, (samples, value, kl) = jax.grad(objective, has_aux=True)(delta)
        return Estimate(gradient, samples, value, kl)


class Reparameterised(_AbstractPathwise):
    """Draws are functions of noise, and J is differentiated through the whole chain."""

    path_kl_only: ClassVar[bool] = False

    @property
    def differentiated(self) -> None:
        return None

    def passes(self, beside: tuple[int, int], num_transitions: int) -> int:
        forward, back = beside
        return num_transitions * (2 + forward + back)


class Truncated(_AbstractPathwise):
    """J differentiated through the last `gradient_steps` transitions only, what comes before being constant
    (DRaFT-K, Clark et al., arXiv 2309.17400). Cheaper, and blind to what early transitions could do.
    """

    gradient_steps: int = eqx.field(static=True, default=3)
    path_kl_only: ClassVar[bool] = False

    @property
    def differentiated(self) -> int:
        return self.gradient_steps

    def passes(self, beside: tuple[int, int], num_transitions: int) -> int:
        forward, back = beside
        return num_transitions * (1 + forward) + min(self.gradient_steps, num_transitions) * (1 + back)


class AdjointMatching(AbstractGradient):
    r"""Regression of the control on the lean adjoint (Domingo-Enrich et al., arXiv 2409.08861, eq. 38).

    With $u_k = (\mu'_k - \mu_k)/\tilde s_k$ at the states of the adapted chain, and the adjoint
    $a_{K+1} = \nabla V(\psi)$, $a_k = (\partial\mu_k/\partial y_k)^\top a_{k+1}$ along the *trained* model's means, it
    descends $\lambda E\sum_k\tfrac12\|u_k - \tilde s_k a_{k+1}/\lambda\|^2$ at fixed states and adjoints. At Δφ = 0
    that is ∇J; elsewhere the two differ, but vanish together where u is the optimal control.
    """

    path_kl_only: ClassVar[bool] = True

    def __call__(
        self,
        problem: DecisionProblem,
        delta: PyTree,
        divergence: AbstractDivergence,
        noise: Float[Array, "n draws x"],
        *,
        key: PRNGKeyArray,
    ) -> Estimate:
        del divergence, key
        samples, values = jax.lax.stop_gradient(problem.draw(delta, noise, with_reference=True))
        targets = jax.vmap(lambda psi, states: _adjoints(problem, psi, states))(samples.psi, samples.states)
        base = scaled_means(problem.chain, problem.denoiser, problem.context, samples.states)

        def ascended(delta: PyTree) -> Scalar:
            means = scaled_means(problem.chain, problem.adapted(delta), problem.context, samples.states)
            control = means - jax.lax.stop_gradient(base)
            return jnp.mean(jnp.sum(targets * control - 0.5 * problem.kl_coef * jnp.square(control), axis=(1, 2)))

        return Estimate(jax.grad(ascended)(delta), samples, jnp.mean(values), jnp.mean(samples.kl))

    def passes(self, beside: tuple[int, int], num_transitions: int) -> int:
        # Draws with a reference; the adjoint, forward and back; both means again, one of them differentiated.
        return 7 * num_transitions


class RewardWeighted(AbstractGradient):
    r"""Regression of the chain's means on draws weighted by $w\propto e^{V/\lambda}\,\mathrm{d}P/\mathrm{d}P'$: the
    gradient of $-\lambda\,\mathrm{KL}(q^*\|p_{\phi+\Delta\phi})$ over paths (reward-weighted regression, Peters &
    Schaal 2007; Lee et al., arXiv 2302.12192). Nothing is differentiated through the chain, not even V.

    This is not J: the two have their maximum in common where q* can be reached, and not where it cannot. Weights that
    sum to one make the estimate biased in O(1/n).
    """

    path_kl_only: ClassVar[bool] = True

    def __call__(
        self,
        problem: DecisionProblem,
        delta: PyTree,
        divergence: AbstractDivergence,
        noise: Float[Array, "n draws x"],
        *,
        key: PRNGKeyArray,
    ) -> Estimate:
        del divergence, key
        samples, values = jax.lax.stop_gradient(problem.draw(delta, noise, with_reference=True))
        weights = jax.nn.softmax(problem.log_weights(samples, values))
        innovations = noise[:, 1:]

        # Σ_k ‖(y_{k+1} − μ'_k)/s̃_k‖²/2 has, at the Δφ that the draws come from, the gradient −Σ_k ξ_k·∂(μ'_k/s̃_k).
        def ascended(delta: PyTree) -> Scalar:
            means = scaled_means(problem.chain, problem.adapted(delta), problem.context, samples.states)
            return problem.kl_coef * jnp.sum(weights * jnp.sum(innovations * means, axis=(1, 2)))

        return Estimate(jax.grad(ascended)(delta), samples, jnp.mean(values), jnp.mean(samples.kl))

    def passes(self, beside: tuple[int, int], num_transitions: int) -> int:
        return 4 * num_transitions


def _adjoints(
    problem: DecisionProblem, psi: Float[Array, " x"], states: Float[Array, "levels x"]
) -> Float[Array, "levels x"]:
    r"""$\tilde s_k a_{k+1}$ of one draw, k = 0 … K."""
    chain, value = problem.chain, problem.value
    means = Means.prepare(chain, problem.denoiser, problem.context)
    gains, widths = chain.gains, chain.widths

    def mean(k: Array) -> Callable[[Float[Array, " x"]], Float[Array, " x"]]:
        return lambda y: y + gains[k] * (means(y, k).mean - y)

    def pull(adjoint: Float[Array, " x"], k: Array) -> tuple[Float[Array, " x"], Float[Array, " x"]]:
        _, pullback = jax.vjp(mean(k), states[k])
        return pullback(adjoint)[0], widths[k] * adjoint

    last = jax.grad(lambda p: problem.scaled(value(p)))(psi)
    _, targets = jax.lax.scan(pull, last, jnp.arange(chain.num_transitions), reverse=True)
    return jax.lax.stop_gradient(targets)
