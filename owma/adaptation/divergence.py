"""Divergences of the adapted model from the trained one, which J can charge."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from owma._internal.moved import OldMember, rename_member
from owma._internal.tree import squared_norm
from owma._internal.types import Array, Float, PRNGKeyArray, PyTree, Scalar
from owma.adaptation.objective import DecisionProblem
from owma.diffusion import PathSample


class AbstractDivergence(eqx.Module):
    """An estimate of KL(p_{φ+Δφ} ‖ p_φ) from samples of the adapted model, differentiable in Δφ."""

    needs_paths: ClassVar[bool]
    """Whether `samples` must carry path divergences, for which φ is evaluated along with φ + Δφ."""
    extra_nfe: ClassVar[tuple[int, int]]
    """Network passes (forward, backward) that the divergence adds to each pass of the adapted model."""
    passes = OldMember("extra_nfe")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        rename_member(cls, "passes", "extra_nfe")

    @abc.abstractmethod
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
        """**Arguments:**

        - `problem`: the decision problem.
        - `delta`: Δφ.
        - `samples`, `values`: n draws of the adapted model (batched `PathSample`) and their V, in return units.
        - `noise`: the noise of these draws.
        - `key`: for a divergence that draws samples of its own.

        **Returns:** the divergence in nats, or a surrogate for it.
        """


class PathKL(AbstractDivergence):
    r"""$E\sum_k\tfrac12\|(\mu'_k-\mu_k)/\tilde s_k\|^2$ over the adapted chain, the last transition included.

    Exact for the law of the path; by the data-processing inequality an upper bound of
    $\mathrm{KL}(p_{\phi'}\|p_\phi)$.
    """

    needs_paths: ClassVar[bool] = True
    extra_nfe: ClassVar[tuple[int, int]] = (1, 1)

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
        del problem, delta, values, noise, key
        return jnp.mean(samples.kl)


class HybridKL(AbstractDivergence):
    r"""The published surrogate, $\tfrac12\|\Delta\phi\|^2 + 0.1\,E[(V(\psi')-V(\psi))^2]$, V in units of `value_scale`.

    As published ψ' and ψ come from independent noise, which leaves a floor of 0.2 Var V; `common_noise` pairs them. The
    surrogate does not notice moves off the support of the data, and its first term grows with the number of parameters.
    """

    common_noise: bool = eqx.field(static=True, default=False)
    needs_paths: ClassVar[bool] = False
    extra_nfe: ClassVar[tuple[int, int]] = (1, 0)

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
        del samples
        prior_noise = noise if self.common_noise else problem.noise(noise.shape[0], key=key)
        _, prior_values = problem.draw(None, prior_noise, with_reference=False)
        difference = problem.scaled(values) - problem.scaled(prior_values)
        return 0.5 * squared_norm(delta) + 0.1 * jnp.mean(jnp.square(difference))
