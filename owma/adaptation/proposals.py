"""Draws that are led to recorded outcomes: candidates for a plan where no draw of the model comes near."""

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, PRNGKeyArray, Psi, Scalar
from owma.adaptation.objective import DecisionProblem
from owma.diffusion import AbstractDenoiser, Means, PathSample
from owma.diffusion.denoiser import Conditioning
from owma.outcomes.pessimism import recorded_outcomes

_LED_ABOVE = 1.0
"""σ/α down to which a draw is led: there the noise is as large as whitened outcomes differ, and the model finishes."""


class LedDenoiser(AbstractDenoiser):
    """A denoiser that expects one outcome while there is much noise, and then what the model expects."""

    denoiser: AbstractDenoiser
    outcome: Psi

    def condition(self, ratio: Scalar, context: Float[Array, " context"]) -> Conditioning:
        return self.denoiser.condition(ratio, context)

    def __call__(self, y: Float[Array, " x"], ratio: Scalar, conditioning: Conditioning) -> Float[Array, " x"]:
        return jnp.where(ratio >= _LED_ABOVE, self.outcome, self.denoiser(y, ratio, conditioning))


def recorded_proposals(
    problem: DecisionProblem, num: int, *, key: PRNGKeyArray
) -> tuple[PathSample, Float[Array, " m"]] | None:
    r"""Draws of chains that are led to recorded outcomes, with the trained model as the reference.

    A rare way may have so little probability under the model that no draw of a decision goes it, and where V is right
    about the usual outcomes it has no slope that leads there. Outcomes that were recorded do. Each is a proposal of its
    own: the chain that expects it down to σ/α = 1, and then the model. The path weight $\mathrm dP/\mathrm dQ$ charges
    what the model holds against it in this state, so that outcomes of other states cost too much to be chosen.

    **Arguments:** `num`: how many, to those of the outcomes that the value keeps (`recorded_outcomes`) that promise
    most for what they are expected to cost.

    **Returns:** the draws and their values; `None` where the value keeps no outcomes.
    """
    recorded = recorded_outcomes(problem.value)
    if recorded is None or num == 0:
        return None
    choice_key, key = jax.random.split(key)
    recorded = _most_promising(problem, recorded, num, key=choice_key)

    def one(outcome: Psi, key: PRNGKeyArray) -> PathSample:
        led = LedDenoiser(problem.denoiser, outcome)
        noise = problem.chain.noise(key=key)
        return problem.chain.simulate(led, problem.context, noise, reference=problem.denoiser)

    samples = jax.vmap(one)(recorded, jax.random.split(key, recorded.shape[0]))
    return samples, jax.vmap(problem.value)(samples.psi)


def _most_promising(
    problem: DecisionProblem, recorded: Float[Array, "m psi"], num: int, *, key: PRNGKeyArray
) -> Float[Array, "n psi"]:
    r"""Those by which $V/\lambda$, less what the model charges, is expected to be largest.

    Both are judged at one level, the last at which draws are led. There the model is shown the outcome under as much
    noise as it will have; what it then expects is about where the draw will end, and how far that is from the outcome
    is taken for all levels above. That is a tenth of the work of a draw, so that many outcomes can be looked at for the
    few that are drawn. The choice does not depend on the noise of the draws, whose weights stay right.
    """
    if num >= recorded.shape[0]:
        return recorded
    chain = problem.chain
    led = chain.ratios >= _LED_ABOVE
    last = jnp.sum(led) - 1
    means = Means.prepare(chain, problem.denoiser, problem.context)
    noisy = recorded + chain.ratios[last] * jax.random.normal(key, recorded.shape)
    expected = jax.vmap(lambda y: means(y, last).mean)(noisy)
    precision = jnp.sum(jnp.where(led[:, None], jnp.square(chain.gains[:, None] / chain.widths), 0.0), axis=0)
    charged = 0.5 * jnp.square(expected - recorded) @ precision
    promised = problem.scaled(jax.vmap(problem.value)(expected)) / problem.kl_coef
    _, chosen = jax.lax.top_k(promised - charged, num)
    return recorded[chosen]


def joined(
    samples: PathSample, values: Float[Array, " n"], others: tuple[PathSample, Float[Array, " m"]] | None
) -> tuple[PathSample, Float[Array, " k"]]:
    """Candidates of several proposals: each weight is of the proposal that it was drawn from, and so is their mean an
    estimate of the same constant.
    """
    samples = eqx.tree_at(lambda s: s.hidden, samples, None, is_leaf=lambda leaf: leaf is None)
    if others is None:
        return samples, values
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), (samples, values), others)
