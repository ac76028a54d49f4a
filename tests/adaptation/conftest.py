from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import pytest


@pytest.fixture
def gaussian_problem() -> Callable[..., Any]:
    """Builds a `DecisionProblem` on N(mean, diag(variance)) with a linear value."""
    from owma.adaptation import DecisionProblem
    from owma.diffusion import Chain
    from owma.outcomes.testbeds import GaussianDenoiser
    from owma.outcomes.value import LinearValue

    def build(
        mean: Sequence[float],
        variance: Sequence[float],
        weight: Sequence[float],
        *,
        kl_coef: float = 0.5,
        value_scale: float = 1.0,
        num_steps: int = 10,
    ) -> DecisionProblem:
        denoiser = GaussianDenoiser(jnp.asarray(mean), jnp.asarray(variance))
        return DecisionProblem(
            denoiser=denoiser,
            chain=Chain.calibrated(denoiser.errors(), num_steps=num_steps, min_ratio=0.05),
            context=jnp.zeros(1),
            value=LinearValue(jnp.asarray(weight), jnp.asarray(0.0)),
            value_scale=jnp.asarray(value_scale),
            kl_coef=jnp.asarray(kl_coef),
        )

    return build
