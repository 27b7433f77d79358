"""Real spherical harmonics as homogeneous polynomials of x, y, z."""

from __future__ import annotations

from functools import cache
from itertools import combinations_with_replacement

import numpy as np

from .wigner import Array, wigner_3j

Monomial = tuple[int, ...]


@cache
def monomials(variables: int, degree: int) -> tuple[Monomial, ...]:
    """The products of `degree` variables, each as a sorted tuple of their numbers, in lexicographic order."""
    return tuple(combinations_with_replacement(range(variables), degree))


@cache
def harmonic_polynomials(l: int) -> Array:
    """Coefficients of Y_l on the monomials of degree l in x, y, z.

        Y_(l,m)(r) = sum_t c_(t,m) r_(t_1) ... r_(t_l),   |r| = 1;  mean of Y_(l,m)^2 over the sphere: 1

    Y_l is Y_(l-1) coupled with r to degree l; its one free factor is fixed at the polar axis y, where Y_(l,0)
    is sqrt(2l + 1). The polynomial is homogeneous, so terms cancel little and float32 stays accurate.

    Shapes:    -> [(l + 1)(l + 2) / 2, 2l + 1] float64, read-only
    Reference: e3nn 0.6.0, "component" normalisation: Y_1 = sqrt(3) (x, y, z)
    """
    if l == 0:
        return _frozen(np.ones((1, 1)))
    lower = harmonic_polynomials(l - 1)
    coupling = wigner_3j(l - 1, 1, l)
    row = {monomial: i for i, monomial in enumerate(monomials(3, l))}
    result = np.zeros((len(row), 2 * l + 1))
    for t, monomial in enumerate(monomials(3, l - 1)):
        for axis in range(3):
            result[row[tuple(sorted((*monomial, axis)))]] += lower[t] @ coupling[:, axis]
    pole = result[row[(1,) * l], l]
    result *= np.sqrt(2 * l + 1) / pole
    result[np.abs(result) < 1e-13 * np.abs(result).max()] = 0.0
    return _frozen(result)


def _frozen(values: Array) -> Array:
    values.setflags(write=False)
    return values
