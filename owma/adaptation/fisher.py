"""The path KL to second order."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, PRNGKeyArray, PyTree, Scalar
from owma.adaptation.divergence import AbstractDivergence
from owma.adaptation.objective import DecisionProblem
from owma.adaptation.path import scaled_means
from owma.diffusion import PathSample


class FisherKL(AbstractDivergence):
    r"""$\tfrac12\Delta\phi^\top F\Delta\phi$, F the Fisher information of the trained chain's paths,
    $F = E_{p_\phi}\sum_k J_k^\top J_k$ with $J_k = \partial(\mu_k/\tilde s_k)/\partial\phi$.

    The path KL of a small Δφ (Amari 1998), by Jacobian-vector products at states that do not depend on Δφ. It ignores
    that an adapted chain visits other states.
    """

    needs_paths: ClassVar[bool] = False
    extra_nfe: ClassVar[tuple[int, int]] = (3, 2)

    def __call__(
        self,
        problem: DecisionProblem,
        delta: PyTree,
        samples: PathSample,
        values: Float[Array, " n"],
        noise: Float[Array, "n draws x"],
        *,
        key: PRNGKeyArray,
    ) -> Scalar:
        del samples, values, key
        prior, _ = problem.draw(None, noise, with_reference=False)
        states = jax.lax.stop_gradient(prior.states)

        def means(delta: PyTree) -> Float[Array, "n levels x"]:
            return scaled_means(problem.chain, problem.adapted(delta), problem.context, states)

        _, shifts = jax.jvp(means, (jax.tree.map(jnp.zeros_like, delta),), (delta,))
        return 0.5 * jnp.sum(jnp.square(shifts)) / noise.shape[0]
