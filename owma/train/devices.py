"""Training on several devices: the batch is split over all of them, parameters are whole on each.

What is computed is what one device computes, up to the order in which gradients are added. With several processes
(`jax.distributed.initialize`) the devices are those of all of them; every process must be given the same data.
What processes tell each other here, all of them must ask for at the same place.
"""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from owma._internal.errors import ConfigError
from owma._internal.types import PyTree

_Tree = TypeVar("_Tree", bound=PyTree)

_AXIS = "batch"


def split_batch(batch: _Tree) -> _Tree:
    """Rows divided evenly over all devices, for use in a jitted function; left alone where there is one device.

    Raises `ConfigError` if the rows cannot be divided.
    """
    num_devices = jax.device_count()
    if num_devices == 1:
        return batch
    size = jax.tree.leaves(batch)[0].shape[0]
    if size % num_devices:
        raise ConfigError(
            f"batch_size={size}: cannot be divided over {num_devices} devices; choose a multiple of that."
        )
    return _constrained(batch, PartitionSpec(_AXIS))


def keep_whole(tree: _Tree) -> _Tree:
    """Arrays whole on every device, for use in a jitted function; left alone where there is one device."""
    return tree if jax.device_count() == 1 else _constrained(tree, PartitionSpec())


def spread(tree: _Tree) -> _Tree:
    """Arrays whole on every device of every process, from what each process holds; outside of jitted functions."""
    if jax.device_count() == 1:
        return tree
    whole = _sharding(PartitionSpec())

    def placed(leaf: jax.Array) -> jax.Array:
        if jax.process_count() == 1:
            return jax.device_put(leaf, whole)
        if _is_key(leaf):
            return jax.random.wrap_key_data(placed(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        return jax.make_array_from_process_local_data(whole, np.asarray(leaf), leaf.shape)

    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.tree.map(placed, arrays), rest)


def on_one_device(tree: _Tree) -> _Tree:
    """What `keep_whole` left on every device, on the first one of this process alone: one decision needs no more."""
    if jax.device_count() == 1:
        return tree
    alone = SingleDeviceSharding(jax.local_devices()[0])
    arrays, rest = eqx.partition(tree, eqx.is_array)
    local = jax.tree.map(lambda leaf: leaf if leaf.is_fully_addressable else leaf.addressable_data(0), arrays)
    return eqx.combine(jax.device_put(local, alone), rest)


def is_first() -> bool:
    """Whether this process is the one that writes: the first of several, or the only one."""
    return jax.process_index() == 0


def from_first(tree: _Tree) -> _Tree:
    """Arrays as the first process holds them, which alone has read them, on one device of each."""
    if jax.process_count() == 1:
        return tree
    arrays, rest = eqx.partition(tree, eqx.is_array)
    plain = jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, arrays)
    told = jax.tree.map(jnp.asarray, multihost_utils.broadcast_one_to_all(plain))

    def as_it_was(leaf: jax.Array, data: jax.Array) -> jax.Array:
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf)) if _is_key(leaf) else data

    return eqx.combine(jax.tree.map(as_it_was, arrays, told), rest)


def any_process(flag: bool) -> bool:
    """Whether `flag` is set on any of the processes; each waits here for all others."""
    return flag if jax.process_count() == 1 else bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def is_same_everywhere(content: bytes) -> bool:
    """Whether all processes hold the same bytes, of which they hold equally many."""
    found = multihost_utils.process_allgather(np.frombuffer(content, np.uint8)).reshape(jax.process_count(), -1)
    return bool((found == found[0]).all())


def _is_key(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _sharding(spec: PartitionSpec) -> NamedSharding:
    return NamedSharding(Mesh(np.asarray(jax.devices()), (_AXIS,)), spec)


def _constrained(tree: _Tree, spec: PartitionSpec) -> _Tree:
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.lax.with_sharding_constraint(arrays, _sharding(spec)), rest)
