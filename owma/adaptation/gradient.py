"""Estimators of ∇J: pathwise (through all or the last transitions), by adjoint matching, by weighted regression."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.moved import OldMember, rename_member
from owma._internal.types import Array, Float, Int, PRNGKeyArray, PyTree, Scalar
from owma.adaptation.divergence import AbstractDivergence
from owma.adaptation.objective import DecisionProblem
from owma.adaptation.path import scaled_means
from owma.diffusion import Means, PathSample


class Estimate(eqx.Module):
    """A gradient estimate, and the draws that it was made from."""

    gradient: PyTree
    """∇J, or the gradient of the objective that the estimator ascends instead; of Δφ's structure."""
    samples: PathSample
    """The draws of φ + Δφ, batched."""
    value: Scalar
    """E[V], in return units."""
    kl: Scalar
    """The divergence of φ + Δφ from φ."""


class AbstractGradient(eqx.Module):
    """An estimator of the gradient of $J = E[V] - \\lambda\\,\\mathrm{KL}$ from draws of the adapted model."""

    path_kl_only: ClassVar[bool]
    """Whether the estimator has the path KL built in, and cannot charge another divergence."""
    passes = OldMember("nfe_per_draw")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        rename_member(cls, "passes", "nfe_per_draw")

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
        """**Arguments:** `delta`: Δφ; `noise`: of the draws; `key`: for the divergence."""

    @abc.abstractmethod
    def nfe_per_draw(self, extra_nfe: tuple[int, int], num_transitions: int) -> int:
        """Network passes for one draw of a chain of `num_transitions` transitions: forward evaluations and
        vector-Jacobian products, each counted as one. `extra_nfe` is that of the divergence
        (`AbstractDivergence.extra_nfe`).
        """


class _AbstractPathwise(AbstractGradient):
    """The pathwise (reparameterisation) gradient: draws are functions of noise, and the chain is differentiated."""

    @property
    @abc.abstractmethod
    def differentiated(self) -> int | None:
        """The number of last transitions that are differentiated; `None` for all."""

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
    """The pathwise gradient through the whole chain."""

    path_kl_only: ClassVar[bool] = False

    @property
    def differentiated(self) -> None:
        return None

    def nfe_per_draw(self, extra_nfe: tuple[int, int], num_transitions: int) -> int:
        forward, backward = extra_nfe
        return num_transitions * (2 + forward + backward)


class Truncated(_AbstractPathwise):
    """The pathwise gradient through the last `gradient_steps` transitions only; earlier ones are constants (DRaFT-K,
    Clark et al., arXiv 2309.17400). Cheaper, and biased: it ignores how early transitions affect J.
    """

    gradient_steps: int = eqx.field(static=True, default=3)
    path_kl_only: ClassVar[bool] = False

    @property
    def differentiated(self) -> int:
        return self.gradient_steps

    def nfe_per_draw(self, extra_nfe: tuple[int, int], num_transitions: int) -> int:
        forward, backward = extra_nfe
        return num_transitions * (1 + forward) + min(self.gradient_steps, num_transitions) * (1 + backward)


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

        def surrogate(delta: PyTree) -> Scalar:
            means = scaled_means(problem.chain, problem.adapted(delta), problem.context, samples.states)
            control = means - jax.lax.stop_gradient(base)
            return jnp.mean(jnp.sum(targets * control - 0.5 * problem.kl_coef * jnp.square(control), axis=(1, 2)))

        return Estimate(jax.grad(surrogate)(delta), samples, jnp.mean(values), jnp.mean(samples.kl))

    def nfe_per_draw(self, extra_nfe: tuple[int, int], num_transitions: int) -> int:
        # Draws with a reference (2); the adjoint, forward and backward (2); both means again, one of them
        # differentiated.
        return 7 * num_transitions


class RewardWeighted(AbstractGradient):
    r"""Regression of the chain's means on draws weighted by $w\propto e^{V/\lambda}\,\mathrm{d}P/\mathrm{d}P'$: the
    gradient of $-\lambda\,\mathrm{KL}(q^*\|p_{\phi+\Delta\phi})$ over paths (reward-weighted regression, Peters &
    Schaal 2007; Lee et al., arXiv 2302.12192). Neither the chain nor V is differentiated.

    This objective is not J: they share their maximum if q* can be represented, and not otherwise. The weights are
    self-normalised, which biases the estimate by O(1/n).
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
        def surrogate(delta: PyTree) -> Scalar:
            means = scaled_means(problem.chain, problem.adapted(delta), problem.context, samples.states)
            return problem.kl_coef * jnp.sum(weights * jnp.sum(innovations * means, axis=(1, 2)))

        return Estimate(jax.grad(surrogate)(delta), samples, jnp.mean(values), jnp.mean(samples.kl))

    def nfe_per_draw(self, extra_nfe: tuple[int, int], num_transitions: int) -> int:
        return 4 * num_transitions


def _adjoints(
    problem: DecisionProblem, psi: Float[Array, " x"], states: Float[Array, "levels x"]
) -> Float[Array, "levels x"]:
    r"""$\tilde s_k a_{k+1}$ of one draw, k = 0 … K."""
    chain, value = problem.chain, problem.value
    means = Means.prepare(chain, problem.denoiser, problem.context)

    def transition_mean(y: Float[Array, " x"], k: Int[Array, ""]) -> Float[Array, " x"]:
        drift, _ = chain.move(y, means(y, k).mean, jnp.zeros_like(y), k)
        return y + drift

    def step_back(adjoint: Float[Array, " x"], k: Int[Array, ""]) -> tuple[Float[Array, " x"], Float[Array, " x"]]:
        _, pullback = jax.vjp(lambda y: transition_mean(y, k), states[k])
        return pullback(adjoint)[0], chain.widths[k] * adjoint

    last = jax.grad(lambda p: problem.scaled(value(p)))(psi)
    _, targets = jax.lax.scan(step_back, last, jnp.arange(chain.num_transitions), reverse=True)
    return jax.lax.stop_gradient(targets)
