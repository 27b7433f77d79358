"""Inner products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ..types import Plain, Type
from .base import Op, Ref, Scope, Site, result_like


class Inner(Op):
    """Inner products of equal irreps, channel by channel: y_u = <a_u, b_u>. Verdict: exact (invariants)."""

    kind: Literal["inner"] = "inner"
    of: tuple[Ref, Ref]

    reference: ClassVar[str] = "satorras2021egnn"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        a, b = types
        if a.rep != b.rep:
            site.error(
                Code.REP_MISMATCH,
                f"`inner` needs equal types, but gets {a} and {b}",
                help="multiply values of one representation",
            )
            return None
        if not site.expect_one_set(types, "`inner`"):
            return None
        fades = max(a.fades, b.fades)
        if isinstance(a.rep, Plain):
            result = result_like(types, rep=Plain(1), unit=a.unit * b.unit, affine=False, fades=fades)
        else:
            group = a.irreps.group
            scalar = Irrep(0, 0 if group == "SO(2)" else 1)
            rep = Irreps((Block(a.irreps.count, scalar),), group)
            result = result_like(types, rep=rep, unit=a.unit * b.unit, affine=False, fades=fades)
        if a.affine or b.affine:
            reason = "the inner product of positions depends on the origin"
            result = result.with_(holds=site.broken(result.holds, ("translation",), reason))
        return result

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"in": str(types[0].rep)}
