"""The variational problem of one decision."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._types import Array, Float, PRNGKeyArray, PyTree, Scalar
from owma.diffusion import AbstractDenoiser, Chain, PathSample
from owma.value import AbstractValue


class DecisionProblem(eqx.Module):
    r"""At one state s,
    $\max_{\Delta\phi}\ E_{\psi\sim p_{\phi+\Delta\phi}(\cdot\mid s)}[V(\psi)]/\text{scale} - \lambda\,\mathrm{KL}$:
    everything that adaptation needs to know, and nothing of how it goes about it.
    """

    denoiser: AbstractDenoiser
    """φ, frozen."""
    chain: Chain
    context: Float[Array, " context"]
    """What the denoiser is conditioned on: the state."""
    value: AbstractValue
    value_scale: Scalar
    """The unit of `kl_coef`; V is divided by it."""
    kl_coef: Scalar
    """λ, the price of one nat."""

    def noise(self, num_samples: int, *, key: PRNGKeyArray) -> Float[Array, "n draws x"]:
        return jax.vmap(lambda k: self.chain.noise(key=k))(jax.random.split(key, num_samples))

    def adapted(self, delta: PyTree) -> AbstractDenoiser:
        """φ + Δφ; φ itself where `delta` is `None`."""
        return self.denoiser if delta is None else eqx.apply_updates(self.denoiser, delta)

    def draw(
        self,
        delta: PyTree,
        noise: Float[Array, "n draws x"],
        *,
        with_reference: bool,
        gradient_steps: int | None = None,
    ) -> tuple[PathSample, Float[Array, " n"]]:
        """Samples of p_{φ+Δφ}, batched, and their values (in return units); paths are measured if `with_reference`.

        `delta` may be `None`: then the samples are of p_φ. `gradient_steps` is that of `Chain.simulate`.
        """
        adapted = self.adapted(delta)
        reference = self.denoiser if with_reference else None

        def one(noise: Float[Array, "draws x"]) -> PathSample:
            return self.chain.simulate(adapted, self.context, noise, reference=reference, gradient_steps=gradient_steps)

        samples = jax.vmap(one)(noise)
        return samples, jax.vmap(self.value)(samples.psi)

    def scaled(self, values: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """Values in units of `value_scale`, in which λ is a pure number."""
        return values / jax.lax.stop_gradient(self.value_scale)

    def log_weights(self, samples: PathSample, values: Float[Array, " n"]) -> Float[Array, " n"]:
        r"""$\log e^{V/\lambda}\,\mathrm{d}P/\mathrm{d}P'$ of measured paths: unnormalised weights for q*."""
        return self.scaled(values) / self.kl_coef + samples.log_weight

    def objective(self, values: Float[Array, " n"], kl: Scalar) -> Scalar:
        """J from values (in return units) and a divergence (in nats)."""
        return jnp.mean(self.scaled(values)) - self.kl_coef * kl
