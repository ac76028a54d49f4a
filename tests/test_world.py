"""The world model: cumulants, coordinates and what its configuration builds."""

import dataclasses
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma._internal.errors import ConfigError
from owma.config.world import WorldConfig
from owma.outcomes.features import FeaturesConfig, FourierFeatures
from owma.outcomes.features.build import build_features
from owma.outcomes.transitions import Transitions
from owma.outcomes.value import LinearValue, r_squared
from owma.outcomes.whitening import Standardisation, Whitening
from owma.outcomes.world import (
    Coordinates,
    WorldModel,
    _terminal_part,
    raw_outcomes,
    untrained_world,
    whitened_outcomes,
)
from owma.train.experiment import task_returns

_CONFIG = WorldConfig(features=FeaturesConfig(kind="identity"), discount=0.8, width=16, depth=1, embed_width=8)


def _transitions(*, episodes: int = 20, length: int = 10, seed: int = 0) -> Transitions:
    """Random walks; every other episode terminates."""
    rng = np.random.default_rng(seed)
    walks = np.cumsum(rng.normal(size=(episodes, length + 1, 2)), axis=1) + 3.0
    last = np.tile(np.arange(length) == length - 1, episodes)
    terminated = last & np.repeat(np.arange(episodes) % 2 == 0, length)
    return Transitions(
        obs=walks[:, :-1].reshape(-1, 2).astype(np.float32),
        action=rng.normal(size=(episodes * length, 1)).astype(np.float32),
        reward=np.zeros(episodes * length, np.float32),
        next_obs=walks[:, 1:].reshape(-1, 2).astype(np.float32),
        terminated=terminated,
        truncated=last & ~terminated,
    )


def _world(config: WorldConfig = _CONFIG) -> WorldModel:
    return untrained_world(
        config, Coordinates.fit(config, _transitions(), key=jax.random.key(0))[0], key=jax.random.key(0)
    )


def test_outcomes_of_the_dataset_are_white() -> None:
    outcomes = whitened_outcomes(_world(), _transitions())
    np.testing.assert_allclose(outcomes.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(outcomes, rowvar=False), np.eye(2), atol=1e-3)


def test_raw_outcomes_obey_the_bellman_equation() -> None:
    transitions = _transitions()
    observation = Standardisation.fit(transitions.obs)
    features = build_features(FeaturesConfig(kind="identity"), 2, key=jax.random.key(0))
    outcomes = raw_outcomes(transitions, observation, features, 0.8, counts_terminal=True)
    cumulant, after = (
        np.asarray(jax.vmap(observation)(jnp.asarray(x))) for x in (transitions.obs, transitions.next_obs)
    )
    # ψ_t = c_t + γ ψ_{t+1} inside an episode; ψ = c + γ c' at a termination; ψ = c + γ c'/(1 − γ) at a truncation.
    inside = ~transitions.ends[:-1]
    np.testing.assert_allclose(outcomes[:-1][inside], (cumulant[:-1] + 0.8 * outcomes[1:])[inside], atol=1e-4)
    terminal, cut = np.asarray(transitions.terminated), np.asarray(transitions.truncated)
    np.testing.assert_allclose(outcomes[terminal], (cumulant + 0.8 * after)[terminal], atol=1e-4)
    np.testing.assert_allclose(outcomes[cut], (cumulant + 4 * after)[cut], atol=1e-4)
    # Runs from before leave the terminal state out.
    former = raw_outcomes(transitions, observation, features, 0.8, counts_terminal=False)
    np.testing.assert_allclose(former[terminal], cumulant[terminal], atol=1e-4)
    np.testing.assert_allclose(former[cut], outcomes[cut], atol=1e-5)


def _arrivals(end: str, steps: int = 5) -> Transitions:
    """Episodes that arrive left or right by their last action; right pays 1."""
    count = 2000 // steps
    rng = np.random.default_rng(0)
    starts, push = rng.normal(0, 0.1, (count, 2)), rng.uniform(-1, 1, (count, steps))
    walks = np.repeat(starts[:, None], steps + 1, axis=1) + np.arange(steps + 1)[:, None] * np.array([0.0, 1.0])
    walks[:, steps, 0] = 3 * np.sign(push[:, steps - 1])
    last = np.tile(np.arange(steps) == steps - 1, count)
    return Transitions(
        obs=walks[:, :-1].reshape(-1, 2).astype(np.float32),
        action=push.reshape(-1, 1).astype(np.float32),
        reward=(last & (push.reshape(-1) > 0)).astype(np.float32),
        next_obs=walks[:, 1:].reshape(-1, 2).astype(np.float32),
        terminated=last & (end == "terminated"),
        truncated=last & (end == "truncated"),
    )


