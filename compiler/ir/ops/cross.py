"""Cross products of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ..types import Type
from .base import Op, Ref, Scope, Site, expect_irreps, result_like


class Cross(Op):
    """Cross products of vectors, channel by channel: y_u = a_u x b_u.

    Type: n x 1p, n x 1q -> n x 1(pq): of two polar vectors an axial one; units multiply. Verdict: exact.
    """

    kind: Literal["cross"] = "cross"
    of: tuple[Ref, Ref]

    reference: ClassVar[str] = "schutt2021painn"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        a, b = types
        if not (expect_irreps(a, site, "`cross`") and expect_irreps(b, site, "`cross`")):
            return None
        blocks = [one.irreps.blocks for one in types]
        if any(len(one) != 1 or one[0].irrep.l != 1 or one[0].irrep.p == 0 for one in blocks):
            site.error(
                Code.REP_MISMATCH,
                f"`cross` needs vectors in space (`1o` or `1e`), but gets {a} and {b}",
                help="take the vectors out with `arrange: keep`, or use a `product`",
            )
            return None
        (x,), (y,) = blocks
        if x.mul != y.mul:
            site.error(
                Code.CHANNELS_UNEQUAL,
                f"`cross` needs one number of channels on both sides, but gets `{x}` and `{y}`",
                help="bring one side to the other's channels with a `linear`",
            )
            return None
        if not site.expect_one_set(types, "`cross`"):
            return None
        rep = Irreps((Block(x.mul, Irrep(1, x.irrep.p * y.irrep.p)),))
        result = result_like(types, rep=rep, unit=a.unit * b.unit, affine=False, fades=max(a.fades, b.fades))
        if a.affine or b.affine:
            reason = "the cross product of positions depends on the origin"
            result = result.with_(holds=site.broken(result.holds, ("translation",), reason))
        return result

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"channels": types[0].irreps.count}
