"""Wigner 3j symbols and rotation matrices of the real irreps of SO(3), in e3nn's basis and signs."""

from __future__ import annotations

from functools import cache
from math import factorial, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@cache
def wigner_3j(l1: int, l2: int, l3: int) -> Array:
    """The one invariant of three irreps, with norm 1.

        sum_(ijk) w_(ijk) D1_(il) D2_(jm) D3_(kn) = w_(lmn) for every rotation

    Shapes:    -> [2 l1 + 1, 2 l2 + 1, 2 l3 + 1] float64, read-only; zeros where the triangle rule fails
    Reference: the values and signs of e3nn 0.6.0: w(1,1,1)[0,1,2] = 1/sqrt(6)
    """
    shape = (2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1)
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        return _frozen(np.zeros(shape))
    complex_basis = np.zeros(shape, dtype=np.complex128)
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            complex_basis[l1 + m1, l2 + m2, l3 + m1 + m2] = _clebsch_gordan(l1, m1, l2, m2, l3)
    # one axis after the other: all at once takes a hundred times as long
    real = np.einsum("ij,ikn->jkn", _real_to_complex(l1), complex_basis)
    real = np.einsum("kl,jkn->jln", _real_to_complex(l2), real)
    real = np.einsum("nm,jln->jlm", _real_to_complex(l3).conj(), real)
    assert np.abs(real.imag).max() < 1e-12
    # entries are square roots of fractions or 0: what rounding left of a 0 is removed
    values = np.where(np.abs(real.real) < 1e-13, 0.0, real.real)
    return _frozen(values / np.linalg.norm(values))


def wigner_D(l: int, rotation: Array) -> Array:
    """How irrep l turns under a rotation: Y_l(R r) = D_l(R) Y_l(r).

    Built from D_1 = R (the basis of l = 1 is x, y, z) by coupling one more l = 1 at a time, so rounding
    errors stay near 1e-15. Parity is the caller's: pass the proper part, and multiply by p where det R = -1.

    Shapes:    rotation [..., 3, 3] -> [..., 2l + 1, 2l + 1] float64
    """
    rotation = np.asarray(rotation, dtype=np.float64)
    assert np.all(np.linalg.det(rotation) > 0), "a proper rotation"
    result = np.ones((*rotation.shape[:-2], 1, 1))
    for degree in range(1, l + 1):
        w = wigner_3j(degree - 1, 1, degree)
        half = np.einsum("abm,...ac->...bcm", w, result)
        result = (2 * degree + 1) * np.einsum("...bcm,...bd,cdn->...mn", half, rotation, w, optimize=True)
    return result


def _clebsch_gordan(j1: int, m1: int, j2: int, m2: int, j3: int) -> float:
    """<j1 m1 j2 m2 | j3 m1+m2> by Racah's formula, exact up to one square root.

    In whole numbers over one denominator: the quotient of two of them is rounded once.
    """
    m3 = m1 + m2
    f = factorial
    above = (2 * j3 + 1) * f(j3 + j1 - j2) * f(j3 - j1 + j2) * f(j1 + j2 - j3) * f(j3 + m3) * f(j3 - m3)
    squared = above / (f(j1 + j2 + j3 + 1) * f(j1 - m1) * f(j1 + m1) * f(j2 - m2) * f(j2 + m2))
    total, under = 0, 1
    for v in range(max(j2 - j1 + m3, 0), j2 + j3 + m1 + 1):
        below = (j3 - j1 + j2 - v, j3 + m3 - v, v + j1 - j2 - m3)
        if min(below) < 0:
            continue
        term = f(j2 + j3 + m1 - v) * f(j1 - m1 + v) * (-1 if (v + j2 + m2) % 2 else 1)
        divisor = f(v) * f(below[0]) * f(below[1]) * f(below[2])
        total, under = total * divisor + term * under, under * divisor
    return total / under * sqrt(squared)


@cache
def _real_to_complex(l: int) -> NDArray[np.complex128]:
    """Rows: complex harmonics m = -l..l; columns: real ones. The phase (-i)^l makes the 3j symbols real."""
    q = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)
    q[l, l] = 1
    for m in range(1, l + 1):
        q[l - m, l + m], q[l - m, l - m] = 1 / sqrt(2), -1j / sqrt(2)
        q[l + m, l + m], q[l + m, l - m] = (-1) ** m / sqrt(2), 1j * (-1) ** m / sqrt(2)
    return (-1j) ** l * q


def _frozen(values: Array) -> Array:
    values.setflags(write=False)
    return values
