"""Data parallelism: every batch is sharded over all devices, parameters are replicated on each.

The result is that of one device, up to the order in which gradients are added. With several processes
(`jax.distributed.initialize`) the devices are those of all of them; every process must be given the same data.
`broadcast_from_process_0`, `any_across_processes` and `is_same_on_all_processes` are collectives: every process must
reach them in the same order.
"""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from owma._internal.errors import ConfigError
from owma._internal.tree import is_prng_key
from owma._internal.types import PyTree

_Tree = TypeVar("_Tree", bound=PyTree)

_AXIS = "batch"


def shard_batch(batch: _Tree) -> _Tree:
    """Shard the rows of `batch` evenly over all devices; a no-op on one device. For use inside a jitted function.

    Raises `ConfigError` if the number of rows is not a multiple of the number of devices.
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


def replicated(tree: _Tree) -> _Tree:
    """Constrain arrays to be replicated on every device; a no-op on one device. For use inside a jitted function."""
    return tree if jax.device_count() == 1 else _constrained(tree, PartitionSpec())


def replicate(tree: _Tree) -> _Tree:
    """Put arrays on every device of every process, each process giving its own copy. For use outside of `jax.jit`."""
    if jax.device_count() == 1:
        return tree
    everywhere = _sharding(PartitionSpec())

    def placed(leaf: jax.Array) -> jax.Array:
        if jax.process_count() == 1:
            return jax.device_put(leaf, everywhere)
        if is_prng_key(leaf):
            return jax.random.wrap_key_data(placed(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        return jax.make_array_from_process_local_data(everywhere, np.asarray(leaf), leaf.shape)

    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.tree.map(placed, arrays), rest)


def on_one_device(tree: _Tree) -> _Tree:
    """Move replicated arrays to this process's first device alone, where planners act."""
    if jax.device_count() == 1:
        return tree
    first_device = SingleDeviceSharding(jax.local_devices()[0])
    arrays, rest = eqx.partition(tree, eqx.is_array)
    local = jax.tree.map(lambda leaf: leaf if leaf.is_fully_addressable else leaf.addressable_data(0), arrays)
    return eqx.combine(jax.device_put(local, first_device), rest)


def is_main_process() -> bool:
    """Whether this is process 0, which alone writes files; true where there is only one process."""
    return jax.process_index() == 0


def broadcast_from_process_0(tree: _Tree) -> _Tree:
    """The arrays of process 0, on one device of every process; those of the others are ignored, but for shapes."""
    if jax.process_count() == 1:
        return tree
    arrays, rest = eqx.partition(tree, eqx.is_array)
    plain = jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_prng_key(leaf) else leaf, arrays)
    received = jax.tree.map(jnp.asarray, multihost_utils.broadcast_one_to_all(plain))

    def rewrapped(leaf: jax.Array, data: jax.Array) -> jax.Array:
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf)) if is_prng_key(leaf) else data

    return eqx.combine(jax.tree.map(rewrapped, arrays, received), rest)


def any_across_processes(flag: bool) -> bool:
    """Whether `flag` is true on any process. Blocks until all processes have called it."""
    return flag if jax.process_count() == 1 else bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def is_same_on_all_processes(content: bytes) -> bool:
    """Whether all processes hold the same `content`, which must be of the same length on each."""
    gathered = multihost_utils.process_allgather(np.frombuffer(content, np.uint8)).reshape(jax.process_count(), -1)
    return bool((gathered == gathered[0]).all())


def _sharding(spec: PartitionSpec) -> NamedSharding:
    return NamedSharding(Mesh(np.asarray(jax.devices()), (_AXIS,)), spec)


def _constrained(tree: _Tree, spec: PartitionSpec) -> _Tree:
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.lax.with_sharding_constraint(arrays, _sharding(spec)), rest)
