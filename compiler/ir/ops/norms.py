"""Lengths of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ..types import Type
from .base import Op, Ref, Scope, Site, expect_irreps, result_like


class Norms(Op):
    """The length of every irrep: y_u = sqrt(sum_m x_(m,u)^2 + eps).

    Type: R -> n x 0e, n the number of irreps. Verdict: exact. Smooth: analytic, since eps > 0.
    """

    kind: Literal["norms"] = "norms"
    of: Ref
    eps: Annotated[float, Field(gt=0, le=1, strict=True)] = 1e-8

    reference: ClassVar[str] = "schutt2021painn"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`norms`"):
            return None
        if x.affine:
            site.error(
                Code.REP_MISMATCH,
                f"`norms` needs values that do not move with the system, but gets {x}",
                help="take the difference of two positions first",
            )
            return None
        scalar = Irrep(0, 0 if x.irreps.group == "SO(2)" else 1)
        return result_like(types, rep=Irreps((Block(x.irreps.count, scalar),), x.irreps.group))

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"in": str(types[0].rep), "eps": self.eps}
