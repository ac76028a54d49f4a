"""The KL between laws of the probability-flow ODE, for evaluation."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from owma._internal.types import Array, Float, PRNGKeyArray, Psi, PyTree, Scalar
from owma.adaptation.divergence import AbstractDivergence
from owma.adaptation.objective import DecisionProblem
from owma.diffusion import ODELikelihood, PathSample


class LikelihoodKL(AbstractDivergence):
    r"""$E[\log p^{\mathrm{ode}}_{\phi+\Delta\phi}(\psi') - \log p^{\mathrm{ode}}_\phi(\psi')]$ over draws ψ' of the
    adapted chain.

    These are the laws of the *probability-flow ODE*, not of the chain. The estimate is their KL only as far as the
    adapted chain samples the law of the adapted ODE, which it does as K grows. Too slow for the decision path; it tells
    how much of the path KL is divergence of ψ itself.
    """

    likelihood: ODELikelihood
    needs_paths: ClassVar[bool] = False
    extra_nfe: ClassVar[tuple[int, int]] = (0, 0)
    """Not meant for the decision path, and not counted there."""

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
        del values, noise
        adapted = problem.adapted(delta)

        # The same probes for both, so that common errors cancel.
        def difference(psi: Psi, key: PRNGKeyArray) -> Scalar:
            after = self.likelihood(adapted, problem.context, psi, key=key)
            return after - self.likelihood(problem.denoiser, problem.context, psi, key=key)

        return jnp.mean(jax.vmap(difference)(samples.psi, jax.random.split(key, samples.psi.shape[0])))
