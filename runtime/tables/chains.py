"""Bases of the symmetric powers whose elements are made one from another, by one product each."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import NamedTuple

import numpy as np

from .symmetric import count_paths
from .wigner import Array, wigner_3j

Irrep = tuple[int, int]
_DEPENDENT = 1e-7  # of its norm: what rounding leaves of a product that the ones before make


class Chain(NamedTuple):
    """One element: `last` of the degree below, coupled with block `block` to `irrep`. Of degree 1, the block itself."""

    irrep: Irrep
    last: int
    block: int


@cache
def symmetric_chains(blocks: tuple[Irrep, ...], order: int, highest: int) -> tuple[tuple[Chain, ...], ...]:
    """For every degree up to `order` a basis of the equivariant maps of A, the sum of `blocks`, to single irreps.

        X_chain = sqrt(2 L + 1) sum w3j X_last A_block

    Coupling every element of a degree with every block spans the next symmetric power, but many products depend on
    each other, because their factors are the same A. In the order (last, block, L) those are kept that the ones
    before do not make: per irrep as many as it occurs in the symmetric power. Irreps are left out that lead to no
    degree up to `highest` within `order`. Dependence is found by values at random points (a polynomial that vanishes
    there vanishes); which products are kept depends neither on the points nor on rounding.

    Raises:
        AssertionError: fewer were found than the symmetric power has.
    """
    step = max(l for l, _ in blocks)
    limits = [highest + step * (order - d) for d in range(1, order + 1)]
    wanted = [_counts(blocks, d, limit) for d, limit in enumerate(limits, start=1)]
    points = max(max(counts.values(), default=1) for counts in wanted) + 8
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(points, 2 * l + 1)) for l, _ in blocks]
    levels = [tuple(Chain(irrep, -1, b) for b, irrep in enumerate(blocks))]
    values = inputs
    for counts in wanted[1:]:
        level: list[Chain] = []
        found: list[Array] = []
        kept: dict[Irrep, list[Array]] = {irrep: [] for irrep in counts}
        for n, (before, x) in enumerate(zip(levels[-1], values, strict=True)):
            for b, (l2, p2) in enumerate(blocks):
                for l3 in range(abs(before.irrep[0] - l2), before.irrep[0] + l2 + 1):
                    irrep = (l3, before.irrep[1] * p2)
                    if len(kept.get(irrep, ())) == counts.get(irrep, 0):
                        continue
                    w = wigner_3j(before.irrep[0], l2, l3) * np.sqrt(2 * l3 + 1)
                    value = np.einsum("ijk,ni,nj->nk", w, x, inputs[b], optimize=True)
                    new = _new_part(value.ravel(), kept[irrep], float(np.linalg.norm(x)))
                    if new is not None:
                        kept[irrep].append(new)
                        level.append(Chain(irrep, n, b))
                        found.append(value)
        assert all(len(kept[irrep]) == count for irrep, count in counts.items()), "a basis is incomplete"
        levels.append(tuple(level))
        values = found
    return tuple(levels)


def _counts(blocks: tuple[Irrep, ...], degree: int, limit: int) -> Counter[Irrep]:
    """How often every irrep up to degree `limit` occurs in a symmetric power."""
    found = {(l, p): count_paths(blocks, (l, p), degree) for l in range(limit + 1) for p in (1, -1)}
    return Counter({irrep: count for irrep, count in found.items() if count})


def _new_part(value: Array, kept: list[Array], size: float) -> Array | None:
    """The part of a value that is orthogonal to the kept ones, normalised; None where nothing is.

    `size`: the norm of the factor that it was made of. A cross product of a vector with itself is rounding, too.
    """
    before = np.linalg.norm(value)
    if before < _DEPENDENT * size:
        return None
    value = value / before
    for _ in range(2):
        for other in kept:
            value = value - (value @ other) * other
    norm = float(np.linalg.norm(value))
    return None if norm < _DEPENDENT else value / norm
