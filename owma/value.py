"""Values of outcomes: V(ψ) for a task at hand, linear or by a network conditioned on a task embedding."""

import abc
import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from owma._types import Array, Float, HostArray, Obs, PRNGKeyArray, Psi, Scalar, TaskEmbedding
from owma.nets import ResidualMLP
from owma.world import WorldModel


class AbstractValue(eqx.Module):
    """The value V(ψ) of an outcome for one task, in units of discounted return."""

    @abc.abstractmethod
    def __call__(self, psi: Psi) -> Scalar:
        """**Arguments:** `psi`: an outcome in the world model's whitened coordinates. **Returns:** its value."""


class LinearValue(AbstractValue):
    r"""$V(\psi) = w^\top\psi + b$: exact for rewards that are linear in the cumulants."""

    weight: Float[Array, " psi"]
    bias: Scalar

    @classmethod
    def fit(
        cls, inputs: Float[HostArray, "n psi"], targets: Float[HostArray, " n"], *, ridge: float = 1e-4
    ) -> "LinearValue":
        r"""Ridge regression, $\min_{w,b}\ \tfrac1n\|Xw + b - y\|^2 + \text{ridge}\,\|w\|^2$, the bias not penalised.

        Give outcomes ψ and discounted returns, or cumulants and rewards and then call `from_reward`.
        """
        x, y = np.asarray(inputs, np.float64), np.asarray(targets, np.float64)
        x_mean, y_mean = x.mean(axis=0), y.mean()
        centred = x - x_mean
        gram = centred.T @ centred / len(x) + ridge * np.eye(x.shape[1])
        weight = np.linalg.solve(gram, centred.T @ (y - y_mean) / len(x))
        return cls(jnp.asarray(weight, jnp.float32), jnp.asarray(y_mean - x_mean @ weight, jnp.float32))

    def from_reward(self, discount: float) -> "LinearValue":
        r"""The value of outcomes, when `self` was fitted to the rewards of whitened cumulants $c_w$.

        $r = w^\top c_w + b$ at every step gives $V = w^\top\psi_w + b/(1-\gamma)$.
        """
        return LinearValue(self.weight, self.bias / (1 - discount))

    def __call__(self, psi: Psi) -> Scalar:
        return self.weight @ psi + self.bias


class ValueDecoder(eqx.Module):
    r"""$V_\theta(\psi, z)$: a residual network on [ψ, z], trained on outcomes ψ of a family of reward functions.

    Its output is standardised: returns of each task minus their mean, over their standard deviation. `TaskValue` binds
    it to a task.
    """

    net: ResidualMLP
    embeddings: Float[Array, "tasks z"]
    """z of the family's tasks, learnt together with θ; the starting points of `infer`."""

    def __call__(self, psi: Psi, z: TaskEmbedding, *, key: PRNGKeyArray | None = None) -> Scalar:
        """`key` drives dropout; without one the network is deterministic."""
        return self.net(jnp.concatenate([psi, z]), key=key)[0]


class TaskValue(AbstractValue):
    """`ValueDecoder` for one task: V(ψ) = mean + std · V_θ(ψ, z*)."""

    decoder: ValueDecoder
    z: TaskEmbedding
    mean: Scalar
    std: Scalar

    def __call__(self, psi: Psi) -> Scalar:
        return self.mean + self.std * self.decoder(psi, self.z)


def infer_task(
    decoder: ValueDecoder,
    psi: Float[HostArray, "k psi"],
    returns: Float[HostArray, " k"],
    *,
    num_steps: int = 500,
    learning_rate: float = 3e-2,
    num_starts: int = 8,
    prior: float = 1e-3,
) -> TaskValue:
    r"""z* by gradient descent on $\tfrac1k\sum(V_\theta(\psi_i, z) - G_i)^2 + \text{prior}\,\|z\|^2$, θ frozen.

    Starts from the family's embeddings that already fit best, all descended at once; the best end wins.
    """
    psi_array, returns_array = jnp.asarray(psi, jnp.float32), jnp.asarray(returns, jnp.float32)
    mean, std = jnp.mean(returns_array), jnp.maximum(jnp.std(returns_array), 1e-6)
    targets = (returns_array - mean) / std

    def loss(z: TaskEmbedding) -> Scalar:
        predictions = jax.vmap(lambda p: decoder(p, z))(psi_array)
        return jnp.mean(jnp.square(predictions - targets)) + prior * jnp.sum(jnp.square(z))

    @eqx.filter_jit
    def descend() -> TaskEmbedding:
        optimiser = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))
        start_losses = jax.lax.map(loss, decoder.embeddings)
        starts = decoder.embeddings[jnp.argsort(start_losses)[:num_starts]]
        grads_of = jax.vmap(jax.grad(loss))

        def step(carry: tuple, _: None) -> tuple[tuple, None]:
            z, opt_state = carry
            updates, opt_state = optimiser.update(grads_of(z), opt_state)
            return (optax.apply_updates(z, updates), opt_state), None

        (z, _), _ = jax.lax.scan(step, (starts, optimiser.init(starts)), None, length=num_steps)
        return z[jnp.argmin(jax.vmap(loss)(z))]

    return TaskValue(decoder, descend(), mean, std)


def r_squared(predictions: Float[HostArray, " n"], targets: Float[HostArray, " n"]) -> float:
    """The share of the targets' variance that the predictions explain."""
    predictions, targets = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    return float(1 - np.mean(np.square(predictions - targets)) / np.var(targets))


def value_scale(
    world: WorldModel,
    value: AbstractValue,
    obs: Float[Array, "n obs"],
    *,
    num_samples: int = 64,
    key: PRNGKeyArray,
) -> Scalar:
    r"""The unit of $\lambda$: the root mean square, over dataset states, of the standard deviation of V under
    $p_\phi(\cdot\mid s)$: what an outcome can differ by from one state.
    """

    def variance(args: tuple[Obs, PRNGKeyArray]) -> Scalar:
        state, state_key = args
        psi = jax.vmap(lambda k: world.sample(state, key=k))(jax.random.split(state_key, num_samples))
        return jnp.var(jax.vmap(value)(psi), ddof=1)

    variances = eqx.filter_jit(lambda: jax.lax.map(variance, (obs, jax.random.split(key, obs.shape[0]))))()
    return jnp.sqrt(jnp.mean(variances))


@dataclasses.dataclass(frozen=True)
class ValueConfig:
    """The value of outcomes."""

    num_tasks: int = 64
    """Reward functions in the family that the decoder is trained on."""
    embedding_size: int = 16
    width: int = 128
    depth: int = 3
    dropout: float = 0.05

    def build(self, psi_dim: int, *, key: PRNGKeyArray) -> ValueDecoder:
        net_key, z_key = jax.random.split(key)
        net = ResidualMLP(psi_dim + self.embedding_size, 1, self.width, self.depth, self.dropout, key=net_key)
        embeddings = 0.5 * jax.random.normal(z_key, (self.num_tasks, self.embedding_size))
        return ValueDecoder(net, embeddings)
