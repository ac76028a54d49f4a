"""Polynomial cumulants."""

import itertools

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Float, Obs
from owma.outcomes.features.base import AbstractFeatures


class PolynomialFeatures(AbstractFeatures):
    r"""$c(s) = (s^\alpha)_{1\le|\alpha|\le D}$: all monomials of the standardised coordinates up to degree D, in
    graded lexicographic order, without the constant (whose outcome is the same everywhere).

    The basis of least-squares value functions (Lagoudakis & Parr 2003, *Least-Squares Policy Iteration*, JMLR 4); there
    are $\binom{n + D}{D} - 1$ of them for n coordinates.
    """

    degree: int = eqx.field(static=True)

    def __call__(self, obs: Obs) -> Float[Array, " features"]:
        monomials = []
        for degree in range(1, self.degree + 1):
            chosen = list(itertools.combinations_with_replacement(range(obs.shape[0]), degree))
            monomials.append(jnp.prod(obs[np.asarray(chosen)], axis=1))
        return jnp.concatenate(monomials)
