"""Inner products of every channel with every other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ..types import Index, Type
from .base import MAX_SIZE, Op, Ref, Scope, Site, Size, Work, expect_irreps, result_like


class Gram(Op):
    """Inner products of all channels with the first `columns`: D_(a,b) = sum_l 1/(2l+1) sum_m x_(lm,a) x_(lm,b).

    Harmonics have squares that add up to 2l+1, so a sum of neighbours gives the cosines between them. Type:
    n copies of every irrep -> (n columns) x 0e. Verdict: exact.
    """

    kind: Literal["gram"] = "gram"
    of: Ref
    columns: Size

    reference: ClassVar[str] = "zhang2018deeppotse"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`gram`"):
            return None
        count = x.irreps.channels
        if count is None or self.columns > count or count * self.columns > MAX_SIZE:
            site.error(
                Code.CHANNELS_UNEQUAL,
                f"`gram` needs one number of channels of which {self.columns} are columns, but gets {x}",
                help="bring all irreps to equal copies with a `linear`, and ask for fewer columns",
            )
            return None
        rep = Irreps((Block(count * self.columns, Irrep(0, 1)),))
        return result_like(types, rep=rep, unit=x.unit * x.unit, fades=x.fades)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"in": str(types[0].rep), "columns": self.columns}

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        x = types[0].irreps
        return {result.index: Work(2 * x.dim * self.columns, 2 * x.dim + result.dim)}
