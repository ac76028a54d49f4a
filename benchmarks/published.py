"""The published configuration of the method, in our code: what its latency and its training are measured against.

A U-Net of widths 256, 512 and 1024 over the outcome vector, conditioned on noise level and state by FiLM, sampled by
fifty deterministic DDIM steps; another one over the action, for the policy. In training every target is one step and a
bootstrap by the same fifty steps.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from owma._internal.tree import move_towards
from owma._internal.types import Array, Float, PRNGKeyArray, Psi, PyTree, Scalar
from owma.diffusion import AbstractDenoiser, Chain, ErrorCurve, InlineDenoiser
from owma.diffusion.denoiser import Conditioning
from owma.diffusion.schedule import VPSchedule
from owma.outcomes.targets import outcome_target
from owma.planners import AgentModel
from owma.train.rows import OutcomeData

WIDTHS = (256, 512, 1024)
DDIM_STEPS = 50
BATCH_SIZE = 2048

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
        return y - ratio * self.noise(y, ratio, conditioning)

    def noise(self, y: Float[Array, " x"], ratio: Scalar, conditioning: Conditioning) -> Float[Array, " x"]:
        """ε̂, the network's own output, as published."""
        alpha = jax.lax.rsqrt(1 + jnp.square(ratio))
        hidden, skips, num = alpha * y, [], len(WIDTHS)
        for block, modulation in zip(self.blocks[:num], conditioning[:num]):
            hidden = block(hidden, modulation)
            skips.append(hidden)
        hidden = self.blocks[num](hidden, conditioning[num])
        for block, modulation in zip(self.blocks[num + 1 :], conditioning[num + 1 :]):
            hidden = block(jnp.concatenate([hidden, skips.pop()]), modulation)
        return self.last(hidden)


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


class PublishedState(eqx.Module):
    """What an update changes."""

    denoisers: tuple[UNetDenoiser, UNetDenoiser]
    """Of outcomes and of actions."""
    averages: tuple[UNetDenoiser, UNetDenoiser]
    opt_state: PyTree
    key: PRNGKeyArray


class PublishedTrainer(eqx.Module):
    """Training as published: TD targets from the averaged U-Net's DDIM samples, then ε-regression of ψ and of a."""

    model: AgentModel
    """One of `published_model`."""
    data: OutcomeData
    """Of one-step targets."""
    batch_size: int = eqx.field(static=True, default=BATCH_SIZE)

    def init(self, *, key: PRNGKeyArray) -> PublishedState:
        policy_key, key = jax.random.split(key)
        world, policy = self.model.world, self.model.policy
        assert isinstance(world.denoiser, UNetDenoiser)
        actions, states = policy.action.mean.shape[0], policy.observation.mean.shape[0]
        denoisers = (world.denoiser, UNetDenoiser(actions, states + world.whitening.dims, key=policy_key))
        return PublishedState(denoisers, denoisers, _ADAM.init(eqx.filter(denoisers, eqx.is_inexact_array)), key)

    def update(self, state: PublishedState) -> PublishedState:
        """One batch, one step of Adam, one step of the averages."""
        key, batch_key, target_key, loss_key = jax.random.split(state.key, 4)
        batch = self.data.rows(jax.random.randint(batch_key, (self.batch_size,), 0, len(self.data)))
        psi = self.targets(state.averages[0], batch, key=target_key)
        grads = eqx.filter_grad(self.loss)(state.denoisers, batch, psi, key=loss_key)
        directions, opt_state = _ADAM.update(grads, state.opt_state)
        denoisers = eqx.apply_updates(state.denoisers, jax.tree.map(lambda u: -1e-4 * u, directions))
        averages = move_towards(state.averages, denoisers, jnp.asarray(5e-3))
        return PublishedState(denoisers, averages, opt_state, key)

    def targets(self, denoiser: UNetDenoiser, batch: OutcomeData, *, key: PRNGKeyArray) -> Float[Array, "batch psi"]:
        """c(s) + γψ', ψ' by fifty steps from s'."""
        world, inline = self.model.world, InlineDenoiser(denoiser)

        def one(row: OutcomeData, row_key: PRNGKeyArray) -> Psi:
            context = world.context(row.bootstrap_obs)
            bootstrap = world.chain.simulate(inline, context, world.chain.noise(key=row_key)).psi
            return outcome_target(row.sums, row.discount, row.terminal, bootstrap, world.terminal_outcome)

        return jax.lax.stop_gradient(jax.vmap(one)(batch, jax.random.split(key, len(batch))))

    def loss(
        self,
        denoisers: tuple[UNetDenoiser, UNetDenoiser],
        batch: OutcomeData,
        psi: Float[Array, "batch psi"],
        *,
        key: PRNGKeyArray,
    ) -> Scalar:
        """Mean ‖ε̂ − ε‖²/d of both networks, at times uniform on (0, 1]."""
        world, policy = self.model.world, self.model.policy

        def of(denoiser: UNetDenoiser, x0: Float[Array, "batch x"], context: Array, key: PRNGKeyArray) -> Scalar:
            time_key, noise_key = jax.random.split(key)
            ratios = VPSchedule().ratio(jax.random.uniform(time_key, (len(batch),), minval=1e-3))
            noise = jax.random.normal(noise_key, x0.shape)

            def one(x0: Array, context: Array, ratio: Scalar, noise: Array) -> Scalar:
                predicted = denoiser.noise(x0 + ratio * noise, ratio, denoiser.condition(ratio, context))
                return jnp.mean(jnp.square(predicted - noise))

            return jnp.mean(jax.vmap(one)(x0, context, ratios, noise))

        world_key, policy_key = jax.random.split(key)
        states = jax.vmap(world.context)(batch.obs)
        both = jax.vmap(policy.context)(batch.obs, psi)
        of_outcomes = of(denoisers[0], psi, states, world_key)
        return of_outcomes + of(denoisers[1], jax.vmap(policy.action)(batch.action), both, policy_key)


_ADAM = optax.scale_by_adam()
