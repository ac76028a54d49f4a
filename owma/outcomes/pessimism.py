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
from owma.outcomes.kernel import KernelValue
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
    """A pessimistic value, of a regression on outcomes and of decoders that were trained on different episodes."""

    linear: LinearValue | KernelValue
    """Linear, with the correction of a kernel or without."""
    decoders: EnsembleValue
    weights: Float[Array, " members"]
    """How much each is trusted (`member_weights`): the regression first."""
    pessimism: AbstractPessimism

    @classmethod
    def of(
        cls,
        linear: LinearValue | KernelValue,
        decoders: AbstractValue,
        unexplained: Float[Array, " members"] | None,
        pessimism: AbstractPessimism | None,
    ) -> "LowerBound | None":
        """The bound over fitted values, each trusted by what it leaves `unexplained`; `None` with a single decoder."""
        if not isinstance(decoders, EnsembleValue) or unexplained is None or pessimism is None:
            return None
        # With a kernel it explains more of all outcomes than decoders do, and would outweigh them: a bound over values
        # of which one counts for most is that value, and is exploited as it is.
        same = _SAME_ERRORS if isinstance(linear, KernelValue) else 1.0
        return cls(linear, decoders, member_weights(unexplained, same=same), pessimism)

    @property
    def names(self) -> tuple[str, ...]:
        """What `members` are, in words."""
        decoders = range(1, len(self.weights))
        return (value_kind(self.linear), *(f"decoder {i}" for i in decoders))

    def members(self, psi: Psi) -> Float[Array, " members"]:
        """What each of the values says of an outcome: the regression first."""
        return jnp.concatenate([self.linear(psi)[None], self.decoders.each(psi)])

    def __call__(self, psi: Psi) -> Scalar:
        return self.pessimism(self.members(psi), self.weights)


_LEAST_UNEXPLAINED = 1e-3
"""Shares of the variance below which errors of values count as the same."""

_SAME_ERRORS = 2.0
"""Multiples of the smallest error up to which errors count as the same beside a regression with a kernel."""


def member_weights(unexplained: Float[Array, " members"], *, same: float = 1.0) -> Float[Array, " members"]:
    r"""How much each value is trusted: in inverse proportion to its squared error on episodes that it was not fitted
    to.

    The regression and all decoders together weigh alike where their errors are: values of one form are wrong in the
    same places, and their number is no evidence. A value that fails on these episodes is so left out by degrees.

    **Arguments:** `unexplained`: 1 − R² of each on such episodes, the regression's first. `same`: multiples of the
    smallest up to which they count as the same.
    """
    num_decoders = unexplained.shape[0] - 1
    shares = jnp.full_like(unexplained, 1 / num_decoders).at[0].set(1.0)
    trust = shares / jnp.maximum(unexplained, jnp.maximum(same * jnp.min(unexplained), _LEAST_UNEXPLAINED))
    return trust / jnp.sum(trust)


def pessimism_of(config: ValueConfig) -> AbstractPessimism:
    """How a lower bound is taken of several values."""
    level = jnp.asarray(config.pessimism_level)
    return {"minimum": Minimum(), "deviation": MeanMinusDeviation(level), "quantile": Quantile(level)}[config.pessimism]


def value_kind(value: AbstractValue) -> str:
    """What a value is, in the words of `ValueConfig.kind`; of a class of a user's, its name."""
    kinds = {LowerBound: "pessimistic", LinearValue: "linear", KernelValue: "kernel"}
    kinds |= {TaskValue: "decoder", EnsembleValue: "decoder"}
    return kinds.get(type(value), type(value).__name__)


def recorded_outcomes(value: AbstractValue) -> Float[Array, "m psi"] | None:
    """Recorded outcomes that a value keeps, the first of them spread out over all; `None` if it keeps none."""
    value = value.linear if isinstance(value, LowerBound) else value
    return value.centres if isinstance(value, KernelValue) else None
