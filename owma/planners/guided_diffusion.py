"""Guided diffusion: the gradient of the value is added to the score, with all parameters frozen."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, Obs, PRNGKeyArray, Psi, Scalar
from owma.adaptation import BestDraw
from owma.diffusion import AbstractDenoiser
from owma.diffusion.denoiser import Conditioning
from owma.outcomes.value import AbstractValue
from owma.planners.base import AbstractPlanner, AgentModel, PlanInfo, PlanResult


class GradientGuidance(AbstractDenoiser):
    r"""$\hat x_0 + c\,r^2\,\nabla_y V(\hat x_0(y, r))$: guidance of the score by the value of the denoised outcome.

    By Tweedie's formula $r^2\,\partial\hat x_0/\partial y$ is the posterior covariance, so this is the posterior mean
    of the tilted law to first order in $c = 1/\lambda$, and exactly so for a Gaussian and a linear V (Dhariwal &
    Nichol, arXiv 2105.05233; Chung et al., arXiv 2209.14687).
    """

    denoiser: AbstractDenoiser
    value: AbstractValue
    coefficient: Scalar
    """c, over the value scale."""

    def condition(self, ratio: Scalar, context: Float[Array, " context"]) -> Conditioning:
        return self.denoiser.condition(ratio, context)

    def __call__(self, y: Float[Array, " x"], ratio: Scalar, conditioning: Conditioning) -> Float[Array, " x"]:
        def value_of(y: Float[Array, " x"]) -> tuple[Scalar, Float[Array, " x"]]:
            mean = self.denoiser(y, ratio, conditioning)
            return self.value(mean), mean

        gradient, mean = jax.grad(value_of, has_aux=True)(y)
        return mean + self.coefficient * jnp.square(ratio) * gradient


class ConstantGuidance(AbstractDenoiser):
    r"""$\hat x_0 + c\,(\sigma^2/\alpha)\,g$ with the same vector g at all noise levels, as published.

    The shift grows with $\sigma^2/\alpha$ to 100 g at the noisiest level: only small coefficients stay near the data.
    """

    denoiser: AbstractDenoiser
    direction: Float[Array, " x"]
    coefficient: Scalar
    """c, over the value scale."""

    def condition(self, ratio: Scalar, context: Float[Array, " context"]) -> Conditioning:
        return self.denoiser.condition(ratio, context)

    def __call__(self, y: Float[Array, " x"], ratio: Scalar, conditioning: Conditioning) -> Float[Array, " x"]:
        squared = jnp.square(ratio)
        # σ²/α in terms of r = σ/α.
        weight = squared * jax.lax.rsqrt(1 + squared)
        return self.denoiser(y, ratio, conditioning) + self.coefficient * weight * self.direction


class GuidedDiffusionPlanner(AbstractPlanner):
    """ψ* is the best of `num_samples` draws of the guided chain."""

    guidance_coef: Scalar
    constant: bool = eqx.field(static=True)
    num_samples: int = eqx.field(static=True)

    def init(self, model: AgentModel) -> None:
        del model

    def plan(self, model: AgentModel, obs: Obs, state: None, *, key: PRNGKeyArray) -> tuple[Psi, None, PlanInfo]:
        problem = model.problem(obs, jnp.asarray(1.0))
        guided = self._guided(model, problem.context)
        # The third key is unused: it is kept so that the others, and with them the plans, do not change.
        noise_key, choice_key, _ = jax.random.split(key, 3)
        noise = problem.noise(self.num_samples, key=noise_key)
        samples = jax.vmap(lambda e: problem.chain.simulate(guided, problem.context, e, reference=problem.denoiser))(
            noise
        )
        values = jax.vmap(model.value)(samples.psi)
        choice = BestDraw()(problem, samples, values, key=choice_key)
        info = PlanInfo(
            denoised=samples.mean[choice.index],
            value=values[choice.index],
            kl=choice.kl,
            # The denoiser with and without guidance; the gradient takes one vector-Jacobian product more.
            nfe=jnp.asarray((2 if self.constant else 3) * self.num_samples * problem.chain.num_transitions),
            result=jnp.asarray(PlanResult.PLANNED),
            prior_values=values[:0],
            values=values,
            ess=choice.ess,
            curves=None,
        )
        return samples.psi[choice.index], state, info

    def _guided(self, model: AgentModel, context: Float[Array, " context"]) -> AbstractDenoiser:
        denoiser, coefficient = model.world.denoiser, self.guidance_coef / model.value_scale
        if not self.constant:
            return GradientGuidance(denoiser, model.value, coefficient)
        # The weight of a linear value; for other values, the gradient at the mean outcome.
        ratio = model.world.chain.ratios[0]
        mean = denoiser(jnp.zeros_like(model.world.terminal_outcome), ratio, denoiser.condition(ratio, context))
        return ConstantGuidance(denoiser, jax.grad(model.value)(mean), coefficient)