def _explained(transitions: Transitions, **settings: Any) -> float:
    """R^2 of a linear value of the last reward, by the coordinates that a world model of these settings has."""
    config = WorldConfig(width=16, depth=1, embed_width=8, **settings)
    coordinates, _ = Coordinates.fit(config, transitions, key=jax.random.key(0))
    assert coordinates.whitening.dims <= config.max_dims
    world = untrained_world(config, coordinates, key=jax.random.key(0))
    psi = whitened_outcomes(world, transitions)
    returns = task_returns(np.asarray(transitions.reward), transitions, world.discount)
    value = LinearValue.fit(psi, returns)
    return r_squared(psi @ np.asarray(value.weight) + float(value.bias), returns)


@pytest.mark.cases
@pytest.mark.parametrize("end", ["terminated", "truncated"])
@pytest.mark.parametrize(
    ("kind", "steps", "least", "most"),
    [
        ("fourier", 5, 0.99, 0.05),
        ("polynomial", 5, 0.99, 0.05),
        # 40 episodes, no more: by chance their other states tell some of what the last ones pay. Measured: 0.986, 0.14.
        ("fourier", 50, 0.98, 0.2),
    ],
)
def test_what_the_last_state_pays_is_told_by_outcomes_at_either_end(
    kind: Literal["fourier", "polynomial"], end: str, steps: int, least: float, most: float
) -> None:
    transitions, features = _arrivals(end, steps), FeaturesConfig(kind=kind)
    assert _explained(transitions, features=features) > least
    if end == "terminated":
        assert _explained(transitions, features=features, count_terminal=False) < most
        # Beside the sums over 50 steps the last state is a direction of little variance, which others would leave out.
        assert steps == 5 or _explained(transitions, features=features, terminal_dims=0) < most


