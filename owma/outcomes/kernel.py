"""Linear regression on outcomes, corrected by a kernel where recorded outcomes contradict it."""

import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Float, HostArray, Int, Psi, Scalar
from owma.outcomes.value import AbstractValue, LinearValue

_NOISE = 0.25
"""Variance of a label about the value, relative to that of the correction before any label is seen."""

_REACH = 2.0
"""Length of the kernel, in root-mean-square distances of two whitened outcomes."""

_CENTRES_AMONG = 20_000
"""Outcomes among which centres are drawn, at random where there are more: each centre is compared with all of them."""

_ROWS_AT_ONCE = 20_000


class KernelValue(AbstractValue):
    r"""$V(\psi) = w^\top\psi + b + \sum_j\alpha_j\,e^{-\|\psi-c_j\|^2/2\ell^2}$: near outcomes that were recorded what
    they returned, far from all of them the linear value.

    A way that few episodes go has no part in R², and a linear value may miss what it returns by all of it. Its outcomes
    lie apart from the others, so that a local correction mends it and leaves the rest alone.

    It is the mean of a Gaussian process about the linear value, on a few centres (subset of regressors; Rasmussen and
    Williams 2006, Gaussian Processes for Machine Learning, equation 8.14).
    """

    linear: LinearValue
    centres: Float[Array, "centres psi"]
    """Recorded outcomes, the first of them spread out over all."""
    weights: Float[Array, " centres"]
    """α."""
    length: Scalar
    """ℓ."""

    @classmethod
    def fit(
        cls,
        linear: LinearValue,
        psi: Float[HostArray, "n psi"],
        returns: Float[HostArray, " n"],
        centres: Float[HostArray, "centres psi"],
        *,
        alike: float = 1.0,
    ) -> "KernelValue":
        """Fit the correction to what `linear` leaves of the returns.

        **Arguments:** `centres`: as `spread_out` chooses them. `alike`: how many labels tell as much as one that is
        independent of all others, as successive ones of an episode are not.
        """
        centres = np.asarray(centres, np.float64)
        length = _REACH * np.sqrt(2 * centres.shape[1])
        weight, bias = np.asarray(linear.weight, np.float64), float(linear.bias)
        gram, moment = np.zeros((len(centres), len(centres))), np.zeros(len(centres))
        for start in range(0, len(psi), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            x = np.asarray(psi[rows], np.float64)
            near = _kernel(x, centres, length)
            gram += near.T @ near / alike
            moment += near.T @ (np.asarray(returns[rows], np.float64) - x @ weight - bias) / alike
        prior = _NOISE * _kernel(centres, centres, length)
        # Centres may lie close together; a little more of the diagonal keeps the system regular.
        weights = np.linalg.solve(gram + prior + 1e-6 * np.eye(len(centres)), moment)
        return cls(
            linear,
            jnp.asarray(centres, jnp.float32),
            jnp.asarray(weights, jnp.float32),
            jnp.asarray(length, jnp.float32),
        )

    def __call__(self, psi: Psi) -> Scalar:
        # As a product of matrices under `jax.vmap`, which takes a tenth of the time of all differences.
        products = jnp.matmul(psi, self.centres.T, precision="highest")
        distances = jnp.sum(jnp.square(psi)) + jnp.sum(jnp.square(self.centres), axis=1) - 2 * products
        return self.linear(psi) + jnp.exp(-distances / (2 * jnp.square(self.length))) @ self.weights


def untrained_kernel_value(linear: LinearValue, num_centres: int) -> KernelValue:
    """The linear value, without a correction."""
    centres = jnp.zeros((num_centres, linear.weight.shape[0]))
    return KernelValue(linear, centres, jnp.zeros(num_centres), jnp.ones(()))


def spread_out(psi: Float[HostArray, "n psi"], num: int, *, seed: int = 0) -> Float[np.ndarray, "num psi"]:
    """`num` of these outcomes, drawn one after another in proportion to the squared distance from the nearest one
    before (the seeding of k-means++, Arthur and Vassilvitskii 2007): what lies apart is drawn however rare it is.

    They repeat where there are fewer.
    """
    rng = np.random.default_rng(seed)
    rows: Int[np.ndarray, " m"] = rng.permutation(len(psi))[:_CENTRES_AMONG]
    candidates = np.asarray(psi[np.sort(rows)], np.float64)
    chosen = np.empty((num, candidates.shape[1]))
    chosen[0] = candidates[rng.integers(len(candidates))]
    distances = np.full(len(candidates), np.inf)
    for i in range(1, num):
        distances = np.minimum(distances, np.sum(np.square(candidates - chosen[i - 1]), axis=1))
        total = distances.sum()
        if total == 0:
            return np.resize(chosen[:i], chosen.shape)
        chosen[i] = candidates[rng.choice(len(candidates), p=distances / total)]
    return chosen


def _kernel(
    x: Float[np.ndarray, "n psi"], centres: Float[np.ndarray, "m psi"], length: float
) -> Float[np.ndarray, "n m"]:
    squares = np.sum(np.square(x), axis=1)[:, None] + np.sum(np.square(centres), axis=1) - 2 * x @ centres.T
    return np.exp(-np.maximum(squares, 0) / (2 * length**2))
