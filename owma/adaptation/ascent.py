"""Step rules for Δφ: Adam, and the natural gradient of the path KL."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from owma._internal.moved import OldMember, rename_member
from owma._internal.tree import squared_norm
from owma._internal.types import PRNGKeyArray, PyTree, Scalar
from owma.adaptation.metric import AbstractMetric
from owma.adaptation.objective import DecisionProblem
from owma.diffusion import PathSample


class AbstractAscent(eqx.Module):
    """A step rule of gradient ascent, like an optimiser of optax: immutable, its memory being `state`."""

    passes = OldMember("nfe_per_state")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        rename_member(cls, "passes", "nfe_per_state")

    @abc.abstractmethod
    def init(self, delta: PyTree) -> PyTree:
        """The state before the first step."""

    @abc.abstractmethod
    def step(
        self,
        problem: DecisionProblem,
        delta: PyTree,
        gradient: PyTree,
        samples: PathSample,
        state: PyTree,
        progress: Scalar,
        *,
        metric: AbstractMetric,
        key: PRNGKeyArray,
    ) -> tuple[PyTree, PyTree]:
        """**Arguments:**

        - `problem`: the decision problem, with the annealed `kl_coef` of this step.
        - `delta`: Δφ.
        - `gradient`: ∇J, of Δφ's structure.
        - `samples`: draws of φ + Δφ (batched); a metric is measured at their `states`.
        - `state`: as returned by `init` or by the previous step.
        - `progress`: the fraction of the steps already made, in [0, 1).
        - `metric`: of the adapted parameters (`AbstractDeltaFilter.metric`).

        **Returns:** the update of Δφ, which is added to it, and the next state.
        """

    @abc.abstractmethod
    def nfe_per_state(self, metric: AbstractMetric) -> int:
        """Network passes of one step, per state of `samples`."""


# The usual b1=0.9 and b2=0.999 average over ten and a thousand steps, and an adaptation has ten: the first gradients
# would dominate to the end. With these J on the two-route model is higher after as many steps, and never below its
# start.
_ADAM = optax.scale_by_adam(b1=0.5, b2=0.9)


class AdamAscent(AbstractAscent):
    """Adam (Kingma & Ba, arXiv 1412.6980) with a linearly decaying step size and clipped gradients."""

    learning_rate: Scalar
    final_rate: Scalar = eqx.field(default=1.0, converter=jnp.asarray)
    """Fraction of the learning rate that is reached after the last step."""
    max_norm: Scalar = eqx.field(default=jnp.inf, converter=jnp.asarray)
    """Gradients of a larger norm are scaled down to it; in units of `value_scale`, as J."""

    def init(self, delta: PyTree) -> PyTree:
        return _ADAM.init(delta)

    def step(
        self,
        problem: DecisionProblem,
        delta: PyTree,
        gradient: PyTree,
        samples: PathSample,
        state: PyTree,
        progress: Scalar,
        *,
        metric: AbstractMetric,
        key: PRNGKeyArray,
    ) -> tuple[PyTree, PyTree]:
        del problem, delta, samples, metric, key
        clipped = jnp.minimum(1.0, self.max_norm / jnp.sqrt(squared_norm(gradient) + 1e-30))
        directions, state = _ADAM.update(jax.tree.map(lambda g: clipped * g, gradient), state)
        # The learning rate multiplies here, not inside optax: as an array it can change without recompilation.
        rate = self.learning_rate * (1 - (1 - self.final_rate) * progress)
        return jax.tree.map(lambda direction: rate * direction, directions), state

    def nfe_per_state(self, metric: AbstractMetric) -> int:
        del metric
        return 0


_FLOOR = 1e-3
"""Smallest curvature of a parameter, as a fraction of the mean of its leaf."""


class NaturalAscent(AbstractAscent):
    r"""The natural gradient of the path KL, within a trust region in nats.

    The step solves $\lambda(F + \text{damping}\,D)\,x = \nabla J$, F being the metric and D its diagonal, by
    `cg_steps` conjugate gradient steps preconditioned by D (Amari 1998; Martens, arXiv 1412.1193); with 0 of them F is
    approximated by its diagonal. A step of more than `max_kl` nats is shortened to that (Schulman et al., arXiv
    1502.05477); this bound decays linearly over a decision.

    No setting has the units of a parameter, so one setting serves networks and closed forms alike.
    """

    max_kl: Scalar = eqx.field(default=0.5, converter=jnp.asarray)
    """Trust region of the first step: the largest KL between the path laws before and after it, in nats."""
    final_kl: Scalar = eqx.field(default=1.0, converter=jnp.asarray)
    """Fraction of `max_kl` that is reached after the last step. Long steps find a rare mode; short ones converge in it,
    where J is estimated from the same few draws as the step."""
    damping: Scalar = eqx.field(default=0.3, converter=jnp.asarray)
    cg_steps: int = eqx.field(static=True, default=0)

    def init(self, delta: PyTree) -> None:
        del delta

    def step(
        self,
        problem: DecisionProblem,
        delta: PyTree,
        gradient: PyTree,
        samples: PathSample,
        state: None,
        progress: Scalar,
        *,
        metric: AbstractMetric,
        key: PRNGKeyArray,
    ) -> tuple[PyTree, None]:
        samples = jax.lax.stop_gradient(samples)
        diagonal, push = metric.measure(problem, delta, samples, key=key)
        # A parameter that has no effect at these states has neither gradient nor curvature.
        diagonal = jax.tree.map(lambda leaf: leaf + _FLOOR * jnp.mean(leaf) + 1e-30, diagonal)
        num = samples.states.shape[0]

        def precondition(x: PyTree) -> PyTree:
            return jax.tree.map(lambda x, d: x / ((1 + self.damping) * d), x, diagonal)

        direction = precondition(gradient)
        if self.cg_steps > 0:
            pull = jax.linear_transpose(push, delta)

            def damped(x: PyTree) -> PyTree:
                (fisher,) = pull(push(x))
                return jax.tree.map(lambda f, d, x: f / num + self.damping * d * x, fisher, diagonal, x)

            direction, _ = jax.scipy.sparse.linalg.cg(
                damped, gradient, x0=direction, tol=0.0, maxiter=self.cg_steps, M=precondition
            )
        kl = 0.5 * jnp.sum(jnp.square(push(direction))) / num
        # `direction` has not been divided by λ yet; with λ = 0 the trust region alone bounds the step.
        bound = self.max_kl * (1 - (1 - self.final_kl) * progress)
        length = jnp.minimum(1 / problem.kl_coef, jnp.sqrt(bound / (kl + 1e-30)))
        return jax.tree.map(lambda x: length * x, direction), state

    def nfe_per_state(self, metric: AbstractMetric) -> int:
        # One JVP for the KL of the direction. Conjugate gradients: a JVP and a VJP for the first residual and each
        # step.
        num_products = 1 if self.cg_steps == 0 else 3 + 2 * self.cg_steps
        return metric.measure_nfe + num_products * metric.product_nfe
