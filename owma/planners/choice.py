"""Which of the adapted model's draws becomes the plan."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._types import Array, Float, Int, PRNGKeyArray, Scalar
from owma.adaptation import DecisionProblem
from owma.diffusion import PathSample


class Choice(eqx.Module):
    """The draw that was chosen."""

    index: Int[Array, ""]
    kl: Scalar
    """Divergence of the chosen draw's law from p_φ, in nats."""
    ess: Scalar
    """Effective sample size of the weights; 1 where there are none."""


class AbstractChoice(eqx.Module):
    """A rule that picks one of n draws, whose paths were measured against p_φ."""

    @abc.abstractmethod
    def __call__(
        self, problem: DecisionProblem, samples: PathSample, values: Float[Array, " n"], *, key: PRNGKeyArray
    ) -> Choice:
        """`samples` and `values` (in return units) are batched over the n draws."""


class PlainDraw(AbstractChoice):
    """The first draw: the adapted model as it is."""

    def __call__(
        self, problem: DecisionProblem, samples: PathSample, values: Float[Array, " n"], *, key: PRNGKeyArray
    ) -> Choice:
        del problem, values, key
        return Choice(jnp.asarray(0), jnp.mean(samples.kl), jnp.asarray(1.0))


class BestDraw(AbstractChoice):
    r"""The most valuable draw. Choosing it adds $\log n - (n-1)/n$ nats to the draws' own divergence; the latter, under
    the *chosen* law, is estimated by the chosen path.
    """

    def __call__(
        self, problem: DecisionProblem, samples: PathSample, values: Float[Array, " n"], *, key: PRNGKeyArray
    ) -> Choice:
        del problem, key
        n = values.shape[0]
        index = jnp.argmax(values)
        return Choice(index, jnp.log(n) - (n - 1) / n - samples.log_weight[index], jnp.asarray(1.0))


class WeightedDraw(AbstractChoice):
    r"""A draw by the path weights $e^{V/\lambda}\,\mathrm{d}P/\mathrm{d}P'$: as n grows it follows
    $q^*\propto p_\phi e^{V/\lambda}$, whatever the adapted model is.

    Its divergence is $E_{q^*}[V/\lambda] - \log E_{p_\phi}e^{V/\lambda}$, estimated by the same weights.
    """

    def __call__(
        self, problem: DecisionProblem, samples: PathSample, values: Float[Array, " n"], *, key: PRNGKeyArray
    ) -> Choice:
        tilt = problem.scaled(values) / problem.kl_coef
        logits = tilt + samples.log_weight
        weights = jax.nn.softmax(logits)
        log_normaliser = jax.nn.logsumexp(logits) - jnp.log(values.shape[0])
        kl = jnp.maximum(jnp.sum(weights * tilt) - log_normaliser, 0.0)
        return Choice(jax.random.categorical(key, logits), kl, 1 / jnp.sum(jnp.square(weights)))
