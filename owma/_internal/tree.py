"""Small pytree helpers that know nothing of the domain."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Bool, Float, HostArray, PyTree, Scalar

T = TypeVar("T")


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether every inexact array leaf of `tree` is finite everywhere."""
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))]
    return jnp.all(jnp.stack(leaves)) if leaves else jnp.asarray(True)


def is_prng_key(leaf: Any) -> bool:
    """Whether an array (or the shape of one) is of typed JAX random keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def strongly_typed(tree: T) -> T:
    """`tree` without weak types, which a compiled function takes for other arguments; all leaves become arrays."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), tree)


def squared_norm(tree: PyTree) -> Scalar:
    """Σ x² over all array leaves of `tree`; 0 if it has none."""
    return sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)), start=jnp.asarray(0.0))


def select(condition: Bool[Array, ""], on_true: T, on_false: T) -> T:
    """Leaf by leaf `on_true` where `condition`, else `on_false`; non-array leaves come from `on_true`."""
    true_arrays, static = eqx.partition(on_true, eqx.is_array)
    false_arrays = eqx.filter(on_false, eqx.is_array)
    chosen = jax.tree.map(lambda a, b: jnp.where(condition, a, b), true_arrays, false_arrays)
    return eqx.combine(chosen, static)


def move_towards(average: T, model: T, step_size: Scalar) -> T:
    """average + step_size · (model − average) on inexact array leaves; the rest comes from `average`."""
    arrays, static = eqx.partition(average, eqx.is_inexact_array)
    target = eqx.filter(model, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(lambda a, b: a + step_size * (b - a), arrays, target), static)


def map_rows(
    function: Callable[[Float[Array, " d_in"]], Float[Array, " d_out"]],
    rows: Float[HostArray, "n d_in"],
    *,
    chunk: int = 8192,
) -> Float[np.ndarray, "n d_out"]:
    """`function` of every row, on the device a chunk at a time, so that memory stays bounded; back on the host."""
    return row_mapper(function, chunk=chunk)(rows)


def row_mapper(
    function: Callable[[Float[Array, " d_in"]], Float[Array, " d_out"]], *, chunk: int = 8192
) -> Callable[[Float[HostArray, "n d_in"]], Float[np.ndarray, "n d_out"]]:
    """`map_rows` of one function, to be called more than once without compiling again."""
    # A lambda, because vmap of a module's own method makes equinox warn of wrapped parameters.
    batched = eqx.filter_jit(jax.vmap(lambda row: function(row)))

    def mapped(rows: Float[HostArray, "n d_in"]) -> Float[np.ndarray, "n d_out"]:
        pieces = []
        for start in range(0, len(rows), chunk):
            piece = np.asarray(rows[start : start + chunk], np.float32)
            padding = chunk - len(piece) if len(rows) > chunk else 0
            # One shape, one compilation: the last chunk is padded and cut again.
            padded = np.pad(piece, ((0, padding), (0, 0)))
            pieces.append(np.asarray(batched(jnp.asarray(padded)))[: len(piece)])
        return np.concatenate(pieces)

    return mapped


def stack_rows(trees: Sequence[T]) -> T:
    """Trees of one structure as one, whose arrays have a first axis more; on the host, so that nothing is compiled."""
    return jax.tree.map(
        lambda *rows: jnp.stack(rows) if is_prng_key(rows[0]) else _placed_as(rows[0], np.stack(rows)), *trees
    )


def unstack_rows(tree: T) -> list[T]:
    """What `stack_rows` made one of."""
    leaves, structure = jax.tree.flatten(tree)
    rows = [list(leaf) if is_prng_key(leaf) else [_placed_as(leaf, row) for row in np.asarray(leaf)] for leaf in leaves]
    return [jax.tree.unflatten(structure, row) for row in zip(*rows)]


def _placed_as(like: Any, host: np.ndarray | np.generic) -> Array:
    """On the device of another array, and committed to it as that is: programs would else be compiled anew."""
    is_committed = isinstance(like, jax.Array) and like.committed
    return jax.device_put(host, like.sharding) if is_committed else jnp.asarray(host)
