"""From features to physical quantities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...language.scalar_types import UnitText
from ...symmetry.units import Unit
from ..types import DIMENSIONLESS, Index, Type
from .base import Op, Ref, Scope, Site, expect_irreps, result_like


class Rescale(Op):
    """A physical quantity from dimensionless features of the same irreps.

        y_b = s_b x_b,  and y = s x + t where the block b is invariant

    s (one number a block) and t are statistics of the labels of `target`. Type: R -> R [unit]. Verdict: exact.
    """

    kind: Literal["rescale"] = "rescale"
    of: Ref
    target: str
    unit: UnitText

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`rescale`"):
            return None
        if x.index is not Index.NODE or x.unit.dimension != DIMENSIONLESS.dimension:
            site.error(
                Code.UNIT_MISMATCH,
                f"`rescale` gives a unit to plain numbers of nodes, but gets {x}",
                help="read features of nodes, before they are reduced",
            )
            return None
        return result_like(types, unit=Unit.parse(self.unit))

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"target": self.target, "irreps": str(types[0].rep)}
