"""The training step by hand, and the loop around it: chunks, metrics, an end where a loss is not finite."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma._internal.errors import ConfigError
from owma._internal.types import Array, Int, Scalar
from owma.train.fit import FitConfig, cosine_decay, descend, fit, init_optimiser, scan_updates


def _config(*, updates: int = 5, report_every: int = 2, max_norm: float | None = None) -> FitConfig:
    return FitConfig(
        name="the test",
        updates=updates,
        report_every=report_every,
        learning_rate=cosine_decay(0.5, updates),
        learning_rate_flag="--rate",
        ema_decay=0.25,
        max_norm=max_norm,
    )


def _loss(model: Array) -> tuple[Scalar, Array]:
    """Its gradient is (3, 4)."""
    return model @ jnp.asarray([3.0, 4.0]), model


@pytest.mark.parametrize("max_norm, scale", [(None, 1.0), (10.0, 1.0), (1.0, 0.2)])
def test_a_step_by_hand(max_norm: float | None, scale: float) -> None:
    model = jnp.zeros(2)
    config = _config(max_norm=max_norm)
    (new, average, opt_state), aux = descend(_loss, model, model, init_optimiser(model), jnp.asarray(0), config)
    np.testing.assert_array_equal(aux, model)
    # The first direction of Adam is the sign of the gradient, whatever its norm; the first rate is the peak.
    np.testing.assert_allclose(new, [-0.5, -0.5], rtol=1e-5)
    # Its first moment is a tenth of the gradient, clipped.
    np.testing.assert_allclose(opt_state.mu, [0.3 * scale, 0.4 * scale], rtol=1e-5)
    # At first the average keeps a tenth of what it was, and after update 3 the configured quarter: 4/13 is more.
    np.testing.assert_allclose(average, 0.9 * new, rtol=1e-6)
    (new, average, _), _ = descend(_loss, model, model, init_optimiser(model), jnp.asarray(3), config)
    np.testing.assert_allclose(average, 0.75 * new, rtol=1e-6)
    # Half a cosine of five updates: at the third, (1 + cos 0.6 pi) / 2 of the peak.
    np.testing.assert_allclose(new, -0.25 * (1 + np.cos(0.6 * np.pi)) * np.ones(2), rtol=1e-5)


class _State(eqx.Module):
    step: Int[Array, ""]
    name: str = "no array"


def _chunk(state: _State, num_updates: int) -> tuple[_State, dict[str, Scalar]]:
    def update(state: _State, _: None) -> tuple[_State, Array]:
        assert state.name == "no array"
        return _State(state.step + 1), state.step

    state, steps = scan_updates(update, state, None, length=num_updates)
    return state, {"loss": jnp.where(state.step > 4, jnp.nan, jnp.sum(steps))}


def test_chunks_go_on_from_where_the_state_stands() -> None:
    rows = [row for _, row in fit(_chunk, _State(jnp.asarray(1)), _config(updates=4))]
    assert rows == [{"step": 3, "loss": 1 + 2}, {"step": 4, "loss": 3}]
    assert not list(fit(_chunk, _State(jnp.asarray(4)), _config(updates=4)))


def test_a_loss_that_is_not_finite_ends_it() -> None:
    run = fit(_chunk, _State(jnp.asarray(2)), _config(updates=9))
    assert int(next(run)[0].step) == 4
    with pytest.raises(ConfigError, match=r"Training of the test diverged before update 6 \(loss nan\): lower --rate"):
        next(run)


def test_the_scan_is_that_of_its_inputs() -> None:
    def update(state: _State, key: Array) -> tuple[_State, Array]:
        return _State(state.step + 1), jax.random.normal(key)

    keys = jax.random.split(jax.random.key(0), 3)
    state, drawn = scan_updates(update, _State(jnp.asarray(0)), keys)
    assert int(state.step) == 3
    np.testing.assert_allclose(drawn, [jax.random.normal(key) for key in keys], rtol=1e-6)
