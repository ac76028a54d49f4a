"""The variational problem of one decision."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, PRNGKeyArray, PyTree, Scalar
from owma.diffusion import AbstractDenoiser, Chain, PathSample
from owma.outcomes.value import AbstractValue


class BothDraws(eqx.Module):
    """Draws of the adapted and of the trained model, batched, and their values (in return units)."""

    samples: PathSample
    """Of φ + Δφ, measured against φ."""
    values: Float[Array, " n"]
    prior: PathSample
    """Of φ."""
    prior_values: Float[Array, " n"]
    prior_log_ratio: Float[Array, " n"]
    r"""$\log\mathrm dP'/\mathrm dP$ of φ's paths: how much likelier they are under φ + Δφ."""


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
        """All the noise of as many samples; see `Chain.noise`."""
        shape = jax.eval_shape(self.chain.noise, key=key).shape
        return jax.random.normal(key, (num_samples, *shape))

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
        denoiser, reference = self.adapted(delta), self.denoiser if with_reference else None

        def one(noise: Float[Array, "draws x"]) -> PathSample:
            return self.chain.simulate(
                denoiser, self.context, noise, reference=reference, gradient_steps=gradient_steps
            )

        samples = jax.vmap(one)(noise)
        return samples, jax.vmap(self.value)(samples.psi)

    def draw_both(self, delta: PyTree, noise: Float[Array, "n draws x"]) -> "BothDraws":
        """Samples of φ + Δφ and of φ from the same noise, all of them measured against both."""
        # Twice as many draws in one pass: passes wait for one another, level after level.
        pair = jax.tree.map(lambda leaf: jnp.stack([leaf, jnp.zeros_like(leaf)]), delta)

        def simulate(delta: PyTree, other: PyTree) -> PathSample:
            denoiser, reference = self.adapted(delta), self.adapted(other)
            return jax.vmap(lambda e: self.chain.simulate(denoiser, self.context, e, reference=reference))(noise)

        both = jax.vmap(simulate)(pair, jax.tree.map(lambda leaf: leaf[::-1], pair))
        samples, prior = jax.tree.map(lambda leaf: leaf[0], both), jax.tree.map(lambda leaf: leaf[1], both)
        log_ratio, zeros = prior.log_weight, jnp.zeros_like(prior.kl)
        # Draws of φ itself are at no distance from it.
        prior = eqx.tree_at(lambda s: (s.kl, s.log_weight), prior, (zeros, zeros))
        values = jax.vmap(self.value)
        return BothDraws(samples, values(samples.psi), prior, values(prior.psi), log_ratio)

    def scaled(self, values: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """Values in units of `value_scale`, in which λ is a pure number."""
        return values / jax.lax.stop_gradient(self.value_scale)

    def log_weights(self, samples: PathSample, values: Float[Array, " n"]) -> Float[Array, " n"]:
        r"""$\log e^{V/\lambda}\,\mathrm{d}P/\mathrm{d}P'$ of measured paths: unnormalised weights for q*."""
        return self.scaled(values) / self.kl_coef + samples.log_weight

    def objective(self, values: Float[Array, " n"], kl: Scalar) -> Scalar:
        """J from values (in return units) and a divergence (in nats)."""
        return jnp.mean(self.scaled(values)) - self.kl_coef * kl
