"""Which couplings l1 x l2 -> l3 a product has, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...symmetry.irreps import Block, Irreps
from .base import Dial


@dataclass(frozen=True, slots=True)
class Path:
    """One coupling l1 x l2 -> l3 of a left block with a right block; `scale` is below 1 where relaxed."""

    left: int
    right: int
    out: Block
    scale: float = 1.0


def inversion_strength(relax: Sequence[Dial]) -> float:
    """How strongly parity-forbidden paths enter: the product of the dials that release inversion, else 0."""
    strength, released = 1.0, False
    for dial in relax:
        if "inversion" in dial.factors:
            strength, released = strength * dial.strength, True
    return strength if released else 0.0


def product_paths(left: Irreps, right: Irreps, wanted: Irreps, relax: Sequence[Dial] = ()) -> list[Path]:
    """The couplings that lead to a wanted irrep, sorted by result; forbidden parities only where relaxed."""
    kinds = wanted.kinds
    leak = inversion_strength(relax)
    paths = []
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            for allowed in a.irrep * b.irrep:
                for irrep in kinds:
                    if irrep == allowed:
                        paths.append(Path(i, j, Block(a.mul, irrep)))
                    elif irrep.l == allowed.l and leak:
                        paths.append(Path(i, j, Block(a.mul, irrep), leak))
    return sorted(paths, key=lambda path: path.out.irrep.order)
