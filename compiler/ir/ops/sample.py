"""Features as values on a sphere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.sphere import MAX_GRID
from ..types import Index, Sphere, Type
from .base import Op, Ref, Scope, Site, Work, expect_irreps, result_like
from .sphere import GridDegree, degrees_of, functions_of


class Sample(Op):
    """Functions on the sphere, by their values at the points of a grid: s_u(n) = sum_l x_l,u . Y_l(n).

    Point by point a network (`mlp`, `act`) may then act on the channels; `unsample` takes the result back.
    Sums over the grid are exact up to `degree`, by default four times the highest degree of x: room for a cubic
    function. Type: C x (one of every degree) -> C functions on the sphere. Verdict: exact.
    """

    kind: Literal["sample"] = "sample"
    of: Ref
    degree: GridDegree | None = None

    reference: ClassVar[str] = "cohen2018spherical"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`sample`"):
            return None
        found = functions_of(x, site, "`sample`")
        if found is None:
            return None
        channels, sign = found
        degree = 4 * x.irreps.lmax if self.degree is None else self.degree
        if x.affine or degree > MAX_GRID:
            site.error(
                Code.REP_MISMATCH, f"`sample` takes features up to degree {MAX_GRID // 4}, but gets {x}"
            )
            return None
        return result_like(types, rep=Sphere(channels, degrees_of(x.irreps), degree, sign), fades=x.fades)

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        assert isinstance(result.rep, Sphere)
        points = result.rep.points
        return {result.index: Work(2 * points * types[0].dim, points * result.rep.channels)}

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        assert isinstance(result.rep, Sphere)
        return {"in": str(types[0].irreps), "degree": result.rep.grid}
