"""From draws of the adapted model to the plan: uncorrected, greedily, or by the paths' importance weights."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, Int, PRNGKeyArray, Scalar
from owma.adaptation.objective import BothDraws, DecisionProblem
from owma.adaptation.weights import effective_sample_size, log_mean_exp
from owma.diffusion import PathSample


class Choice(eqx.Module):
    """The draw that was chosen."""

    index: Int[Array, ""]
    kl: Scalar
    """Divergence of the chosen draw's law from p_φ, in nats. Its expectation over decisions is at least the true one,
    so that the mean of V/scale − λ KL over decisions is at most J*. This is so of the rule; a fallback that depends on
    the same draws is not accounted for.
    """
    ess: Scalar
    """Effective sample size of the weights; the number of draws where there are none."""


class AbstractCorrection(eqx.Module):
    """A rule that picks one of n draws, whose paths were measured against p_φ."""

    @abc.abstractmethod
    def __call__(
        self, problem: DecisionProblem, samples: PathSample, values: Float[Array, " n"], *, key: PRNGKeyArray
    ) -> Choice:
        """`samples` and `values` (in return units) are batched over the n draws."""


class NoCorrection(AbstractCorrection):
    """The first draw: the adapted model as it is."""

    def __call__(
        self, problem: DecisionProblem, samples: PathSample, values: Float[Array, " n"], *, key: PRNGKeyArray
    ) -> Choice:
        del problem, key
        return Choice(jnp.asarray(0), jnp.mean(samples.kl), jnp.asarray(1.0 * values.shape[0]))


class BestDraw(AbstractCorrection):
    r"""The most valuable draw. Choosing it adds $\log n - (n-1)/n$ nats to the draws' own divergence; the latter, under
    the *chosen* law, is estimated by the chosen path.
    """

    def __call__(
        self, problem: DecisionProblem, samples: PathSample, values: Float[Array, " n"], *, key: PRNGKeyArray
    ) -> Choice:
        del problem, key
        n = values.shape[0]
        index = jnp.argmax(values)
        return Choice(index, jnp.log(n) - (n - 1) / n - samples.log_weight[index], jnp.asarray(1.0 * n))


class Resample(AbstractCorrection):
    r"""A draw by the path weights $w = e^{V/\lambda}\,\mathrm{d}P/\mathrm{d}P'$: as n grows it follows
    $q^*\propto p_\phi e^{V/\lambda}$, whatever the adapted model is.

    Among finitely many, n draws and the index that was drawn have together the divergence
    $E[V/\lambda] - E\log\tfrac1n\sum w$ from n draws of p_φ and an index at random (Cremer et al., arXiv 1704.02916):
    J of the corrected law is at least $\lambda E\log\tfrac1n\sum w$, which n raises to J*.
    """

    def __call__(
        self, problem: DecisionProblem, samples: PathSample, values: Float[Array, " n"], *, key: PRNGKeyArray
    ) -> Choice:
        logits = problem.log_weights(samples, values)
        index = jax.random.categorical(key, logits)
        kl = problem.scaled(values[index]) / problem.kl_coef - log_mean_exp(logits)
        return Choice(index, kl, effective_sample_size(logits))


def pooled(draws: BothDraws) -> tuple[PathSample, Float[Array, " m"]]:
    r"""n draws of φ + Δφ and n of φ as 2n draws of their even mixture, $\mathrm{d}P/\mathrm{d}(\tfrac12P+\tfrac12P')$
    being the weight of each (the balance heuristic, Veach & Guibas 1995; defensive sampling, Hesterberg 1995); and
    their values.

    No path weight then exceeds 2, so that a bad Δφ costs at most what half of the draws were worth.
    """
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), draws.samples, draws.prior)
    log_ratio = jnp.concatenate([-draws.samples.log_weight, draws.prior_log_ratio])
    both = eqx.tree_at(lambda s: s.log_weight, both, jnp.log(2.0) - jnp.logaddexp(0.0, log_ratio))
    return both, jnp.concatenate([draws.values, draws.prior_values])
