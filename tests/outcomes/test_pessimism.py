"""Lower bounds over several values of one task."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.config.value import ValueConfig
from owma.outcomes.pessimism import LowerBound, MeanMinusDeviation, Minimum, Quantile, member_weights, pessimism_of
from owma.outcomes.value import EnsembleValue, LinearValue, TaskValue, untrained_decoder


def test_the_mean_less_a_deviation_of_two_values_is_the_smaller_one() -> None:
    bound, equal = MeanMinusDeviation(jnp.asarray(1.0)), jnp.full(2, 0.5)
    assert float(bound(jnp.asarray([7.0, 3.0]), equal)) == pytest.approx(3.0, rel=1e-4)
    # Weights of 0.8 and 0.2: a mean of 6.2 less the deviation 4·√(0.8·0.2) = 1.6.
    assert float(bound(jnp.asarray([7.0, 3.0]), jnp.asarray([0.8, 0.2]))) == pytest.approx(4.6, rel=1e-4)
    # Where they agree, it is their value, and so is its slope.
    value, slope = jax.value_and_grad(lambda v: bound(jnp.stack([v, v]), equal))(jnp.asarray(5.0))
    assert float(value) == pytest.approx(5.0, rel=1e-3) and float(slope) == pytest.approx(1.0, rel=1e-3)


def test_the_minimum_leaves_out_what_is_hardly_trusted() -> None:
    values = jnp.asarray([4.0, -9.0, 5.0])
    assert float(Minimum()(values, jnp.asarray([0.6, 0.1, 0.3]))) == 4.0
    assert float(Minimum()(values, jnp.asarray([0.4, 0.3, 0.3]))) == -9.0


def test_a_quantile_of_values_is_by_their_weights() -> None:
    values, equal = jnp.asarray([3.0, 1.0, 4.0, 2.0]), jnp.full(4, 0.25)
    assert float(Quantile(jnp.asarray(0.0))(values, equal)) == 1.0
    assert float(Quantile(jnp.asarray(0.5))(values, equal)) == pytest.approx(2.5)
    # Nine tenths of the weight on the largest: the middle of it stands at 0.55.
    heavy = jnp.asarray([0.1, 0.0, 0.9, 0.0])
    assert float(Quantile(jnp.asarray(0.55))(values, heavy)) == pytest.approx(4.0)


def test_values_are_trusted_by_their_errors_and_decoders_together_as_much_as_a_regression() -> None:
    np.testing.assert_allclose(member_weights(jnp.full(5, 0.02)), [0.5, 0.125, 0.125, 0.125, 0.125], rtol=1e-6)
    # One decoder that explains nothing, 1 − R² = 1, is left out but for a fiftieth of what another has.
    weights = member_weights(jnp.asarray([0.02, 0.02, 1.0]))
    assert float(weights[1] / weights[2]) == pytest.approx(50.0)
    # Where errors up to twice the smallest count as the same, they do.
    alike = member_weights(jnp.asarray([0.01, 0.02, 0.015, 1.0]), same=2.0)
    assert float(alike[1]) == pytest.approx(float(alike[2])) == pytest.approx(float(alike[0]) / 3)
    assert float(alike[3]) == pytest.approx(float(alike[1]) / 50)
    assert float(weights.sum()) == pytest.approx(1.0)
    # Errors of nothing at all are no infinite trust.
    assert np.isfinite(member_weights(jnp.zeros(3))).all()


def test_a_bound_is_of_the_regression_and_of_every_decoder(getkey) -> None:
    config = ValueConfig(num_tasks=2, width=8, depth=1)

    def task_value(key) -> TaskValue:
        decoder = untrained_decoder(config, 3, key=key)
        return TaskValue(decoder, decoder.embeddings[0], jnp.asarray(1.0), jnp.asarray(2.0))

    decoders = EnsembleValue(eqx.filter_vmap(task_value)(jax.random.split(getkey(), 3)))
    linear = LinearValue(jnp.asarray([1.0, -1.0, 0.5]), jnp.asarray(0.3))
    bound = LowerBound(linear, decoders, member_weights(jnp.full(4, 0.1)), pessimism_of(ValueConfig()))
    assert bound.names == ("linear", "decoder 1", "decoder 2", "decoder 3")
    for psi in jax.random.normal(getkey(), (5, 3)):
        members = np.asarray(bound.members(psi))
        assert members[0] == pytest.approx(float(linear(psi)))
        assert float(decoders(psi)) == pytest.approx(members[1:].mean(), rel=1e-4, abs=1e-5)
        weights = np.array([1 / 2, 1 / 6, 1 / 6, 1 / 6])
        mean = weights @ members
        deviation = np.sqrt(weights @ np.square(members - mean))
        assert float(bound(psi)) == pytest.approx(mean - deviation, rel=1e-3)
