"""Principal-component whitening of outcomes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Float, HostArray, Psi

_SHARE_OF_PART = 0.01
"""Of the largest variance of a part of the data: directions that have less of it may be lost."""

_ROWS_AT_ONCE = 65_536


class Whitening(eqx.Module):
    r"""An affine map to uncorrelated coordinates of zero mean and unit variance, and back.

    $\psi_w = D^{-1/2}U^\top(\psi - m)$ with $U, D$ the leading principal directions and variances of the data.
    Directions of small variance are dropped; `unwhiten` after `whiten` is then the projection on the remaining ones.
    """

    mean: Float[Array, " raw"]
    forward: Float[Array, "psi raw"]
    backward: Float[Array, "raw psi"]

    @classmethod
    def fit(
        cls,
        data: Float[HostArray, "n raw"],
        *,
        min_variance: float = 1e-3,
        max_dims: int = 64,
        part: Float[HostArray, "m raw"] | None = None,
        part_dims: int = 0,
    ) -> "Whitening":
        """Fit to at most `max_dims` principal components of `data`, those with a variance of at least `min_variance`
        times the largest one.

        **Arguments:** `part`: what one event adds to some of the data. Directions in which it varies stay too, whatever
        their share of the data's variance, if the principal components would lose them: `part_dims` at most, which
        count among `max_dims`.

        Raises `ValueError` if `data` is constant.
        """
        data = np.asarray(data, np.float64)
        mean = data.mean(axis=0)
        covariance = np.atleast_2d(np.cov(data, rowvar=False))
        variances, directions = np.linalg.eigh(covariance)
        variances, directions = variances[::-1], directions[:, ::-1]
        if not variances[0] > 0:
            raise ValueError("Whitening.fit: `data` is constant in every direction; there is no outcome to model.")
        keep = np.flatnonzero(variances >= min_variance * variances[0])[:max_dims]
        variances, directions = variances[keep], directions[:, keep]
        if part is not None:
            lost = _lost_directions(part, directions, most=min(part_dims, max_dims - 1))
            directions = directions[:, : max_dims - lost.shape[1]]
            # Uncorrelated with the components, to which they are orthogonal; so they have to be among themselves.
            further, turned = np.linalg.eigh(lost.T @ covariance @ lost)
            variances = np.concatenate([variances[: directions.shape[1]], further[::-1]])
            directions = np.concatenate([directions, lost @ turned[:, ::-1]], axis=1)
        deviations = np.sqrt(variances)
        # eigh leaves signs free; fixing them makes the same data give the same coordinates on every machine.
        signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
        directions = directions * signs
        return cls(
            mean=jnp.asarray(mean, jnp.float32),
            forward=jnp.asarray((directions / deviations).T, jnp.float32),
            backward=jnp.asarray(directions * deviations, jnp.float32),
        )

    @property
    def dims(self) -> int:
        """The number of whitened coordinates."""
        return self.forward.shape[0]

    def whiten(self, raw: Float[Array, " raw"]) -> Psi:
        return jax.lax.stop_gradient(self.forward) @ (raw - jax.lax.stop_gradient(self.mean))

    def unwhiten(self, psi: Psi) -> Float[Array, " raw"]:
        return jax.lax.stop_gradient(self.backward) @ psi + jax.lax.stop_gradient(self.mean)

    def whiten_cumulant(self, cumulant: Float[Array, " raw"], discount: float) -> Psi:
        r"""The cumulant $c_w$ for which the Bellman equation keeps its form in whitened coordinates.

        $\psi = c + \gamma\psi'$ becomes $\psi_w = c_w + \gamma\psi_w'$ with
        $c_w = D^{-1/2}U^\top(c - (1-\gamma)m)$.
        """
        return jax.lax.stop_gradient(self.forward) @ (cumulant - (1 - discount) * jax.lax.stop_gradient(self.mean))


def _lost_directions(
    part: Float[HostArray, "m raw"], kept: Float[np.ndarray, "raw k"], *, most: int
) -> Float[np.ndarray, "raw l"]:
    """Orthonormal directions, orthogonal to `kept`, in which `part` varies by a share of its variance that counts."""
    scatter = _scatter(np.asarray(part))
    largest = np.linalg.eigvalsh(scatter)[-1]
    others = np.eye(len(kept)) - kept @ kept.T
    values, directions = np.linalg.eigh(others @ scatter @ others)
    count = np.count_nonzero(values >= _SHARE_OF_PART * largest) if largest > 0 else 0
    directions = directions[:, ::-1][:, : min(count, most)]
    # Rounding leaves a little of what was taken off.
    return np.linalg.qr(directions - kept @ (kept.T @ directions))[0]


def _scatter(data: Float[np.ndarray, "m raw"]) -> Float[np.ndarray, "raw raw"]:
    """Sum of the outer products of what `data` have more than their mean, in double precision and without a copy."""
    mean = data.mean(axis=0, dtype=np.float64)
    total = np.zeros((len(mean), len(mean)))
    for start in range(0, len(data), _ROWS_AT_ONCE):
        centred = data[start : start + _ROWS_AT_ONCE] - mean
        total += centred.T @ centred
    return total


class Standardisation(eqx.Module):
    """Per-coordinate shift and scale; coordinates that do not vary are only shifted."""

    mean: Float[Array, " raw"]
    std: Float[Array, " raw"]

    @classmethod
    def identity(cls, dims: int) -> "Standardisation":
        """The identity map."""
        return cls(jnp.zeros(dims), jnp.ones(dims))

    @classmethod
    def fit(cls, data: Float[HostArray, "n raw"]) -> "Standardisation":
        data = np.asarray(data, np.float64)
        std = data.std(axis=0)
        # Relative to the magnitude, so that rounding errors in a constant column do not count as variation.
        varies = std > 1e-6 * np.maximum(np.abs(data).max(axis=0), 1e-6)
        return cls(
            mean=jnp.asarray(data.mean(axis=0), jnp.float32),
            std=jnp.asarray(np.where(varies, std, 1.0), jnp.float32),
        )

    def __call__(self, raw: Float[Array, " raw"]) -> Float[Array, " raw"]:
        return (raw - jax.lax.stop_gradient(self.mean)) / jax.lax.stop_gradient(self.std)

    def invert(self, standard: Float[Array, " raw"]) -> Float[Array, " raw"]:
        return standard * jax.lax.stop_gradient(self.std) + jax.lax.stop_gradient(self.mean)
