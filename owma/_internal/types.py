"""Array aliases with named axes; every module of the package takes its shapes from here.

One example at a time: leading batch axes are added by `jax.vmap` at the call, and spelled out only where a function
really works on a batch.
"""

from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, Shaped, UInt8

Scalar: TypeAlias = Float[Array, ""]
"""A floating scalar array, or a number that a caller has already turned into one."""

RealScalarLike: TypeAlias = float | Float[Array, ""] | Float[np.ndarray, ""]
"""A floating scalar in any form; what diffrax passes as a time."""

Obs: TypeAlias = Float[Array, " obs"]
"""An observation s, flat."""

Action: TypeAlias = Float[Array, " act"]
"""An action a, in the units of the environment unless said otherwise."""

Features: TypeAlias = Float[Array, " features"]
"""Cumulants c(s), raw (before whitening)."""

Psi: TypeAlias = Float[Array, " psi"]
"""Successor features ψ in the whitened outcome space."""

TaskEmbedding: TypeAlias = Float[Array, " z"]
"""A task embedding z."""

HostArray: TypeAlias = np.ndarray | Array
"""An array in host memory (NumPy, possibly memory-mapped) or on a device."""

PyTree: TypeAlias = Any
"""A pytree whose structure the function does not constrain."""

__all__ = [
    "Action",
    "Array",
    "Bool",
    "Features",
    "Float",
    "HostArray",
    "Int",
    "Key",
    "Obs",
    "PRNGKeyArray",
    "Psi",
    "PyTree",
    "RealScalarLike",
    "Scalar",
    "Shaped",
    "TaskEmbedding",
    "UInt8",
]
