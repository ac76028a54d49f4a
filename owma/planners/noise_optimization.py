"""Direct noise optimisation: gradient ascent on the mean of the chain's noise, with all parameters frozen."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from owma._internal.types import Array, Float, Obs, PRNGKeyArray, Psi, PyTree, Scalar
from owma.planners.base import AbstractPlanner, AgentModel, PlanInfo
from owma.planners.noise import plan_from_noise

_ADAM = optax.scale_by_adam(b1=0.5, b2=0.9)


class NoiseOptimizationPlanner(AbstractPlanner):
    r"""The noise of the chain follows N(m, 1), and m ascends $E[V] - \tfrac\lambda2\|m\|^2$ through the sampler (direct
    noise optimisation, Tang et al., arXiv 2405.18881, with a distribution instead of a point, so that the divergence is
    known). ψ* is one of the last draws, chosen by its importance weight.

    An open-loop control: the shift of the noise does not depend on the state of the chain.
    """

    kl_coef: Scalar
    learning_rate: Scalar
    num_steps: int = eqx.field(static=True)
    num_samples: int = eqx.field(static=True)

    def init(self, model: AgentModel) -> None:
        del model

    def plan(self, model: AgentModel, obs: Obs, state: None, *, key: PRNGKeyArray) -> tuple[Psi, None, PlanInfo]:
        steps_key, plan_key = jax.random.split(key)
        problem = model.problem(obs, self.kl_coef)

        def objective(shift: Float[Array, "draws x"], noise: Float[Array, "n draws x"]) -> Scalar:
            _, values = problem.draw(None, shift[None] + noise, with_reference=False)
            return problem.objective(values, 0.5 * jnp.sum(jnp.square(shift)))

        def step(
            carry: tuple[Float[Array, "draws x"], PyTree], step_key: PRNGKeyArray
        ) -> tuple[tuple[Float[Array, "draws x"], PyTree], None]:
            shift, opt_state = carry
            gradient = jax.grad(objective)(shift, problem.noise(self.num_samples, key=step_key))
            direction, opt_state = _ADAM.update(gradient, opt_state)
            return (shift + self.learning_rate * jnp.asarray(direction), opt_state), None

        no_shift = jnp.zeros_like(problem.noise(1, key=plan_key)[0])
        steps = jax.random.split(steps_key, self.num_steps)
        (shift, _), _ = jax.lax.scan(step, (no_shift, _ADAM.init(no_shift)), steps)
        nfe = self.num_samples * (2 * self.num_steps + 1) * problem.chain.num_transitions
        psi, info = plan_from_noise(problem, shift, jnp.ones_like(shift), self.num_samples, nfe=nfe, key=plan_key)
        return psi, state, info
