"""Delta filters: what is adapted, and what is left alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma._internal.types import PyTree
from owma.adaptation import (
    AbstractDeltaFilter,
    AllParameters,
    DecisionProblem,
    FiLMParameters,
    LevelParameters,
    LowRankParameters,
    OutputParameters,
    PredicateParameters,
    ReadoutMetric,
    ReadoutParameters,
    SampledMetric,
    TrunkParameters,
    scaled_means,
)
from owma.diffusion import Chain, ErrorCurve, FiLMDenoiser, conditioning_table, same_network
from owma.outcomes.testbeds import GaussianDenoiser
from owma.outcomes.value import LinearValue

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


# As programs: one operation after the other they would be compiled one by one.
_draw = eqx.filter_jit(DecisionProblem.draw)


@eqx.filter_jit
def _means(problem: DecisionProblem, delta: PyTree, states: jax.Array) -> jax.Array:
    return scaled_means(problem.chain, problem.adapted(delta), problem.context, states)


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


@pytest.mark.parametrize(
    "delta_filter",
    [LevelParameters(), LevelParameters(0.5), ReadoutParameters(), ReadoutParameters(0.5), LowRankParameters(2)],
    ids=str,
)
def test_other_coordinates_are_the_same_model(getkey, delta_filter: AbstractDeltaFilter) -> None:
    problem = _network_problem(getkey())
    prepared = delta_filter.prepare(problem)
    delta, noise = delta_filter.zeros(prepared.denoiser), problem.noise(6, key=getkey())
    expected, _ = _draw(problem, None, noise, with_reference=False)
    samples, _ = _draw(prepared, delta, noise, with_reference=True)
    np.testing.assert_allclose(samples.psi, expected.psi, rtol=1e-4, atol=1e-5)
    assert float(jnp.abs(samples.kl).max()) < 1e-9
    # And what it adapts has an effect.
    moved, _ = _draw(prepared, jax.tree.map(lambda x: x + 0.1, delta), noise, with_reference=True)
    assert float(moved.kl.min()) > 1e-4


def test_the_rows_of_a_table_are_levels(getkey) -> None:
    # Moving the row of one level changes the mean there and nowhere else.
    problem = LevelParameters().prepare(_network_problem(getkey()))
    delta = LevelParameters().zeros(problem.denoiser)
    moved = jax.tree.map(lambda x: x.at[2].add(0.5), delta)
    samples, _ = _draw(problem, None, problem.noise(4, key=getkey()), with_reference=False)
    means = [np.asarray(_means(problem, d, samples.states)) for d in (delta, moved)]
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


@pytest.mark.parametrize(
    "delta_filter", [LevelParameters(), LevelParameters(0.5), ReadoutParameters(), ReadoutParameters(0.5)], ids=str
)
def test_one_product_for_both_networks_is_what_two_products_are(getkey, delta_filter: AbstractDeltaFilter) -> None:
    """φ and φ + Δφ differ in their tables only: values, path divergences and gradients as when evaluated apart."""
    problem = delta_filter.prepare(_network_problem(getkey()))
    delta = jax.tree.map(lambda x: 0.3 * jax.random.normal(getkey(), x.shape), delta_filter.zeros(problem.denoiser))
    noise = problem.noise(5, key=getkey())
    # The same numbers, which are not known to be the same.
    apart = jax.tree.map(lambda x: x + 0 if eqx.is_array(x) else x, problem.denoiser)

    def drawn(delta, reference):
        adapted = problem.adapted(delta)
        assert same_network(adapted, reference) == (reference is problem.denoiser)
        samples = jax.vmap(lambda e: problem.chain.simulate(adapted, problem.context, e, reference=reference))(noise)
        # What a readout records is there where one network serves both.
        return jnp.sum(samples.psi) + jnp.sum(samples.kl), (samples.psi, samples.kl, samples.log_weight, samples.states)

    # Not as an argument: traced, the reference would not be known to be the problem's own.
    together, expected = (
        jax.jit(jax.grad(lambda d, reference=reference: drawn(d, reference), has_aux=True))(delta)
        for reference in (problem.denoiser, apart)
    )
    assert float(together[1][1].min()) > 1e-3
    for actual, wanted in zip(jax.tree.leaves(together), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("delta_filter", [ReadoutParameters(), ReadoutParameters(0.5), AllParameters()], ids=str)
def test_draws_of_both_models_are_those_of_each(getkey, delta_filter: AbstractDeltaFilter) -> None:
    problem = delta_filter.prepare(_network_problem(getkey()))
    delta = jax.tree.map(lambda x: 0.2 * jax.random.normal(getkey(), x.shape), delta_filter.zeros(problem.denoiser))
    noise = problem.noise(6, key=getkey())
    both = eqx.filter_jit(problem.draw_both)(delta, noise)
    samples, values = _draw(problem, delta, noise, with_reference=True)
    prior, prior_values = _draw(problem, None, noise, with_reference=False)
    for actual, expected in (
        (both.samples.psi, samples.psi),
        (both.samples.log_weight, samples.log_weight),
        (both.samples.kl, samples.kl),
        (both.values, values),
        (both.prior.psi, prior.psi),
        (both.prior_values, prior_values),
        (both.prior.kl, np.zeros(6)),
    ):
        np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-5)
    # log dP'/dP of φ's paths, by the densities of their transitions: with u the shift of the means in widths,
    # u·ξ − ‖u‖²/2.
    means = [_means(problem, d, prior.states) for d in (delta, None)]
    shift = means[0] - means[1]
    expected = jnp.sum(shift * noise[:, 1:] - 0.5 * jnp.square(shift), axis=(1, 2))
    np.testing.assert_allclose(both.prior_log_ratio, expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("share, adapted", [(1.0, 6), (0.5, 3), (0.6, 4), (0.01, 1)])
@pytest.mark.parametrize("kind", [LevelParameters, ReadoutParameters])
def test_levels_that_are_held_draw_as_the_trained_model_does(getkey, kind, share: float, adapted: int) -> None:
    delta_filter = kind(share)
    problem = delta_filter.prepare(_network_problem(getkey()))
    delta = jax.tree.map(lambda x: jax.random.normal(getkey(), x.shape), delta_filter.zeros(problem.denoiser))
    assert all(leaf.shape[0] == adapted for leaf in jax.tree.leaves(delta))
    samples, _ = _draw(problem, delta, problem.noise(4, key=getkey()), with_reference=True)
    means = [_means(problem, d, samples.states) for d in (delta, None)]
    difference = np.abs(np.asarray(means[0] - means[1])).max(axis=(0, 2))
    assert difference[:adapted].min() > 1e-3 and difference[adapted:].sum() == 0
    # One level's parameters by its ratio, too, whichever part of the table it is in.
    denoiser = problem.adapted(delta)
    for level in (0, adapted - 1, problem.chain.num_steps):
        row = denoiser.condition(problem.chain.ratios[level], problem.context)
        table = conditioning_table(denoiser, problem.chain.ratios, problem.context)
        for actual, rows in zip(jax.tree.leaves(row), jax.tree.leaves(table), strict=True):
            np.testing.assert_array_equal(actual, rows[level])


@pytest.mark.parametrize("share, adapted", [(1.0, 6), (0.5, 3)])
def test_the_metric_of_a_readout_is_that_of_its_jacobian(getkey, share: float, adapted: int) -> None:
    problem = ReadoutParameters(share).prepare(_network_problem(getkey()))
    zeros = ReadoutParameters(share).zeros(problem.denoiser)
    delta = jax.tree.map(lambda x: 0.1 * jax.random.normal(getkey(), x.shape), zeros)
    # Bounds that some of the means are held at: those do not move.
    low, high = jnp.full(2, -1.0), jnp.full(2, 1.0)
    problem = eqx.tree_at(lambda p: (p.chain.low, p.chain.high), problem, (low, high))
    samples, _ = _draw(problem, delta, problem.noise(5, key=getkey()), with_reference=True)
    diagonal, push = ReadoutMetric().measure(problem, delta, samples, key=getkey())

    def means(delta):
        return _means(problem, delta, samples.states)

    jacobian = jax.jit(jax.jacrev(means))(delta)
    for estimate, leaf in zip(jax.tree.leaves(diagonal), jax.tree.leaves(jacobian), strict=True):
        expected = jnp.sum(jnp.square(leaf), axis=(0, 1, 2)) / 5
        np.testing.assert_allclose(estimate, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))
    direction = jax.tree.map(lambda x: jax.random.normal(getkey(), x.shape), zeros)
    _, expected = jax.jvp(means, (delta,), (direction,))
    moved = expected[:, :adapted]
    np.testing.assert_allclose(push(direction), moved, rtol=1e-3, atol=1e-3 * float(jnp.abs(expected).max()))
    assert float(jnp.abs(expected[:, adapted:]).sum()) == 0
    # Sampled, it is the same push; and the diagonal on average over signs.
    _, sampled_push = SampledMetric().measure(problem, delta, samples, key=getkey())
    np.testing.assert_allclose(sampled_push(direction), expected, rtol=1e-3, atol=1e-3 * float(jnp.abs(expected).max()))
    many = jax.vmap(lambda k: SampledMetric().measure(problem, delta, samples, key=k)[0])(
        jax.random.split(getkey(), 4000)
    )
    for estimate, exact in zip(jax.tree.leaves(many), jax.tree.leaves(diagonal), strict=True):
        error = jnp.std(estimate, axis=0) / np.sqrt(4000)
        assert float(jnp.max(jnp.abs(jnp.mean(estimate, axis=0) - exact) - 5 * error)) < 1e-3 * float(exact.max())


def test_a_metric_of_readouts_needs_readouts(getkey) -> None:
    problem = LevelParameters().prepare(_network_problem(getkey()))
    delta = LevelParameters().zeros(problem.denoiser)
    samples, _ = _draw(problem, delta, problem.noise(2, key=getkey()), with_reference=True)
    with pytest.raises(ValueError, match="ReadoutMetric measures what ReadoutParameters adapts"):
        ReadoutMetric().measure(problem, delta, samples, key=getkey())
    with pytest.raises(ValueError, match="ReadoutParameters needs a FiLMDenoiser, got TabulatedDenoiser"):
        ReadoutParameters().prepare(problem)


def test_a_table_serves_its_own_levels_only(getkey) -> None:
    problem = LevelParameters().prepare(_network_problem(getkey()))
    with pytest.raises(ValueError, match="tabulated at .* levels, not at 2"):
        conditioning_table(problem.denoiser, problem.chain.ratios[:2], problem.context)
