"""Equal irreps added up, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Block, Irreps
from ..types import Type
from .base import Op, Ref, Scope, Site, expect_irreps, result_like


class SumBlocks(Op):
    """The sum of all blocks of an irrep, channel by channel: y_(k,m,u) = sum_(blocks b of irrep k) x_(b,m,u).

    After a product `uuu` it adds up the paths. Type: n times c R -> c R, an irrep at the place of its first block.
    Verdict: exact.
    """

    kind: Literal["sum_blocks"] = "sum_blocks"
    of: Ref

    reference: ClassVar[str] = "musaelian2023allegro"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`sum_blocks`"):
            return None
        blocks = []
        for irrep in x.irreps.kinds:
            copies = {block.mul for block in x.irreps if block.irrep == irrep}
            if len(copies) > 1:
                site.error(
                    Code.CHANNELS_UNEQUAL,
                    f"`sum_blocks` adds blocks of one size, but `{irrep}` has blocks of "
                    f"{' and '.join(str(one) for one in sorted(copies))} copies",
                    help="bring them to equal copies with a `linear`, which adds them up too",
                )
                return None
            blocks.append(Block(copies.pop(), irrep))
        return result_like(types, rep=Irreps(tuple(blocks), x.irreps.group), fades=x.fades, affine=x.affine)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        kinds = list(types[0].irreps.kinds)
        return {"in": str(types[0].rep), "into": [kinds.index(block.irrep) for block in types[0].irreps]}
