"""Frames: axes that turn with an edge, with two vectors, or with a whole system."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ...symmetry.units import Unit
from ..types import Axes, Index, Type
from .base import Degree, Op, Ref, Scope, Site, Work, result_like

VECTOR = Irreps((Block(1, Irrep(1, -1)),))
FORMS: dict[str, int] = {"edge_z": 1, "gram_schmidt": 2, "pca": 1}


class Frame(Op):
    """Rotations to axes that move with the input, as matrices of every degree up to `lmax`.

    - edge_z: of one vector, to the polar axis. What is left, a turn about the axis, is chosen by rule and jumps
      where the vector is perpendicular to the axis; values in this frame may only be used in ways that do not
      see it (`so2`, or any op that keeps SO(3)), which is checked.
    - gram_schmidt: of two vectors. Right-handed, so mirror images differ. C^-1: it jumps where they are parallel.
    - pca: the principal axes of the positions of a system, each signed by its third moment. C^-1: it jumps
      where two moments meet and where a third moment vanishes; global. It is rotated and reflected with the
      system.

    Type: 1o -> axes on the same set; positions -> axes of the system. Verdict: exact. `to_frame` and
    `from_frame` use it.
    """

    kind: Literal["frame"] = "frame"
    of: tuple[Ref, ...] = Field(min_length=1, max_length=2)
    form: Literal["edge_z", "gram_schmidt", "pca"] = "edge_z"
    lmax: Degree

    reference: ClassVar[str] = "puny2022frame"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        one = Unit.parse("1")
        if len(types) != FORMS[self.form]:
            site.error(
                Code.WRONG_LENGTH,
                f"`form: {self.form}` is made of {FORMS[self.form]}, but gets {len(types)} values",
                help="write `of: [VECTOR]` for edge_z, `of: [A, B]` for gram_schmidt, `of: [positions]` for pca",
            )
            return None
        if self.form == "pca":
            if not types[0].affine or types[0].index is not Index.NODE:
                site.error(
                    Code.REP_MISMATCH,
                    f"`form: pca` needs positions, but gets {types[0]}",
                    help="read `positions`",
                )
                return None
            rep = Axes(self.lmax, free=False, mirrored=True)
            return result_like(
                types, index=Index.SYSTEM, rep=rep, unit=one, affine=False, smooth=-1.0, radius=math.inf
            )
        wrong = next((x for x in types if x.rep != VECTOR or x.affine or x.frame is not None), None)
        if wrong is not None:
            site.error(
                Code.REP_MISMATCH,
                f"`form: {self.form}` needs single vectors (`1x1o`), but gets {wrong}",
                help="read a `relative` op, or bring features to one vector with a `linear`: `out: 1x1o`",
            )
            return None
        if not site.expect_one_set(types, "`frame`"):
            return None
        smooth = min(x.smooth for x in types) if self.form == "edge_z" else -1.0
        rep = Axes(self.lmax, free=self.form == "edge_z", mirrored=False)
        return result_like(types, rep=rep, unit=one, smooth=smooth)

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        # D_l from D_(l-1) and D_1: three contractions
        terms = [((2 * l + 1), (2 * l - 1)) for l in range(2, self.lmax + 1)]
        flops = sum(2 * 3 * a * b * (b + 3 + a) for a, b in terms)
        kept = sum(3 * a * b * 2 + a * a for a, b in terms)
        return {result.index: Work(flops + 60, kept + 40)}

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"form": self.form, "lmax": self.lmax}
