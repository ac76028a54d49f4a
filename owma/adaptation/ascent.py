"""How Δφ moves along a gradient of J: Adam, or the metric of the path KL."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from owma._internal.tree import squared_norm
from owma._internal.types import PRNGKeyArray, PyTree, Scalar
from owma.adaptation.metric import AbstractMetric
from owma.adaptation.objective import DecisionProblem
from owma.diffusion import PathSample


class AbstractAscent(eqx.Module):
    """A rule for one step of ascent. Immutable: what it remembers is its state."""

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

        - `problem`: the decision; its `kl_coef` is that of this step.
        - `delta`: Δφ.
        - `gradient`: of J, of Δφ's structure.
        - `samples`: draws of φ + Δφ (batched), whose `states` a metric may be measured at.
        - `state`: as returned by the step before.
        - `progress`: the share of the steps that are done, in [0, 1).
        - `metric`: that of the parameters which adapt (`AbstractDeltaFilter.metric`).

        **Returns:** what to add to Δφ, and the next state.
        """

    @abc.abstractmethod
    def passes(self, metric: AbstractMetric) -> int:
        """Network passes that a step makes for each state of `samples`."""


# Ten steps are too few for the usual memories of ten and a thousand: with them the first gradients, and the scale of
# the first step, would last to the end. On the two-route model J at equal steps is higher, and stays above its start.
_ADAM = optax.scale_by_adam(b1=0.5, b2=0.9)


class AdamAscent(AbstractAscent):
    """Adam (Kingma & Ba, arXiv 1412.6980), the step size falling linearly, gradients clipped to a norm."""

    learning_rate: Scalar
    final_rate: Scalar = eqx.field(default=1.0, converter=jnp.asarray)
    """Share of the learning rate that is left after the last step."""
    max_norm: Scalar = eqx.field(default=jnp.inf, converter=jnp.asarray)
    """Longest gradient; J is in units of `value_scale`, so this is too."""

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
        # The rate multiplies here, not inside optax: as an array it can change without recompiling.
        rate = self.learning_rate * (1 - (1 - self.final_rate) * progress)
        return jax.tree.map(lambda direction: rate * direction, directions), state

    def passes(self, metric: AbstractMetric) -> int:
        del metric
        return 0


_FLOOR = 1e-3
"""Least curvature of a parameter, as a share of its leaf's mean."""


class NaturalAscent(AbstractAscent):
    r"""The natural gradient of the path KL, within a trust region in nats.

    The step solves $\lambda(F + \text{damping}\,D)\,x = \nabla J$, F being the metric and D its diagonal, by
    `cg_steps` conjugate gradients preconditioned by D (Amari 1998; Martens, arXiv 1412.1193); 0 of them take F to be
    diagonal. Where the step would cost more than `max_kl` nats it is shortened to that (Schulman et al., arXiv
    1502.05477); this bound falls linearly over a decision.

    Nothing here has the units of a parameter, so one setting does for networks and closed forms alike.
    """

    max_kl: Scalar = eqx.field(default=0.5, converter=jnp.asarray)
    """Nats that the first step may move the path law by."""
    final_kl: Scalar = eqx.field(default=1.0, converter=jnp.asarray)
    """Share of `max_kl` that is left after the last step. Long steps find a mode that is rare; the short ones after
    them settle in it, where J is estimated from the same few draws as the step."""
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
        # A parameter that these states do not see at all has neither gradient nor curvature.
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
        # `direction` is yet to be divided by λ; with λ = 0 the trust region alone bounds the step.
        bound = self.max_kl * (1 - (1 - self.final_kl) * progress)
        length = jnp.minimum(1 / problem.kl_coef, jnp.sqrt(bound / (kl + 1e-30)))
        return jax.tree.map(lambda x: length * x, direction), state

    def passes(self, metric: AbstractMetric) -> int:
        # The direction's divergence: one push. Conjugate gradients: a push and a pull for the first residual and for
        # each step.
        pushes = 1 if self.cg_steps == 0 else 3 + 2 * self.cg_steps
        return metric.passes + pushes * metric.push_passes
