"""What products cost, as their layers compute them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from math import prod

from ...symmetry.irreps import Irreps
from ...symmetry.sphere import grid_for
from .paths import Path


def convolution_work(paths: Sequence[Path], left: Irreps, right: Irreps) -> tuple[float, float]:
    """Of each multiplicity: the couplings contracted with Y, then one small matrix product per element."""
    flops, kept = 0.0, 0.0
    for mul in {path.out.mul for path in paths}:
        some = [path for path in paths if path.out.mul == mul]
        rows = sum(path.out.irrep.dim for path in some)
        columns = sum(left.blocks[i].irrep.dim for i in {path.left for path in some})
        flops += 2 * rows * columns * (right.dim + mul) + rows * mul
        kept += rows * (columns + 2 * mul)
    return flops, kept


def connected_work(paths: Sequence[Path], left: Irreps, right: Irreps, mode: str) -> tuple[float, float]:
    """Of each pair of multiplicities the same for every channel on the right, then the sums by the weights."""
    flops, kept = 0.0, 0.0
    muls = {(left.blocks[path.left].mul, right.blocks[path.right].mul) for path in paths}
    for u, v in muls:
        some = [p for p in paths if (left.blocks[p.left].mul, right.blocks[p.right].mul) == (u, v)]
        rows = sum(path.out.irrep.dim for path in some)
        columns = sum(left.blocks[i].irrep.dim for i in {path.left for path in some})
        depth = sum(right.blocks[j].irrep.dim for j in {path.right for path in some})
        flops += 2 * v * rows * columns * (depth + u)
        kept += v * rows * (columns + u)
        if mode == "uvw":
            flops += sum(2 * path.out.irrep.dim * u * v * path.out.mul for path in some)
        kept += v * rows * u
    return flops, kept


def channelwise_work(paths: Sequence[Path], left: Irreps, right: Irreps, mode: str) -> tuple[float, float]:
    """The pairs of components that couple, and one dense sum of them for each multiplicity, or for each result."""
    flops, kept = 0.0, 0.0
    groups: dict[int, list[Path]] = {}
    for path in paths:
        groups.setdefault(path.into if mode == "separable" else path.out.mul, []).append(path)
    for some in groups.values():
        mul = some[0].out.mul
        rows = some[0].out.irrep.dim if mode == "separable" else 0
        if not rows:
            blocks = {path.into: path.out.irrep.dim for path in some}
            rows = sum(blocks.values())
        pairs = 0
        for path in some:
            a, b = left.blocks[path.left], right.blocks[path.right]
            pairs += coupled_pairs(a.irrep.l, b.irrep.l, path.out.irrep.l)
            if mode == "separable":
                flops += 2 * mul * (a.mul * a.irrep.dim + b.mul * b.irrep.dim)
                kept += mul * (a.irrep.dim + b.irrep.dim)
        flops += 2 * rows * pairs * mul
        kept += 3 * pairs * mul + 2 * rows * mul
    return flops, kept


def sphere_work(degree: int, left: Irreps, right: Irreps, out: Irreps) -> tuple[float, float]:
    """Values at all points of both sides, their product, and sums over the points."""
    points = prod(grid_for(degree))
    channels, others = left.channels or 0, right.channels or 0
    return 2.0 * points * (left.dim + right.dim + out.dim), float(points * (2 * channels + others))


@cache
def coupled_pairs(l1: int, l2: int, l3: int) -> int:
    """Pairs of components (m1, m2) that some component of l3 reads: those with ||m1| - |m2|| <= l3."""
    return sum(abs(abs(m1) - abs(m2)) <= l3 for m1, m2 in product(range(-l1, l1 + 1), range(-l2, l2 + 1)))
