"""Importance-weighted choice among draws whose noise follows a given Gaussian."""

import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, PRNGKeyArray, Psi
from owma.adaptation import DecisionProblem, log_mean_exp
from owma.planners.base import PlanInfo
from owma.planners.particles import Weighted, plan_by_weight


def plan_from_noise(
    problem: DecisionProblem,
    mean: Float[Array, "draws x"],
    std: Float[Array, "draws x"],
    num_samples: int,
    *,
    nfe: int,
    key: PRNGKeyArray,
) -> tuple[Psi, PlanInfo]:
    r"""One of `num_samples` draws with noise from $N(m, \mathrm{diag}\,s^2)$, chosen by
    $e^{V/\lambda}\,N(\text{noise}; 0, 1)/N(\text{noise}; m, s^2)$.

    ψ is a function of the noise, so that the divergence of the noise's law bounds that of ψ's from above.
    """
    # The third key is unused: it is kept so that the others, and with them the plans, do not change.
    noise_key, choice_key, _ = jax.random.split(key, 3)
    standard = problem.noise(num_samples, key=noise_key)
    noise = mean[None] + std[None] * standard
    samples, values = problem.draw(None, noise, with_reference=False)
    log_ratio = jnp.sum(0.5 * jnp.square(standard) - 0.5 * jnp.square(noise) + jnp.log(std)[None], axis=(1, 2))
    logits = problem.scaled(values) / problem.kl_coef + log_ratio
    draws = Weighted(samples.psi, samples.mean, values, logits, log_mean_exp(logits))
    return plan_by_weight(problem, draws, nfe=nfe, key=choice_key)
