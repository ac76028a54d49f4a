"""Values: ridge regression by its normal equations, scales on a known law, the decoder's dropout."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from owma._internal.errors import ConfigError
from owma.config.value import ValueConfig
from owma.outcomes.value import LinearValue, TaskValue, prior_outcomes, r_squared, untrained_decoder, value_scale


def _regression(n: int = 200, *, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)) * [1.0, 2.0, 0.5] + [0.0, 3.0, -1.0]
    return x, x @ [1.0, -0.5, 2.0] + 4.0 + noise * rng.normal(size=n)


def test_without_a_penalty_the_fit_is_least_squares() -> None:
    x, y = _regression()
    value = LinearValue.fit(x, y, ridge=0.0)
    expected, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)
    np.testing.assert_allclose(np.append(value.weight, value.bias), expected, rtol=1e-5)
    np.testing.assert_allclose(expected, [1.0, -0.5, 2.0, 4.0], atol=0.1)


@pytest.mark.parametrize("ridge", [1e-2, 1.0])
def test_ridge_against_the_normal_equations(ridge: float) -> None:
    x, y = _regression()
    value = LinearValue.fit(x, y, ridge=ridge)
    # [Xᵀ X/n + ridge·diag(1, 1, 1, 0)] (w, b) = Xᵀ y/n, X with a column of ones.
    design = np.column_stack([x, np.ones(len(x))])
    expected = np.linalg.solve(design.T @ design / len(x) + ridge * np.diag([1, 1, 1, 0]), design.T @ y / len(x))
    np.testing.assert_allclose(np.append(value.weight, value.bias), expected, rtol=1e-5)


def test_value_of_a_reward_that_is_linear_in_the_cumulants() -> None:
    # r = 2c + 3 for ever with c = 1: V = 2·ψ + 3/(1 − γ) = 2·10 + 30 at γ = 0.9.
    rewards = LinearValue.fit(np.array([[0.0], [1.0], [2.0]]), np.array([3.0, 5.0, 7.0]), ridge=0.0)
    assert float(rewards.from_reward(0.9)(jnp.asarray([10.0]))) == pytest.approx(50.0, rel=1e-5)


def test_r_squared() -> None:
    targets = np.array([0.0, 1.0, 2.0, 3.0])
    assert r_squared(targets, targets) == 1
    assert r_squared(np.full(4, 1.5), targets) == pytest.approx(0.0)
    # Squared errors of 0.25 over a variance of 1.25.
    assert r_squared(targets + 0.5, targets) == pytest.approx(1 - 0.25 / 1.25)


def test_value_scale_is_the_standard_deviation_under_the_model(getkey, gaussian_model) -> None:
    # V = wᵀψ + b has variance wᵀSw: 4·0.25 + 1·3 = 4; half the weight, half the scale; the bias does not count.
    model = gaussian_model([1.0, -2.0], [0.25, 3.0], [2.0, 1.0], bias=7.0)
    half = LinearValue(model.value.weight / 2, jnp.asarray(0.0))
    draws = prior_outcomes(model.world, jnp.zeros((64, 2)), num_samples=64, key=getkey())
    scales = [value_scale(model.value, draws), value_scale(half, draws)]
    # The variance has 64·63 degrees of freedom: the scale's standard error is 1.1 %.
    np.testing.assert_allclose(scales, [2.0, 1.0], rtol=0.05)
    assert float(scales[0] / scales[1]) == pytest.approx(2.0, rel=1e-4)  # on the same draws


def test_value_scale_does_not_count_differences_between_states(getkey, gaussian_model) -> None:
    # The same law in states far apart, with a value scale of √(0.09).
    model = gaussian_model([0.0], [0.09], [1.0])
    obs = jnp.linspace(-100.0, 100.0, 64)[:, None]
    scale = value_scale(model.value, prior_outcomes(model.world, obs, key=getkey()))
    assert float(scale) == pytest.approx(0.3, rel=0.05)


def test_dropout_needs_a_key(getkey) -> None:
    decoder = untrained_decoder(
        ValueConfig(num_tasks=3, embedding_size=4, width=32, depth=2, dropout=0.5), 2, key=getkey()
    )
    psi, z, key = jnp.ones(2), decoder.embeddings[0], getkey()
    assert float(decoder(psi, z)) == float(decoder(psi, z))
    assert float(decoder(psi, z, key=key)) == float(decoder(psi, z, key=key))
    assert float(decoder(psi, z, key=key)) != float(decoder(psi, z, key=getkey()))
    assert float(decoder(psi, z, key=key)) != float(decoder(psi, z))
    assert decoder.embeddings.shape == (3, 4)
    still = eqx.tree_at(lambda d: d.net.dropout.p, decoder, 0.0)
    assert float(still(psi, z, key=key)) == pytest.approx(float(decoder(psi, z)))


def test_a_task_value_is_in_return_units(getkey) -> None:
    decoder = untrained_decoder(ValueConfig(num_tasks=2, width=8, depth=1), 2, key=getkey())
    z, psi = decoder.embeddings[1], jnp.asarray([0.2, -0.4])
    value = TaskValue(decoder, z, jnp.asarray(5.0), jnp.asarray(3.0))
    assert float(value(psi)) == pytest.approx(5 + 3 * float(decoder(psi, z)), rel=1e-6)


@pytest.mark.parametrize("name", ["num_tasks", "num_labels", "updates", "batch_size", "report_every"])
def test_configurations_out_of_range(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}=0"):
        dataclasses.replace(ValueConfig(), **{name: 0})
