"""A pessimistic value: a lower bound over several values of one task, by which plans are judged.

An optimiser finds the outcomes that a value overrates. Values of different form, fitted to different episodes, overrate
different ones, so that what all of them praise is more likely to be kept: clipped double Q-learning's remedy (Fujimoto
et al., arXiv 1802.09477), at decision time.
"""

import abc

import equinox as eqx
import jax.numpy as jnp

from owma._internal.types import Array, Float, Psi, Scalar
from owma.config.value import ValueConfig
from owma.outcomes.value import AbstractValue, EnsembleValue, LinearValue, TaskValue


class AbstractPessimism(eqx.Module):
    """How what several values say of an outcome is made one number."""

    @abc.abstractmethod
    def __call__(self, values: Float[Array, " members"], weights: Float[Array, " members"]) -> Scalar:
        """**Arguments:** `weights`: how much each value is trusted, not negative, with the sum 1."""


class Minimum(AbstractPessimism):
    """The smallest of the values that are trusted at least a quarter as much as the one that is trusted most."""

    def __call__(self, values: Float[Array, " members"], weights: Float[Array, " members"]) -> Scalar:
        return jnp.min(jnp.where(weights >= 0.25 * jnp.max(weights), values, jnp.inf))


class MeanMinusDeviation(AbstractPessimism):
    r"""$\bar V - \beta\,\mathrm{SD}$, both weighted; of two values trusted alike and β = 1, the smaller one."""

    coefficient: Scalar
    """β."""

    def __call__(self, values: Float[Array, " members"], weights: Float[Array, " members"]) -> Scalar:
        mean = jnp.sum(weights * values)
        variance = jnp.sum(weights * jnp.square(values - mean))
        # The root has no derivative where all values agree.
        tiny = 1e-12 + 1e-8 * jnp.square(mean)
        return mean - self.coefficient * jnp.sqrt(variance + tiny)


class Quantile(AbstractPessimism):
    """The weighted quantile of the values, linear between those next to it."""

    level: Scalar
    """In [0, 1]; 0 is the smallest value."""

    def __call__(self, values: Float[Array, " members"], weights: Float[Array, " members"]) -> Scalar:
        order = jnp.argsort(values)
        ordered = weights[order]
        # Each value stands at the middle of its weight.
        places = jnp.cumsum(ordered) - ordered / 2
        return jnp.interp(self.level, places, values[order])


class LowerBound(AbstractValue):
    """A pessimistic value, of a linear one and of decoders that were trained on different episodes."""

    linear: LinearValue
    decoders: EnsembleValue
    weights: Float[Array, " members"]
    """How much each is trusted (`member_weights`): the linear one first."""
    pessimism: AbstractPessimism

    @classmethod
    def of(
        cls,
        linear: LinearValue,
        decoders: AbstractValue,
        unexplained: Float[Array, " members"] | None,
        pessimism: AbstractPessimism | None,
    ) -> "LowerBound | None":
        """The bound over fitted values, each trusted by what it leaves `unexplained`; `None` with a single decoder."""
        if not isinstance(decoders, EnsembleValue) or unexplained is None or pessimism is None:
            return None
        return cls(linear, decoders, member_weights(unexplained), pessimism)

    def members(self, psi: Psi) -> Float[Array, " members"]:
        """What each of the values says of an outcome: the linear one first."""
        return jnp.concatenate([self.linear(psi)[None], self.decoders.each(psi)])

    def __call__(self, psi: Psi) -> Scalar:
        return self.pessimism(self.members(psi), self.weights)


_LEAST_UNEXPLAINED = 1e-3
"""Shares of the variance below which errors of values count as the same."""


def member_weights(unexplained: Float[Array, " members"]) -> Float[Array, " members"]:
    r"""How much each value is trusted: in inverse proportion to its squared error on episodes that it was not fitted
    to.

    The linear value and all decoders together weigh alike where their errors are: values of one form are wrong in the
    same places, and their number is no evidence. A value that fails on these episodes is so left out by degrees.

    **Arguments:** `unexplained`: 1 − R² of each on such episodes, the linear value's first.
    """
    num_decoders = unexplained.shape[0] - 1
    shares = jnp.full_like(unexplained, 1 / num_decoders).at[0].set(1.0)
    trust = shares / jnp.maximum(unexplained, _LEAST_UNEXPLAINED)
    return trust / jnp.sum(trust)


def pessimism_of(config: ValueConfig) -> AbstractPessimism:
    """How a lower bound is taken of several values."""
    level = jnp.asarray(config.pessimism_level)
    return {"minimum": Minimum(), "deviation": MeanMinusDeviation(level), "quantile": Quantile(level)}[config.pessimism]


def value_kind(value: AbstractValue) -> str:
    """What a value is, in the words of `ValueConfig.kind`; of a class of a user's, its name."""
    kinds = {LowerBound: "pessimistic", LinearValue: "linear", TaskValue: "decoder", EnsembleValue: "decoder"}
    return kinds.get(type(value), type(value).__name__)
