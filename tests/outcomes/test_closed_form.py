"""Cumulants that are not learned, against their formulas."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma._internal.errors import ConfigError
from owma.config.json import fingerprint, from_json, to_json
from owma.config.world import WorldConfig
from owma.outcomes.features import FeaturesConfig, PolynomialFeatures, RandomFeatures
from owma.outcomes.features.build import build_features
from owma.outcomes.targets import monte_carlo
from owma.outcomes.transitions import Transitions
from owma.outcomes.world import Coordinates, untrained_world, whitened_outcomes
from owma.train.rows import OutcomeData


def _transitions(rows: int = 40) -> Transitions:
    rng = np.random.default_rng(0)
    ends = np.arange(rows) % 10 == 9
    obs, after = rng.normal(size=(2, rows, 2)).astype(np.float32)
    reward = rng.normal(size=rows).astype(np.float32)
    terminated = ends & (np.arange(rows) < rows // 2)
    return Transitions(obs, np.zeros((rows, 1), np.float32), reward, after, terminated, ends & ~terminated)


def test_polynomials_are_all_monomials_in_order() -> None:
    x, y = 2.0, -3.0
    monomials = PolynomialFeatures(3)(jnp.asarray([x, y]))
    np.testing.assert_allclose(monomials, [x, y, x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3])
    four = build_features(FeaturesConfig(kind="polynomial", degree=2), 4, key=jax.random.key(0))(jnp.ones(4))
    assert four.shape == (math.comb(6, 2) - 1,)


def test_polynomials_tell_a_quadratic_reward_exactly() -> None:
    obs = _transitions().obs
    rows = np.asarray(jax.vmap(lambda s: PolynomialFeatures(2)(s))(jnp.asarray(obs)))
    reward = 1 - 2 * (obs[:, 0] - obs[:, 1]) ** 2 + obs[:, 0]
    design = np.column_stack([rows, np.ones(len(rows))])
    weights = np.linalg.lstsq(design, reward, rcond=None)[0]
    np.testing.assert_allclose(weights, [1, 0, -2, 4, -2, 1], atol=1e-4)


def test_too_many_monomials_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"features.degree=4: 29 coordinates have 40,919 products"):
        build_features(FeaturesConfig(kind="polynomial", degree=4), 29, key=jax.random.key(0))


def test_a_random_network_of_one_layer_by_hand() -> None:
    features = RandomFeatures(2, 3, 1.0, width=4, depth=1, key=jax.random.key(0))
    obs = np.array([0.5, -1.0], np.float32)
    hidden = np.tanh(np.asarray(features.weights[0]) @ obs + np.asarray(features.biases[0]))
    by_hand = np.tanh(np.asarray(features.weights[1]) @ hidden + np.asarray(features.biases[1]))
    np.testing.assert_allclose(features(jnp.asarray(obs)), by_hand, atol=1e-6)


def test_a_random_network_neither_dies_nor_saturates(getkey) -> None:
    features = build_features(FeaturesConfig(kind="random", num_features=32, depth=4), 3, key=getkey())
    rows = np.asarray(jax.vmap(lambda s: features(s))(jax.random.normal(getkey(), (512, 3))))
    assert rows.shape == (512, 32)
    assert np.median(rows.std(axis=0)) > 0.1 and np.mean(np.abs(rows) > 0.99) < 0.3


def test_the_bandwidth_of_a_random_network_is_a_length() -> None:
    narrow, wide = (RandomFeatures(2, 8, b, width=16, depth=1, key=jax.random.key(0)) for b in (1.0, 4.0))
    np.testing.assert_allclose(narrow(jnp.asarray([0.3, 0.2])), wide(jnp.asarray([1.2, 0.8])), atol=1e-5)


def test_the_recorded_reward_makes_the_outcome_the_return() -> None:
    transitions = _transitions()
    config = WorldConfig(features=FeaturesConfig(kind="reward"), discount=0.9, width=8, depth=1, embed_width=8)
    world = untrained_world(
        config, Coordinates.fit(config, transitions, key=jax.random.key(0))[0], key=jax.random.key(0)
    )
    psi = whitened_outcomes(world, transitions)
    reward = np.asarray(transitions.reward)[:, None]
    returns = monte_carlo(reward, transitions, discount=0.9, tail=reward)
    unwhitened = np.asarray(jax.vmap(lambda p: world.whitening.unwhiten(p))(jnp.asarray(psi)))
    assert psi.shape == (40, 1)
    np.testing.assert_allclose(unwhitened, returns, atol=1e-4)
    # Whitened rewards add up to whitened returns: what training sums over one step is c of that step.
    (data,) = OutcomeData.build(world, transitions, np.ones(40, bool), horizon=1)
    inside = ~transitions.ends[:-1]
    np.testing.assert_allclose(psi[:-1][inside], (data.sums[:-1] + 0.9 * psi[1:])[inside], atol=1e-3)


@pytest.mark.parametrize("kind", ["identity", "fourier", "polynomial", "random", "reward", "laplacian"])
def test_a_skeleton_has_the_shapes_of_every_kind(kind) -> None:
    features = FeaturesConfig(kind=kind, num_features=6, width=16, depth=1)
    config = WorldConfig(features=features, discount=0.9, width=8, depth=1, embed_width=8)
    world = untrained_world(
        config, Coordinates.fit(config, _transitions(), key=jax.random.key(0))[0], key=jax.random.key(0)
    )
    key = jax.random.key(5)
    skeleton = untrained_world(config, Coordinates.unit(config, 2, world.whitening.dims, key=key), key=key)
    assert jax.tree.structure(world) == jax.tree.structure(skeleton)
    assert [x.shape for x in jax.tree.leaves(world)] == [x.shape for x in jax.tree.leaves(skeleton)]


def test_configurations_of_runs_from_before_are_read_as_they_were() -> None:
    older = {"class": "FeaturesConfig", "kind": "fourier", "num_features": 64, "bandwidth": 3.0}
    assert from_json(FeaturesConfig, older) == FeaturesConfig()
    assert fingerprint(FeaturesConfig(degree=3)) != fingerprint(FeaturesConfig())
    assert from_json(FeaturesConfig, to_json(FeaturesConfig(degree=3))).degree == 3


@pytest.mark.parametrize("name", ["num_features", "degree", "width", "depth"])
def test_sizes_are_positive(name: str) -> None:
    with pytest.raises(ConfigError, match=f"features.{name}=0"):
        dataclasses.replace(FeaturesConfig(), **{name: 0})


def test_cumulants_of_some_coordinates_do_not_see_the_others() -> None:
    config, key = FeaturesConfig(num_features=8, coordinates=2), jax.random.key(0)
    obs = jnp.asarray([0.5, -1.0, 3.0, 4.0])
    cumulants = build_features(config, 4, key=key)(obs)
    np.testing.assert_array_equal(cumulants, build_features(config, 4, key=key)(obs.at[2:].set(0.0)))
    np.testing.assert_array_equal(cumulants, build_features(FeaturesConfig(num_features=8), 2, key=key)(obs[:2]))
    middle = build_features(dataclasses.replace(config, first_coordinate=1), 4, key=key)
    np.testing.assert_array_equal(middle(obs), build_features(FeaturesConfig(num_features=8), 2, key=key)(obs[1:3]))
    with pytest.raises(ConfigError, match="features.coordinates=2 from 3 on: the observations have 4; ask for no more"):
        build_features(dataclasses.replace(config, first_coordinate=3), 4, key=key)
    with pytest.raises(ConfigError, match="first_coordinate=1: must not be negative, and needs features.coordinates"):
        FeaturesConfig(first_coordinate=1)
    with pytest.raises(ConfigError, match="features.coordinates=5: the observations have 4; ask for no more"):
        build_features(dataclasses.replace(config, coordinates=5), 4, key=key)
    with pytest.raises(ConfigError, match="features.coordinates=2: must be 0, or for kinds identity"):
        FeaturesConfig(kind="laplacian", coordinates=2)
