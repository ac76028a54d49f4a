"""The variational problem that is solved at every decision."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, PRNGKeyArray, PyTree, Scalar
from owma.diffusion import AbstractDenoiser, Chain, PathSample
from owma.outcomes.value import AbstractValue


class BothDraws(eqx.Module):
    """Draws of the adapted and of the trained model from the same noise, batched; values are in return units."""

    samples: PathSample
    """Draws of φ + Δφ, with φ as the reference."""
    values: Float[Array, " n"]
    prior: PathSample
    """Draws of φ."""
    prior_values: Float[Array, " n"]
    prior_log_ratio: Float[Array, " n"]
    r"""$\log\mathrm dP'/\mathrm dP$ of the paths of φ: their log-density ratio, φ + Δφ over φ."""


class DecisionProblem(eqx.Module):
    r"""At one state s,
    $\max_{\Delta\phi}\ E_{\psi\sim p_{\phi+\Delta\phi}(\cdot\mid s)}[V(\psi)]/\text{scale} - \lambda\,\mathrm{KL}$.
    It says what is maximised; an `Adaptation` says how.
    """

    denoiser: AbstractDenoiser
    """φ, frozen."""
    chain: Chain
    context: Float[Array, " context"]
    """The state, as the denoiser is conditioned on it."""
    value: AbstractValue
    value_scale: Scalar
    """The unit of `kl_coef`; V is divided by it."""
    kl_coef: Scalar
    """λ, the weight of the KL."""

    def noise(self, num_samples: int, *, key: PRNGKeyArray) -> Float[Array, "n draws x"]:
        """Standard normal noise for `num_samples` draws; see `Chain.noise`."""
        shape = jax.eval_shape(self.chain.noise, key=key).shape
        return jax.random.normal(key, (num_samples, *shape))

    def adapted(self, delta: PyTree) -> AbstractDenoiser:
        """The denoiser with parameters φ + Δφ, or φ if `delta` is `None`."""
        return self.denoiser if delta is None else eqx.apply_updates(self.denoiser, delta)

    def draw(
        self,
        delta: PyTree,
        noise: Float[Array, "n draws x"],
        *,
        with_reference: bool,
        gradient_steps: int | None = None,
    ) -> tuple[PathSample, Float[Array, " n"]]:
        """Sample p_{φ+Δφ}, or p_φ if `delta` is `None`.

        **Arguments:** `noise`: as `noise` returns it. `with_reference`: whether path KLs and log-weights are computed,
        with φ as the reference. `gradient_steps`: as in `Chain.simulate`.

        **Returns:** the samples, batched, and their values (in return units).
        """
        denoiser, reference = self.adapted(delta), self.denoiser if with_reference else None

        def one(noise: Float[Array, "draws x"]) -> PathSample:
            return self.chain.simulate(
                denoiser, self.context, noise, reference=reference, gradient_steps=gradient_steps
            )

        samples = jax.vmap(one)(noise)
        return samples, jax.vmap(self.value)(samples.psi)

    def draw_both(self, delta: PyTree, noise: Float[Array, "n draws x"]) -> "BothDraws":
        """Samples of φ + Δφ and of φ from the same noise, each with the other model as the reference."""
        # One batch of twice the size: the levels of a chain are sequential, and two chains would take twice as long.
        pair = jax.tree.map(lambda leaf: jnp.stack([leaf, jnp.zeros_like(leaf)]), delta)

        def simulate(delta: PyTree, other: PyTree) -> PathSample:
            denoiser, reference = self.adapted(delta), self.adapted(other)
            return jax.vmap(lambda e: self.chain.simulate(denoiser, self.context, e, reference=reference))(noise)

        both = jax.vmap(simulate)(pair, jax.tree.map(lambda leaf: leaf[::-1], pair))
        samples, prior = jax.tree.map(lambda leaf: leaf[0], both), jax.tree.map(lambda leaf: leaf[1], both)
        log_ratio, zeros = prior.log_weight, jnp.zeros_like(prior.kl)
        # The divergence of φ from itself is zero.
        prior = eqx.tree_at(lambda s: (s.kl, s.log_weight), prior, (zeros, zeros))
        values = jax.vmap(self.value)
        return BothDraws(samples, values(samples.psi), prior, values(prior.psi), log_ratio)

    def scaled(self, values: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """Values in units of `value_scale`, the unit of λ."""
        return values / jax.lax.stop_gradient(self.value_scale)

    def log_weights(self, samples: PathSample, values: Float[Array, " n"]) -> Float[Array, " n"]:
        r"""Unnormalised log importance weights for q*, $\log e^{V/\lambda}\,\mathrm{d}P/\mathrm{d}P'$, of `samples`
        that were drawn with a reference.
        """
        return self.scaled(values) / self.kl_coef + samples.log_weight

    def objective(self, values: Float[Array, "*n"], kl: Scalar) -> Scalar:
        """J from values (in return units; or their mean) and a divergence (in nats)."""
        return jnp.mean(self.scaled(values)) - self.kl_coef * kl
