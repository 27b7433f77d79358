"""Complete bases of the symmetric powers: all equivariant polynomials of one feature with itself.

For V = V_1 + ... + V_b, one irrep each, Sym^n(V) is the sum over multisets of blocks of the products of
Sym^k(V_i). So Sym^k of single irreps is built once, by adding factors one at a time and orthonormalising,
and different blocks are coupled by Clebsch-Gordan, which keeps orthonormality. The order of couplings is
fixed and the orthonormalisation is Gram-Schmidt in that order: a basis, and so the meaning of a weight, does
not depend on the machine's linear algebra, as singular vectors would.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement, product
from math import factorial, prod

import numpy as np

from .spherical import Monomial, monomials
from .wigner import Array, wigner_3j

Irrep = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SymmetricBasis:
    """Orthonormal equivariant maps Sym^degree(V) -> L, as polynomials.

        B_(path,m)[x] = sum_t coefficients_(t, path, m) x_(t_1) ... x_(t_degree)

    As tensors symmetric in their inputs they have norm 1 for each m, and different paths are orthogonal.
    `monomials`: only those that occur. `coefficients`: [monomial, path, 2L + 1]. `allowed`: for each path,
    whether parity allows it.
    """

    degree: int
    monomials: tuple[Monomial, ...]
    coefficients: Array
    allowed: tuple[bool, ...]


@cache
def symmetric_basis(
    blocks: tuple[Irrep, ...], target: Irrep, degree: int, *, allow_parity: bool = False
) -> SymmetricBasis:
    """All equivariant maps from the symmetric power of V = sum of `blocks` to `target`.

    With `allow_parity` also the maps that only rotations respect, marked in `allowed`.

    Example:
        >>> symmetric_basis(((1, -1),), (0, 1), 2).monomials      # the square of a vector: x x, y y, z z
        ((0, 0), (1, 1), (2, 2))
    """
    sizes = [2 * l + 1 for l, _ in blocks]
    starts = np.cumsum([0, *sizes])
    found: list[tuple[tuple[Monomial, ...], Array, bool]] = []
    for multiset in combinations_with_replacement(range(len(blocks)), degree):
        powers = Counter(multiset)
        allowed = prod(blocks[b][1] ** k for b, k in powers.items()) == target[1]
        if not (allowed or allow_parity):
            continue
        rows: tuple[Monomial, ...] = tuple(
            tuple(int(starts[b]) + i for b, part in zip(powers, parts, strict=True) for i in part)
            for parts in product(*(monomials(sizes[b], k) for b, k in powers.items()))
        )
        found += [(rows, path, allowed) for path in _couple(blocks, powers, target[0])]
    names = sorted(
        {
            row
            for rows, path, _ in found
            for row, used in zip(rows, np.any(path, axis=1).tolist(), strict=True)
            if used
        }
    )
    place = {name: i for i, name in enumerate(names)}
    coefficients = np.zeros((len(names), len(found), 2 * target[0] + 1))
    for p, (rows, path, _) in enumerate(found):
        used = np.flatnonzero(path.any(1))
        coefficients[[place[rows[i]] for i in used], p] = path[used]
    allowed = tuple(flag for *_, flag in found)
    assert sum(allowed) == count_paths(blocks, target, degree), "a basis is incomplete"
    coefficients.setflags(write=False)
    return SymmetricBasis(degree, tuple(names), coefficients, allowed)


def count_paths(blocks: tuple[Irrep, ...], target: Irrep, degree: int) -> int:
    """How often `target` occurs in the symmetric power, from characters alone.

    The number of states of weight M = L less those of weight M = L + 1.
    """
    # states[k][M, p]: number of multisets of k weights with sum M and parity p
    states: list[Counter[Irrep]] = [Counter({(0, 1): 1})] + [Counter() for _ in range(degree)]
    for l, p in blocks:
        for weight in range(-l, l + 1):
            for k in range(1, degree + 1):  # ascending: a weight may be used again
                for (total, parity), number in list(states[k - 1].items()):
                    states[k][total + weight, parity * p] += number
    l, p = target
    return states[degree][l, p] - states[degree][l + 1, p]


def _couple(blocks: tuple[Irrep, ...], powers: Counter[int], l: int) -> list[Array]:
    """Maps from the product of Sym^k(V_b), for b: k in `powers`, to l: arrays [monomials, 2l + 1]."""
    partial: dict[int, list[Array]] = {0: [np.ones((1, 1))]}
    for b, k in powers.items():
        ahead: dict[int, list[Array]] = {}
        for j, lefts in partial.items():
            for i, rights in _single(blocks[b][0], k).items():
                for total in range(abs(i - j), i + j + 1):
                    w = wigner_3j(j, i, total) * np.sqrt(2 * total + 1)
                    halves = [np.einsum("am,mnk->ank", left, w) for left in lefts]
                    for half, right in product(halves, rights):
                        joined = np.einsum("bn,ank->abk", right, half)
                        ahead.setdefault(total, []).append(joined.reshape(-1, 2 * total + 1))
        partial = ahead
    # disjoint variables: as a tensor the product is spread over all interleavings of its factors
    scale = np.sqrt(factorial(sum(powers.values())) / prod(factorial(k) for k in powers.values()))
    return [np.where(np.abs(path) < 1e-12, 0.0, path * scale) for path in partial.get(l, [])]


@cache
def _single(l: int, degree: int) -> dict[int, list[Array]]:
    """Sym^degree of one irrep, by the irreps in it: arrays [monomial, 2j + 1], orthonormal for each j."""
    if degree == 0:
        return {0: [np.ones((1, 1))]}
    size, names = 2 * l + 1, monomials(2 * l + 1, degree)
    row = {name: i for i, name in enumerate(names)}
    raise_by = np.array(
        [[row[tuple(sorted((*name, v)))] for v in range(size)] for name in monomials(size, degree - 1)]
    )
    orderings = np.array(
        [factorial(degree) / prod(factorial(k) for k in Counter(name).values()) for name in names]
    )
    result: dict[int, list[Array]] = {}
    for j, paths in _single(l, degree - 1).items():
        for total in range(abs(j - l), j + l + 1):
            for path in paths:
                terms = np.einsum("tm,mvk->tvk", path, wigner_3j(j, l, total))
                polynomial = np.zeros((len(names), 2 * total + 1))
                np.add.at(polynomial, raise_by.ravel(), terms.reshape(-1, 2 * total + 1))
                kept = result.setdefault(total, [])
                new = _orthonormalised(polynomial, kept, orderings)
                if new is not None:
                    kept.append(new)
    return {j: paths for j, paths in result.items() if paths}


def _orthonormalised(polynomial: Array, kept: list[Array], orderings: Array) -> Array | None:
    """The part of an equivariant polynomial that is new, with norm 1 per component; None where nothing is.

    As a symmetric tensor its entries are coefficient / orderings, each occurring `orderings` times.
    """
    components = polynomial.shape[1]
    before = np.sqrt((polynomial**2 / orderings[:, None]).sum() / components)
    if before < 1e-10:
        return None
    polynomial = polynomial / before
    for _ in range(2):  # twice is enough: what rounding leaves after once is removed
        for other in kept:
            overlap = (polynomial * other / orderings[:, None]).sum() / components
            polynomial = polynomial - overlap * other
    norm = np.sqrt((polynomial**2 / orderings[:, None]).sum() / components)
    return None if norm < 1e-6 else polynomial / norm
