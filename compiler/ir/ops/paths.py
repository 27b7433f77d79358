"""Which couplings l1 x l2 -> l3 a product has, in which order, and how many weights they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from ...symmetry.irreps import Block, Irreps
from .base import Dial

# How channels meet: u of the left, v of the right, w of the result.
Connection = Literal["uvu", "uvv", "uvw", "uuu", "separable", "elementwise"]
# How features meet as functions on the sphere.
OnSphere = Literal["gaunt", "s2grid"]
ON_SPHERE: frozenset[str] = frozenset({"gaunt", "s2grid"})
SUMMING: frozenset[str] = frozenset({"uvw", "separable"})  # all paths to an irrep add up
CHANNELWISE: frozenset[str] = frozenset({"uuu", "elementwise"})


@dataclass(frozen=True, slots=True)
class Path:
    """One coupling l1 x l2 -> l3 of a left block with a right block into block `into` of the result.

    `scale` is below 1 where relaxed.
    """

    left: int
    right: int
    out: Block
    scale: float = 1.0
    into: int = 0


def inversion_strength(relax: Sequence[Dial]) -> float:
    """How strongly parity-forbidden paths enter: the product of the dials that release inversion, else 0."""
    strength, released = 1.0, False
    for dial in relax:
        if "inversion" in dial.factors:
            strength, released = strength * dial.strength, True
    return strength if released else 0.0


def product_paths(
    left: Irreps, right: Irreps, wanted: Irreps, relax: Sequence[Dial] = (), mode: str = "uvu"
) -> list[Path]:
    """The couplings that lead to a wanted irrep, sorted by result; forbidden parities only where relaxed.

    Each path makes a block of its own, as `wanted` filters; in the modes of `SUMMING` the blocks of `wanted`
    are the result, and all paths to one add up. `elementwise` couples block k with block k.
    """
    return list(_paths(left, right, wanted, inversion_strength(relax), mode))


@lru_cache(maxsize=512)  # every pass asks again, and layers are alike
def _paths(left: Irreps, right: Irreps, wanted: Irreps, leak: float, mode: str) -> tuple[Path, ...]:
    targets = tuple(wanted) if mode in SUMMING else tuple(Block(0, irrep) for irrep in wanted.kinds)
    paths = []
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            if mode == "elementwise" and i != j:
                continue
            for allowed in a.irrep * b.irrep:
                for k, target in enumerate(targets):
                    if target.irrep.l != allowed.l or not (target.irrep == allowed or leak):
                        continue
                    mul = target.mul if mode in SUMMING else b.mul if mode == "uvv" else a.mul
                    scale = 1.0 if target.irrep == allowed else leak
                    paths.append(Path(i, j, Block(mul, target.irrep), scale, k))
    if mode in SUMMING:
        return tuple(sorted(paths, key=lambda path: path.into))
    paths.sort(key=lambda path: path.out.irrep.order)
    return tuple(replace(path, into=k) for k, path in enumerate(paths))


def weights_of(path: Path, left: Irreps, right: Irreps, mode: str) -> int:
    """How many weights a path takes: [u, v] or [u, v, w] numbers; [u, w] and [v, w] where separable."""
    u, v, w = left.blocks[path.left].mul, right.blocks[path.right].mul, path.out.mul
    return {
        "uvu": u * v,
        "uvv": u * v,
        "uvw": u * v * w,
        "uuu": u,
        "separable": (u + v) * w,
    }.get(mode, 0)
