"""From physical quantities to plain numbers of the size of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ..types import DIMENSIONLESS, Type
from .base import Op, Ref, Scope, Site, expect_irreps, result_like


class Normalize(Op):
    """What is known, as plain numbers of size one; invariants count from their mean.

        y_b = x_b / s_b,  and y = (x - t) / s where the block b is invariant

    s and t are statistics of the training data, called `name_scale` and `name_shift`. Type: R [unit] -> R.
    Verdict: exact.
    """

    kind: Literal["normalize"] = "normalize"
    of: Ref
    name: str

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        if not expect_irreps(types[0], site, "`normalize`"):
            return None
        return result_like(types, unit=DIMENSIONLESS)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"name": self.name, "irreps": str(types[0].rep)}
