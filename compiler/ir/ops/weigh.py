"""Features scaled by invariant numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Block, Irreps
from ..types import Type
from .base import Op, Ref, Scope, Site, Size, expect_irreps, result_like


class Weigh(Op):
    """Every irrep times an invariant: y_(m,u) = w_u x_(m,u), with one w for all, or one for each irrep.

    With `copies` c, each irrep is taken c times, with a weight for each: y_(m,uc) = w_(u,c) x_(m,u). Type: R,
    1x0e or cn x 0e -> c R, n the number of irreps; units multiply. Verdict: exact where w is invariant.
    """

    kind: Literal["weigh"] = "weigh"
    of: Ref
    by: Ref
    copies: Size = 1

    ports: ClassVar[tuple[str, ...]] = ("of", "by")
    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        x, w = types
        if not (expect_irreps(x, site, "`weigh`") and expect_irreps(w, site, "`weigh`")):
            return None
        if not site.expect_one_set(types, "`weigh`"):
            return None
        wanted = x.irreps.count * self.copies
        if w.dim != wanted and (w.dim, self.copies) != (1, 1):
            site.error(
                Code.REP_MISMATCH,
                f"`{x.irreps.short}` takes {wanted} weights, but `{self.by}` gives {w.dim}",
                help=f"bring the weights to `{wanted}x0e`" + (", or to one" if self.copies == 1 else ""),
            )
            return None
        rep = Irreps(tuple(Block(block.mul * self.copies, block.irrep) for block in x.irreps), x.irreps.group)
        result = result_like(
            types, rep=rep, unit=x.unit * w.unit, fades=max(x.fades, w.fades), affine=x.affine or w.affine
        )
        holds = dict(result.holds)
        if not w.irreps.all_scalar:
            holds = site.broken(holds, ("SO(3)",), f"its weights, `{w.irreps.short}`, turn with the system")
        if any(block.irrep.p < 0 for block in w.irreps):
            holds = site.broken(holds, ("inversion",), f"its weights, `{w.irreps.short}`, are odd")
        if x.affine or w.affine:
            holds = site.broken(holds, ("translation",), "a weighted position moves with its weight")
        return result.with_(holds=holds)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        rep = types[0].rep
        assert isinstance(rep, Irreps)
        return {"in": str(rep), "weights": types[1].dim, "copies": self.copies}
