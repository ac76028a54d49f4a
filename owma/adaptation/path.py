"""The transition means of a chain at fixed states, as functions of the denoiser."""

import jax

from owma._internal.types import Array, Float
from owma.diffusion import AbstractDenoiser, Chain, Means


def scaled_means(
    chain: Chain,
    denoiser: AbstractDenoiser,
    context: Float[Array, " context"],
    states: Float[Array, "n levels x"],
) -> Float[Array, "n levels x"]:
    r"""$C_k\hat x_0(y_k)/\tilde S_k$ at given states: the part of each transition mean that depends on the parameters,
    in units of the transition's width. Half the squared difference between two denoisers is their KL in nats.
    """
    chain = jax.lax.stop_gradient(chain)
    means = Means.prepare(chain, denoiser, context)

    scale = (chain.gains[:, None] / chain.widths)[None]
    return scale * jax.vmap(means.of_levels)(states)
