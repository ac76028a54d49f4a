"""The published configuration of the method, in our code: what its latency and its training are measured against.

A U-Net of widths 256, 512 and 1024 over the outcome vector, conditioned on noise level and state by FiLM, sampled by
fifty deterministic DDIM steps.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from owma._types import Array, Float, PRNGKeyArray, Scalar
from owma.diffusion import AbstractDenoiser, Chain, ErrorCurve
from owma.diffusion.denoiser import Conditioning
from owma.planners import AgentModel

WIDTHS = (256, 512, 1024)
DDIM_STEPS = 50

_FREQUENCIES = 8
_EMBED = 256


class _Block(eqx.Module):
    """A residual block of two layers, scaled and shifted between them."""

    first: eqx.nn.Linear
    second: eqx.nn.Linear
    film: eqx.nn.Linear
    across: eqx.nn.Linear

    def __init__(self, in_size: int, out_size: int, *, key: PRNGKeyArray) -> None:
        keys = jax.random.split(key, 4)
        self.first = eqx.nn.Linear(in_size, out_size, key=keys[0])
        self.second = eqx.nn.Linear(out_size, out_size, key=keys[1])
        self.film = eqx.nn.Linear(_EMBED, 2 * out_size, key=keys[2])
        self.across = eqx.nn.Linear(in_size, out_size, key=keys[3])

    def __call__(self, x: Float[Array, " in"], modulation: Float[Array, " twice"]) -> Float[Array, " out"]:
        scale, shift = jnp.split(modulation, 2)
        hidden = (1 + scale) * jax.nn.silu(self.first(x)) + shift
        return jax.nn.silu(self.second(hidden)) + self.across(x)


class UNetDenoiser(AbstractDenoiser):
    """x̂₀ by a U-Net over a vector: blocks narrow to wide, one in the middle, and back with skip connections."""

    embed: eqx.nn.MLP
    blocks: tuple[_Block, ...]
    last: eqx.nn.Linear

    def __init__(self, data_size: int, context_size: int, *, key: PRNGKeyArray) -> None:
        embed_key, last_key, *keys = jax.random.split(key, 2 + 2 * len(WIDTHS) + 1)
        condition = context_size + 1 + 2 * _FREQUENCIES
        self.embed = eqx.nn.MLP(condition, _EMBED, _EMBED, 1, activation=jax.nn.silu, key=embed_key)
        down = list(zip((data_size, *WIDTHS[:-1]), WIDTHS))
        middle = [(WIDTHS[-1], WIDTHS[-1])]
        # Each takes what the block before it gives, beside what the block of its width gave on the way down.
        up = list(zip((2 * WIDTHS[-1], *(2 * width for width in WIDTHS[-2::-1])), (*WIDTHS[-2::-1], WIDTHS[0])))
        self.blocks = tuple(_Block(*sizes, key=k) for sizes, k in zip(down + middle + up, keys))
        self.last = eqx.nn.Linear(WIDTHS[0], data_size, key=last_key)

    def condition(self, ratio: Scalar, context: Float[Array, " context"]) -> Conditioning:
        level = jnp.log(ratio) / 4
        phases = level * jnp.pi * 2.0 ** jnp.arange(_FREQUENCIES)
        hidden = self.embed(jnp.concatenate([level[None], jnp.sin(phases), jnp.cos(phases), context]))
        return tuple(block.film(jax.nn.silu(hidden)) for block in self.blocks)

    def __call__(self, y: Float[Array, " x"], ratio: Scalar, conditioning: Conditioning) -> Float[Array, " x"]:
        alpha = jax.lax.rsqrt(1 + jnp.square(ratio))
        hidden, skips, num = alpha * y, [], len(WIDTHS)
        for block, modulation in zip(self.blocks[:num], conditioning[:num]):
            hidden = block(hidden, modulation)
            skips.append(hidden)
        hidden = self.blocks[num](hidden, conditioning[num])
        for block, modulation in zip(self.blocks[num + 1 :], conditioning[num + 1 :]):
            hidden = block(jnp.concatenate([hidden, skips.pop()]), modulation)
        # ε is what it predicts, as published.
        return y - ratio * self.last(hidden)


def published_model(model: AgentModel, *, key: PRNGKeyArray) -> AgentModel:
    """`model` with the published denoiser, untrained, and the published sampler."""
    data_size, context_size = model.world.whitening.dims, model.world.observation.mean.shape[0]
    chain = Chain.calibrated(
        ErrorCurve.untrained(data_size),
        num_steps=DDIM_STEPS,
        min_ratio=0.05,
        eta=0.0,
        data_range=(model.world.chain.low, model.world.chain.high),
    )
    world = dataclasses.replace(model.world, denoiser=UNetDenoiser(data_size, context_size, key=key), chain=chain)
    return dataclasses.replace(model, world=world)
