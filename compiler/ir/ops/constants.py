"""Numbers that no input changes: ones, and learned biases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...symmetry.irreps import Block, Irrep, Irreps
from ...symmetry.units import Unit
from ..types import Type
from .base import Op, Ref, Scope, Site, expect_irreps, result_like


class Ones(Op):
    """The number 1 on every element of the set on which `of` lives. Type: any -> 1x0e. Verdict: exact."""

    kind: Literal["ones"] = "ones"
    of: Ref

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        rep = Irreps((Block(1, Irrep(0, 1)),))
        return Type(types[0].index, rep, Unit.parse("1"), smooth=math.inf)


class Bias(Op):
    """A learned number added to every invariant, and to nothing else. Type: R -> R. Verdict: exact."""

    kind: Literal["bias"] = "bias"
    of: Ref

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        return result_like(types) if expect_irreps(x, site, "`bias`") else None

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"in": str(types[0].rep)}

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        return sum(block.mul for block in types[0].irreps if block.irrep.is_invariant)
