"""Some of the irreps of a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ..types import Type
from .base import IrrepsField, Op, Ref, Scope, Site, expect_irreps, result_like


class Keep(Op):
    """The blocks of a value whose irrep is among `irreps`, in their order; multiplicities there do not count.

    Type: R -> part of R. Verdict: exact.
    """

    kind: Literal["keep"] = "keep"
    of: Ref
    irreps: IrrepsField

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`keep`"):
            return None
        kept = x.irreps.keeping(self.irreps.kinds)
        if not kept.blocks:
            site.error(
                Code.REP_MISMATCH,
                f"`{x.irreps.short}` holds no {' or '.join(f'`{one}`' for one in self.irreps.kinds)}",
                help=f"keep some of {', '.join(f'`{one}`' for one in x.irreps.kinds)}",
            )
            return None
        return result_like(types, rep=kept, fades=x.fades)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        kinds = set(self.irreps.kinds)
        blocks = [k for k, block in enumerate(types[0].irreps) if block.irrep in kinds]
        return {"in": str(types[0].rep), "blocks": blocks}
