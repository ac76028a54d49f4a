"""The means of a chain's transitions, as functions of the denoiser, at states that are held fixed."""

import jax

from owma._internal.types import Array, Float
from owma.diffusion import AbstractDenoiser, Chain, Means


def scaled_means(
    chain: Chain,
    denoiser: AbstractDenoiser,
    context: Float[Array, " context"],
    states: Float[Array, "n levels x"],
) -> Float[Array, "n levels x"]:
    r"""$C_k\hat x_0(y_k)/\tilde S_k$ at given states: what depends on the parameters in the mean of each transition, in
    units of its width, so that half the squared difference of two denoisers' is a divergence in nats.
    """
    chain = jax.lax.stop_gradient(chain)
    means = Means.prepare(chain, denoiser, context)

    scale = (chain.gains[:, None] / chain.widths)[None]
    return scale * jax.vmap(means.of_levels)(states)
