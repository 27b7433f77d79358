"""Values on the pairs of bodies of a phase space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ..types import Index, Plain, Type
from .base import Op, Ref, Site, result_like


class Distances(Op):
    """Squared distances of all pairs of bodies: y_(ij) = |x_i - x_j|^2, i < j.

    Type: state, positions of one representation -> pair: one invariant. Verdict: exact; differences ignore
    translations, their lengths rotations. The order in which the bodies are named has no say.
    """

    kind: Literal["distances"] = "distances"
    of: tuple[Ref, ...] = Field(min_length=2)

    commutative: ClassVar[bool] = True
    reference: ClassVar[str] = "satorras2021egnn"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        first = types[0]
        other = next((one for one in types if one.rep != first.rep or one.index is not first.index), None)
        if other is not None or first.index is not Index.STATE:
            site.error(
                Code.REP_MISMATCH,
                f"distances need positions of one representation, but get {first} and {other or first}",
                help="give every body the same number of dimensions, or the same irreps",
            )
            return None
        if isinstance(first.rep, Irreps):
            invariant = Block(1, Irrep(0, 0 if first.rep.group == "SO(2)" else 1))
            rep: Irreps | Plain = Irreps((invariant,), first.rep.group)
        else:
            rep = Plain(1)
        return result_like(types, index=Index.PAIR, rep=rep, unit=first.unit**2, affine=False)
