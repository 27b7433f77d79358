"""Clebsch-Gordan couplings as arrays, and their canonical polyadic factorisation.

The runtime has its own table of couplings; a test holds this one against it. numpy is imported where it is needed.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .irreps import Irreps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_SWEEPS = 400  # of alternating least squares
_DAMPING = 1e-2  # a penalty on the factors at first
_STARTS = ((0, 0.95), (0, 0.9), (1, 0.9))  # seed, and what is left of the penalty after every sweep


@lru_cache(maxsize=256)
def coupling(l1: int, l2: int, l3: int) -> Array:
    """The 3j symbol of real harmonics, of norm 1, with the signs of the runtime's table: [2l1+1, 2l2+1, 2l3+1].

    Complex coefficients by Racah's formula in fractions, exact up to one square root, taken to the real basis.
    """
    import numpy as np

    values = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1), dtype=complex)
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            values[l1 + m1, l2 + m2, l3 + m1 + m2] = _racah((l1, l2, l3), (m1, m2, m1 + m2))
    bases = (_real_basis(l1), _real_basis(l2), _real_basis(l3).conj())
    real = np.einsum("abc,ai,bj,ck->ijk", values, *bases, optimize=True).real
    result: Array = real / np.linalg.norm(real)
    return result


def _racah(l: tuple[int, int, int], m: tuple[int, int, int]) -> float:
    """<l1 m1 l2 m2 | l3 m3>."""
    f = math.factorial
    (j1, j2, j3), (m1, m2, _) = l, m
    triangle = Fraction(f(j1 + j2 - j3) * f(j1 - j2 + j3) * f(j2 + j3 - j1), f(j1 + j2 + j3 + 1))
    states = math.prod(f(j + k) * f(j - k) for j, k in zip(l, m, strict=True))
    total = Fraction(0)
    for k in range(max(0, j2 - j3 - m1, j1 - j3 + m2), min(j1 + j2 - j3, j1 - m1, j2 + m2) + 1):
        below = (
            *(k, j1 + j2 - j3 - k, j1 - m1 - k),
            *(j2 + m2 - k, j3 - j2 + m1 + k, j3 - j1 - m2 + k),
        )
        total += Fraction((-1) ** k, math.prod(f(one) for one in below))
    return float(total) * math.sqrt((2 * j3 + 1) * triangle * states)


def _real_basis(l: int) -> Array:
    """Columns: real harmonics in complex ones. The phase (-i)^l makes couplings real."""
    import numpy as np

    basis = np.zeros((2 * l + 1, 2 * l + 1), dtype=complex)
    basis[l, l] = 1.0
    for m in range(1, l + 1):
        basis[l - m, [l - m, l + m]] = [-1j * math.sqrt(0.5), math.sqrt(0.5)]
        basis[l + m, [l - m, l + m]] = [(-1) ** m * 1j * math.sqrt(0.5), (-1) ** m * math.sqrt(0.5)]
    return (-1j) ** l * basis


@lru_cache(maxsize=32)
def coupling_tensor(left: Irreps, right: Irreps, out: Irreps) -> Array:
    """All paths at once, one copy of every block: [out, left, right] components.

        T_(l3 m3, l1 m1, l2 m2) = sqrt((2 l3 + 1) / n_l3) w3j_(m1,m2,m3),    n the number of paths to a block

    for parities that multiply; random inputs of variance 1 give results of variance 1.
    """
    import numpy as np

    rows, columns, depth = (_places(one) for one in (out, left, right))
    tensor = np.zeros(tuple(places[-1].stop for places in (rows, columns, depth)))
    for c, at_c in zip(out, rows, strict=True):
        paths = [
            (a.irrep.l, b.irrep.l, at_a, at_b)
            for a, at_a in zip(left, columns, strict=True)
            for b, at_b in zip(right, depth, strict=True)
            if c.irrep in a.irrep * b.irrep
        ]
        for l1, l2, at_a, at_b in paths:
            part = coupling(l1, l2, c.irrep.l) * math.sqrt(c.irrep.dim / len(paths))
            tensor[at_c, at_a, at_b] = part.transpose(2, 0, 1)
    return tensor


def _places(irreps: Irreps) -> list[slice]:
    """Where one copy of every block lies."""
    found, start = [], 0
    for block in irreps:
        found.append(slice(start, start + block.irrep.dim))
        start += block.irrep.dim
    return found


@lru_cache(maxsize=32)
def factors(left: Irreps, right: Irreps, out: Irreps, rank: int | None) -> tuple[Array, Array, Array]:
    """Factors A [out, r], B [left, r], C [right, r] of the tensor of all couplings, r <= rank.

        T_(k,i,j) ~ sum_r A_(k,r) B_(i,r) C_(j,r)

    Exact, with one term for every pair of components that couple, where `rank` is None or allows that many. Else by
    alternating least squares, damped at first, from random starts with one seed; the best of those, and of fits of
    lower rank, which converge where surplus terms get into each other's way.
    """
    import numpy as np

    tensor = coupling_tensor(left, right, out)
    pairs = np.argwhere(np.abs(tensor).sum(axis=0) > 0)
    if rank is None or rank >= len(pairs):
        i, j = pairs.T
        return tensor[:, i, j], np.eye(tensor.shape[1])[:, i], np.eye(tensor.shape[2])[:, j]
    found = [_fitted(tensor, rank, seed, decay) for seed, decay in _STARTS]
    if 4 * rank > 3 * max(tensor.shape):
        found.append(factors(left, right, out, 3 * rank // 4))
    return min(found, key=lambda one: _residual(tensor, one))


def _fitted(tensor: Array, rank: int, seed: int, decay: float) -> tuple[Array, Array, Array]:
    import numpy as np

    rng = np.random.default_rng(seed)
    made: list[Any] = [rng.normal(size=(size, rank)) / math.sqrt(size) for size in tensor.shape]
    flat = [np.moveaxis(tensor, k, 0).reshape(tensor.shape[k], -1) for k in range(3)]
    for sweep in range(_SWEEPS):
        damping = max(_DAMPING * decay**sweep, 1e-12)  # and no less: the equations may be singular
        for k in range(3):
            p, q = (made[n] for n in range(3) if n != k)
            gram = (p.T @ p) * (q.T @ q) + damping * np.eye(rank)
            known = flat[k] @ (p[:, None] * q[None]).reshape(-1, rank)
            made[k] = np.linalg.solve(gram, known.T).T
        sizes = [np.linalg.norm(one, axis=0) + 1e-300 for one in made]
        even = math.prod(sizes) ** (1 / 3)
        made = [one * (even / size) for one, size in zip(made, sizes, strict=True)]
    return made[0], made[1], made[2]


def _residual(tensor: Array, made: Any) -> float:
    import numpy as np

    return float(np.square(_product(made) - tensor).sum())


def _product(made: Any) -> Array:
    import numpy as np

    return np.einsum("kr,ir,jr->kij", *made, optimize=True)


def factor_error(
    left: Irreps, right: Irreps, out: Irreps, rank: int | None, *, square: bool = False
) -> float:
    """The error of the truncation, relative, RMS over N(0, 1) features; that of equivariance is not above it.

        eps² = |F - T|² / |F|²,   F the product of the factors, T the tensor of all couplings

    T is equivariant, so that what F loses of equivariance, its distance from the nearest such map, is no more.
    `square`: both features are the same, and E (x.S x)² = 2 |S|² + (tr S)² takes the place of |F|², S the symmetric
    part.
    """
    import numpy as np

    tensor = coupling_tensor(left, right, out)
    made = _product(factors(left, right, out, rank))

    def size(one: Array) -> float:
        if not square:
            return float(np.square(one).sum())
        even = (one + one.transpose(0, 2, 1)) / 2
        return float(2 * np.square(even).sum() + np.square(np.trace(even, axis1=1, axis2=2)).sum())

    return math.sqrt(size(made - tensor) / size(made))
