"""Matrices [3, 3] as sums of irreps: trace, antisymmetric part, symmetric part without trace."""

from __future__ import annotations

from functools import cache

import numpy as np

from ..irreps import Irreps
from .spherical import harmonic_polynomials, monomials
from .wigner import Array

_LEVI_CIVITA = np.zeros((3, 3, 3))
for _a, _b, _c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    _LEVI_CIVITA[_a, _b, _c], _LEVI_CIVITA[_a, _c, _b] = 1.0, -1.0


@cache
def matrix_basis(rep: str) -> Array:
    """The orthonormal basis of matrices that turns components of irreps into a matrix.

        T_ab = sum_m Q_(m,ab) x_m,   x_m = sum_ab Q_(m,ab) T_ab,   sum_ab Q_(m,ab) Q_(n,ab) = delta_mn

    Degree 0 is the trace, 1 the antisymmetric part (the axial vector v_a = e_abc T_bc / sqrt 2), 2 the
    symmetric part without trace, in the order of the harmonics Y_2.

    Shapes:    -> [irreps.dim, 3, 3] float64, read-only; blocks as in `rep`, one copy of each
    """
    parts = {0: np.eye(3)[None] / np.sqrt(3.0), 1: _LEVI_CIVITA / np.sqrt(2.0), 2: _quadratic_forms()}
    basis = np.concatenate([parts[block.l] for block in Irreps.parse(rep)])
    basis.setflags(write=False)
    return basis


def to_irreps(value: Array, rep: str) -> Array:
    """Components of irreps from matrices: [..., 3, 3] -> [..., irreps.dim]."""
    return np.einsum("mab,...ab->...m", matrix_basis(rep), value)


def _quadratic_forms() -> Array:
    """Y_2 as symmetric matrices of norm 1: Y_(2,m)(r) ~ r^T Q_m r."""
    found = np.zeros((5, 3, 3))
    for (a, b), row in zip(monomials(3, 2), harmonic_polynomials(2), strict=True):
        found[:, a, b] += row / 2.0
        found[:, b, a] += row / 2.0
    return found / np.linalg.norm(found, axis=(1, 2), keepdims=True)
