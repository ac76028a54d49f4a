"""Values V(ψ) of outcomes for a task: linear, or a network conditioned on a task embedding."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from owma._internal.types import Array, Float, HostArray, Int, Obs, PRNGKeyArray, Psi, PyTree, Scalar, TaskEmbedding
from owma.config.value import ValueConfig
from owma.diffusion.nets import ResidualMLP
from owma.outcomes.world import WorldModel


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
    r"""$V_\theta(\psi, z)$: a residual network on [ψ, z], trained on the returns of a family of reward functions.

    Its output is the standardised return: minus its mean, over its standard deviation, task by task. `TaskValue`
    specialises it to a task.
    """

    net: ResidualMLP
    embeddings: Float[Array, "tasks z"]
    """z of the family's tasks, trained together with θ; the initial points of `infer_task`."""

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


class EnsembleValue(AbstractValue):
    """The mean of the values of several decoders that were trained on different episodes."""

    members: TaskValue
    """All of them, stacked: every array has the number of decoders as its first axis."""

    def each(self, psi: Psi) -> Float[Array, " members"]:
        """What each of the values says of an outcome."""
        return eqx.filter_vmap(lambda value: value(psi))(self.members)

    def __call__(self, psi: Psi) -> Scalar:
        return jnp.mean(self.each(psi))


def infer_task(
    decoder: ValueDecoder,
    psi: Float[HostArray, "k psi"],
    returns: Float[HostArray, " k"],
    *,
    num_steps: int = 300,
    batch_size: int = 512,
    learning_rate: float = 3e-2,
    num_starts: int = 4,
    prior: float = 1e-3,
    key: PRNGKeyArray,
) -> TaskValue:
    r"""z* by gradient descent on $\tfrac1k\sum(V_\theta(\psi_i, z) - G_i)^2 + \text{prior}\,\|z\|^2$, θ frozen.

    Gradient descent starts from the `num_starts` embeddings of the family that fit best, in parallel, on minibatches if
    there are more than `batch_size` samples; the best result is taken.

    **Arguments:** `psi`: k outcomes; `returns`: their discounted returns in any unit.
    """
    targets = jnp.asarray(returns, jnp.float32)
    mean, std = jnp.mean(targets), jnp.maximum(jnp.std(targets), 1e-6)
    z = _descend(
        decoder,
        jnp.asarray(psi, jnp.float32),
        (targets - mean) / std,
        num_steps,
        min(batch_size, len(targets)),
        learning_rate,
        num_starts,
        prior,
        key,
    )
    return TaskValue(decoder, z, mean, std)


def infer_task_each(
    decoders: ValueDecoder,
    psi: Float[HostArray, "members k psi"],
    returns: Float[HostArray, "members k"],
    *,
    prior: float = 1e-3,
    key: PRNGKeyArray,
) -> EnsembleValue:
    """`infer_task` of several decoders, stacked, each from samples of its own, as one program."""
    samples = jnp.asarray(psi, jnp.float32), jnp.asarray(returns, jnp.float32)

    def one(
        decoder: ValueDecoder, psi: Float[Array, "k psi"], returns: Float[Array, " k"], key: PRNGKeyArray
    ) -> TaskValue:
        return infer_task(decoder, psi, returns, prior=prior, key=key)

    keys = jax.random.split(key, len(returns))
    return EnsembleValue(eqx.filter_jit(eqx.filter_vmap(one))(decoders, *samples, keys))


@eqx.filter_jit
def _descend(
    decoder: ValueDecoder,
    psi: Float[Array, "k psi"],
    targets: Float[Array, " k"],
    num_steps: int,
    batch_size: int,
    learning_rate: float,
    num_starts: int,
    prior: float,
    key: PRNGKeyArray,
) -> TaskEmbedding:
    def loss(z: TaskEmbedding, rows: Int[Array, " batch"]) -> Scalar:
        predictions = jax.vmap(lambda p: decoder(p, z))(psi[rows])
        return jnp.mean(jnp.square(predictions - targets[rows])) + prior * jnp.sum(jnp.square(z))

    def batch(key: PRNGKeyArray) -> Int[Array, " batch"]:
        return jax.random.randint(key, (batch_size,), 0, psi.shape[0])

    first_key, last_key, scan_key = jax.random.split(key, 3)
    first = batch(first_key)
    order = jnp.argsort(jax.lax.map(lambda z: loss(z, first), decoder.embeddings))
    starts = decoder.embeddings[order[:num_starts]]
    optimiser = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))

    def step(carry: tuple[PyTree, PyTree], step_key: PRNGKeyArray) -> tuple[tuple[PyTree, PyTree], None]:
        z, opt_state = carry
        grads = jax.vmap(jax.grad(loss), in_axes=(0, None))(z, batch(step_key))
        updates, opt_state = optimiser.update(grads, opt_state)
        return (optax.apply_updates(z, updates), opt_state), None

    (ends, _), _ = jax.lax.scan(step, (starts, optimiser.init(starts)), jax.random.split(scan_key, num_steps))
    last = batch(last_key)
    return ends[jnp.argmin(jax.vmap(loss, in_axes=(0, None))(ends, last))]


def r_squared(predictions: Float[HostArray, " n"], targets: Float[HostArray, " n"]) -> float:
    """R²: the fraction of the targets' variance that the predictions explain."""
    predictions, targets = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    return float(1 - np.mean(np.square(predictions - targets)) / np.var(targets))


def prior_outcomes(
    world: WorldModel, obs: Float[Array, "n obs"], *, num_samples: int = 64, key: PRNGKeyArray
) -> Float[Array, "n samples psi"]:
    r"""Draws of the trained model, $\psi\sim p_\phi(\cdot\mid s)$, for each of the states `obs`."""

    def draws(args: tuple[Obs, PRNGKeyArray]) -> Float[Array, "samples psi"]:
        state, state_key = args
        return jax.vmap(lambda k: world.sample(state, key=k))(jax.random.split(state_key, num_samples))

    # In batches of states: all at once would need memory for states x samples x levels.
    keys = jax.random.split(key, obs.shape[0])
    return eqx.filter_jit(lambda: jax.lax.map(draws, (obs, keys), batch_size=16))()


@eqx.filter_jit
def value_scale(value: AbstractValue, psi: Float[Array, "n samples psi"]) -> Scalar:
    r"""The unit of $\lambda$ for a value: the root mean square, over states, of the standard deviation of V under
    $p_\phi(\cdot\mid s)$, from outcomes as `prior_outcomes` returns them.
    """
    variances = jnp.var(jax.vmap(jax.vmap(lambda outcome: value(outcome)))(psi), axis=1, ddof=1)
    return jnp.sqrt(jnp.mean(variances))


def untrained_decoder(config: ValueConfig, psi_dim: int, *, key: PRNGKeyArray) -> ValueDecoder:
    """An untrained decoder for outcomes of `psi_dim` components."""
    net_key, z_key = jax.random.split(key)
    net = ResidualMLP(
        psi_dim + config.embedding_size, 1, width=config.width, depth=config.depth, dropout=config.dropout, key=net_key
    )
    return ValueDecoder(net, 0.5 * jax.random.normal(z_key, (config.num_tasks, config.embedding_size)))
