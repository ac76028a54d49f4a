"""Choosing the plan from draws of the adapted model: the first, the best, or by importance resampling."""

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
    """Estimate of the divergence of the chosen draw's law from p_φ, in nats. Its expectation is an upper bound, so that
    the mean of V/scale − λ KL over decisions is at most J*. A fallback that depends on the same draws is not accounted
    for.
    """
    ess: Scalar
    """Effective sample size of the importance weights; the number of draws for rules without weights."""


class AbstractCorrection(eqx.Module):
    """A rule that chooses one of n draws, whose paths were simulated with p_φ as the reference."""

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
    r"""The draw of the largest value. Choosing it adds $\log n - (n-1)/n$ nats to the divergence of the draws, which is
    estimated under the law of the *chosen* draw by its path.
    """

    def __call__(
        self, problem: DecisionProblem, samples: PathSample, values: Float[Array, " n"], *, key: PRNGKeyArray
    ) -> Choice:
        del problem, key
        n = values.shape[0]
        index = jnp.argmax(values)
        return Choice(index, jnp.log(n) - (n - 1) / n - samples.log_weight[index], jnp.asarray(1.0 * n))


class Resample(AbstractCorrection):
    r"""Sampling importance resampling with the path weights $w = e^{V/\lambda}\,\mathrm{d}P/\mathrm{d}P'$: as n grows
    the draw follows $q^*\propto p_\phi e^{V/\lambda}$, whatever the adapted model is.

    For finite n, the joint law of the n draws and the chosen index diverges by $E[V/\lambda] - E\log\tfrac1n\sum w$
    from that of n draws of p_φ and a uniform index (Cremer et al., arXiv 1704.02916). J of the corrected law is
    therefore at least $\lambda E\log\tfrac1n\sum w$, which increases to J* with n.
    """

    def __call__(
        self, problem: DecisionProblem, samples: PathSample, values: Float[Array, " n"], *, key: PRNGKeyArray
    ) -> Choice:
        logits = problem.log_weights(samples, values)
        index = jax.random.categorical(key, logits)
        kl = problem.scaled(values[index]) / problem.kl_coef - log_mean_exp(logits)
        return Choice(index, kl, effective_sample_size(logits))


def pooled(draws: BothDraws) -> tuple[PathSample, Float[Array, " m"]]:
    r"""Pool n draws of φ + Δφ and n of φ as 2n draws of their even mixture, each with the importance weight
    $\mathrm{d}P/\mathrm{d}(\tfrac12P+\tfrac12P')$ (the balance heuristic, Veach & Guibas 1995; defensive importance
    sampling, Hesterberg 1995).

    Path weights are then at most 2, so that a bad Δφ wastes at most half of the draws.

    **Returns:** the 2n draws, with these log-weights, and their values.
    """
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), draws.samples, draws.prior)
    log_ratio = jnp.concatenate([-draws.samples.log_weight, draws.prior_log_ratio])
    both = eqx.tree_at(lambda s: s.log_weight, both, jnp.log(2.0) - jnp.logaddexp(0.0, log_ratio))
    return both, jnp.concatenate([draws.values, draws.prior_values])
