"""Delta filters: what is adapted, and what is left alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.adaptation import AbstractDeltaFilter, AllParameters, FiLMParameters, OutputParameters, TrunkParameters
from owma.diffusion import FiLMDenoiser
from owma.testbeds import GaussianDenoiser

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
    def __call__(self, denoiser):
        return jax.tree.map(lambda _: False, denoiser)


def test_a_filter_that_adapts_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="_Nothing adapts no parameter of GaussianDenoiser"):
        _Nothing().zeros(GaussianDenoiser(jnp.zeros(2), jnp.ones(2)))