def test_the_part_of_terminal_states_is_single_precision_and_as_good() -> None:
    """γ^j c(s_T) of every row of an episode that terminates j steps on, worked out in double precision."""
    transitions, discount = _transitions(), 0.8
    observation = Standardisation.fit(transitions.obs)
    part = _terminal_part(transitions, observation, build_features(_CONFIG.features, 2, key=jax.random.key(0)), 0.8)
    reached = np.asarray(jax.vmap(observation)(jnp.asarray(transitions.next_obs)), np.float64).reshape(20, 10, 2)
    weights = discount ** np.arange(10.0, 0.0, -1.0)
    expected = (weights[:, None] * reached[::2, -1:]).reshape(-1, 2)
    assert part is not None and part.dtype == np.float32
    np.testing.assert_allclose(part, expected, rtol=1e-6)
    raw = np.random.default_rng(0).normal(size=(500, 2)) * np.array([5.0, 1.0])
    fits = [Whitening.fit(raw, min_variance=0.5, part=of_precision, part_dims=1) for of_precision in (part, expected)]
    np.testing.assert_allclose(fits[0].forward, fits[1].forward, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dims", [1, 4])
def test_of_few_coordinates_one_is_left_to_the_principal_components(dims: int) -> None:
    config = WorldConfig(max_dims=dims, width=16, depth=1, embed_width=8)
    assert config.terminal_dims > dims
    transitions = _arrivals("terminated", 50)
    whitening = Coordinates.fit(config, transitions, key=jax.random.key(0))[0].whitening
    without = Coordinates.fit(dataclasses.replace(config, terminal_dims=0), transitions, key=jax.random.key(0))[0]
    assert whitening.dims == dims
    np.testing.assert_allclose(whitening.forward[0], without.whitening.forward[0], rtol=1e-4, atol=1e-6)


def test_data_that_never_terminate_have_the_coordinates_that_they_had() -> None:
    config = WorldConfig(width=16, depth=1, embed_width=8)
    with_room, without = (
        Coordinates.fit(dataclasses.replace(config, terminal_dims=dims), _arrivals("truncated"), key=jax.random.key(0))
        for dims in (8, 0)
    )
    np.testing.assert_array_equal(with_room[1], without[1])


def test_whitened_cumulants_add_up_to_whitened_outcomes() -> None:
    world, transitions = _world(), _transitions()
    outcomes = whitened_outcomes(world, transitions)
    cumulant = np.asarray(jax.vmap(lambda s: world.cumulant(s))(jnp.asarray(transitions.obs)))
    inside = ~transitions.ends[:-1]
    np.testing.assert_allclose(outcomes[:-1][inside], (cumulant[:-1] + 0.8 * outcomes[1:])[inside], atol=1e-3)
    terminal = np.asarray(transitions.terminated)
    last = jax.vmap(lambda s: world.whitening.whiten(world.raw_cumulant(s)))(jnp.asarray(transitions.next_obs))
    np.testing.assert_allclose(outcomes[terminal], (cumulant + 0.8 * np.asarray(last))[terminal], atol=1e-3)


def test_nothing_is_the_outcome_of_zero() -> None:
    world = _world()
    np.testing.assert_allclose(world.whitening.unwhiten(world.terminal_outcome), 0, atol=1e-5)


def test_a_constant_coordinate_of_the_state_is_harmless() -> None:
    transitions = eqx.tree_at(
        lambda t: (t.obs, t.next_obs), _transitions(), replace_fn=lambda x: np.pad(x, ((0, 0), (0, 1)))
    )
    world = untrained_world(
        _CONFIG, Coordinates.fit(_CONFIG, transitions, key=jax.random.key(0))[0], key=jax.random.key(0)
    )
    assert world.whitening.dims == 2
    assert np.isfinite(np.asarray(world.sample(jnp.asarray(transitions.obs[0]), key=jax.random.key(1)))).all()


def test_the_untrained_model_samples_unit_gaussians(getkey) -> None:
    everywhere = jnp.full(2, jnp.inf)
    world = eqx.tree_at(lambda w: (w.chain.low, w.chain.high), _world(), (-everywhere, everywhere))
    psi = np.asarray(jax.vmap(lambda key: world.sample(jnp.zeros(2), key=key))(jax.random.split(getkey(), 10_000)))
    # 10,000 draws: standard errors 0.01 and 1.4 %.
    np.testing.assert_allclose(psi.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(psi.var(axis=0), 1, rtol=0.06)


def test_fitted_coordinates_come_with_the_outcomes_in_them() -> None:
    coordinates, psi = Coordinates.fit(_CONFIG, _transitions(), key=jax.random.key(0))
    np.testing.assert_array_equal(psi, whitened_outcomes(_world(), _transitions()))
    np.testing.assert_array_equal([coordinates.low, coordinates.high], [psi.min(axis=0), psi.max(axis=0)])


def test_the_chain_knows_the_range_of_the_outcomes() -> None:
    world = _world()
    psi = whitened_outcomes(world, _transitions())
    np.testing.assert_allclose(world.chain.low, psi.min(axis=0), rtol=1e-5)
    np.testing.assert_allclose(world.chain.high, psi.max(axis=0), rtol=1e-5)


def test_the_skeleton_has_the_shapes_of_what_is_built() -> None:
    for config in (_CONFIG, WorldConfig(features=FeaturesConfig(num_features=6), width=16, depth=1, embed_width=8)):
        world = _world(config)
        key = jax.random.key(5)
        skeleton = untrained_world(config, Coordinates.unit(config, 2, world.whitening.dims, key=key), key=key)
        assert jax.tree.structure(world) == jax.tree.structure(skeleton)
        assert [x.shape for x in jax.tree.leaves(world)] == [x.shape for x in jax.tree.leaves(skeleton)]


def test_fourier_features_approximate_a_gaussian_kernel() -> None:
    features = FourierFeatures(2, 4096, 1.5, key=jax.random.key(0))
    a, b = jnp.asarray([0.3, -0.5]), jnp.asarray([1.0, 0.7])
    # Inner products of 4096 features: standard error about 1/√4096 = 0.016.
    assert float(features(a) @ features(b)) == pytest.approx(np.exp(-0.5 * (0.49 + 1.44) / 2.25), abs=0.05)
    assert float(features(a) @ features(a)) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    "name, value", [("discount", 0.0), ("discount", 1.0), ("solver_steps", 0), ("terminal_dims", -1)]
)
def test_configurations_out_of_range(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        dataclasses.replace(WorldConfig(), **{name: value})
