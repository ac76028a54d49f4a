"""One flat observation, from whatever form the environment gives it in."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from owma._internal.errors import OwmaError
from owma._internal.types import Float


def flatten_obs(obs: Mapping[str, Any] | Any, obs_keys: tuple[str, ...] | None) -> Float[np.ndarray, "*batch obs"]:
    """The flat float32 observation that the models read; the same function for a dataset's rows and at acting time.

    **Arguments:**

    - `obs`: an array, or a mapping of arrays; leading batch axes are kept.
    - `obs_keys`: for mappings, the entries to concatenate along the last axis, in this order, a single number beside
        vectors as one of these; `None` where observations are arrays. An array is taken as flat already, whatever
        `obs_keys` says.

    **Returns:** a new array, never a view of `obs` (some simulators write into the arrays they have handed out).

    **Raises:** `ValueError` for a mapping without `obs_keys`, or one that lacks an entry; `OwmaError`, which is one
    too, for what is not made of numbers.
    """
    if not isinstance(obs, Mapping):
        return _vector(obs)
    if obs_keys is None:
        raise ValueError(f"The observation is a mapping with entries {sorted(obs)}, but `obs_keys` is None.")
    missing = [key for key in obs_keys if key not in obs]
    if missing:
        raise ValueError(f"The observation lacks {missing}; it has {sorted(obs)}, and `obs_keys` is {obs_keys}.")
    parts = [_numbers(obs[key]) for key in obs_keys]
    axes = max(part.ndim for part in parts)
    if axes == 0:
        raise OwmaError(f"The observation has single numbers only as {', '.join(obs_keys)}; check the environment.")
    return np.concatenate([part[..., None] if part.ndim == axes - 1 else part for part in parts], axis=-1)


def _vector(obs: Any) -> Float[np.ndarray, "..."]:
    numbers = _numbers(obs)
    if numbers.ndim == 0:
        raise OwmaError("The observation is a single number, not a vector; check the environment.")
    return numbers


def _numbers(obs: Any) -> Float[np.ndarray, "..."]:
    try:
        # What does not fit into float32 becomes infinite, which is looked for later, as is any NaN.
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = np.array(obs, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise OwmaError(f"The observation is not made of numbers ({error}); check the environment.") from error
    return numbers


def read_obs(obs: Mapping[str, Any] | Any, obs_keys: tuple[str, ...] | None, size: int) -> Float[np.ndarray, " obs"]:
    """The flat observation of one decision. Raises `OwmaError` if it is not of this size or not finite."""
    flat = sized_obs(obs, obs_keys, size)
    if flat.ndim != 1:
        raise OwmaError(
            f"Agent.act takes one observation, a vector; this one is of shape {flat.shape}. Several are for "
            "Agent.act_batch."
        )
    _require_finite(flat, "Agent.act: observation")
    return flat


def read_batch(obs: Mapping[str, Any] | Any, obs_keys: tuple[str, ...] | None, size: int) -> Float[np.ndarray, "n obs"]:
    """The flat observations of n decisions. Raises `OwmaError` if they are not of this size, or one is not finite."""
    flat = sized_obs(obs, obs_keys, size)
    if flat.ndim != 2 or not len(flat):
        raise OwmaError(
            f"Agent.act_batch takes observations of shape (n, {size}), one of each environment; these are of shape "
            f"{flat.shape}."
        )
    for i in np.flatnonzero(~np.isfinite(flat).all(axis=1)):
        _require_finite(flat[i], f"Agent.act_batch, environment {i}: observation")
    return flat


def _require_finite(flat: Float[np.ndarray, " obs"], what: str) -> None:
    if not np.isfinite(flat).all():
        raise OwmaError(
            f"{what} component {int(np.flatnonzero(~np.isfinite(flat))[0])} is not finite; check the environment (the "
            "agent does not act on guesses)."
        )


def sized_obs(
    obs: Mapping[str, Any] | Any, obs_keys: tuple[str, ...] | None, size: int
) -> Float[np.ndarray, "*batch obs"]:
    """`flatten_obs`; raises `OwmaError` on observations of another size."""
    flat = np.asarray(flatten_obs(obs, obs_keys), np.float32)
    if flat.shape[-1] != size:
        raise OwmaError(f"The observation has {flat.shape[-1]} components, the model was trained on {size}.")
    return flat
