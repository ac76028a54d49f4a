"""The session is strict: what JAX would broadcast or promote in silence raises, and warnings are errors (pyproject)."""

import zlib
from collections.abc import Callable

import jax
import pytest
from jaxtyping import PRNGKeyArray

# A (batch,) array against a (batch, 1) one is a bug far more often than a wish. Dtype promotion stays standard, since
# optax's schedules and `inject_hyperparams` fail under "strict"; x64 stays off, as in production.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_enable_x64", False)


@pytest.fixture
def getkey(request: pytest.FixtureRequest) -> Callable[[], PRNGKeyArray]:
    """A fresh PRNG key at every call; the sequence is fixed per test, so that a failure repeats."""
    key = jax.random.key(zlib.crc32(request.node.nodeid.encode()))
    calls = 0

    def next_key() -> PRNGKeyArray:
        nonlocal calls
        calls += 1
        return jax.random.fold_in(key, calls)

    return next_key
