"""Delta filters: what is adapted, and what is left alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.adaptation import (
    AbstractDeltaFilter,
    AllParameters,
    DecisionProblem,
    FiLMParameters,
    LevelParameters,
    LowRankParameters,
    OutputParameters,
    PredicateParameters,
    TrunkParameters,
)
from owma.diffusion import Chain, ErrorCurve, FiLMDenoiser, conditioning_table, same_network
from owma.testbeds import GaussianDenoiser
from owma.value import LinearValue

_FILTERS = (
    (AllParameters(), {"embed", "film", "trunk_in", "trunk", "trunk_out"}),
    (FiLMParameters(), {"film"}),
    (TrunkParameters(), {"trunk_in", "trunk", "trunk_out"}),
    (OutputParameters(), {"trunk_out"}),
)


def _denoiser() -> FiLMDenoiser:
    return FiLMDenoiser(2, 3, width=8, depth=2, embed_width=4, key=jax.random.key(0))


@pytest.mark.parametrize("delta_filter, names", _FILTERS, ids=lambda x: type(x).__name__)
def test_delta_is_zero_where_adapted_and_none_where_frozen(delta_filter: AbstractDeltaFilter, names: set[str]) -> None:
    denoiser = _denoiser()
    delta = delta_filter.zeros(denoiser)
    # The denoiser's own structure, `None` in place of frozen leaves.
    is_leaf = lambda x: x is None  # noqa: E731
    assert jax.tree.structure(delta, is_leaf=is_leaf) == jax.tree.structure(denoiser, is_leaf=is_leaf)
    for name in ("embed", "film", "trunk_in", "trunk", "trunk_out"):
        parts = jax.tree.leaves(getattr(delta.net, name))
        expected = jax.tree.leaves(getattr(denoiser.net, name)) if name in names else []
        assert [p.shape for p in parts] == [e.shape for e in expected]
        assert all(float(jnp.abs(p).max()) == 0 for p in parts)


@pytest.mark.parametrize("delta_filter, names", _FILTERS, ids=lambda x: type(x).__name__)
def test_only_adapted_leaves_change(delta_filter: AbstractDeltaFilter, names: set[str]) -> None:
    denoiser = _denoiser()
    delta = jax.tree.map(lambda x: x + 1.0, delta_filter.zeros(denoiser))
    adapted = eqx.apply_updates(denoiser, delta)
    for name in ("embed", "film", "trunk_in", "trunk", "trunk_out"):
        before, after = (jax.tree.leaves(getattr(d.net, name)) for d in (denoiser, adapted))
        for old, new in zip(before, after, strict=True):
            np.testing.assert_allclose(new, old + (1.0 if name in names else 0.0))


def test_parts_of_a_network_need_a_network() -> None:
    gaussian = GaussianDenoiser(jnp.zeros(2), jnp.ones(2))
    with pytest.raises(ValueError, match="film needs a FiLMDenoiser, got GaussianDenoiser.*AllParameters"):
        FiLMParameters().zeros(gaussian)
    assert len(jax.tree.leaves(AllParameters().zeros(gaussian))) == 2


class _Nothing(AbstractDeltaFilter):
    def prepare(self, problem):
        return problem

    def __call__(self, denoiser):
        return jax.tree.map(lambda _: False, denoiser)


def test_a_filter_that_adapts_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="_Nothing adapts no parameter of GaussianDenoiser"):
        _Nothing().zeros(GaussianDenoiser(jnp.zeros(2), jnp.ones(2)))


def test_a_predicate_sees_paths_and_leaves() -> None:
    delta = PredicateParameters(lambda path, leaf: "film" in path and leaf.ndim == 2).zeros(_denoiser())
    assert [leaf.shape for leaf in jax.tree.leaves(delta)] == [_denoiser().net.film.weight.shape]


def _network_problem(key: jax.Array) -> DecisionProblem:
    out = 0.5 * jax.random.normal(key, (2, 8))
    return DecisionProblem(
        denoiser=eqx.tree_at(lambda d: d.net.trunk_out.weight, _denoiser(), out),
        chain=Chain.calibrated(ErrorCurve.untrained(2), num_steps=5, min_ratio=0.05),
        context=jnp.asarray([0.3, -1.0, 2.0]),
        value=LinearValue(jnp.ones(2), jnp.asarray(0.0)),
        value_scale=jnp.asarray(1.0),
        kl_coef=jnp.asarray(1.0),
    )


@pytest.mark.parametrize("delta_filter", [LevelParameters(), LowRankParameters(2)], ids=lambda x: type(x).__name__)
def test_other_coordinates_are_the_same_model(getkey, delta_filter: AbstractDeltaFilter) -> None:
    problem = _network_problem(getkey())
    prepared = delta_filter.prepare(problem)
    delta, noise = delta_filter.zeros(prepared.denoiser), problem.noise(6, key=getkey())
    expected, _ = problem.draw(None, noise, with_reference=False)
    found, _ = prepared.draw(delta, noise, with_reference=True)
    np.testing.assert_allclose(found.psi, expected.psi, rtol=1e-4, atol=1e-5)
    assert float(jnp.abs(found.kl).max()) < 1e-9
    # And what it adapts has an effect.
    moved, _ = prepared.draw(jax.tree.map(lambda x: x + 0.1, delta), noise, with_reference=True)
    assert float(moved.kl.min()) > 1e-4


def test_the_rows_of_a_table_are_levels(getkey) -> None:
    # Moving the row of one level changes the mean there and nowhere else.
    from owma.adaptation import scaled_means

    problem = LevelParameters().prepare(_network_problem(getkey()))
    delta = LevelParameters().zeros(problem.denoiser)
    moved = jax.tree.map(lambda x: x.at[2].add(0.5), delta)
    samples, _ = problem.draw(None, problem.noise(4, key=getkey()), with_reference=False)
    means = [
        np.asarray(scaled_means(problem.chain, problem.adapted(d), problem.context, samples.states))
        for d in (delta, moved)
    ]
    changed = np.abs(means[1] - means[0]).max(axis=(0, 2))
    assert changed[2] > 1e-3 and np.delete(changed, 2).max() == 0


def test_a_film_layer_reaches_what_a_table_reaches(getkey) -> None:
    # K + 1 = 6 levels and 4 hidden units cannot; 8 hidden units can, by least squares on the hidden units.
    denoiser = FiLMDenoiser(2, 3, width=8, depth=2, embed_width=8, key=jax.random.key(0))
    problem = eqx.tree_at(lambda p: p.denoiser, _network_problem(getkey()), denoiser)
    prepared = LevelParameters().prepare(problem)
    delta = LevelParameters().zeros(prepared.denoiser)
    target = 0.1 * jax.random.normal(getkey(), delta.table.shape)

    def table(film_weight: jax.Array) -> jax.Array:
        changed = eqx.tree_at(lambda d: d.net.film.weight, denoiser, film_weight)
        return jax.vmap(lambda r: changed.condition(r, problem.context))(problem.chain.ratios).ravel()

    weight = denoiser.net.film.weight
    jacobian = np.asarray(jax.jacrev(table)(weight), np.float64).reshape(target.size, -1)
    solution = np.linalg.lstsq(jacobian, np.asarray(target, np.float64).ravel(), rcond=None)[0]
    residual = jacobian @ solution - np.asarray(target).ravel()
    assert np.linalg.norm(residual) < 1e-3 * np.linalg.norm(target)


def test_one_product_for_both_networks_is_what_two_products_are(getkey) -> None:
    """φ and φ + Δφ differ in their tables only: values, path divergences and gradients as when evaluated apart."""
    problem = LevelParameters().prepare(_network_problem(getkey()))
    delta = jax.tree.map(
        lambda x: 0.3 * jax.random.normal(getkey(), x.shape), LevelParameters().zeros(problem.denoiser)
    )
    noise = problem.noise(5, key=getkey())
    # The same numbers, which are not known to be the same.
    apart = jax.tree.map(lambda x: x + 0 if eqx.is_array(x) else x, problem.denoiser)

    def drawn(delta, reference):
        adapted = problem.adapted(delta)
        assert same_network(adapted, reference) == (reference is problem.denoiser)
        found = jax.vmap(lambda e: problem.chain.simulate(adapted, problem.context, e, reference=reference))(noise)
        return jnp.sum(found.psi) + jnp.sum(found.kl), found

    (together, expected) = (jax.grad(drawn, has_aux=True)(delta, reference) for reference in (problem.denoiser, apart))
    assert float(together[1].kl.min()) > 1e-3
    for found, wanted in zip(jax.tree.leaves(together), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-5)


def test_a_table_serves_its_own_levels_only(getkey) -> None:
    problem = LevelParameters().prepare(_network_problem(getkey()))
    with pytest.raises(ValueError, match="tabulated at .* levels, not at 2"):
        conditioning_table(problem.denoiser, problem.chain.ratios[:2], problem.context)
